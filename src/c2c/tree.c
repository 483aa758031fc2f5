#include "c2c/tree.h"

#include <sodium.h>
#include <string.h>

#define DOMAIN "doppel group order 1"

typedef struct {
  guint8 rank[32];
  IdentityPublic origin;
} Member;

struct Tree {
  GArray *ring;       /* of Member, the sender first */
  GHashTable *places; /* IdentityPublic in `ring`: place */
};

struct TreeDuty {
  const Tree *tree;
  GArray *places; /* to be sent to, the first `done` were */
  guint done;
};

static Member
member_of(const char *group, const IdentityPublic *origin)
{
  Member member = {.origin = *origin};
  crypto_generichash_state state;
  crypto_generichash_init(&state, NULL, 0, sizeof member.rank);
  crypto_generichash_update(&state, (const guint8 *)DOMAIN, sizeof DOMAIN);
  crypto_generichash_update(&state, (const guint8 *)group, strlen(group) + 1);
  crypto_generichash_update(&state, origin->bytes, sizeof origin->bytes);
  crypto_generichash_final(&state, member.rank, sizeof member.rank);
  return member;
}

static int
compare(gconstpointer a, gconstpointer b)
{
  return memcmp(a, b, sizeof(Member));
}

static void
drop_repeated(GArray *sorted)
{
  guint kept = 0;
  for (guint i = 0; i < sorted->len; i++)
    if (i == 0 || compare(&g_array_index(sorted, Member, i), &g_array_index(sorted, Member, kept - 1)) != 0)
      g_array_index(sorted, Member, kept++) = g_array_index(sorted, Member, i);
  g_array_set_size(sorted, kept);
}

/* The same ring, beginning with the sender. */
static GArray *
turned(GArray *sorted, const Member *sender)
{
  GArray *ring = g_array_sized_new(FALSE, FALSE, sizeof(Member), sorted->len);
  guint first = 0;
  while (compare(&g_array_index(sorted, Member, first), sender) != 0)
    first++;
  g_array_append_vals(ring, &g_array_index(sorted, Member, first), sorted->len - first);
  g_array_append_vals(ring, sorted->data, first);
  return ring;
}

Tree *
tree_new(const char *group, const IdentityPublic *sender, const IdentityPublic *members, guint count)
{
  if (count > TREE_MEMBERS_MAX)
    return NULL;
  g_autoptr(GArray) sorted = g_array_sized_new(FALSE, FALSE, sizeof(Member), count + 1);
  Member root = member_of(group, sender);
  g_array_append_val(sorted, root);
  for (guint i = 0; i < count; i++) {
    Member member = member_of(group, &members[i]);
    g_array_append_val(sorted, member);
  }
  g_array_sort(sorted, compare);
  drop_repeated(sorted);
  Tree *tree = g_new0(Tree, 1);
  tree->ring = turned(sorted, &root);
  tree->places = g_hash_table_new(identity_public_hash, identity_public_same);
  for (guint i = 0; i < tree->ring->len; i++)
    g_hash_table_insert(tree->places, &g_array_index(tree->ring, Member, i).origin, GUINT_TO_POINTER(i));
  return tree;
}

void
tree_free(Tree *tree)
{
  if (!tree)
    return;
  g_hash_table_destroy(tree->places);
  g_array_unref(tree->ring);
  g_free(tree);
}

guint
tree_size(const Tree *tree)
{
  return tree->ring->len;
}

const IdentityPublic *
tree_member(const Tree *tree, guint place)
{
  return &g_array_index(tree->ring, Member, place).origin;
}

gboolean
tree_find(const Tree *tree, const IdentityPublic *origin, guint *place)
{
  gpointer found;
  if (!g_hash_table_lookup_extended(tree->places, origin, NULL, &found))
    return FALSE;
  *place = GPOINTER_TO_UINT(found);
  return TRUE;
}

guint
tree_children(const Tree *tree, guint place, guint children[TREE_DEGREE])
{
  guint count = 0;
  for (guint child = place * TREE_DEGREE + 1; count < TREE_DEGREE && child < tree->ring->len; child++)
    children[count++] = child;
  return count;
}

gboolean
tree_is_below(guint place, guint above)
{
  while (place > above)
    place = (place - 1) / TREE_DEGREE;
  return place == above;
}

guint
tree_count(const Tree *tree, guint above)
{
  guint count = 0;
  /* Each level's places follow each other. */
  for (guint64 first = above, last = above; first < tree->ring->len;
       first = first * TREE_DEGREE + 1, last = last * TREE_DEGREE + TREE_DEGREE)
    count += (guint)(MIN(last, tree->ring->len - 1) - first + 1);
  return count;
}

void
tree_digest(const Tree *tree, guint8 digest[TREE_DIGEST_LENGTH])
{
  /* In the order of the ranks, wherever the ring begins. */
  g_autoptr(GArray) sorted = g_array_copy(tree->ring);
  g_array_sort(sorted, compare);
  crypto_generichash_state state;
  crypto_generichash_init(&state, NULL, 0, TREE_DIGEST_LENGTH);
  for (guint i = 0; i < sorted->len; i++)
    crypto_generichash_update(&state, g_array_index(sorted, Member, i).origin.bytes, IDENTITY_PUBLIC_LENGTH);
  crypto_generichash_final(&state, digest, TREE_DIGEST_LENGTH);
}

static void
add_children(TreeDuty *duty, guint place)
{
  guint children[TREE_DEGREE];
  guint count = tree_children(duty->tree, place, children);
  g_array_append_vals(duty->places, children, count);
}

TreeDuty *
tree_duty_new(const Tree *tree, guint place)
{
  TreeDuty *duty = g_new0(TreeDuty, 1);
  duty->tree = tree;
  duty->places = g_array_new(FALSE, FALSE, sizeof(guint));
  add_children(duty, place);
  return duty;
}

void
tree_duty_free(TreeDuty *duty)
{
  g_array_unref(duty->places);
  g_free(duty);
}

gboolean
tree_duty_next(TreeDuty *duty, guint *place)
{
  if (duty->done == duty->places->len)
    return FALSE;
  *place = g_array_index(duty->places, guint, duty->done++);
  return TRUE;
}

void
tree_duty_missed(TreeDuty *duty, guint place)
{
  add_children(duty, place);
}

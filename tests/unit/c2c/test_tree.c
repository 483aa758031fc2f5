/* Who sends a group's message to whom. */
#include <string.h>

#include "c2c/tree.h"

static GArray *
some_members(GRand *chance, guint count)
{
  GArray *members = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  for (guint i = 0; i < count; i++) {
    IdentityPublic origin;
    for (gsize byte = 0; byte < sizeof origin.bytes; byte++)
      origin.bytes[byte] = g_rand_int(chance);
    g_array_append_val(members, origin);
  }
  return members;
}

static void
shuffle(GRand *chance, GArray *members)
{
  for (guint i = members->len; i > 1; i--) {
    guint other = g_rand_int_range(chance, 0, (gint32)i);
    IdentityPublic *a = &g_array_index(members, IdentityPublic, i - 1),
                   *b = &g_array_index(members, IdentityPublic, other), kept = *a;
    *a = *b;
    *b = kept;
  }
}

static Tree *
tree_of(const GArray *members, guint sender)
{
  return tree_new("friends", &g_array_index(members, IdentityPublic, sender), (IdentityPublic *)members->data,
                  members->len);
}

/* How often each place gets the message, and over how many others, when those in `away` do not answer. Every
 * member works from a list of its own, in another order. */
typedef struct {
  guint *times, *depth;
  guint messages, deepest, most;
} Outcome;

static void
pass_on(GRand *chance, GArray *members, const Tree *tree, const gboolean *away, guint place, Outcome *outcome)
{
  shuffle(chance, members);
  g_autoptr(Tree) own =
      tree_new("friends", tree_member(tree, 0), (IdentityPublic *)members->data, members->len);
  guint mine, to, sent = 0;
  g_assert_true(tree_find(own, tree_member(tree, place), &mine));
  g_assert_cmpuint(mine, ==, place);
  g_autoptr(TreeDuty) duty = tree_duty_new(own, mine);
  while (tree_duty_next(duty, &to)) {
    sent++;
    if (away[to]) {
      tree_duty_missed(duty, to);
      continue;
    }
    outcome->messages++;
    outcome->times[to]++;
    outcome->depth[to] = outcome->depth[place] + 1;
    outcome->deepest = MAX(outcome->deepest, outcome->depth[to]);
    pass_on(chance, members, tree, away, to, outcome);
  }
  outcome->most = MAX(outcome->most, sent);
}

static Outcome
broadcast(GRand *chance, GArray *members, const gboolean *away)
{
  guint sender = g_rand_int_range(chance, 0, (gint32)members->len);
  Outcome outcome = {.times = g_new0(guint, members->len), .depth = g_new0(guint, members->len)};
  g_autoptr(Tree) tree = tree_of(members, sender);
  g_assert_cmpuint(tree_size(tree), ==, members->len);
  pass_on(chance, members, tree, away, 0, &outcome);
  g_assert_cmpuint(outcome.times[0], ==, 0);
  for (guint place = 1; place < members->len; place++)
    g_assert_cmpuint(outcome.times[place], ==, away[place] ? 0 : 1);
  g_free(outcome.times);
  g_free(outcome.depth);
  return outcome;
}

static guint
depth_limit(guint members)
{
  guint depth = 1;
  for (guint reach = 1; reach < members; reach *= TREE_DEGREE)
    depth++;
  return depth;
}

/* Where all are there: n - 1 messages, nobody sends more than four, and the way is short. */
static void
test_all_there(void)
{
  g_autoptr(GRand) chance = g_rand_new_with_seed((guint32)g_test_rand_int());
  static const guint sizes[] = {1, 2, 4, 5, 6, 21, 22, 85, 86, 341, 500};
  for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
    g_autoptr(GArray) members = some_members(chance, sizes[i]);
    g_autofree gboolean *away = g_new0(gboolean, sizes[i]);
    Outcome outcome = broadcast(chance, members, away);
    g_assert_cmpuint(outcome.messages, ==, sizes[i] - 1);
    g_assert_cmpuint(outcome.most, <=, TREE_DEGREE);
    g_assert_cmpuint(outcome.deepest, <=, depth_limit(sizes[i]));
  }
}

/* Whoever is away, everybody else gets it, once. */
static void
test_some_away(void)
{
  g_autoptr(GRand) chance = g_rand_new_with_seed((guint32)g_test_rand_int());
  for (int round = 0; round < 60; round++) {
    guint count = g_rand_int_range(chance, 1, 200), share = g_rand_int_range(chance, 1, 10), there = 0;
    g_autoptr(GArray) members = some_members(chance, count);
    g_autofree gboolean *away = g_new0(gboolean, count);
    for (guint place = 1; place < count; place++) {
      away[place] = g_rand_int_range(chance, 0, 10) < (gint32)share;
      there += !away[place];
    }
    g_assert_cmpuint(broadcast(chance, members, away).messages, ==, there);
  }
}

/* Each sender is the root of its own tree over the same ring, and different groups have different rings. */
static void
test_ring(void)
{
  g_autoptr(GRand) chance = g_rand_new_with_seed((guint32)g_test_rand_int());
  g_autoptr(GArray) members = some_members(chance, 50);
  const IdentityPublic *all = (IdentityPublic *)members->data;
  g_autoptr(Tree) one = tree_of(members, 3), two = tree_of(members, 7);
  g_autoptr(Tree) other = tree_new("foes", &all[3], all, members->len);
  guint8 digests[3][TREE_DIGEST_LENGTH];
  guint shift, same = 0;
  g_assert_true(identity_public_equal(tree_member(one, 0), &all[3]));
  g_assert_true(tree_find(one, tree_member(two, 0), &shift));
  for (guint i = 0; i < 50; i++) {
    g_assert_true(identity_public_equal(tree_member(two, i), tree_member(one, (i + shift) % 50)));
    same += identity_public_equal(tree_member(one, i), tree_member(other, i));
  }
  g_assert_cmpuint(same, <, 25);
  tree_digest(one, digests[0]);
  tree_digest(two, digests[1]);
  g_assert_cmpmem(digests[0], 32, digests[1], 32);
  g_autoptr(Tree) fewer = tree_new("friends", &all[3], all, 49);
  tree_digest(fewer, digests[2]);
  g_assert_cmpint(memcmp(digests[0], digests[2], 32), !=, 0);
}

/* A member twice in the list counts once; the sender counts, listed or not; strangers have no place. */
static void
test_lists(void)
{
  g_autoptr(GRand) chance = g_rand_new_with_seed((guint32)g_test_rand_int());
  g_autoptr(GArray) members = some_members(chance, 5);
  const IdentityPublic *all = (IdentityPublic *)members->data;
  IdentityPublic list[] = {all[1], all[2], all[1], all[2], all[2]};
  g_autoptr(Tree) tree = tree_new("friends", &all[0], list, 5);
  guint place;
  g_assert_cmpuint(tree_size(tree), ==, 3);
  g_assert_true(tree_find(tree, &all[0], &place));
  g_assert_cmpuint(place, ==, 0);
  g_assert_false(tree_find(tree, &all[4], &place));
  g_assert_null(tree_new("friends", &all[0], all, TREE_MEMBERS_MAX + 1));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/c2c/tree/all-there", test_all_there);
  g_test_add_func("/c2c/tree/some-away", test_some_away);
  g_test_add_func("/c2c/tree/ring", test_ring);
  g_test_add_func("/c2c/tree/lists", test_lists);
  return g_test_run();
}

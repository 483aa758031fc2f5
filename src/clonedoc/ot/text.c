#include "clonedoc/ot/text.h"

#include <string.h>

/* A leaf is read and moved as a whole, a branch is searched from its left: sizes at which neither is felt. A
 * piece that is put in fits either half of a leaf, which is split between scalar values. */
enum {
  LEAF_BYTES = 1008,
  LEAF_MERGE = LEAF_BYTES * 3 / 4,
  PIECE_BYTES = LEAF_BYTES / 2 - 4,
  FANOUT = 24,
  FANOUT_MERGE = FANOUT * 3 / 4,
};

typedef struct {
  guint32 scalars, bytes;
} Size;

typedef struct {
  Size size;
  char utf8[LEAF_BYTES];
} Leaf;

typedef struct {
  guint count; /* of children, never 0 */
  Size sizes[FANOUT];
  void *children[FANOUT]; /* leaves, or branches one less high */
} Branch;

struct OtText {
  Size size;
  guint height; /* 0: `root` is a leaf */
  void *root;
};

/* UTF-8. */

static gsize
scalars_in(const char *utf8, gsize bytes)
{
  gsize count = 0;
  for (gsize i = 0; i < bytes; i++)
    count += ((guint8)utf8[i] & 0xc0) != 0x80;
  return count;
}

gboolean
ot_utf8_check(const char *utf8, gsize bytes, gsize *scalars)
{
  if (bytes > 0 && !g_utf8_validate_len(utf8, bytes, NULL))
    return FALSE;
  *scalars = scalars_in(utf8, bytes);
  return TRUE;
}

gsize
ot_utf8_offset(const char *utf8, gsize bytes, gsize scalar)
{
  gsize at = 0;
  for (; scalar > 0 && at < bytes; scalar--)
    do
      at++;
    while (at < bytes && ((guint8)utf8[at] & 0xc0) == 0x80);
  return at;
}

/* Where in a leaf position `at` is. Most text is ASCII, where nothing needs to be counted. */
static gsize
leaf_offset(const Leaf *leaf, gsize at)
{
  if (leaf->size.scalars == leaf->size.bytes)
    return at;
  return ot_utf8_offset(leaf->utf8, leaf->size.bytes, at);
}

/* Nodes. */

static void
size_add(Size *size, Size more)
{
  size->scalars += more.scalars;
  size->bytes += more.bytes;
}

static Size
node_size(const void *node, guint height)
{
  if (height == 0)
    return ((const Leaf *)node)->size;
  const Branch *branch = node;
  Size size = {0, 0};
  for (guint i = 0; i < branch->count; i++)
    size_add(&size, branch->sizes[i]);
  return size;
}

static void
node_free(void *node, guint height)
{
  if (height > 0) {
    Branch *branch = node;
    for (guint i = 0; i < branch->count; i++)
      node_free(branch->children[i], height - 1);
  }
  g_free(node);
}

OtText *
ot_text_new(void)
{
  OtText *text = g_new0(OtText, 1);
  text->root = g_new0(Leaf, 1);
  return text;
}

void
ot_text_free(OtText *text)
{
  if (!text)
    return;
  node_free(text->root, text->height);
  g_free(text);
}

gsize
ot_text_length(const OtText *text)
{
  return text->size.scalars;
}

gsize
ot_text_bytes(const OtText *text)
{
  return text->size.bytes;
}

/* Insertion: on the way up, a node that had to split hands its new right neighbour to its parent. */

static void
leaf_splice(Leaf *leaf, gsize offset, const char *utf8, Size size)
{
  memmove(leaf->utf8 + offset + size.bytes, leaf->utf8 + offset, leaf->size.bytes - offset);
  memcpy(leaf->utf8 + offset, utf8, size.bytes);
  size_add(&leaf->size, size);
}

/* Moves what is from `offset` on into a new leaf. */
static Leaf *
leaf_split(Leaf *leaf, gsize offset)
{
  Leaf *right = g_new(Leaf, 1);
  gsize bytes = leaf->size.bytes - offset;
  memcpy(right->utf8, leaf->utf8 + offset, bytes);
  right->size = (Size){scalars_in(right->utf8, bytes), bytes};
  leaf->size.scalars -= right->size.scalars;
  leaf->size.bytes -= bytes;
  return right;
}

static gsize
scalar_start(const char *utf8, gsize offset)
{
  while (offset > 0 && ((guint8)utf8[offset] & 0xc0) == 0x80)
    offset--;
  return offset;
}

static Leaf *
leaf_insert(Leaf *leaf, gsize at, const char *utf8, Size size)
{
  gsize offset = leaf_offset(leaf, at);
  if (leaf->size.bytes + size.bytes <= LEAF_BYTES) {
    leaf_splice(leaf, offset, utf8, size);
    return NULL;
  }
  /* Who types on at the end of a leaf goes on in the new one: full leaves are left behind, not half ones. */
  gsize middle = offset == leaf->size.bytes ? offset : scalar_start(leaf->utf8, leaf->size.bytes / 2);
  Leaf *right = leaf_split(leaf, middle);
  if (offset < middle)
    leaf_splice(leaf, offset, utf8, size);
  else
    leaf_splice(right, offset - middle, utf8, size);
  return right;
}

/* The child that has position `at`, which becomes the position in it; at a border the left one. */
static guint
branch_find(const Branch *branch, gsize *at)
{
  guint i = 0;
  while (i + 1 < branch->count && *at > branch->sizes[i].scalars)
    *at -= branch->sizes[i++].scalars;
  return i;
}

static void
branch_put(Branch *branch, guint at, void *child, Size size)
{
  memmove(branch->children + at + 1, branch->children + at, (branch->count - at) * sizeof *branch->children);
  memmove(branch->sizes + at + 1, branch->sizes + at, (branch->count - at) * sizeof *branch->sizes);
  branch->children[at] = child;
  branch->sizes[at] = size;
  branch->count++;
}

/* Puts `child` at `at`, into a new right neighbour if that is where it comes to be. */
static Branch *
branch_add(Branch *branch, guint at, void *child, Size size)
{
  if (branch->count < FANOUT) {
    branch_put(branch, at, child, size);
    return NULL;
  }
  guint middle = at == FANOUT ? FANOUT : FANOUT / 2;
  Branch *right = g_new(Branch, 1);
  right->count = FANOUT - middle;
  memcpy(right->children, branch->children + middle, right->count * sizeof *right->children);
  memcpy(right->sizes, branch->sizes + middle, right->count * sizeof *right->sizes);
  branch->count = middle;
  if (at < middle)
    branch_put(branch, at, child, size);
  else
    branch_put(right, at - middle, child, size);
  return right;
}

static void *
node_insert(void *node, guint height, gsize at, const char *utf8, Size size)
{
  if (height == 0)
    return leaf_insert(node, at, utf8, size);
  Branch *branch = node;
  guint i = branch_find(branch, &at);
  void *right = node_insert(branch->children[i], height - 1, at, utf8, size);
  if (!right) {
    size_add(&branch->sizes[i], size);
    return NULL;
  }
  branch->sizes[i] = node_size(branch->children[i], height - 1);
  return branch_add(branch, i + 1, right, node_size(right, height - 1));
}

static void
insert_piece(OtText *text, gsize at, const char *utf8, Size size)
{
  void *right = node_insert(text->root, text->height, at, utf8, size);
  size_add(&text->size, size);
  if (!right)
    return;
  Branch *root = g_new(Branch, 1);
  root->count = 0;
  branch_put(root, 0, text->root, node_size(text->root, text->height));
  branch_put(root, 1, right, node_size(right, text->height));
  text->root = root;
  text->height++;
}

void
ot_text_insert(OtText *text, gsize at, const char *utf8, gsize bytes, gsize scalars)
{
  g_assert(at <= text->size.scalars);
  while (bytes > PIECE_BYTES) {
    gsize piece = scalar_start(utf8, PIECE_BYTES);
    Size size = {scalars_in(utf8, piece), piece};
    insert_piece(text, at, utf8, size);
    at += size.scalars;
    scalars -= size.scalars;
    utf8 += piece;
    bytes -= piece;
  }
  if (bytes > 0)
    insert_piece(text, at, utf8, (Size){scalars, bytes});
}

/* Deletion: children that are gone as a whole are freed, those at the two ends are cut, and what has become
 * small joins its neighbour. */

static Size
leaf_delete(Leaf *leaf, gsize at, gsize count)
{
  gsize from = leaf_offset(leaf, at), to;
  if (leaf->size.scalars == leaf->size.bytes)
    to = from + count;
  else
    to = from + ot_utf8_offset(leaf->utf8 + from, leaf->size.bytes - from, count);
  memmove(leaf->utf8 + from, leaf->utf8 + to, leaf->size.bytes - to);
  Size gone = {count, to - from};
  leaf->size.scalars -= gone.scalars;
  leaf->size.bytes -= gone.bytes;
  return gone;
}

static void
branch_drop(Branch *branch, guint at, guint count)
{
  guint rest = branch->count - at - count;
  memmove(branch->children + at, branch->children + at + count, rest * sizeof *branch->children);
  memmove(branch->sizes + at, branch->sizes + at + count, rest * sizeof *branch->sizes);
  branch->count -= count;
}

static gboolean
leaf_join(Leaf *left, const Leaf *right)
{
  if (left->size.bytes + right->size.bytes > LEAF_MERGE)
    return FALSE;
  leaf_splice(left, left->size.bytes, right->utf8, right->size);
  return TRUE;
}

static gboolean
branch_join(Branch *left, const Branch *right)
{
  if (left->count + right->count > FANOUT_MERGE)
    return FALSE;
  memcpy(left->children + left->count, right->children, right->count * sizeof *left->children);
  memcpy(left->sizes + left->count, right->sizes, right->count * sizeof *left->sizes);
  left->count += right->count;
  return TRUE;
}

/* Joins child `at` and the one after it, if they are one's worth. */
static void
join_children(Branch *branch, guint at, guint height)
{
  if (at + 1 >= branch->count)
    return;
  void *left = branch->children[at], *right = branch->children[at + 1];
  if (height == 1 ? !leaf_join(left, right) : !branch_join(left, right))
    return;
  size_add(&branch->sizes[at], branch->sizes[at + 1]);
  g_free(right);
  branch_drop(branch, at + 1, 1);
}

static Size
node_delete(void *node, guint height, gsize at, gsize count)
{
  if (height == 0)
    return leaf_delete(node, at, count);
  Branch *branch = node;
  Size gone = {0, 0};
  guint i = branch_find(branch, &at), first = i;
  while (count > 0) {
    gsize here = MIN(count, branch->sizes[i].scalars - at);
    count -= here;
    if (here == branch->sizes[i].scalars && branch->count > 1) {
      size_add(&gone, branch->sizes[i]);
      node_free(branch->children[i], height - 1);
      branch_drop(branch, i, 1);
    } else {
      Size part = here > 0 ? node_delete(branch->children[i], height - 1, at, here) : (Size){0, 0};
      size_add(&gone, part);
      branch->sizes[i].scalars -= part.scalars;
      branch->sizes[i].bytes -= part.bytes;
      i++;
    }
    at = 0;
  }
  for (guint k = MIN(first + 2, branch->count); k-- > (first > 0 ? first - 1 : 0);)
    join_children(branch, k, height);
  return gone;
}

void
ot_text_delete(OtText *text, gsize at, gsize count)
{
  g_assert(at <= text->size.scalars && count <= text->size.scalars - at);
  if (count == 0)
    return;
  Size gone = node_delete(text->root, text->height, at, count);
  text->size.scalars -= gone.scalars;
  text->size.bytes -= gone.bytes;
  while (text->height > 0 && ((Branch *)text->root)->count == 1) {
    Branch *root = text->root;
    text->root = root->children[0];
    text->height--;
    g_free(root);
  }
}

/* Reading. */

static void
node_each(const void *node, guint height, OtTextPiece each, gpointer user_data)
{
  if (height == 0) {
    const Leaf *leaf = node;
    if (leaf->size.bytes > 0)
      each(leaf->utf8, leaf->size.bytes, user_data);
    return;
  }
  const Branch *branch = node;
  for (guint i = 0; i < branch->count; i++)
    node_each(branch->children[i], height - 1, each, user_data);
}

void
ot_text_each(const OtText *text, OtTextPiece each, gpointer user_data)
{
  node_each(text->root, text->height, each, user_data);
}

static void
node_copy(const void *node, guint height, gsize at, gsize count, GString *into)
{
  if (height == 0) {
    const Leaf *leaf = node;
    gsize from = leaf_offset(leaf, at), to = leaf_offset(leaf, at + count);
    g_string_append_len(into, leaf->utf8 + from, to - from);
    return;
  }
  const Branch *branch = node;
  for (guint i = branch_find(branch, &at); count > 0; i++, at = 0) {
    gsize here = MIN(count, branch->sizes[i].scalars - at);
    if (here > 0)
      node_copy(branch->children[i], height - 1, at, here, into);
    count -= here;
  }
}

char *
ot_text_copy(const OtText *text, gsize at, gsize count, gsize *bytes)
{
  g_assert(at <= text->size.scalars && count <= text->size.scalars - at);
  GString *into = g_string_sized_new(count + 1);
  if (count > 0)
    node_copy(text->root, text->height, at, count, into);
  if (bytes)
    *bytes = into->len;
  return g_string_free(into, FALSE);
}

gboolean
ot_text_equal(const OtText *a, const OtText *b)
{
  if (a->size.scalars != b->size.scalars || a->size.bytes != b->size.bytes)
    return FALSE;
  g_autofree char *left = ot_text_copy(a, 0, a->size.scalars, NULL);
  g_autofree char *right = ot_text_copy(b, 0, b->size.scalars, NULL);
  return memcmp(left, right, a->size.bytes) == 0;
}

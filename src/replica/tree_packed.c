#include "replica/tree_packed.h"

#include <string.h>

#include "base/error.h"
#include "replica/tree_index_row.h"

#define RUN_ENTRIES 240 /* of a run, which fits into one page of the database */

/* What runs are sorted by. */
typedef enum { BY_INODE, BY_CONTENT } Order;

typedef struct {
  gint64 key;   /* an inode's number, or a size */
  guint32 more; /* of the content's hash */
  guint32 id;
} Entry;

/* ---- packs ---- */

static guint32
short_hash(const guint8 *hash)
{
  guint32 head;
  memcpy(&head, hash, sizeof head);
  return head;
}

static void
damaged(TreeIndex *index)
{
  if (!index->error)
    doppel_error_set(&index->error, DOPPEL_ERROR_FAILED, "the index of the clone's tree is damaged");
}

gboolean
tree_packed_add(TreeIndex *index, const TreeNode *node, gint64 id, guint64 since)
{
  TreePack *pack = &index->pack;
  if (!index->filling || node->parent == TREE_NONE || node->parent == TREE_HOLD ||
      node->parent == TREE_GONE || id > G_MAXUINT32)
    return FALSE;
  if (!tree_pack_add(pack, node, id, since)) {
    tree_packed_flush(index);
    if (!tree_pack_add(pack, node, id, since))
      return FALSE;
  }
  index->has_packs = TRUE;
  if (index->inodes && node->facts.ino)
    tree_inodes_add(index->inodes, node->facts.ino, id);
  return TRUE;
}

void
tree_packed_flush(TreeIndex *index)
{
  TreePack *pack = &index->pack;
  TreePackEntry first;
  TreePackReader reader = {.at = pack->bytes, .left = pack->length, .next = pack->first};
  if (pack->count == 0 || !tree_pack_next(&reader, &first))
    return;
  sqlite3_stmt *row = tree_database_change(index, SQL_PACK);
  if (row) {
    sqlite3_bind_int64(row, 1, pack->first);
    sqlite3_bind_int64(row, 2, pack->count);
    sqlite3_bind_int64(row, 3, pack->parent);
    sqlite3_bind_int64(row, 4, pack->since);
    sqlite3_bind_blob(row, 5, first.name, first.name_length, SQLITE_STATIC);
    sqlite3_bind_blob(row, 6, pack->bytes, pack->length, SQLITE_STATIC);
  }
  pack->count = 0;
  tree_database_run(index, row);
}

/* The columns are first, parent, nodes. */
static TreePackReader
reader_of(sqlite3_stmt *row)
{
  return (TreePackReader){.next = sqlite3_column_int64(row, 0),
                          .at = sqlite3_column_blob(row, 2),
                          .left = sqlite3_column_bytes(row, 2)};
}

/* The next node of the rows of a statement, whose current row `reader` is at. FALSE: there is none. */
static gboolean
next_entry(TreeIndex *index, sqlite3_stmt *row, TreePackReader *reader, TreePackEntry *entry)
{
  while (!tree_pack_next(reader, entry)) {
    if (reader->left)
      damaged(index);
    if (!tree_database_step(index, row))
      return FALSE;
    *reader = reader_of(row);
  }
  return TRUE;
}

/* A statement about one node's pack: at the pack that may have it, or NULL. */
static sqlite3_stmt *
pack_of(TreeIndex *index, gint64 id)
{
  if (!index->has_packs)
    return NULL;
  tree_packed_flush(index);
  sqlite3_stmt *row = tree_database_statement(index, SQL_PACK_OF);
  tree_row_bind_number(row, 1, id);
  return tree_database_step(index, row) ? row : NULL;
}

gboolean
tree_packed_node(TreeIndex *index, gint64 id, TreeNode *node)
{
  sqlite3_stmt *row = pack_of(index, id);
  TreePackReader reader = row ? reader_of(row) : (TreePackReader){0};
  TreePackEntry entry = {.id = TREE_NONE};
  *node = (TreeNode){0};
  while (entry.id != id && row && tree_pack_next(&reader, &entry))
    ;
  if (entry.id == id)
    tree_pack_node(&entry, sqlite3_column_int64(row, 1), node);
  if (row)
    sqlite3_reset(row);
  return node->id != TREE_NONE;
}

static sqlite3_stmt *
packs_in(TreeIndex *index, SqlStatement which, gint64 parent)
{
  if (!index->has_packs)
    return NULL;
  tree_packed_flush(index);
  sqlite3_stmt *rows = tree_database_statement(index, which);
  tree_row_bind_number(rows, 1, parent);
  return rows;
}

gboolean
tree_packed_child(TreeIndex *index, gint64 parent, const char *name, TreeNode *node)
{
  TreePackReader reader = {0};
  TreePackEntry entry;
  sqlite3_stmt *rows = packs_in(index, SQL_PACKS_BEFORE, parent);
  *node = (TreeNode){0};
  if (rows)
    sqlite3_bind_blob64(rows, 2, name, strlen(name), SQLITE_STATIC);
  while (rows && next_entry(index, rows, &reader, &entry))
    if (tree_pack_is_named(&entry, name)) {
      tree_pack_node(&entry, parent, node);
      break;
    }
  if (rows) {
    sqlite3_reset(rows);
    sqlite3_clear_bindings(rows);
  }
  return node->id != TREE_NONE;
}

void
tree_packed_children(TreeIndex *index, gint64 parent, GArray *nodes)
{
  TreePackReader reader = {0};
  TreePackEntry entry;
  sqlite3_stmt *rows = packs_in(index, SQL_PACKS_IN, parent);
  while (rows && next_entry(index, rows, &reader, &entry)) {
    TreeNode node;
    tree_pack_node(&entry, parent, &node);
    g_array_append_val(nodes, node);
  }
}

/* Makes rows of a pack whose row this is. */
static void
open_pack(TreeIndex *index, sqlite3_stmt *row)
{
  TreePackReader reader = reader_of(row);
  TreePackEntry entry;
  gint64 first = reader.next, parent = sqlite3_column_int64(row, 1);
  g_autofree guint8 *bytes = g_memdup2(reader.at, reader.left);
  reader.at = bytes;
  sqlite3_reset(row);
  row = tree_database_change(index, SQL_UNPACK);
  tree_row_bind_number(row, 1, first);
  tree_database_run(index, row);
  while (tree_pack_next(&reader, &entry)) {
    g_auto(TreeNode) node = {0};
    tree_pack_node(&entry, parent, &node);
    tree_row_insert(index, &node, entry.id, entry.since);
  }
  if (reader.left)
    damaged(index);
}

void
tree_packed_open(TreeIndex *index, gint64 id)
{
  sqlite3_stmt *row = pack_of(index, id);
  if (row && id < sqlite3_column_int64(row, 0) + sqlite3_column_int64(row, 3))
    open_pack(index, row);
  else if (row)
    sqlite3_reset(row);
}

void
tree_packed_open_since(TreeIndex *index, guint64 since)
{
  sqlite3_stmt *row = packs_in(index, SQL_PACKS_SINCE, since);
  while (row && tree_database_step(index, row)) {
    open_pack(index, row);
    row = packs_in(index, SQL_PACKS_SINCE, since);
  }
}

typedef struct {
  gint64 first, count;
} Range;

static GArray *
ranges_aside(TreeIndex *index)
{
  GArray *ranges = g_array_new(FALSE, FALSE, sizeof(Range));
  sqlite3_stmt *row = index->has_packs ? tree_database_statement(index, SQL_PACKS_ASIDE) : NULL;
  while (row && tree_database_step(index, row)) {
    Range range = {sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1)};
    g_array_append_val(ranges, range);
  }
  return ranges;
}

void
tree_packed_drop_aside(TreeIndex *index)
{
  tree_packed_flush(index);
  g_autoptr(GArray) ranges = ranges_aside(index);
  for (guint i = 0; i < ranges->len; i++) {
    const Range *range = &g_array_index(ranges, Range, i);
    sqlite3_stmt *row = tree_database_change(index, SQL_UNSIGN_PACK);
    tree_row_bind_number(row, 1, range->first);
    tree_row_bind_number(row, 2, range->first + range->count - 1);
    tree_database_run(index, row);
    row = tree_database_change(index, SQL_UNPACK);
    tree_row_bind_number(row, 1, range->first);
    tree_database_run(index, row);
  }
}

/* ---- by inode and by content ---- */

/* The nodes of all packs, by SQL_PACKS. */
static sqlite3_stmt *
all_packs(TreeIndex *index)
{
  if (!index->has_packs)
    return NULL;
  tree_packed_flush(index);
  return tree_database_statement(index, SQL_PACKS);
}

static void
recall_inodes(TreeIndex *index)
{
  TreePackReader reader = {0};
  TreePackEntry entry;
  sqlite3_stmt *rows = all_packs(index);
  index->inodes = tree_inodes_new();
  while (rows && next_entry(index, rows, &reader, &entry))
    if (entry.ino)
      tree_inodes_add(index->inodes, entry.ino, entry.id);
}

static gboolean
is_content(const TreePackEntry *entry)
{
  return entry->hashed && entry->size >= TREE_CONTENT_MIN;
}

void
tree_packed_recall(TreeIndex *index)
{
  TreePackReader reader = {0};
  TreePackEntry entry;
  sqlite3_stmt *rows = all_packs(index);
  index->contents = tree_contents_new();
  while (rows && next_entry(index, rows, &reader, &entry))
    if (is_content(&entry))
      tree_contents_add(index->contents, entry.id, entry.size, entry.content);
}

/* Appends the nodes of the runs that have this key, and `more` if it is one. */
static void
look_up(TreeIndex *index, Order order, guint64 key, const guint32 *more, GArray *ids)
{
  gint64 wanted = key;
  sqlite3_stmt *rows = tree_database_statement(index, SQL_RUNS);
  tree_row_bind_number(rows, 1, order);
  tree_row_bind_number(rows, 2, wanted);
  while (tree_database_step(index, rows)) {
    const guint8 *run = sqlite3_column_blob(rows, 1);
    gsize count = sqlite3_column_bytes(rows, 1) / sizeof(Entry);
    for (gsize i = 0; i < count; i++) {
      Entry entry;
      memcpy(&entry, run + i * sizeof entry, sizeof entry);
      gint64 id = entry.id;
      if (entry.key == wanted && (!more || *more == entry.more))
        g_array_append_val(ids, id);
    }
    if (sqlite3_column_int64(rows, 0) > wanted)
      break;
  }
  if (rows)
    sqlite3_reset(rows);
}

void
tree_packed_inode(TreeIndex *index, guint64 dev, guint64 ino, GArray *nodes)
{
  g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint64));
  if (!index->has_packs || !ino)
    return;
  if (!index->ordered && !index->inodes)
    recall_inodes(index);
  if (index->ordered)
    look_up(index, BY_INODE, ino, NULL, ids);
  else
    tree_inodes_find(index->inodes, ino, ids);
  for (guint i = 0; i < ids->len; i++) {
    TreeNode node;
    if (tree_packed_node(index, g_array_index(ids, gint64, i), &node) && node.facts.ino == ino &&
        node.facts.dev == dev)
      g_array_append_val(nodes, node);
    else
      tree_node_clear(&node);
  }
}

gboolean
tree_packed_has_size(TreeIndex *index, guint64 size)
{
  if (!index->ordered || !index->has_packs)
    return FALSE;
  g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint64));
  look_up(index, BY_CONTENT, size, NULL, ids);
  return ids->len > 0;
}

void
tree_packed_content(TreeIndex *index, guint64 size, const guint8 hash[static GENERATION_CONTENT_HASH],
                    GArray *ids)
{
  guint32 more = short_hash(hash);
  if (index->ordered && index->has_packs)
    look_up(index, BY_CONTENT, size, &more, ids);
}

/* ---- the runs ---- */

static int
compare_entries(gconstpointer a, gconstpointer b)
{
  const Entry *one = a, *other = b;
  if (one->key != other->key)
    return one->key < other->key ? -1 : 1;
  if (one->more != other->more)
    return one->more < other->more ? -1 : 1;
  return one->id < other->id ? -1 : one->id > other->id;
}

static void
write_runs(TreeIndex *index, Order order, GArray *entries)
{
  g_array_sort(entries, compare_entries);
  for (guint at = 0; at < entries->len; at += RUN_ENTRIES) {
    guint count = MIN(RUN_ENTRIES, entries->len - at);
    const Entry *run = &g_array_index(entries, Entry, at);
    sqlite3_stmt *row = tree_database_change(index, SQL_RUN);
    if (row) {
      sqlite3_bind_int64(row, 1, order);
      sqlite3_bind_int64(row, 2, run[count - 1].key);
      sqlite3_bind_int64(row, 3, run[0].key);
      sqlite3_bind_blob(row, 4, run, count * sizeof *run, SQLITE_STATIC);
    }
    tree_database_run(index, row);
    if (row)
      sqlite3_clear_bindings(row);
  }
}

void
tree_packed_order(TreeIndex *index)
{
  g_autoptr(GArray) inodes = g_array_new(FALSE, FALSE, sizeof(Entry));
  g_autoptr(GArray) contents = g_array_new(FALSE, FALSE, sizeof(Entry));
  TreePackReader reader = {0};
  TreePackEntry entry;
  sqlite3_stmt *rows = all_packs(index);
  while (rows && next_entry(index, rows, &reader, &entry)) {
    Entry inode = {.key = entry.ino, .id = entry.id};
    Entry content = {.key = entry.size, .more = short_hash(entry.content), .id = entry.id};
    if (entry.ino)
      g_array_append_val(inodes, inode);
    if (is_content(&entry))
      g_array_append_val(contents, content);
  }
  write_runs(index, BY_INODE, inodes);
  write_runs(index, BY_CONTENT, contents);
  index->ordered = TRUE;
}

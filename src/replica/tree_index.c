#include "replica/tree_index.h"

#include "replica/path.h"
#include "replica/tree_index_row.h"
#include "replica/tree_packed.h"

void
tree_node_clear(TreeNode *node)
{
  g_free(node->name);
  replica_facts_clear(&node->facts);
  *node = (TreeNode){0};
}

static TreeIndex *
open_index(const char *path, gboolean look, GError **error)
{
  TreeIndex *index = g_new0(TreeIndex, 1);
  if (tree_database_open(index, path, look, error))
    return index;
  tree_index_free(index);
  return NULL;
}

TreeIndex *
tree_index_open(const char *path, GError **error)
{
  return open_index(path, FALSE, error);
}

TreeIndex *
tree_index_look(const char *path, GError **error)
{
  return open_index(path, TRUE, error);
}

void
tree_index_free(TreeIndex *index)
{
  if (!index)
    return;
  tree_database_close(index);
  g_free(index);
}

const SignatureKey *
tree_index_key(const TreeIndex *index)
{
  return &index->key;
}

GBytes *
tree_index_get(TreeIndex *index, const char *name)
{
  sqlite3_stmt *row = tree_database_statement(index, SQL_GET);
  if (row)
    sqlite3_bind_text(row, 1, name, -1, SQLITE_TRANSIENT);
  if (!tree_database_step(index, row))
    return NULL;
  GBytes *value = tree_row_bytes(row, 0);
  sqlite3_reset(row);
  return value;
}

void
tree_index_set(TreeIndex *index, const char *name, GBytes *value)
{
  sqlite3_stmt *row = tree_database_change(index, SQL_SET);
  if (row)
    sqlite3_bind_text(row, 1, name, -1, SQLITE_TRANSIENT);
  tree_row_bind_bytes(row, 2, value);
  tree_database_run(index, row);
}

static void
set_number(TreeIndex *index, const char *name, guint64 number)
{
  g_autoptr(GBytes) value = g_bytes_new(&number, sizeof number);
  tree_index_set(index, name, value);
}

gboolean
tree_index_save(TreeIndex *index, GError **error)
{
  tree_packed_flush(index);
  if (index->last != index->saved_last)
    set_number(index, "last", index->last);
  if (index->writing) {
    index->saved_last = index->last;
    set_number(index, "durable", index->durable);
    tree_database_run(index, tree_database_statement(index, SQL_COMMIT));
    index->writing = FALSE;
  }
  if (index->error && error)
    *error = g_error_copy(index->error);
  return index->error == NULL;
}

gboolean
tree_index_node(TreeIndex *index, gint64 id, TreeNode *node)
{
  sqlite3_stmt *row = tree_database_statement(index, SQL_NODE);
  tree_row_bind_number(row, 1, id);
  return tree_row_take_node(index, row, node) || tree_packed_node(index, id, node);
}

gboolean
tree_index_child(TreeIndex *index, gint64 parent, const char *name, TreeNode *node)
{
  sqlite3_stmt *row = tree_database_statement(index, SQL_CHILD);
  tree_row_bind_number(row, 1, parent);
  tree_row_bind_string(row, 2, name);
  return tree_row_take_node(index, row, node) || tree_packed_child(index, parent, name, node);
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
  return strcmp(((const TreeNode *)a)->name, ((const TreeNode *)b)->name);
}

static void
sort_by_name(GArray *nodes)
{
  for (guint i = 1; i < nodes->len; i++)
    if (compare_names(&g_array_index(nodes, TreeNode, i - 1), &g_array_index(nodes, TreeNode, i)) > 0) {
      g_array_sort(nodes, compare_names);
      return;
    }
}

GArray *
tree_index_children(TreeIndex *index, gint64 parent)
{
  sqlite3_stmt *row = tree_database_statement(index, SQL_CHILDREN);
  tree_row_bind_number(row, 1, parent);
  GArray *nodes = tree_row_take_nodes(index, row);
  tree_packed_children(index, parent, nodes);
  sort_by_name(nodes);
  return nodes;
}

GArray *
tree_index_inode(TreeIndex *index, guint64 dev, guint64 ino)
{
  sqlite3_stmt *row = tree_database_statement(index, SQL_INODE);
  tree_row_bind_number(row, 1, ino);
  tree_row_bind_number(row, 2, dev);
  GArray *nodes = tree_row_take_nodes(index, row);
  tree_packed_inode(index, dev, ino, nodes);
  return nodes;
}

gint64
tree_index_find(TreeIndex *index, const char *path)
{
  return tree_index_find_below(index, TREE_ROOT, path);
}

gint64
tree_index_find_below(TreeIndex *index, gint64 directory, const char *path)
{
  gint64 at = directory;
  g_auto(GStrv) names = g_strsplit(path, "/", -1);
  for (guint i = 0; names[i] && at != TREE_NONE; i++) {
    g_auto(TreeNode) node = {0};
    at = tree_index_child(index, at, names[i], &node) ? node.id : TREE_NONE;
  }
  return at;
}

char *
tree_index_path(TreeIndex *index, gint64 id)
{
  g_autofree char *path = g_strdup("");
  while (id != TREE_ROOT) {
    g_auto(TreeNode) node = {0};
    if (!tree_index_node(index, id, &node) || node.parent == TREE_HOLD || node.parent == TREE_GONE)
      return NULL;
    char *longer = replica_path_join(node.name, path);
    g_free(path);
    path = longer;
    id = node.parent;
  }
  return g_steal_pointer(&path);
}

static gint64
only_number(TreeIndex *index, sqlite3_stmt *row)
{
  if (!tree_database_step(index, row))
    return 0;
  gint64 number = sqlite3_column_int64(row, 0);
  sqlite3_reset(row);
  return number;
}

guint64
tree_index_count(TreeIndex *index)
{
  g_auto(TreeNode) root = {0};
  gboolean has_root = tree_index_node(index, TREE_ROOT, &root);
  tree_packed_flush(index);
  return has_root ? only_number(index, tree_database_statement(index, SQL_COUNT)) : 0;
}

gboolean
tree_index_has_size(TreeIndex *index, guint64 size)
{
  if (index->contents && tree_contents_has_size(index->contents, size))
    return TRUE;
  if (index->filling)
    return FALSE;
  sqlite3_stmt *row = tree_database_statement(index, SQL_SIZE);
  tree_row_bind_number(row, 1, size);
  return only_number(index, row) != 0 || tree_packed_has_size(index, size);
}

/* The nodes that may have this content. */
static GArray *
candidates(TreeIndex *index, guint64 size, const guint8 *hash)
{
  GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint64));
  if (index->contents)
    tree_contents_find(index->contents, hash, ids);
  if (index->filling)
    return ids;
  sqlite3_stmt *row = tree_database_statement(index, SQL_CONTENT);
  tree_row_bind_number(row, 1, size);
  tree_row_bind_hash(row, 2, hash);
  while (tree_database_step(index, row)) {
    gint64 id = sqlite3_column_int64(row, 0);
    g_array_append_val(ids, id);
  }
  tree_packed_content(index, size, hash, ids);
  return ids;
}

static gboolean
has_content(TreeIndex *index, gint64 id, guint64 size, const guint8 *hash)
{
  g_auto(TreeNode) node = {0};
  return tree_index_node(index, id, &node) && node.hashed && node.facts.size == size &&
         memcmp(node.content, hash, sizeof node.content) == 0;
}

gint64
tree_index_content(TreeIndex *index, guint64 size, const guint8 hash[static GENERATION_CONTENT_HASH])
{
  g_autoptr(GArray) ids = candidates(index, size, hash);
  for (guint i = 0; i < ids->len; i++) {
    gint64 id = g_array_index(ids, gint64, i);
    g_autofree char *path = has_content(index, id, size, hash) ? tree_index_path(index, id) : NULL;
    if (path)
      return id;
  }
  return TREE_NONE;
}

Signature *
tree_index_signature(TreeIndex *index, gint64 id, const guint8 hash[static GENERATION_CONTENT_HASH])
{
  sqlite3_stmt *row = tree_database_statement(index, SQL_SIGNATURE);
  tree_row_bind_number(row, 1, id);
  tree_row_bind_hash(row, 2, hash);
  if (!tree_database_step(index, row))
    return NULL;
  guint64 size = sqlite3_column_int64(row, 0);
  gint64 block = sqlite3_column_int64(row, 1);
  g_autoptr(GBytes) sums = tree_row_bytes(row, 2);
  sqlite3_reset(row);
  return block < 0 || block > SIGNATURE_BLOCK_MAX ? NULL : signature_new(hash, size, block, sums);
}

void
tree_index_sign(TreeIndex *index, gint64 id, const Signature *signature)
{
  if (!signature->block)
    return;
  sqlite3_stmt *row = tree_database_change(index, SQL_SIGN);
  tree_row_bind_number(row, 1, id);
  tree_row_bind_hash(row, 2, signature->hash);
  tree_row_bind_number(row, 3, signature->size);
  tree_row_bind_number(row, 4, signature->block);
  tree_row_bind_bytes(row, 5, signature->sums);
  tree_database_run(index, row);
}

void
tree_index_sign_like(TreeIndex *index, gint64 id, gint64 other,
                     const guint8 hash[static GENERATION_CONTENT_HASH])
{
  sqlite3_stmt *row = tree_database_change(index, SQL_SIGN_LIKE);
  tree_row_bind_number(row, 1, id);
  tree_row_bind_number(row, 2, other);
  tree_row_bind_hash(row, 3, hash);
  tree_database_run(index, row);
}

void
tree_index_unsign(TreeIndex *index, gint64 id)
{
  sqlite3_stmt *row = tree_database_change(index, SQL_UNSIGN);
  tree_row_bind_number(row, 1, id);
  tree_database_run(index, row);
}

/* Keeps how node `id` is before step `number` changes it. */
static void
remember(TreeIndex *index, guint64 number, gint64 id)
{
  tree_packed_open(index, id);
  sqlite3_stmt *row = tree_database_change(index, SQL_REMEMBER);
  tree_row_bind_number(row, 1, number);
  tree_row_bind_number(row, 2, id);
  tree_database_run(index, row);
  tree_index_told(index, number);
}

gint64
tree_index_put(TreeIndex *index, guint64 number, const TreeNode *node)
{
  gint64 id = node->id;
  if (id != TREE_NONE) {
    remember(index, number, id);
    tree_row_update(index, node);
  } else {
    id = node->parent == TREE_NONE ? TREE_ROOT : index->next_id++;
    if (!tree_packed_add(index, node, id, index->base + number))
      tree_row_insert(index, node, id, index->base + number);
  }
  if (index->filling && node->hashed && node->facts.size >= TREE_CONTENT_MIN)
    tree_contents_add(index->contents, id, node->facts.size, node->content);
  tree_index_told(index, number);
  return id;
}

void
tree_index_move(TreeIndex *index, guint64 number, gint64 id, gint64 parent, const char *name)
{
  remember(index, number, id);
  sqlite3_stmt *row = tree_database_change(index, SQL_MOVE);
  tree_row_bind_number(row, 1, parent);
  tree_row_bind_string(row, 2, name);
  tree_row_bind_number(row, 3, id);
  tree_database_run(index, row);
}

void
tree_index_remove(TreeIndex *index, guint64 number, gint64 id)
{
  g_autofree char *name = g_strdup_printf("%" G_GINT64_FORMAT, id);
  tree_index_move(index, number, id, TREE_GONE, name);
}

void
tree_index_touch(TreeIndex *index, const TreeNode *node)
{
  const ReplicaFacts *facts = &node->facts;
  const gint64 numbers[] = {facts->dev, facts->ino, facts->ctime_ns, facts->nlink, node->dirty, node->id};
  tree_packed_open(index, node->id);
  sqlite3_stmt *row = tree_database_change(index, SQL_TOUCH);
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++)
    tree_row_bind_number(row, i + 1, numbers[i]);
  tree_database_run(index, row);
}

static void
doubt(TreeIndex *index, guint64 number, gint64 id)
{
  tree_packed_open(index, id);
  sqlite3_stmt *row = tree_database_change(index, SQL_DOUBT);
  tree_row_bind_number(row, 1, id);
  tree_database_run(index, row);
  row = tree_database_change(index, SQL_DOUBT_UNDO);
  tree_row_bind_number(row, 1, id);
  tree_row_bind_number(row, 2, number);
  tree_database_run(index, row);
  tree_index_unsign(index, id);
}

void
tree_index_doubt(TreeIndex *index, guint64 number, gint64 id)
{
  g_auto(TreeNode) node = {0};
  doubt(index, number, id);
  if (!tree_index_node(index, id, &node) || node.facts.nlink < 2 || !node.facts.ino)
    return;
  g_autoptr(GArray) names = tree_index_inode(index, node.facts.dev, node.facts.ino);
  for (guint i = 0; i < names->len; i++)
    doubt(index, number, g_array_index(names, TreeNode, i).id);
}

void
tree_index_told(TreeIndex *index, guint64 number)
{
  index->last = MAX(index->last, number);
}

void
tree_part_clear(TreePart *part)
{
  g_free(part->path);
  *part = (TreePart){0};
}

void
tree_index_put_part(TreeIndex *index, const TreePart *part)
{
  const gint64 numbers[] = {part->position, part->dev, part->ino, part->size, part->mtime_ns, part->ctime_ns};
  sqlite3_stmt *row = tree_database_change(index, SQL_PUT_PART);
  tree_row_bind_number(row, 1, part->number);
  tree_row_bind_string(row, 2, part->path);
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++)
    tree_row_bind_number(row, i + 3, numbers[i]);
  tree_row_bind_hash(row, 9, part->sources);
  tree_database_run(index, row);
  tree_index_told(index, part->number);
}

gboolean
tree_index_part(TreeIndex *index, TreePart *part)
{
  *part = (TreePart){0};
  sqlite3_stmt *row = tree_database_statement(index, SQL_PART);
  if (!tree_database_step(index, row))
    return FALSE;
  *part = (TreePart){.number = sqlite3_column_int64(row, 0),
                     .path = tree_row_string(row, 1),
                     .position = sqlite3_column_int64(row, 2),
                     .dev = sqlite3_column_int64(row, 3),
                     .ino = sqlite3_column_int64(row, 4),
                     .size = sqlite3_column_int64(row, 5),
                     .mtime_ns = sqlite3_column_int64(row, 6),
                     .ctime_ns = sqlite3_column_int64(row, 7)};
  gboolean whole = tree_row_hash(row, 8, part->sources) && part->path;
  sqlite3_reset(row);
  if (!whole)
    tree_part_clear(part);
  return whole;
}

static void
run_up_to(TreeIndex *index, SqlStatement which, guint64 number)
{
  sqlite3_stmt *row = tree_database_change(index, which);
  tree_row_bind_number(row, 1, number);
  tree_database_run(index, row);
}

void
tree_index_durable(TreeIndex *index, guint64 number)
{
  index->durable = MAX(index->durable, number);
  run_up_to(index, SQL_DROP_REPLACED_SIGNATURES, number);
  run_up_to(index, SQL_FORGET_UNDO, number);
  run_up_to(index, SQL_FORGET_PARTS, number);
}

/* Takes back the newest change after `number`. FALSE: there is none. */
static gboolean
take_back(TreeIndex *index, guint64 number)
{
  sqlite3_stmt *row = tree_database_statement(index, SQL_NEWEST_UNDO);
  tree_row_bind_number(row, 1, number);
  if (!tree_database_step(index, row))
    return FALSE;
  gint64 seq = sqlite3_column_int64(row, 0), id = sqlite3_column_int64(row, 1);
  sqlite3_reset(row);
  run_up_to(index, SQL_DELETE, id);
  run_up_to(index, SQL_RESTORE, seq);
  run_up_to(index, SQL_UNDONE, seq);
  return !index->error;
}

gboolean
tree_index_back_to(TreeIndex *index, guint64 number)
{
  if (number < index->durable || number > index->last)
    return FALSE;
  tree_packed_open_since(index, index->base + number); /* before what it replaced comes back to its place */
  while (take_back(index, number))
    ;
  run_up_to(index, SQL_DELETE_SINCE, index->base + number);
  run_up_to(index, SQL_PARTS_BACK, number);
  index->last = number;
  return TRUE;
}

void
tree_index_committed(TreeIndex *index)
{
  tree_index_durable(index, index->last);
  run_up_to(index, SQL_PARTS_BACK, 0);
  tree_packed_drop_aside(index);
  tree_database_run(index, tree_database_change(index, SQL_DROP_SIGNATURES_ASIDE));
  tree_database_run(index, tree_database_change(index, SQL_DROP_ASIDE));
  index->base += index->last;
  set_number(index, "base", index->base);
  index->last = index->durable = 0;
  tree_database_filled(index);
  if (!index->ordered) {
    tree_packed_order(index);
    set_number(index, "ordered", 1);
  }
}

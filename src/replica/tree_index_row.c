#include "replica/tree_index_row.h"

#include <string.h>

/* In the order of a node's columns. */
enum {
  AT_PARENT,
  AT_NAME,
  AT_ID,
  AT_TYPE,
  AT_MODE,
  AT_UID,
  AT_GID,
  AT_SIZE,
  AT_MTIME,
  AT_RDEV,
  AT_DEV,
  AT_INO,
  AT_CTIME,
  AT_NLINK,
  AT_DIRTY,
  AT_HASH,
  AT_TARGET,
  AT_XATTRS,
  AT_SINCE,
};

void
tree_row_bind_bytes(sqlite3_stmt *statement, int at, GBytes *bytes)
{
  gsize length = 0;
  const void *data = bytes ? g_bytes_get_data(bytes, &length) : NULL;
  if (statement && bytes)
    sqlite3_bind_blob64(statement, at, data ? data : "", length, SQLITE_TRANSIENT);
  else if (statement)
    sqlite3_bind_null(statement, at);
}

void
tree_row_bind_string(sqlite3_stmt *statement, int at, const char *text)
{
  if (statement && text)
    sqlite3_bind_blob64(statement, at, text, strlen(text), SQLITE_TRANSIENT);
  else if (statement)
    sqlite3_bind_null(statement, at);
}

void
tree_row_bind_hash(sqlite3_stmt *statement, int at, const guint8 *hash)
{
  if (statement && hash)
    sqlite3_bind_blob64(statement, at, hash, GENERATION_CONTENT_HASH, SQLITE_TRANSIENT);
  else if (statement)
    sqlite3_bind_null(statement, at);
}

void
tree_row_bind_number(sqlite3_stmt *statement, int at, gint64 number)
{
  if (statement)
    sqlite3_bind_int64(statement, at, number);
}

char *
tree_row_string(sqlite3_stmt *row, int at)
{
  if (sqlite3_column_type(row, at) == SQLITE_NULL)
    return NULL;
  const char *text = sqlite3_column_blob(row, at);
  return g_strndup(text ? text : "", sqlite3_column_bytes(row, at));
}

GBytes *
tree_row_bytes(sqlite3_stmt *row, int at)
{
  const void *data = sqlite3_column_blob(row, at);
  return data ? g_bytes_new(data, sqlite3_column_bytes(row, at)) : NULL;
}

gboolean
tree_row_hash(sqlite3_stmt *row, int at, guint8 hash[static GENERATION_CONTENT_HASH])
{
  if (sqlite3_column_bytes(row, at) != GENERATION_CONTENT_HASH)
    return FALSE;
  memcpy(hash, sqlite3_column_blob(row, at), GENERATION_CONTENT_HASH);
  return TRUE;
}

static void
take_node(sqlite3_stmt *row, TreeNode *node)
{
  *node = (TreeNode){.id = sqlite3_column_int64(row, AT_ID),
                     .parent = sqlite3_column_int64(row, AT_PARENT),
                     .name = tree_row_string(row, AT_NAME),
                     .dirty = sqlite3_column_int(row, AT_DIRTY)};
  node->hashed = tree_row_hash(row, AT_HASH, node->content);
  node->facts = (ReplicaFacts){.type = sqlite3_column_int(row, AT_TYPE),
                               .mode = sqlite3_column_int(row, AT_MODE),
                               .uid = sqlite3_column_int64(row, AT_UID),
                               .gid = sqlite3_column_int64(row, AT_GID),
                               .size = sqlite3_column_int64(row, AT_SIZE),
                               .mtime_ns = sqlite3_column_int64(row, AT_MTIME),
                               .rdev = sqlite3_column_int64(row, AT_RDEV),
                               .dev = sqlite3_column_int64(row, AT_DEV),
                               .ino = sqlite3_column_int64(row, AT_INO),
                               .ctime_ns = sqlite3_column_int64(row, AT_CTIME),
                               .nlink = sqlite3_column_int64(row, AT_NLINK),
                               .target = tree_row_string(row, AT_TARGET),
                               .xattrs = tree_row_bytes(row, AT_XATTRS)};
}

gboolean
tree_row_take_node(TreeIndex *index, sqlite3_stmt *row, TreeNode *node)
{
  *node = (TreeNode){0};
  if (!tree_database_step(index, row))
    return FALSE;
  take_node(row, node);
  sqlite3_reset(row);
  return TRUE;
}

GArray *
tree_row_take_nodes(TreeIndex *index, sqlite3_stmt *row)
{
  GArray *nodes = g_array_new(FALSE, FALSE, sizeof(TreeNode));
  g_array_set_clear_func(nodes, (GDestroyNotify)tree_node_clear);
  while (tree_database_step(index, row)) {
    TreeNode node;
    take_node(row, &node);
    g_array_append_val(nodes, node);
  }
  return nodes;
}

static void
write_node(TreeIndex *index, SqlStatement how, guint64 since, const TreeNode *node, gint64 id)
{
  const ReplicaFacts *facts = &node->facts;
  const gint64 numbers[] = {facts->type, facts->mode,     facts->uid,   facts->gid,
                            facts->size, facts->mtime_ns, facts->rdev,  facts->dev,
                            facts->ino,  facts->ctime_ns, facts->nlink, node->dirty};
  sqlite3_stmt *row = tree_database_change(index, how);
  tree_row_bind_number(row, AT_PARENT + 1, node->parent);
  tree_row_bind_string(row, AT_NAME + 1, node->name);
  tree_row_bind_number(row, AT_ID + 1, id);
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++)
    tree_row_bind_number(row, AT_TYPE + 1 + i, numbers[i]);
  tree_row_bind_hash(row, AT_HASH + 1, node->hashed ? node->content : NULL);
  tree_row_bind_string(row, AT_TARGET + 1, facts->target);
  tree_row_bind_bytes(row, AT_XATTRS + 1, facts->xattrs);
  if (how == SQL_INSERT)
    tree_row_bind_number(row, AT_SINCE + 1, since);
  tree_database_run(index, row);
}

void
tree_row_insert(TreeIndex *index, const TreeNode *node, gint64 id, guint64 since)
{
  write_node(index, SQL_INSERT, since, node, id);
}

void
tree_row_update(TreeIndex *index, const TreeNode *node)
{
  write_node(index, SQL_UPDATE, 0, node, node->id);
}

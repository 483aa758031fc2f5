/* Nodes of one directory, none of them a directory, as one row of the index's database: a row of its own for
 * each costs a synchronisation that fills the index more than anything else but compression.
 *
 * They have consecutive ids. A pack is this machine's own, in its byte order, but read as what may be
 * damaged. */
#pragma once

#include "replica/tree_index.h"

#define TREE_PACK_ROOM 3900u /* bytes: a row of them fits into one page of the database */

typedef struct {
  gint64 first, parent; /* the first node's id, the directory's */
  guint count;
  guint64 since; /* the last node's */
  gsize length;
  guint8 bytes[TREE_PACK_ROOM];
} TreePack;

/* Adds `node` as node `id`, which came with step `since`. FALSE: it does not go with those that are in it, or
 * finds no room; of an empty one, that it can be in none. */
gboolean tree_pack_add(TreePack *pack, const TreeNode *node, gint64 id, guint64 since);

/* One node of a pack. What it points at is the pack's. */
typedef struct {
  gint64 id;
  guint64 since, size, mtime_ns, rdev, dev, ino, ctime_ns, nlink;
  guint32 type, mode, uid, gid;
  gboolean dirty, hashed;
  guint8 content[GENERATION_CONTENT_HASH];
  const char *name;     /* without a NUL */
  const guint8 *target; /* NULL: none */
  const guint8 *xattrs;
  guint name_length, target_length, xattrs_length;
} TreePackEntry;

typedef struct {
  const guint8 *at;
  gsize left;
  gint64 next; /* id */
} TreePackReader;

/* The next node. FALSE at the end, or where the pack is damaged: something is left then. */
gboolean tree_pack_next(TreePackReader *reader, TreePackEntry *entry);

gboolean tree_pack_is_named(const TreePackEntry *entry, const char *name);

/* Fills `node`, which need not be initialised. */
void tree_pack_node(const TreePackEntry *entry, gint64 parent, TreeNode *node);

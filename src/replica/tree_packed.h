/* The packs of an index (tree_pack.h). A node that is new in an index that is filled for the first time goes
 * into one, unless it is a directory; before it changes, its pack is taken apart into rows again.
 *
 * By inode and by content packed nodes are found in memory until the first generation is complete, and by
 * sorted runs in the database from then on: what these say is a hint, since a pack may be gone. */
#pragma once

#include "replica/tree_index_database.h"

/* Packs a new node. FALSE: it is to be a row. */
gboolean tree_packed_add(TreeIndex *index, const TreeNode *node, gint64 id, guint64 since);

/* Writes down what was added. Before anything is looked for, and before a transaction ends. */
void tree_packed_flush(TreeIndex *index);

/* Makes rows of the pack that node `id` is in, if it is in one; of all with a node that is newer than
 * `since`. */
void tree_packed_open(TreeIndex *index, gint64 id);
void tree_packed_open_since(TreeIndex *index, guint64 since);

/* Fills `node`, which is empty otherwise. */
gboolean tree_packed_node(TreeIndex *index, gint64 id, TreeNode *node);
gboolean tree_packed_child(TreeIndex *index, gint64 parent, const char *name, TreeNode *node);

/* Appends the directory's packed nodes, in any order. */
void tree_packed_children(TreeIndex *index, gint64 parent, GArray *nodes);

/* Appends (TreeNode) what is packed with this inode. */
void tree_packed_inode(TreeIndex *index, guint64 dev, guint64 ino, GArray *nodes);

/* Whether a packed content may have this size; appends the nodes (gint64) that may have it. */
gboolean tree_packed_has_size(TreeIndex *index, guint64 size);
void tree_packed_content(TreeIndex *index, guint64 size, const guint8 hash[static GENERATION_CONTENT_HASH],
                         GArray *ids);

/* Makes what is in memory of packs that were written before. */
void tree_packed_recall(TreeIndex *index);

/* Forgets packs below what is removed or held, with their signatures. */
void tree_packed_drop_aside(TreeIndex *index);

/* Writes the runs. */
void tree_packed_order(TreeIndex *index);

/* Which nodes have which inode, in memory: of those that are packed (tree_pack.h) in an index whose database
 * has no order of them yet. Made where a name of an inode with several is met. */
#pragma once

#include <glib.h>

typedef struct TreeInodes TreeInodes;

TreeInodes *tree_inodes_new(void);
void tree_inodes_free(TreeInodes *inodes);

void tree_inodes_add(TreeInodes *inodes, guint64 ino, gint64 id);

/* Appends the nodes to `ids` (of gint64). What file system they are on is not known here. */
void tree_inodes_find(const TreeInodes *inodes, guint64 ino, GArray *ids);

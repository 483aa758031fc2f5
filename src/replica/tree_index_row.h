/* The columns of the database below a TreeIndex, bound and taken. */
#pragma once

#include "replica/tree_index_database.h"

/* Of a NULL statement nothing is bound; what is NULL is. */
void tree_row_bind_bytes(sqlite3_stmt *statement, int at, GBytes *bytes);
void tree_row_bind_string(sqlite3_stmt *statement, int at, const char *text);
void tree_row_bind_hash(sqlite3_stmt *statement, int at, const guint8 *hash);
void tree_row_bind_number(sqlite3_stmt *statement, int at, gint64 number);

/* What is there, as a copy; NULL and FALSE: nothing is. */
char *tree_row_string(sqlite3_stmt *row, int at);
GBytes *tree_row_bytes(sqlite3_stmt *row, int at);
gboolean tree_row_hash(sqlite3_stmt *row, int at, guint8 hash[static GENERATION_CONTENT_HASH]);

/* The node, and all nodes (a new array of TreeNode), that a statement finds; `node` need not be
 * initialised. */
gboolean tree_row_take_node(TreeIndex *index, sqlite3_stmt *row, TreeNode *node);
GArray *tree_row_take_nodes(TreeIndex *index, sqlite3_stmt *row);

/* Writes a new node's row, or that of the node that is there anew. */
void tree_row_insert(TreeIndex *index, const TreeNode *node, gint64 id, guint64 since);
void tree_row_update(TreeIndex *index, const TreeNode *node);

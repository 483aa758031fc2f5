/* Which contents an index has that is being filled for the first time, in memory: looked up for each file,
 * and without an order in which a database could keep them cheaply. 8 bytes for each content, the table being
 * at most two thirds full. What it says is a hint: who asks compares. */
#pragma once

#include "replica/generation.h"

typedef struct TreeContents TreeContents;

TreeContents *tree_contents_new(void);
void tree_contents_free(TreeContents *contents);

/* Node `id` has this content. One of several that have the same may be forgotten, and one whose number is
 * beyond 32 bits is. */
void tree_contents_add(TreeContents *contents, gint64 id, guint64 size,
                       const guint8 hash[static GENERATION_CONTENT_HASH]);

/* Whether a content of this size may have been added. */
gboolean tree_contents_has_size(const TreeContents *contents, guint64 size);

/* Appends the nodes that may have this content to `ids` (of gint64). */
void tree_contents_find(const TreeContents *contents, const guint8 hash[static GENERATION_CONTENT_HASH],
                        GArray *ids);

/* Which directories of a tree may be otherwise than its clone was told: what is known without a walk
 * (CloneCloud section 4: a synchronisation costs what has changed). A set that only ever errs by holding too
 * much; where something was missed it holds everything. */
#pragma once

#include <glib.h>

typedef struct TreeDirty TreeDirty;

#define TREE_DIRTY_MAX 20000u /* directories: of more, a walk is no dearer */

/* Clean. */
TreeDirty *tree_dirty_new(void);
void tree_dirty_free(TreeDirty *dirty);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TreeDirty, tree_dirty_free)

/* The directory at `path` below the root ("": the root) has changed, or an entry of it. */
void tree_dirty_add(TreeDirty *dirty, const char *path);

/* Anything may have changed. `why` is for people; the first reason stays. */
void tree_dirty_lose(TreeDirty *dirty, const char *why);

/* Adds all of `more`. */
void tree_dirty_merge(TreeDirty *dirty, const TreeDirty *more);

/* Moves all into a new set, which is the caller's. */
TreeDirty *tree_dirty_take(TreeDirty *dirty);

gboolean tree_dirty_is_clean(const TreeDirty *dirty);

/* Why everything counts as changed; NULL: it does not. */
const char *tree_dirty_lost(const TreeDirty *dirty);

/* How many directories it has, and which: a new NULL-terminated array in the order of their bytes. Where
 * everything counts as changed, none. */
guint tree_dirty_count(const TreeDirty *dirty);
char **tree_dirty_paths(const TreeDirty *dirty);

/* Grows with each call that tells of a change, also where it tells nothing new. */
guint64 tree_dirty_version(const TreeDirty *dirty);

#include "replica/tree_dirty.h"

#include <string.h>

struct TreeDirty {
  GHashTable *paths;
  char *lost;
  guint64 version;
};

TreeDirty *
tree_dirty_new(void)
{
  TreeDirty *dirty = g_new0(TreeDirty, 1);
  dirty->paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  return dirty;
}

void
tree_dirty_free(TreeDirty *dirty)
{
  if (!dirty)
    return;
  g_hash_table_unref(dirty->paths);
  g_free(dirty->lost);
  g_free(dirty);
}

void
tree_dirty_add(TreeDirty *dirty, const char *path)
{
  dirty->version++;
  if (dirty->lost || g_hash_table_contains(dirty->paths, path))
    return;
  if (g_hash_table_size(dirty->paths) == TREE_DIRTY_MAX)
    tree_dirty_lose(dirty, "so many directories have changed that a walk is no dearer");
  else
    g_hash_table_add(dirty->paths, g_strdup(path));
}

void
tree_dirty_lose(TreeDirty *dirty, const char *why)
{
  dirty->version++;
  if (!dirty->lost)
    dirty->lost = g_strdup(why);
  g_hash_table_remove_all(dirty->paths);
}

void
tree_dirty_merge(TreeDirty *dirty, const TreeDirty *more)
{
  GHashTableIter each;
  gpointer path;
  if (more->lost)
    tree_dirty_lose(dirty, more->lost);
  g_hash_table_iter_init(&each, more->paths);
  while (g_hash_table_iter_next(&each, &path, NULL))
    tree_dirty_add(dirty, path);
}

TreeDirty *
tree_dirty_take(TreeDirty *dirty)
{
  TreeDirty *taken = g_new0(TreeDirty, 1);
  *taken = *dirty;
  dirty->paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  dirty->lost = NULL;
  return taken;
}

gboolean
tree_dirty_is_clean(const TreeDirty *dirty)
{
  return !dirty->lost && g_hash_table_size(dirty->paths) == 0;
}

const char *
tree_dirty_lost(const TreeDirty *dirty)
{
  return dirty->lost;
}

guint
tree_dirty_count(const TreeDirty *dirty)
{
  return g_hash_table_size(dirty->paths);
}

static int
compare_strings(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char **
tree_dirty_paths(const TreeDirty *dirty)
{
  GPtrArray *paths = g_ptr_array_new();
  GHashTableIter each;
  gpointer path;
  g_hash_table_iter_init(&each, dirty->paths);
  while (g_hash_table_iter_next(&each, &path, NULL))
    g_ptr_array_add(paths, g_strdup(path));
  g_ptr_array_sort(paths, compare_strings);
  g_ptr_array_add(paths, NULL);
  return (char **)g_ptr_array_free(paths, FALSE);
}

guint64
tree_dirty_version(const TreeDirty *dirty)
{
  return dirty->version;
}

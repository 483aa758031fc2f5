#include "replicator/sync_root.h"

#include <sys/stat.h>

static gboolean
is_empty(const char *path)
{
  g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
  return directory && !g_dir_read_name(directory);
}

gboolean
sync_root_is_bare(CloneIndex *index, const char *root)
{
  g_auto(TreeNode) node = {0};
  struct stat status;
  return tree_index_node(index->tree, TREE_ROOT, &node) && stat(root, &status) == 0 &&
         node.facts.dev != status.st_dev && node.facts.ino != status.st_ino && is_empty(root);
}

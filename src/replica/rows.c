#include "replica/rows.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"

typedef struct {
  const ReplicaLayer *layer;
  GPtrArray *rows;
  GError **error;
} Walk;

/* A directory on one side: the upper layer's node, if any, and whether the lower directory shows through. */
typedef struct {
  const ReplicaNode *node;
  gboolean below;
} Side;

void
replica_row_free(ReplicaRow *row)
{
  g_free(row->path);
  g_clear_pointer(&row->before.inode, g_bytes_unref);
  g_clear_pointer(&row->after.inode, g_bytes_unref);
  replica_facts_clear(&row->lower);
  g_free(row);
}

/* Upper and lower inodes are different spaces of names. */
static GBytes *
tag_inode(char space, GBytes *inode)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(inode, &length);
  GByteArray *tagged = g_byte_array_sized_new(length + 1);
  g_byte_array_append(tagged, (const guint8 *)&space, 1);
  g_byte_array_append(tagged, data, length);
  return g_byte_array_free_to_bytes(tagged);
}

static gboolean
read_lower(Walk *walk, ReplicaRow *row, GBytes **inode)
{
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(walk->layer->lower, row->path, FALSE, &name);
  int failure = parent < 0 ? errno : replica_facts_read_at(parent, name, 0, NULL, &row->lower);
  if (failure == ENOENT || failure == ENOTDIR || failure == ELOOP)
    return TRUE;
  if (failure == 0) {
    g_autoptr(GBytes) plain = replica_inode_read(parent, name);
    *inode = plain ? tag_inode('L', plain) : NULL;
    return TRUE;
  }
  errno = failure;
  return doppel_error_errno(walk->error, "cannot read %s in the layer below the session's", row->path);
}

/* One that was copied up is the inode below, whatever it is in the upper layer. */
static GBytes *
inode_of(const ReplicaMark *mark)
{
  if (mark->origin && g_bytes_get_size(mark->origin) > 0)
    return tag_inode('L', mark->origin);
  return mark->inode ? tag_inode('U', mark->inode) : NULL;
}

static void
fill_view(ReplicaView *view, ReplicaNode *node, gboolean below, ReplicaRow *row, GBytes *lower_inode)
{
  if (node && !node->through) {
    view->node = node;
    view->facts = node->mark.whiteout ? NULL : &node->mark.facts;
    view->inode = inode_of(&node->mark);
  } else if (below && row->lower.type != REPLICA_ABSENT) {
    view->below = TRUE;
    view->facts = &row->lower;
    view->inode = lower_inode ? g_bytes_ref(lower_inode) : NULL;
  }
}

static Side
side_below(const Side *side, ReplicaNode *node, const ReplicaView *view, const ReplicaFacts *lower)
{
  gboolean lower_shows = side->below && lower->type == REPLICA_DIRECTORY;
  if (!view->facts || view->facts->type != REPLICA_DIRECTORY)
    return (Side){0};
  return (Side){.node = node, .below = lower_shows && !(node && node->mark.opaque)};
}

static gboolean walk_directory(Walk *walk, const char *path, const Side *before, const Side *after);

static gboolean
walk_name(Walk *walk, const char *directory, const char *name, const Side *before, const Side *after)
{
  ReplicaNode *then = replica_node_child(before->node, name), *now = replica_node_child(after->node, name);
  if (then == now && before->below == after->below && (!then || !then->children))
    return TRUE;
  ReplicaRow *row = g_new0(ReplicaRow, 1);
  g_ptr_array_add(walk->rows, row);
  row->path = replica_path_join(directory, name);
  GBytes *inode = NULL;
  if ((before->below || after->below) && !read_lower(walk, row, &inode))
    return FALSE;
  g_autoptr(GBytes) lower_inode = inode;
  fill_view(&row->before, then, before->below, row, lower_inode);
  fill_view(&row->after, now, after->below, row, lower_inode);
  Side below_then = side_below(before, then, &row->before, &row->lower);
  Side below_now = side_below(after, now, &row->after, &row->lower);
  g_autofree char *path = g_strdup(row->path);
  return walk_directory(walk, path, &below_then, &below_now);
}

static void
add_children(GHashTable *names, const ReplicaNode *node)
{
  if (!node || !node->children)
    return;
  GHashTableIter iter;
  gpointer name;
  g_hash_table_iter_init(&iter, node->children);
  while (g_hash_table_iter_next(&iter, &name, NULL))
    g_hash_table_add(names, g_strdup(name));
}

static gboolean
add_lower_names(Walk *walk, const char *path, GHashTable *names)
{
  g_auto(Fd) fd = replica_path_open(walk->layer->lower, path, O_RDONLY | O_DIRECTORY);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing)
    return doppel_error_errno(walk->error, "cannot list %s in the layer below the session's", path);
  io_steal_fd(&fd);
  for (struct dirent *entry; (entry = readdir(listing));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      g_hash_table_add(names, g_strdup(entry->d_name));
  closedir(listing);
  return TRUE;
}

static gboolean
walk_directory(Walk *walk, const char *path, const Side *before, const Side *after)
{
  g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  add_children(names, before->node);
  add_children(names, after->node);
  if (before->below != after->below && !add_lower_names(walk, path, names))
    return FALSE;
  GHashTableIter iter;
  gpointer name;
  g_hash_table_iter_init(&iter, names);
  while (g_hash_table_iter_next(&iter, &name, NULL))
    if (!walk_name(walk, path, name, before, after))
      return FALSE;
  return TRUE;
}

static int
compare_paths(gconstpointer a, gconstpointer b)
{
  return strcmp((*(const ReplicaRow *const *)a)->path, (*(const ReplicaRow *const *)b)->path);
}

GPtrArray *
replica_rows_read(const ReplicaLayer *layer, const ReplicaNode *before, const ReplicaNode *after,
                  GError **error)
{
  g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)replica_row_free);
  Walk walk = {.layer = layer, .rows = rows, .error = error};
  ReplicaRow *root = g_new0(ReplicaRow, 1);
  g_ptr_array_add(rows, root);
  root->path = g_strdup("");
  fill_view(&root->before, (ReplicaNode *)before, FALSE, root, NULL);
  fill_view(&root->after, (ReplicaNode *)after, FALSE, root, NULL);
  if (!walk_directory(&walk, "", &(Side){before, TRUE}, &(Side){after, TRUE}))
    return NULL;
  g_ptr_array_sort(rows, compare_paths);
  return g_steal_pointer(&rows);
}

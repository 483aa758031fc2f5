#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "augmenter/paths_private.h"
#include "base/error.h"
#include "replica/path.h"

void
layer_free(PathsLayer *layer)
{
  g_clear_pointer(&layer->delta, replica_delta_free);
  g_clear_pointer(&layer->baseline, replica_baseline_free);
  g_clear_pointer(&layer->replica, replica_layer_free);
  g_hash_table_unref(layer->renamed);
  g_hash_table_unref(layer->origins);
  g_free(layer);
}

static gboolean
ask_known(gpointer user_data, const char *rest, ReplicaFacts *facts, GError **error)
{
  PathsLayer *layer = user_data;
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s/%s is missing in the clone",
                          layer->sandbox->mountpoint, rest);
}

static gboolean
open_layer(Paths *paths, const SandboxLayer *sandbox, GError **error)
{
  PathsLayer *layer = g_new0(PathsLayer, 1);
  layer->sandbox = sandbox;
  layer->number = paths->layers->len;
  layer->renamed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  layer->origins = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, g_free);
  g_ptr_array_add(paths->layers, layer);
  g_auto(Fd) merged = open(sandbox->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (merged < 0)
    return doppel_error_errno(error, "cannot open %s in the clone", sandbox->mountpoint);
  layer->replica = replica_layer_new(merged, sandbox->upper_fd, sandbox->lower_fd, TRUE, error);
  layer->baseline = layer->replica ? replica_baseline_new(layer->replica, error) : NULL;
  layer->copy = (ReplicaCopy){layer->replica, layer->baseline, ask_known, layer};
  return layer->baseline != NULL;
}

gboolean
layers_open(Paths *paths, GError **error)
{
  const GPtrArray *layers = paths->augmenter->sandbox->layers;
  for (guint i = 0; i < layers->len; i++)
    if (!open_layer(paths, layers->pdata[i], error))
      return FALSE;
  return TRUE;
}

PathsLayer *
layer_of(const Paths *paths, const char *path, const char **rest)
{
  const SandboxLayer *found = sandbox_layer_of(paths->augmenter->sandbox, path, rest);
  for (guint i = 0; found && i < paths->layers->len; i++)
    if (((PathsLayer *)paths->layers->pdata[i])->sandbox == found)
      return paths->layers->pdata[i];
  return NULL;
}

gboolean
layer_touched(const PathsLayer *layer, const char *rest)
{
  return replica_baseline_touched(layer->baseline, layer->replica, rest);
}

/* A name that nobody gave: it counts as changed by the block only where all of its directory is. */
gboolean
layer_made(const PathsLayer *layer, const char *rest)
{
  g_autofree char *probe = replica_path_join(rest, ".doppel-nobody");
  return *rest && layer_touched(layer, probe);
}

/* Without privileges the kernel does not record where a copied-up file comes from. */
void
layer_keep_origin(PathsLayer *layer, const char *rest)
{
  const char *name;
  struct stat upper;
  g_auto(Fd) there = replica_path_open_parent(layer->sandbox->upper_fd, rest, FALSE, &name);
  if (there >= 0 && fstatat(there, name, &upper, AT_SYMLINK_NOFOLLOW) == 0)
    return; /* copied up before, or made */
  g_auto(Fd) opened = replica_path_open(layer->replica->merged, rest, O_WRONLY | O_NONBLOCK);
  g_auto(Fd) parent =
      opened < 0 ? -1 : replica_path_open_parent(layer->sandbox->upper_fd, rest, FALSE, &name);
  GBytes *inode = parent < 0 ? NULL : replica_inode_read(parent, name);
  if (inode)
    g_hash_table_replace(layer->origins, inode, g_strdup(rest));
}

gboolean
layers_look(const Paths *paths, const char *path, struct stat *own)
{
  return fstatat(paths->root, path[1] ? path + 1 : ".", own, AT_SYMLINK_NOFOLLOW) == 0;
}

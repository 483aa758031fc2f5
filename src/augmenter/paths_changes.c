/* What a block did to files, on its way to the device. */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "augmenter/paths_private.h"
#include "base/error.h"
#include "mirror/files.h"
#include "mirror/layout.h"
#include "replica/pack.h"
#include "replica/path.h"

void
suspects_note_layout(Paths *paths, const MirrorLayout *layout)
{
  for (guint i = 0; i < layout->mappings->len; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->mappings, MirrorMapping, i);
    if (mapping->kind == MIRROR_MAP_SHARED_FILE && mapping->path)
      g_hash_table_add(paths->shared, g_strdup(mapping->path));
  }
}

/* Calls on descriptors that are open for reading, and yet change something. */
PathsVerdict
paths_judge_descriptor(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS])
{
  static const int numbers[] = {SYS_fchmod, SYS_fchown, SYS_fsetxattr, SYS_fremovexattr};
  for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
    paths->dirty |= row->nr == numbers[i];
  return row->nr == SYS_fstat ? stat_answer_descriptor(paths, tid, row, arguments, (int)arguments[0])
                              : PATHS_NATIVE;
}

static GHashTable *
suspects_of(const Paths *paths, const PathsLayer *layer)
{
  GHashTable *suspects = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  GHashTableIter iter;
  gpointer path;
  g_hash_table_iter_init(&iter, paths->shared);
  while (g_hash_table_iter_next(&iter, &path, NULL)) {
    const char *rest;
    if (layer_of(paths, path, &rest) == layer)
      g_hash_table_add(suspects, g_strdup(rest));
  }
  return suspects;
}

static gboolean
send_layer(Paths *paths, PathsLayer *layer, gboolean *changed, GError **error)
{
  g_autoptr(GHashTable) suspects = suspects_of(paths, layer);
  ReplicaCaptureOptions options = {
      .suspects = suspects, .renamed = layer->renamed, .origins = layer->origins};
  g_clear_pointer(&layer->delta, replica_delta_free);
  layer->delta = replica_capture(layer->replica, layer->baseline, &options, error);
  if (!layer->delta)
    return FALSE;
  if (!layer->delta->entries->len)
    return TRUE;
  *changed = TRUE;
  g_autoptr(ReplicaPacker) packer = replica_packer_new(layer->replica, layer->delta);
  for (;;) {
    GError *why = NULL;
    g_autoptr(GBytes) bytes = replica_packer_next(packer, &why);
    if (!bytes) {
      if (why)
        g_propagate_error(error, why);
      return !why;
    }
    Doppel__Engine__FilePiece piece = DOPPEL__ENGINE__FILE_PIECE__INIT;
    piece.mountpoint = layer->number;
    piece.bytes.data = (guint8 *)g_bytes_get_data(bytes, &piece.bytes.len);
    if (!ENGINE_SEND(paths->augmenter->link, FILE_PIECE, file_piece, &piece, error))
      return FALSE;
  }
}

gboolean
paths_send_changes(Paths *paths, gboolean *changed, GError **error)
{
  *changed = FALSE;
  MirrorTwin *twin = paths->augmenter->twin;
  /* But for a program that has ended, it has just been captured. */
  if (paths->augmenter->how == DOPPEL__ENGINE__HOW__EXITED &&
      !mirror_layout_renew(paths->augmenter->process, &twin->layout, error))
    return FALSE;
  suspects_note_layout(paths, twin->layout);
  /* Who makes no system call writes to no file, but through a mapping. Copies that were made for what is open
   * are no changes; they are looked at once, so that they do not count as such ever after. */
  gboolean silent = paths->augmenter->how != DOPPEL__ENGINE__HOW__EXITED && twin->still == MIRROR_SILENT;
  if (((silent && !paths->opened) || !paths->dirty) && !g_hash_table_size(paths->shared))
    return TRUE;
  paths->opened = FALSE;
  for (guint i = 0; i < paths->layers->len; i++)
    if (!send_layer(paths, paths->layers->pdata[i], changed, error))
      return FALSE;
  return TRUE;
}

/* The device will say what the block made of these, once it is asked, or when it finds them changed. */
static void
forget_entry(Paths *paths, const PathsLayer *layer, const char *rest)
{
  const char *mountpoint = layer->sandbox->mountpoint;
  g_autofree char *path = g_strconcat(mountpoint[1] ? mountpoint : "", "/", rest, NULL);
  g_autofree char *parent = replica_path_parent(path);
  KnownPath *known = known_find(paths, *parent ? parent : "/");
  if (known)
    known->listed = FALSE;
  g_hash_table_remove(paths->known, *rest ? path : mountpoint);
}

static void
commit_layer(Paths *paths, PathsLayer *layer)
{
  for (guint i = 0; i < layer->delta->entries->len; i++) {
    const ReplicaEntry *entry = layer->delta->entries->pdata[i];
    forget_entry(paths, layer, entry->path);
    if (entry->from)
      forget_entry(paths, layer, entry->from);
  }
  replica_delta_commit(layer->delta, layer->baseline);
  g_clear_pointer(&layer->delta, replica_delta_free);
}

gboolean
paths_commit(Paths *paths, GError **error)
{
  for (guint i = 0; i < paths->layers->len; i++) {
    PathsLayer *layer = paths->layers->pdata[i];
    if (layer->delta)
      commit_layer(paths, layer);
    g_hash_table_remove_all(layer->renamed);
    g_hash_table_remove_all(layer->origins);
  }
  paths->dirty = FALSE;
  return TRUE;
}

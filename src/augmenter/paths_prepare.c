/* Files that a mirror needs before it can run: here the Augmenter itself waits for the device. */
#include <string.h>

#include "augmenter/paths_private.h"
#include "base/error.h"
#include "mirror/delta.h"

enum { INTERPRETERS_MAX = 5 };

/* Until what was asked for has come. Other messages wait for their turn. */
static gboolean
wait_for_answer(Paths *paths, GError **error)
{
  gboolean handled = FALSE;
  while (!handled) {
    EngineMessage *message = augmenter_wait_message(paths->augmenter, error);
    if (!message)
      return FALSE;
    gboolean good = paths_message(paths, message, &handled, error);
    if (handled)
      engine_message_free(message);
    else if (!augmenter_postpone(paths->augmenter, message, error))
      return FALSE;
    if (!good)
      return FALSE;
  }
  return TRUE;
}

/* FALSE where the clone cannot have it. */
static gboolean
need(Paths *paths, const char *path, Freshness freshness, PathsPlace *place, GError **error)
{
  for (;;) {
    g_autofree char *reason = NULL;
    paths_place_clear(place);
    switch (walk_path(paths, 0, path, TRUE, freshness, place, &reason)) {
    case PATHS_NATIVE:
      return TRUE;
    case PATHS_WAIT:
      if (!wait_for_answer(paths, error))
        return FALSE;
      continue;
    default:
      return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "the clone cannot have the device's %s%s%s", path,
                              reason ? ": " : "", reason ? reason : "");
    }
  }
}

static gboolean
need_file(Paths *paths, const char *path, GError **error)
{
  g_auto(PathsPlace) place = {0};
  return need(paths, path, FRESH_WHOLE, &place, error) &&
         (place.there || doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                                          "the clone lacks %s, and so does the device", path));
}

gboolean
paths_prepare_program(Paths *paths, const char *program, const char *directory, GError **error)
{
  g_auto(PathsPlace) start = {0};
  if (*directory == '/' && !need(paths, directory, FRESH_LOOK, &start, error))
    return FALSE;
  g_autofree char *path = g_strdup(program);
  for (guint depth = 0; path && *path == '/' && depth < INTERPRETERS_MAX; depth++) {
    g_auto(PathsPlace) place = {0};
    if (!need(paths, path, FRESH_WHOLE, &place, error))
      return FALSE;
    g_free(path);
    path = place.there && !place.special ? program_interpreter(paths, place.path) : NULL;
  }
  return TRUE;
}

static gboolean
prepare_layout(Paths *paths, GBytes *section, GError **error)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(section, &length);
  g_autoptr(MirrorLayout) layout = mirror_layout_unpack(bytes, length, error);
  if (!layout)
    return FALSE;
  g_hash_table_remove_all(paths->shared);
  suspects_note_layout(paths, layout);
  const char *last = NULL;
  for (guint i = 0; i < layout->mappings->len; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->mappings, MirrorMapping, i);
    if ((mapping->kind != MIRROR_MAP_FILE && mapping->kind != MIRROR_MAP_SHARED_FILE) || !mapping->path ||
        mapping->path == last)
      continue;
    last = mapping->path;
    g_hash_table_add(paths->held_open, g_strdup(mapping->path));
  }
  return TRUE;
}

static gboolean
prepare_files(Paths *paths, GBytes *section, GError **error)
{
  enum { WRITABLE = 3 /* O_WRONLY, O_RDWR */ };
  gsize length;
  const guint8 *bytes = g_bytes_get_data(section, &length);
  g_autoptr(GPtrArray) files = mirror_files_unpack(bytes, length, error);
  for (guint i = 0; files && i < files->len; i++) {
    const MirrorFile *file = files->pdata[i];
    if (file->kind != MIRROR_FILE_REPLICA)
      continue;
    g_hash_table_add(paths->held_open, g_strdup(file->path));
    paths->dirty |= (file->flags & WRITABLE) != 0;
  }
  return files != NULL;
}

static GBytes *
section_now(const Paths *paths, const MirrorDelta *delta, guint32 kind)
{
  const MirrorSection *section = mirror_delta_section(delta, kind, 0);
  const MirrorState *agreed = paths->augmenter->twin->agreed;
  if (section)
    return section->bytes;
  return agreed ? mirror_state_get(agreed, kind, 0) : NULL;
}

/* Nothing has changed here since a block ended, so nothing on the way has to be looked at. */
static gboolean
is_right(const Paths *paths, const char *path)
{
  const KnownPath *known = known_find(paths, path);
  return known && known->fresh == FRESH_WHOLE;
}

static gboolean
prepare_directory(Paths *paths, const MirrorDelta *delta, GError **error)
{
  const MirrorSection *misc = mirror_delta_section(delta, MIRROR_SECTION_MISC, 0);
  g_autofree char *directory = misc && misc->bytes ? mirror_state_directory(misc->bytes) : NULL;
  g_auto(PathsPlace) place = {0};
  return !directory || *directory != '/' || need(paths, directory, FRESH_LOOK, &place, error);
}

/* The same is mapped and open as when all of it was found right; the device has told nothing new
 * (paths_stale()); and the mirror has made no call on a path or a descriptor since, for these are all
 * notified: the clone's files are what they were. */
static gboolean
still_prepared(const Paths *paths, const MirrorDelta *delta)
{
  return paths->prepared && !paths->augmenter->noticed &&
         !mirror_delta_section(delta, MIRROR_SECTION_LAYOUT, 0) &&
         !mirror_delta_section(delta, MIRROR_SECTION_FILES, 0) &&
         !mirror_delta_section(delta, MIRROR_SECTION_MISC, 0);
}

/* Everything that is mapped or open has to be right again for each block: the device may have written to it.
 */
gboolean
paths_prepare_delta(Paths *paths, const MirrorDelta *delta, GError **error)
{
  if (still_prepared(paths, delta))
    return TRUE;
  paths->prepared = FALSE;
  GBytes *layout = section_now(paths, delta, MIRROR_SECTION_LAYOUT);
  GBytes *files = section_now(paths, delta, MIRROR_SECTION_FILES);
  g_hash_table_remove_all(paths->held_open);
  paths->dirty = FALSE;
  if ((layout && !prepare_layout(paths, layout, error)) || (files && !prepare_files(paths, files, error)))
    return FALSE;
  GHashTableIter iter;
  gpointer path;
  g_hash_table_iter_init(&iter, paths->held_open);
  while (g_hash_table_iter_next(&iter, &path, NULL))
    if (!is_right(paths, path) && !need_file(paths, path, error))
      return FALSE;
  if (!prepare_directory(paths, delta, error))
    return FALSE;
  paths->opened |= paths->dirty;
  paths->prepared = !paths->dirty && !g_hash_table_size(paths->shared);
  return TRUE;
}

#include "augmenter/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "augmenter/paths_private.h"
#include "base/error.h"
#include "replica/path.h"

/* The first numbers of each line of a map in /proc: the ids as they are inside. */
static GArray *
read_ids(const Paths *paths, const char *name)
{
  g_autofree char *text = io_read_file_at(paths->augmenter->sandbox->proc_fd, name, 1 << 16);
  g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
  GArray *ranges = g_array_new(FALSE, FALSE, sizeof(IdRange));
  for (char **line = lines; *line; line++) {
    guint64 numbers[3];
    char *at = *line;
    for (guint i = 0; i < 3; i++)
      numbers[i] = g_ascii_strtoull(at, &at, 10);
    IdRange range = {numbers[0], MIN(numbers[2], G_MAXUINT32)};
    if (range.count)
      g_array_append_val(ranges, range);
  }
  return ranges;
}

/* The sandbox's /proc does not show the Augmenter; the one that it kept does, and is a good place to be in
 * besides. */
static gboolean
stand_in_procfs(const Paths *paths, GError **error)
{
  if (fchdir(paths->augmenter->sandbox->proc_fd) != 0)
    return doppel_error_errno(error, "entering /proc");
  replica_path_set_self("self");
  return TRUE;
}

static GHashTable *
path_set(void)
{
  return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

Paths *
paths_new(Augmenter *augmenter, const Doppel__Engine__Start *start, GError **error)
{
  Paths *paths = g_new0(Paths, 1);
  paths->augmenter = augmenter;
  paths->layers = g_ptr_array_new_with_free_func((GDestroyNotify)layer_free);
  paths->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)known_free);
  paths->questions = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, question_free);
  paths->pulls = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, pull_free);
  paths->held_open = path_set();
  paths->shared = path_set();
  paths->identities =
      g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, g_free);
  paths->notes = g_ptr_array_new_with_free_func(g_free);
  paths->uids = read_ids(paths, "self/uid_map");
  paths->gids = read_ids(paths, "self/gid_map");
  paths->uid = start->uid;
  paths->groups = g_array_new(FALSE, FALSE, sizeof(guint32));
  g_array_append_val(paths->groups, start->gid);
  g_array_append_vals(paths->groups, start->group, start->n_group);
  paths->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  gboolean good = stand_in_procfs(paths, error) && layers_open(paths, error);
  for (gsize i = 0; good && i < start->n_told; i++)
    good = known_tell(paths, NULL, start->told[i], NULL, error);
  if (good)
    return paths;
  paths_free(paths);
  return NULL;
}

void
paths_free(Paths *paths)
{
  if (!paths)
    return;
  g_hash_table_unref(paths->pulls);
  g_hash_table_unref(paths->questions);
  g_hash_table_unref(paths->known);
  g_hash_table_unref(paths->held_open);
  g_hash_table_unref(paths->shared);
  g_hash_table_unref(paths->identities);
  g_ptr_array_unref(paths->layers);
  g_ptr_array_unref(paths->notes);
  g_array_unref(paths->groups);
  g_array_unref(paths->uids);
  g_array_unref(paths->gids);
  io_close(&paths->root);
  g_free(paths);
}

GPtrArray *
paths_mountpoints(Paths *paths)
{
  GPtrArray *mountpoints = g_ptr_array_new();
  for (guint i = 0; i < paths->layers->len; i++)
    g_ptr_array_add(mountpoints, ((PathsLayer *)paths->layers->pdata[i])->sandbox->mountpoint);
  return mountpoints;
}

const GPtrArray *
paths_notes(Paths *paths)
{
  return paths->notes;
}

gboolean
paths_are_worn(const Paths *paths)
{
  return paths->worn;
}

gboolean
paths_busy(const Paths *paths)
{
  return g_hash_table_size(paths->pulls) > 0;
}

gboolean
paths_stale(Paths *paths, gsize count, Doppel__Engine__Told *const *stale, GError **error)
{
  paths->prepared &= count == 0;
  for (gsize i = 0; i < count; i++)
    if (!known_tell(paths, NULL, stale[i], NULL, error))
      return FALSE;
  return TRUE;
}

gboolean
paths_message(Paths *paths, const EngineMessage *message, gboolean *handled, GError **error)
{
  *handled = TRUE;
  switch (message->kind_case) {
  case DOPPEL__ENGINE__MESSAGE__KIND_PATHS:
    return questions_answered(paths, message->paths, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_DIRECTORY:
    return questions_listed(paths, message->directory, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_CONTENT:
    return pulls_take(paths, message->content, error);
  default:
    *handled = FALSE;
    return TRUE;
  }
}

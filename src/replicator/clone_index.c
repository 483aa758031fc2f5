#include "replicator/clone_index.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "identity/key.h"

#define STATE   "replicator" /* the name of the state in the index */
#define VERSION 2u

/* As it is kept; this machine's own file, in its byte order. */
typedef struct {
  guint32 version, length;
  CloneIndexState state;
} Kept;

char *
clone_index_directory(const char *clone)
{
  g_autofree char *directory = identity_directory();
  g_autofree char *name = g_strconcat(clone, ".replica", NULL);
  return g_build_filename(directory, name, NULL);
}

static char *
index_path(const CloneIndex *index)
{
  return g_build_filename(index->directory, "index", NULL);
}

static void
load_state(CloneIndex *index)
{
  Kept kept;
  g_autoptr(GBytes) bytes = tree_index_get(index->tree, STATE);
  index->state = (CloneIndexState){0};
  if (!bytes || g_bytes_get_size(bytes) != sizeof kept)
    return;
  memcpy(&kept, g_bytes_get_data(bytes, NULL), sizeof kept);
  if (kept.version == VERSION && kept.length == sizeof kept)
    index->state = kept.state;
}

gboolean
clone_index_save(CloneIndex *index, GError **error)
{
  Kept kept;
  memset(&kept, 0, sizeof kept);
  kept.version = VERSION;
  kept.length = sizeof kept;
  kept.state = index->state;
  g_autoptr(GBytes) bytes = g_bytes_new(&kept, sizeof kept);
  tree_index_set(index->tree, STATE, bytes);
  return tree_index_save(index->tree, error);
}

gboolean
clone_index_reset(CloneIndex *index, GError **error)
{
  static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
  g_autofree char *path = index_path(index);
  g_clear_pointer(&index->tree, tree_index_free);
  index->state = (CloneIndexState){0};
  for (guint i = 0; i < G_N_ELEMENTS(suffixes); i++) {
    g_autofree char *file = g_strconcat(path, suffixes[i], NULL);
    if (g_unlink(file) < 0 && errno != ENOENT)
      return doppel_error_errno(error, "the index %s cannot be made anew", file);
  }
  index->tree = tree_index_open(path, error);
  return index->tree != NULL;
}

static gboolean
lock_index(CloneIndex *index, GError **error)
{
  g_autofree char *path = g_build_filename(index->directory, "lock", NULL);
  if (g_mkdir_with_parents(index->directory, 0700) < 0)
    return doppel_error_errno(error, "the directory %s cannot be made", index->directory);
  index->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (index->lock < 0)
    return doppel_error_errno(error, "the lock %s cannot be made", path);
  if (flock(index->lock, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  if (errno != EWOULDBLOCK)
    return doppel_error_errno(error, "the lock %s cannot be taken", path);
  return doppel_error_set(
      error, DOPPEL_ERROR_GONE,
      "another synchronisation with this clone goes on on this device: wait for its end, or "
      "stop it");
}

CloneIndex *
clone_index_open(const char *directory, GError **error)
{
  g_autoptr(CloneIndex) index = g_new0(CloneIndex, 1);
  g_autoptr(GError) damage = NULL;
  index->directory = g_strdup(directory);
  index->lock = -1;
  if (!lock_index(index, error))
    return NULL;
  g_autofree char *path = index_path(index);
  index->tree = tree_index_open(path, &damage);
  if (!index->tree && !g_error_matches(damage, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH)) {
    g_propagate_error(error, g_steal_pointer(&damage));
    return NULL;
  }
  /* The clone can tell all of it. */
  if (!index->tree && !clone_index_reset(index, error))
    return NULL;
  load_state(index);
  return g_steal_pointer(&index);
}

CloneIndex *
clone_index_look(const char *directory, GError **error)
{
  g_autoptr(CloneIndex) index = g_new0(CloneIndex, 1);
  index->directory = g_strdup(directory);
  index->lock = -1;
  g_autofree char *path = index_path(index);
  if (!g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "nothing was synchronised with this clone yet");
    return NULL;
  }
  index->tree = tree_index_look(path, error);
  if (!index->tree)
    return NULL;
  load_state(index);
  return g_steal_pointer(&index);
}

void
clone_index_free(CloneIndex *index)
{
  if (!index)
    return;
  tree_index_free(index->tree);
  io_close(&index->lock);
  g_free(index->directory);
  g_free(index);
}

static char *
root_path(const char *directory)
{
  return g_build_filename(directory, "root", NULL);
}

char *
clone_index_root(const char *directory)
{
  g_autofree char *path = root_path(directory);
  char *root = NULL;
  if (g_file_get_contents(path, &root, NULL, NULL) && g_path_is_absolute(root))
    return root;
  g_free(root);
  return g_strdup("/");
}

gboolean
clone_index_set_root(const char *directory, const char *root, GError **error)
{
  g_autofree char *path = root_path(directory);
  g_autoptr(GError) problem = NULL;
  if (g_file_set_contents_full(path, root, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE,
                               0600, &problem))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s", problem->message);
}

static char *
restoring_path(const char *directory)
{
  return g_build_filename(directory, "restoring", NULL);
}

guint64
clone_index_restoring(const char *directory, char **root)
{
  guint64 generation = 0;
  g_autofree char *path = restoring_path(directory), *text = NULL;
  if (root)
    *root = NULL;
  if (!g_file_get_contents(path, &text, NULL, NULL))
    return 0;
  char *place = strchr(text, '\n');
  if (place)
    *place++ = '\0';
  /* Whatever is in it: that it is there says that something was begun. */
  if (!place || !g_path_is_absolute(place) ||
      !g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT64, &generation, NULL))
    return G_MAXUINT64;
  if (root)
    *root = g_strdup(place);
  return generation;
}

gboolean
clone_index_set_restoring(const char *directory, guint64 generation, const char *root, GError **error)
{
  g_autofree char *path = restoring_path(directory);
  g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT "\n%s", generation, root ? root : "");
  g_autoptr(GError) problem = NULL;
  if (!generation)
    return g_unlink(path) == 0 || errno == ENOENT || doppel_error_errno(error, "%s cannot be removed", path);
  if (g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE,
                               0600, &problem))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s", problem->message);
}

gboolean
clone_index_is_complete(const CloneIndex *index, GError **error)
{
  return !clone_index_restoring(index->directory, NULL) ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "this device's files are not restored completely, and what is missing would be "
                          "missing in the clone, too: let \"doppel restore --device\" come to its end first");
}

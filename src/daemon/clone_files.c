/* What a clone has in the state directory beside its entry in the database: files named after its id. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/state_private.h"
#include "identity/base32.h"
#include "replicator/checkpoint_store.h"
#include "replicator/discard.h"
#include "replicator/job_store.h"

#define PAGES_FOLDER       "pages"
#define JOBS_FOLDER        "jobs"
#define REPLICAS_FOLDER    "replicas"
#define CHECKPOINTS_FOLDER "checkpoints"
#define C2C_FOLDER         "c2c"

char *
daemon_state_clone_key_path(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH])
{
  g_autofree char *text = base32_encode(id, PAIRED_ID_LENGTH);
  g_autofree char *name = g_strconcat(text, ".key", NULL);
  return g_build_filename(state->directory, "clones", name, NULL);
}

char *
daemon_state_clone_pages(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH])
{
  g_autofree char *text = base32_encode(id, PAIRED_ID_LENGTH);
  return g_build_filename(state->directory, PAGES_FOLDER, text, NULL);
}

char *
daemon_state_clone_replica(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH])
{
  g_autofree char *text = base32_encode(id, PAIRED_ID_LENGTH);
  return g_build_filename(state->directory, REPLICAS_FOLDER, text, NULL);
}

char *
daemon_state_clone_jobs(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH])
{
  g_autofree char *text = base32_encode(id, PAIRED_ID_LENGTH);
  return g_build_filename(state->directory, JOBS_FOLDER, text, NULL);
}

char *
daemon_state_clone_checkpoints(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH])
{
  g_autofree char *text = base32_encode(id, PAIRED_ID_LENGTH);
  return g_build_filename(state->directory, CHECKPOINTS_FOLDER, text, NULL);
}

char *
daemon_state_clone_c2c(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH])
{
  g_autofree char *text = base32_encode(id, PAIRED_ID_LENGTH);
  return g_build_filename(state->directory, C2C_FOLDER, text, NULL);
}

IdentityKey *
daemon_state_clone_key(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error)
{
  g_autofree char *path = daemon_state_clone_key_path(state, id);
  return identity_key_load(path, error);
}

static void
remove_files_in(const char *directory)
{
  g_autoptr(GDir) entries = g_dir_open(directory, 0, NULL);
  for (const char *name; entries && (name = g_dir_read_name(entries));) {
    g_autofree char *path = g_build_filename(directory, name, NULL);
    g_unlink(path);
  }
}

/* A store is a directory with files in it. A session that is about to end may make one anew meanwhile; in a
 * directory that is gone it cannot. */
static gboolean
remove_pages(const char *path, GError **error)
{
  enum { TRIES = 8 };
  for (guint i = 0; i < TRIES; i++) {
    if (rmdir(path) == 0 || errno == ENOENT)
      return TRUE;
    if (errno == ENOTDIR && (g_unlink(path) == 0 || errno == ENOENT))
      return TRUE;
    if (errno != ENOTEMPTY && errno != EEXIST)
      break;
    remove_files_in(path);
  }
  return doppel_error_errno(error, "the memory that a clone kept in %s cannot be removed", path);
}

gboolean
daemon_state_remove_files(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error)
{
  g_autofree char *key = daemon_state_clone_key_path(state, id);
  g_autofree char *pages = daemon_state_clone_pages(state, id);
  g_autofree char *replica = daemon_state_clone_replica(state, id);
  g_autofree char *jobs = daemon_state_clone_jobs(state, id);
  g_autofree char *checkpoints = daemon_state_clone_checkpoints(state, id);
  g_autofree char *c2c = daemon_state_clone_c2c(state, id);
  /* None stays because another does; the first error is told. */
  gboolean good = g_unlink(key) == 0 || errno == ENOENT ||
                  doppel_error_errno(error, "the clone's key file %s cannot be removed", key);
  good = remove_pages(pages, good ? error : NULL) && good;
  good = job_store_remove(jobs, good ? error : NULL) && good;
  good = checkpoint_store_remove(checkpoints, good ? error : NULL) && good;
  good = discard_directory(c2c, good ? error : NULL) && good;
  return discard_directory(replica, good ? error : NULL) && good;
}

/* Only what surely belongs to no clone: of a database that cannot be read nothing is known. */
static gboolean
is_stale(DaemonState *state, const char *name)
{
  g_autoptr(GError) problem = NULL;
  g_autoptr(GBytes) id = base32_decode(name);
  if (!id || g_bytes_get_size(id) != PAIRED_ID_LENGTH)
    return TRUE;
  g_autofree char *canonical = base32_encode(g_bytes_get_data(id, NULL), PAIRED_ID_LENGTH);
  g_autoptr(DaemonClone) clone = daemon_state_clone(state, g_bytes_get_data(id, NULL), &problem);
  return strcmp(canonical, name) != 0 || g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
}

static gboolean
sweep(DaemonState *state, const char *in, gboolean (*remove_one)(const char *, GError **), GError **error)
{
  g_autofree char *folder = g_build_filename(state->directory, in, NULL);
  g_autoptr(GError) problem = NULL;
  g_autoptr(GDir) entries = g_dir_open(folder, 0, &problem);
  gboolean good = entries || g_error_matches(problem, G_FILE_ERROR, G_FILE_ERROR_NOENT);
  if (!good)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s", problem->message);
  for (const char *name; entries && (name = g_dir_read_name(entries));) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    if (is_stale(state, name))
      good = remove_one(path, good ? error : NULL) && good;
  }
  return good;
}

static gboolean
end_jobs(DaemonState *state, GError **error)
{
  g_autoptr(GPtrArray) clones = daemon_state_clones(state, error);
  gboolean good = clones != NULL;
  for (guint i = 0; clones && i < clones->len; i++)
    good = daemon_state_end_jobs(state, ((const DaemonClone *)clones->pdata[i])->id, good ? error : NULL) &&
           good;
  return good;
}

gboolean
daemon_state_sweep(DaemonState *state, GError **error)
{
  gboolean good = sweep(state, PAGES_FOLDER, remove_pages, error);
  good = sweep(state, JOBS_FOLDER, job_store_remove, good ? error : NULL) && good;
  good = sweep(state, CHECKPOINTS_FOLDER, checkpoint_store_remove, good ? error : NULL) && good;
  good = sweep(state, C2C_FOLDER, discard_directory, good ? error : NULL) && good;
  good = end_jobs(state, good ? error : NULL) && good;
  return sweep(state, REPLICAS_FOLDER, discard_directory, good ? error : NULL) && good;
}

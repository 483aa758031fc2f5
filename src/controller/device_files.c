#include "controller/device_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/io.h"
#include "controller/device_changes.h"
#include "controller/device_expected.h"
#include "controller/device_sends.h"
#include "controller/device_walk.h"
#include "identity/key.h"
#include "replica/path.h"

enum { ASKED_MAX = 1024 };
#define ENTRIES_BYTES (512u << 10) /* of one message of a listing, about */

struct DeviceFiles {
  Link *link;
  char *clone, *program;
  ReplicaHashes *hashes;
  DeviceTold *told;
  DeviceChanges *changes;
  DeviceSends *sends;
  guint questions, listings, contents; /* answered */
};

void
device_files_recover(void)
{
  device_changes_recover();
}

DeviceFiles *
device_files_new(Link *link, const char *clone, const char *program, gboolean local, GError **error)
{
  DeviceFiles *files = g_new0(DeviceFiles, 1);
  g_autofree char *directory = identity_directory();
  g_autofree char *cache = g_build_filename(directory, "hashes.db", NULL);
  files->link = link;
  files->clone = g_strdup(clone);
  files->program = g_strdup(program);
  if (!local && g_mkdir_with_parents(directory, 0700) == 0)
    files->hashes = replica_hashes_open(cache);
  files->told = device_told_new(files->hashes);
  files->changes = device_changes_new();
  files->sends = device_sends_new(link);
  return files;
}

void
device_files_free(DeviceFiles *files)
{
  if (!files)
    return;
  device_expected_keep(files->clone, files->program, files->told);
  device_sends_free(files->sends);
  device_changes_free(files->changes);
  device_told_free(files->told);
  g_clear_pointer(&files->hashes, replica_hashes_free);
  g_free(files->clone);
  g_free(files->program);
  g_free(files);
}

char *
device_files_summary(const DeviceFiles *files)
{
  return g_strdup_printf("files: %u questions, %u listings, %u contents", files->questions, files->listings,
                         files->contents);
}

/* ---- tellings ---- */

static GPtrArray *
pack_all(const GPtrArray *tellings)
{
  GPtrArray *packed = g_ptr_array_new_with_free_func((GDestroyNotify)device_packed_free);
  for (guint i = 0; i < tellings->len; i++)
    g_ptr_array_add(packed, device_telling_pack(tellings->pdata[i], NULL));
  return packed;
}

GPtrArray *
device_files_expected(DeviceFiles *files)
{
  g_autoptr(GPtrArray) tellings = device_expected_tell(files->clone, files->program, files->told);
  return pack_all(tellings);
}

gboolean
device_files_started(DeviceFiles *files, const Doppel__Engine__Started *started, GError **error)
{
  return device_changes_set_mountpoints(files->changes, started->n_mountpoint, started->mountpoint, error);
}

static gboolean
sees_our_tree(pid_t pid)
{
  char path[64];
  struct stat its, ours;
  snprintf(path, sizeof path, "/proc/%d/root/.", pid);
  return stat(path, &its) == 0 && stat("/", &ours) == 0 && its.st_dev == ours.st_dev &&
         its.st_ino == ours.st_ino;
}

GPtrArray *
device_files_stale(DeviceFiles *files, pid_t pid, GError **error)
{
  if (!sees_our_tree(pid)) {
    doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "the program has changed its root directory");
    return NULL;
  }
  g_autoptr(GPtrArray) stale = device_told_stale(files->told);
  return pack_all(stale);
}

/* ---- questions ---- */

/* What the clone may ask about: absolute; it is walked, so it need not be canonical. */
static char *
take_path(const ProtobufCBinaryData *path, GError **error)
{
  if (path->len > 0 && path->len < REPLICA_PATH_MAX && *path->data == '/' &&
      !memchr(path->data, 0, path->len))
    return g_strndup((const char *)path->data, path->len);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone asks about a path that is none");
  return NULL;
}

static gboolean
answer_paths(DeviceFiles *files, const Doppel__Engine__AskPaths *ask, GError **error)
{
  g_autoptr(GPtrArray) news = g_ptr_array_new();
  files->questions++;
  if (ask->n_path > ASKED_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the clone asks about %" G_GSIZE_FORMAT " paths at once", ask->n_path);
  for (gsize i = 0; i < ask->n_path; i++) {
    g_autofree char *path = take_path(&ask->path[i], error);
    if (!path || !device_walk(files->told, path, ask->follow, ask->contents, news, error))
      return FALSE;
  }
  g_autoptr(GPtrArray) packed = pack_all(news);
  Doppel__Engine__Paths answer = DOPPEL__ENGINE__PATHS__INIT;
  answer.id = ask->id;
  answer.n_told = packed->len;
  answer.told = (Doppel__Engine__Told **)packed->pdata;
  return ENGINE_SEND(files->link, PATHS, paths, &answer, error);
}

typedef struct {
  DeviceFiles *files;
  guint64 id;
  GPtrArray *packed;
  gsize bytes;
  GError *error;
} Listing;

static gboolean
send_listing(Listing *listing, gboolean last, int failure)
{
  Doppel__Engine__Directory answer = DOPPEL__ENGINE__DIRECTORY__INIT;
  answer.id = listing->id;
  answer.last = last;
  answer.has_error = failure != 0;
  answer.error = failure;
  answer.n_entry = listing->packed->len;
  answer.entry = (Doppel__Engine__Told **)listing->packed->pdata;
  gboolean sent = ENGINE_SEND(listing->files->link, DIRECTORY, directory, &answer, &listing->error);
  g_ptr_array_set_size(listing->packed, 0);
  listing->bytes = 0;
  return sent;
}

static gboolean
add_entry(const char *name, const DeviceTelling *telling, gpointer user_data)
{
  Listing *listing = user_data;
  Doppel__Engine__Told *told = device_telling_pack(telling, name);
  g_ptr_array_add(listing->packed, told);
  listing->bytes += told->path.len + told->facts.len + 16;
  return listing->bytes < ENTRIES_BYTES || send_listing(listing, FALSE, 0);
}

static gboolean
answer_directory(DeviceFiles *files, const Doppel__Engine__AskDirectory *ask, GError **error)
{
  g_autofree char *path = take_path(&ask->path, error);
  if (!path)
    return FALSE;
  if (strcmp(path, "/") != 0 && !replica_path_valid(path + 1, strlen(path + 1)))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone asks about a directory that is none");
  g_autoptr(GPtrArray) packed = g_ptr_array_new_with_free_func((GDestroyNotify)device_packed_free);
  files->listings++;
  Listing listing = {.files = files, .id = ask->id, .packed = packed};
  int failure = device_list(files->told, path, add_entry, &listing);
  if (!listing.error && send_listing(&listing, TRUE, failure))
    return TRUE;
  g_propagate_error(error, listing.error);
  return FALSE;
}

static gboolean
answer_content(DeviceFiles *files, const Doppel__Engine__AskContent *ask, GError **error)
{
  int root = device_changes_root(files->changes, ask->mountpoint, error);
  files->contents += ask->has_request;
  return root >= 0 && device_sends_answer(files->sends, root, ask, error);
}

gboolean
device_files_message(DeviceFiles *files, const EngineMessage *message, gboolean *handled, GError **error)
{
  *handled = TRUE;
  switch (message->kind_case) {
  case DOPPEL__ENGINE__MESSAGE__KIND_ASK_PATHS:
    return answer_paths(files, message->ask_paths, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_ASK_DIRECTORY:
    return answer_directory(files, message->ask_directory, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_ASK_CONTENT:
    return answer_content(files, message->ask_content, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_FILE_PIECE:
    return device_changes_push(files->changes, files->told, message->file_piece->mountpoint,
                               &message->file_piece->bytes, error);
  default:
    *handled = FALSE;
    return TRUE;
  }
}

/* ---- the block's changes ---- */

gboolean
device_files_ready(DeviceFiles *files, gboolean expected, GError **error)
{
  return device_changes_ready(files->changes, expected, error);
}

gboolean
device_files_commit(DeviceFiles *files, GError **error)
{
  return device_changes_commit(files->changes, error);
}

void
device_files_clear(DeviceFiles *files)
{
  if (files)
    device_changes_clear(files->changes);
}

/* Contents of a device that is restored. They are asked for many files at a time, so that the round trips of
 * a slow link do not add up, and come one after the other. */
#include <errno.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/message.h"
#include "replica/path.h"
#include "replicator/conversation.h"
#include "replicator/device_restore_private.h"

#define WAITING_BYTES (16u << 20)
#define TRIES         2 /* of a content that is not what it should be */

void
restoring_file_free(gpointer pointer)
{
  RestoringFile *file = pointer;
  tree_node_clear(&file->node);
  g_free(file->path);
  g_free(file);
}

static void
queue(DeviceRestoring *restoring, const TreeNode *node, const char *path, guint tries)
{
  RestoringFile *file = g_new0(RestoringFile, 1);
  file->node = *node;
  file->node.name = NULL;
  file->node.facts = (ReplicaFacts){0};
  replica_facts_copy(&file->node.facts, &node->facts);
  file->path = g_strdup(path);
  file->tries = tries;
  g_ptr_array_add(restoring->waiting, file);
  restoring->waiting_bytes += node->facts.size;
}

static gboolean
make_empty(DeviceRestoring *restoring, const TreeNode *node, const char *path, GError **error)
{
  guint64 offset;
  g_auto(Fd) fd = restoring_open_draft(restoring, node, path, &offset);
  if (fd < 0)
    return restoring_refused(restoring, path, error);
  int placed = restoring_place_draft(restoring, node, path, fd, error);
  return placed > 0 || (placed == 0 && doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                                                        "the clone gives the empty /%s a hash that is not "
                                                        "nothing's",
                                                        path));
}

gboolean
restoring_want(DeviceRestoring *restoring, const TreeNode *node, const char *path, GError **error)
{
  if (node->facts.size == 0)
    return make_empty(restoring, node, path, error);
  queue(restoring, node, path, 1);
  return (restoring->waiting->len < SYNC_FETCH_MAX && restoring->waiting_bytes < WAITING_BYTES) ||
         restoring_fetch(restoring, error);
}

/* How much of the file is there. Its draft is made where there is none. */
static gboolean
look(DeviceRestoring *restoring, RestoringFile *file, GError **error)
{
  file->offset = 0;
  if (file->node.facts.size < DEVICE_RESTORE_PART_MIN)
    return TRUE;
  g_auto(Fd) fd = restoring_open_draft(restoring, &file->node, file->path, &file->offset);
  return fd >= 0 || restoring_refused(restoring, file->path, error);
}

static gboolean
ask(DeviceRestoring *restoring, GPtrArray *files, GError **error)
{
  Doppel__Sync__Fetch fetch = DOPPEL__SYNC__FETCH__INIT;
  g_autofree Doppel__Sync__FetchItem *items = g_new(Doppel__Sync__FetchItem, files->len);
  g_autofree Doppel__Sync__FetchItem **pointers = g_new(Doppel__Sync__FetchItem *, files->len);
  for (guint i = 0; i < files->len; i++) {
    RestoringFile *file = files->pdata[i];
    if (!look(restoring, file, error))
      return FALSE;
    doppel__sync__fetch_item__init(&items[i]);
    items[i].path = replica_path_to_message(file->path);
    items[i].offset = file->offset;
    pointers[i] = &items[i];
  }
  fetch.generation = restoring->index->state.head;
  fetch.grant = CONVERSATION_GRANT;
  fetch.n_item = files->len;
  fetch.item = pointers;
  return SYNC_SEND(restoring->link, FETCH, fetch, &fetch, error);
}

typedef struct {
  DeviceRestoring *restoring;
  RestoringFile *file;
  Fd fd;
  guint64 position;
} Content;

static gboolean
write_bytes(Content *content, const ProtobufCBinaryData *bytes)
{
  for (gsize done = 0; done < bytes->len;) {
    ssize_t wrote = pwrite(content->fd, bytes->data + done, bytes->len - done, content->position + done);
    if (wrote < 0 && errno != EINTR)
      return FALSE;
    done += MAX(wrote, 0);
  }
  return TRUE;
}

static gboolean
take_data(Content *content, const Doppel__Sync__Data *data, GError **error)
{
  DeviceRestoring *restoring = content->restoring;
  guint64 left = content->file->node.facts.size - content->position;
  if (data->bytes.len > left || data->zeros > left - data->bytes.len ||
      (data->last && data->bytes.len + data->zeros != left))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the clone sends a content of /%s that does not fit its size",
                            content->file->path);
  if (!write_bytes(content, &data->bytes))
    return restoring_refused(restoring, content->file->path, error);
  content->position += data->bytes.len + data->zeros;
  restoring->restored->fetched += data->bytes.len;
  restoring->progress.bytes_done += data->bytes.len + data->zeros;
  restoring->unsaved += data->bytes.len;
  restoring_report(restoring);
  return TRUE;
}

static gboolean
receive(Content *content, guint *taken, GError **error)
{
  for (;;) {
    gboolean end;
    g_autoptr(SyncMessage) message = conversation_next(content->restoring->link, taken, &end, error);
    if (!message)
      return FALSE;
    if (end || message->kind_case != DOPPEL__SYNC__MESSAGE__KIND_DATA)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone ended in the middle of /%s",
                              content->file->path);
    if (!take_data(content, message->data, error))
      return FALSE;
    if (message->data->last)
      return TRUE;
  }
}

/* What came is not what the manifest said: once more, from its beginning. */
static gboolean
again(DeviceRestoring *restoring, const RestoringFile *file, GError **error)
{
  restoring->progress.bytes_done -= MIN(file->node.facts.size, restoring->progress.bytes_done);
  if (file->tries >= TRIES)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                            "the clone's copy of /%s is not what was synchronised: restore an earlier "
                            "generation, which \"doppel snapshots\" lists",
                            file->path);
  queue(restoring, &file->node, file->path, file->tries + 1);
  return TRUE;
}

static gboolean
take_file(DeviceRestoring *restoring, RestoringFile *file, guint *taken, GError **error)
{
  guint64 offset;
  g_auto(Fd) fd = restoring_open_draft(restoring, &file->node, file->path, &offset);
  if (fd < 0)
    return restoring_refused(restoring, file->path, error);
  if (offset != file->offset)
    return doppel_error_set(error, DOPPEL_ERROR_GONE,
                            "the draft of /%s has changed: another restoration goes on there?", file->path);
  Content content = {.restoring = restoring, .file = file, .fd = fd, .position = offset};
  restoring->progress.bytes_done += offset;
  if (!receive(&content, taken, error))
    return FALSE;
  int placed = restoring_place_draft(restoring, &file->node, file->path, fd, error);
  return placed > 0 || (placed == 0 && again(restoring, file, error));
}

static gboolean
fetch_some(DeviceRestoring *restoring, GPtrArray *files, GError **error)
{
  guint taken = 0;
  gboolean end;
  if (!ask(restoring, files, error))
    return FALSE;
  for (guint i = 0; i < files->len; i++) {
    if (!take_file(restoring, files->pdata[i], &taken, error))
      return FALSE;
    restoring_report(restoring);
  }
  g_autoptr(SyncMessage) message = conversation_next(restoring->link, &taken, &end, error);
  if (!message)
    return FALSE;
  return end || sync_unexpected(message, error);
}

gboolean
restoring_fetch(DeviceRestoring *restoring, GError **error)
{
  while (restoring->waiting->len > 0) {
    g_autoptr(GPtrArray) files = restoring->waiting;
    restoring->waiting = g_ptr_array_new_with_free_func(restoring_file_free);
    restoring->waiting_bytes = 0;
    if (!fetch_some(restoring, files, error) || !restoring_save(restoring, FALSE, error))
      return FALSE;
  }
  return TRUE;
}

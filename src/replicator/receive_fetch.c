/* The clone's end: contents of many files of a generation, for a device that is restored. */
#include <errno.h>
#include <sys/stat.h>

#include "base/error.h"
#include "replica/generation_lease.h"
#include "replica/path.h"
#include "replicator/receive_private.h"
#include "replicator/sync_path.h"

/* 0, or an errno. */
static int
send_content(ReceiverAnswer *answer, const GenerationStack *stack, const char *path, guint64 offset)
{
  g_auto(GenerationDirectory) directory = {0};
  GenerationEntry entry;
  const char *name;
  g_autofree char *place = replica_path_join(GENERATION_TREE, path);
  int failure = generation_stack_find(stack, place, &directory, &name, &entry);
  if (failure)
    return failure;
  if (!S_ISREG(entry.status.st_mode) || offset > (guint64)entry.status.st_size)
    return EINVAL;
  g_auto(Fd) fd = receiver_open_file(entry.fd, name);
  if (fd < 0)
    return errno;
  return receiver_answer_content(answer, fd, offset, entry.status.st_size) ? 0 : ECANCELED;
}

static gboolean
send_item(ReceiverAnswer *answer, const GenerationStack *stack, const Doppel__Sync__FetchItem *item)
{
  g_autofree char *path = sync_path_take(&item->path, &answer->error);
  if (!path)
    return FALSE;
  int failure = send_content(answer, stack, path, item->offset);
  if (failure && !answer->error)
    doppel_error_set(&answer->error, failure == EINVAL ? DOPPEL_ERROR_HOSTILE : DOPPEL_ERROR_FAILED,
                     "the clone cannot read its copy of /%s: %s", path, g_strerror(failure));
  return !failure;
}

gboolean
receiver_fetch(Receiver *receiver, const Doppel__Sync__Fetch *message, GError **error)
{
  int store = receiver_store(receiver);
  if (store < 0 || message->n_item > SYNC_FETCH_MAX)
    return doppel_error_set(error, store < 0 ? DOPPEL_ERROR_NOT_FOUND : DOPPEL_ERROR_HOSTILE,
                            "the clone %s has no such contents", receiver->place->name);
  g_autoptr(GenerationLease) lease = generation_lease_take(store, message->generation, error);
  g_autoptr(GenerationStack) stack = lease ? generation_lease_open(lease, error) : NULL;
  if (!stack)
    return FALSE;
  ReceiverAnswer answer;
  receiver_answer_init(&answer, receiver, message->grant);
  for (gsize i = 0; i < message->n_item && !answer.error; i++)
    send_item(&answer, stack, message->item[i]);
  return receiver_answer_end(&answer, error);
}

/* "fetch", for others: a shared file, from the newest generation. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/service_message.h"
#include "c2c/services.h"
#include "c2c/share_index.h"
#include "c2c/share_message.h"
#include "replica/generation_facts.h"
#include "replica/generation_lease.h"
#include "replica/generation_store.h"
#include "replica/path.h"

static gint64
mtime_of(const struct stat *status)
{
  return status->st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) + status->st_mtim.tv_nsec;
}

/* Opens what is at `relative` in the share, if it is a file; nothing on the way to it is followed. */
static int
open_file(const GenerationStack *stack, const Share *share, const char *relative, struct stat *status,
          GError **error)
{
  g_auto(GenerationDirectory) directory = {0};
  g_auto(ReplicaFacts) facts = {0};
  GenerationEntry entry;
  const char *name;
  g_autofree char *within = replica_path_join(share->path, relative);
  g_autofree char *place = replica_path_join(GENERATION_TREE, within);
  int fd = -1, failure = generation_stack_find(stack, place, &directory, &name, &entry);
  if (!failure) {
    replica_facts_from_stat(&facts, &entry.status);
    if (S_ISREG(entry.status.st_mode) && entry.status.st_size == 0)
      generation_node_recognise(entry.fd, name, &facts);
    failure = facts.type == REPLICA_FILE ? 0 : ENOENT;
  }
  if (!failure && ((fd = replica_path_open_child(entry.fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY)) < 0 ||
                   fstat(fd, status) < 0))
    failure = errno;
  if (!failure)
    return fd;
  io_close(&fd);
  if (failure == ENOENT || failure == ENOTDIR)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no %s/%s", share->name, relative);
  else
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s/%s cannot be read: %s", share->name, relative,
                     g_strerror(failure));
  return -1;
}

/* All of it is hashed, what comes before `offset` as well: the other end checks all that it has. */
static gboolean
send_content(int fd, int file, guint64 offset, guint64 size, GError **error)
{
  crypto_generichash_state state;
  guint8 hash[32];
  g_autofree guint8 *buffer = g_malloc(SERVICE_CHUNK);
  crypto_generichash_init(&state, NULL, 0, sizeof hash);
  for (guint64 at = 0; at < size;) {
    guint64 end = at < offset ? offset : size;
    gssize got = pread(file, buffer, MIN(end - at, SERVICE_CHUNK), at);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return doppel_error_set(error, DOPPEL_ERROR_FAILED, "it cannot be read to its end");
    crypto_generichash_update(&state, buffer, got);
    if (at >= offset) {
      Doppel__Share__Chunk chunk = DOPPEL__SHARE__CHUNK__INIT;
      chunk.data = (ProtobufCBinaryData){got, buffer};
      if (!share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_CHUNK, &chunk, error))
        return FALSE;
    } else if (service_message_hung_up(fd)) {
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the other end has left");
    }
    at += got;
  }
  Doppel__Share__Finished finished = DOPPEL__SHARE__FINISHED__INIT;
  crypto_generichash_final(&state, hash, sizeof hash);
  finished.hash = (ProtobufCBinaryData){sizeof hash, hash};
  return share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_FINISHED, &finished, error);
}

static gboolean
fetch(int fd, const ServicePlace *place, const Doppel__Share__Fetch *message, GError **error)
{
  struct stat status;
  const char *relative;
  g_autoptr(GError) problem = NULL;
  g_autoptr(ShareIndex) index = share_index_open(place->directory, &problem);
  if (!index) {
    fprintf(stderr, "fetch: %s\n", problem->message);
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "what is shared cannot be read now");
  }
  g_autoptr(Share) share = share_index_find(index, message->path, &relative, error);
  if (!share)
    return FALSE;
  g_auto(Fd) store = open(place->replica, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (store < 0)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no %s", message->path);
  g_autoptr(GenerationLease) lease = generation_lease_take(store, 0, error);
  g_autoptr(GenerationStack) stack = lease ? generation_lease_open(lease, error) : NULL;
  g_auto(Fd) file = stack ? open_file(stack, share, relative, &status, error) : -1;
  if (file < 0)
    return FALSE;
  Doppel__Share__Found found = DOPPEL__SHARE__FOUND__INIT;
  found.size = status.st_size;
  found.mtime_ns = mtime_of(&status);
  found.mode = status.st_mode & 0777;
  if (found.size == message->size && found.mtime_ns == message->mtime_ns)
    found.offset = message->offset;
  return share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_FOUND, &found, error) &&
         send_content(fd, file, found.offset, found.size, error);
}

static gboolean
answer(int fd, const ShareMessage *question, void *data, GError **error)
{
  if (question->what_case == DOPPEL__SHARE__MESSAGE__WHAT_FETCH)
    return fetch(fd, data, question->fetch, error);
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "that is no path to fetch");
}

int
fetch_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  service_message_patience(fd, SERVICE_PATIENCE_S);
  return share_message_serve(fd, service, answer, (void *)place);
}

/* The clone's end: an answer of many messages, no faster than the device takes them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "replica/message.h"
#include "replica/path.h"
#include "replicator/receive_private.h"

#define BATCH_BYTES (64u << 10)
#define BATCH_COUNT 512u
#define ENTRY_BYTES 64u /* of an entry, beside its strings: about */

static void
free_entry(gpointer pointer)
{
  Doppel__Sync__Entry *entry = pointer;
  doppel__sync__entry__free_unpacked(entry, NULL);
}

void
receiver_answer_init(ReceiverAnswer *answer, Receiver *receiver, guint grant)
{
  *answer = (ReceiverAnswer){.receiver = receiver, .entries = g_ptr_array_new_with_free_func(free_entry)};
  receiver->grant = MIN(grant, SYNC_GRANT_MAX);
}

static gboolean
take_grant(Receiver *receiver, GError **error)
{
  GError *problem = NULL;
  g_autoptr(SyncMessage) message = sync_take(receiver->link, &problem);
  if (problem) {
    g_propagate_error(error, problem);
    return FALSE;
  }
  if (!message)
    return receiver_wait(receiver, -1, error);
  if (message->kind_case != DOPPEL__SYNC__MESSAGE__KIND_MORE)
    return sync_unexpected(message, error);
  receiver->grant = MIN((guint64)receiver->grant + message->more->grant, SYNC_GRANT_MAX);
  return TRUE;
}

static gboolean
send_granted(ReceiverAnswer *answer, const SyncMessage *message)
{
  Receiver *receiver = answer->receiver;
  while (receiver->grant == 0)
    if (!take_grant(receiver, &answer->error))
      return FALSE;
  receiver->grant--;
  return sync_send(receiver->link, message, &answer->error);
}
#define SEND(answer, KIND, field, contents)                                                                  \
  send_granted((answer), &(SyncMessage){PROTOBUF_C_MESSAGE_INIT(&doppel__sync__message__descriptor),         \
                                        DOPPEL__SYNC__MESSAGE__KIND_##KIND,                                  \
                                        {.field = (contents)}})

static gboolean
send_entries(ReceiverAnswer *answer)
{
  Doppel__Sync__Entries entries = DOPPEL__SYNC__ENTRIES__INIT;
  if (answer->error)
    return FALSE;
  if (answer->entries->len == 0)
    return TRUE;
  entries.n_entry = answer->entries->len;
  entries.entry = (Doppel__Sync__Entry **)answer->entries->pdata;
  gboolean sent = SEND(answer, ENTRIES, entries, &entries);
  g_ptr_array_set_size(answer->entries, 0);
  answer->bytes = 0;
  return sent;
}

static ProtobufCBinaryData
copy_bytes(ProtobufCBinaryData bytes)
{
  return (ProtobufCBinaryData){bytes.len, bytes.len ? g_memdup2(bytes.data, bytes.len) : NULL};
}

static Doppel__Wire__ReplicaFacts *
copy_facts(const ReplicaFacts *facts)
{
  Doppel__Wire__ReplicaFacts *message = g_new(Doppel__Wire__ReplicaFacts, 1);
  replica_facts_to_message(facts, message);
  message->target = copy_bytes(message->target);
  message->xattrs = copy_bytes(message->xattrs);
  message->hash = copy_bytes(message->hash);
  return message;
}

static gboolean
add(ReceiverAnswer *answer, Doppel__Sync__Entry *entry)
{
  g_ptr_array_add(answer->entries, entry);
  answer->bytes += ENTRY_BYTES + entry->path.len + entry->link.len;
  if (entry->facts)
    answer->bytes += entry->facts->xattrs.len + entry->facts->target.len;
  return (answer->bytes < BATCH_BYTES && answer->entries->len < BATCH_COUNT) || send_entries(answer);
}

static Doppel__Sync__Entry *
new_entry(const char *path, const ReplicaFacts *facts)
{
  Doppel__Sync__Entry *entry = g_new(Doppel__Sync__Entry, 1);
  doppel__sync__entry__init(entry);
  entry->path = copy_bytes(replica_path_to_message(path));
  entry->facts = facts ? copy_facts(facts) : NULL;
  return entry;
}

gboolean
receiver_answer_add(ReceiverAnswer *answer, const char *path, const ReplicaFacts *facts, const guint8 *hash,
                    Doppel__Sync__Change change)
{
  if (answer->error)
    return FALSE;
  Doppel__Sync__Entry *entry = new_entry(path, facts);
  if (hash)
    entry->hash = (ProtobufCBinaryData){GENERATION_CONTENT_HASH, g_memdup2(hash, GENERATION_CONTENT_HASH)};
  entry->change = change;
  return add(answer, entry);
}

gboolean
receiver_answer_link(ReceiverAnswer *answer, const char *path, const char *to, const ReplicaFacts *facts)
{
  if (answer->error)
    return FALSE;
  Doppel__Sync__Entry *entry = new_entry(path, facts);
  entry->link = copy_bytes(replica_path_to_message(to));
  return add(answer, entry);
}

static gboolean
send_bytes(ReceiverAnswer *answer, int fd, guint64 from, guint64 to)
{
  g_autofree guint8 *room = g_malloc(SYNC_PIECE);
  while (from < to) {
    Doppel__Sync__Data data = DOPPEL__SYNC__DATA__INIT;
    ssize_t got = pread(fd, room, MIN(to - from, SYNC_PIECE), from);
    if (got <= 0)
      return doppel_error_set(&answer->error, DOPPEL_ERROR_FAILED, "the clone cannot read its copy: %s",
                              got < 0 ? g_strerror(errno) : "it is shorter than it should be");
    data.bytes = (ProtobufCBinaryData){got, room};
    if (!SEND(answer, DATA, data, &data))
      return FALSE;
    from += got;
  }
  return TRUE;
}

static gboolean
send_zeros(ReceiverAnswer *answer, guint64 length, gboolean last)
{
  Doppel__Sync__Data data = DOPPEL__SYNC__DATA__INIT;
  data.zeros = length;
  data.last = last;
  return (length == 0 && !last) || SEND(answer, DATA, data, &data);
}

gboolean
receiver_answer_content(ReceiverAnswer *answer, int fd, guint64 offset, guint64 size)
{
  guint64 at = offset;
  if (!send_entries(answer))
    return FALSE;
  while (at < size) {
    off_t data = lseek(fd, at, SEEK_DATA);
    guint64 begin = data < 0 ? (errno == ENXIO ? size : at) : MIN((guint64)data, size);
    off_t hole = begin < size ? lseek(fd, begin, SEEK_HOLE) : (off_t)size;
    guint64 end = hole < 0 ? size : MIN((guint64)hole, size);
    if (!send_zeros(answer, begin - at, FALSE) || !send_bytes(answer, fd, begin, end))
      return FALSE;
    at = MAX(end, begin);
  }
  return send_zeros(answer, 0, TRUE);
}

gboolean
receiver_answer_bytes(ReceiverAnswer *answer, const guint8 *bytes, gsize length)
{
  for (gsize at = 0; at < length && !answer->error; at += SYNC_PIECE) {
    Doppel__Sync__Data data = DOPPEL__SYNC__DATA__INIT;
    data.bytes = (ProtobufCBinaryData){MIN(length - at, SYNC_PIECE), (guint8 *)bytes + at};
    SEND(answer, DATA, data, &data);
  }
  return !answer->error;
}

gboolean
receiver_answer_end(ReceiverAnswer *answer, GError **error)
{
  Doppel__Sync__End end = DOPPEL__SYNC__END__INIT;
  if (!answer->error && send_entries(answer))
    SEND(answer, END, end, &end);
  g_ptr_array_unref(answer->entries);
  if (!answer->error)
    return TRUE;
  g_propagate_error(error, answer->error);
  return FALSE;
}

int
receiver_open_file(int directory, const char *name)
{
  return replica_path_open_child(directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

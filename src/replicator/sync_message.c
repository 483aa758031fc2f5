#include "replicator/sync_message.h"

#include "base/error.h"

void
sync_message_free(SyncMessage *message)
{
  if (message)
    doppel__sync__message__free_unpacked(message, NULL);
}

gboolean
sync_send(Link *link, const SyncMessage *message, GError **error)
{
  gsize length = doppel__sync__message__get_packed_size(message);
  g_autofree guint8 *packed = g_malloc(length);
  doppel__sync__message__pack(message, packed);
  return link_send(link, SYNC_CHANNEL, &(struct iovec){packed, length}, 1, error);
}

static gboolean
is_identity(const ProtobufCBinaryData *bytes)
{
  return bytes->len == SYNC_IDENTITY;
}

static gboolean
attempt_is_sound(const Doppel__Sync__Attempt *attempt)
{
  return is_identity(&attempt->identity) && attempt->n_mismatch <= SYNC_MISMATCH_MAX;
}

/* What all who take a message rely on; a submessage that is not there is none of the sender's mistakes to
 * name later. */
static gboolean
is_sound(const SyncMessage *message)
{
  const Doppel__Sync__Welcome *welcome = message->welcome;
  switch (message->kind_case) {
  case DOPPEL__SYNC__MESSAGE__KIND__NOT_SET:
    return FALSE;
  case DOPPEL__SYNC__MESSAGE__KIND_WELCOME:
    return (welcome->store.len == 0 || is_identity(&welcome->store)) &&
           (!welcome->attempt || attempt_is_sound(welcome->attempt));
  case DOPPEL__SYNC__MESSAGE__KIND_BEGIN:
    return message->begin->attempt && attempt_is_sound(message->begin->attempt);
  case DOPPEL__SYNC__MESSAGE__KIND_COMMITTED:
    return message->committed->generation != NULL;
  default:
    return TRUE;
  }
}

/* NULL: there is none. */
static SyncMessage *
unpack(const LinkMessage *raw, GError **error)
{
  if (!raw)
    return NULL;
  g_autoptr(SyncMessage) message =
      raw->channel == SYNC_CHANNEL ? doppel__sync__message__unpack(NULL, raw->length, raw->data) : NULL;
  if (message && is_sound(message))
    return g_steal_pointer(&message);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                   "the other side sent %" G_GSIZE_FORMAT " bytes that are no message of a synchronisation",
                   raw->length);
  return NULL;
}

SyncMessage *
sync_take(Link *link, GError **error)
{
  g_autoptr(LinkMessage) raw = link_take(link);
  return unpack(raw, error);
}

SyncMessage *
sync_wait(Link *link, int timeout_ms, GError **error)
{
  g_autoptr(LinkMessage) raw = link_await(link, timeout_ms, error);
  return unpack(raw, error);
}

gboolean
sync_fail(Link *link, const GError *error)
{
  Doppel__Sync__Failure failure = DOPPEL__SYNC__FAILURE__INIT;
  failure.code = error->domain == DOPPEL_ERROR ? error->code : DOPPEL_ERROR_FAILED;
  g_autofree char *reason = g_utf8_make_valid(error->message, -1);
  failure.reason = reason;
  return SYNC_SEND(link, FAILURE, failure, &failure, NULL);
}

const char *
sync_message_name(const SyncMessage *message)
{
  const ProtobufCFieldDescriptor *field =
      protobuf_c_message_descriptor_get_field(&doppel__sync__message__descriptor, message->kind_case);
  return field ? field->name : "unknown";
}

gboolean
sync_unexpected(const SyncMessage *message, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the other side sent a message \"%s\" where none such has a place",
                          sync_message_name(message));
}

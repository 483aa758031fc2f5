#include "replicator/public_ask.h"

#include "base/error.h"
#include "replicator/conversation.h"

static gboolean
take_piece(GByteArray *all, const SyncMessage *message, guint64 length, GError **error)
{
  const Doppel__Sync__Data *data = message->data;
  if (message->kind_case != DOPPEL__SYNC__MESSAGE__KIND_DATA || data->zeros ||
      data->bytes.len > length - all->len)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the clone's host tells more of its public base than it said that there is");
  g_byte_array_append(all, data->bytes.data, data->bytes.len);
  return TRUE;
}

static GBytes *
take_all(Link *link, guint64 length, GError **error)
{
  g_autoptr(GByteArray) all = g_byte_array_new();
  guint taken = 0;
  for (gboolean end = FALSE; !end;) {
    g_autoptr(SyncMessage) message = conversation_next(link, &taken, &end, error);
    if (!message || (!end && !take_piece(all, message, length, error)))
      return NULL;
  }
  return g_byte_array_free_to_bytes(g_steal_pointer(&all));
}

gboolean
public_ask(Link *link, guint64 length, PublicSet **set, GError **error)
{
  Doppel__Sync__Contents question = DOPPEL__SYNC__CONTENTS__INIT;
  question.grant = CONVERSATION_GRANT;
  *set = NULL;
  if (length > PUBLIC_SET_PACKED_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone's host has too large a public base");
  g_autoptr(GBytes) packed =
      SYNC_SEND(link, CONTENTS, contents, &question, error) ? take_all(link, length, error) : NULL;
  if (packed && g_bytes_get_size(packed) > 0)
    *set = public_set_unpack(packed, error);
  return packed && (*set || g_bytes_get_size(packed) == 0);
}

#include "agent/agent_message.h"

#include <string.h>

#include "base/error.h"
#include "replica/path.h"
#include "replicator/sync.h"

void
agent_message_free(AgentMessage *message)
{
  if (message)
    doppel__agent__message__free_unpacked(message, NULL);
}

GByteArray *
agent_message_pack(const AgentMessage *message)
{
  gsize length = doppel__agent__message__get_packed_size(message);
  GByteArray *bytes = g_byte_array_sized_new(AGENT_LENGTH + length);
  guint32 big = GUINT32_TO_BE((guint32)length);
  g_byte_array_append(bytes, (const guint8 *)&big, AGENT_LENGTH);
  g_byte_array_set_size(bytes, AGENT_LENGTH + length);
  doppel__agent__message__pack(message, bytes->data + AGENT_LENGTH);
  return bytes;
}

gboolean
agent_message_length(const guint8 *bytes, gsize *length, GError **error)
{
  guint32 big;
  memcpy(&big, bytes, AGENT_LENGTH);
  *length = GUINT32_FROM_BE(big);
  return *length <= AGENT_MESSAGE_MAX ||
         doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message to or from the agent is too long");
}

char *
agent_message_path(const ProtobufCBinaryData *path)
{
  return path->len ? g_strndup((const char *)path->data, path->len) : g_strdup("");
}

static gboolean
are_paths(const ProtobufCBinaryData *paths, gsize count)
{
  for (gsize i = 0; i < count; i++)
    if (paths[i].len > 0 &&
        !replica_path_valid_within((const char *)paths[i].data, paths[i].len, GENERATION_PATH_MAX))
      return FALSE;
  return TRUE;
}

static gboolean
is_absolute(const ProtobufCBinaryData *path)
{
  return path->len > 0 && path->data[0] == '/' && !memchr(path->data, 0, path->len);
}

static gboolean
is_sound(const AgentMessage *message)
{
  switch (message->kind_case) {
  case DOPPEL__AGENT__MESSAGE__KIND__NOT_SET:
    return FALSE;
  case DOPPEL__AGENT__MESSAGE__KIND_TAKE:
    return is_absolute(&message->take->root) && g_utf8_validate(message->take->clone, -1, NULL);
  case DOPPEL__AGENT__MESSAGE__KIND_JOBS:
    return g_utf8_validate(message->jobs->clone, -1, NULL);
  case DOPPEL__AGENT__MESSAGE__KIND_DONE:
    return are_paths(message->done->later, message->done->n_later);
  case DOPPEL__AGENT__MESSAGE__KIND_PROGRESS:
    return message->progress->phase <= REPLICATOR_COMPLETING;
  case DOPPEL__AGENT__MESSAGE__KIND_SCOPE:
    return (message->scope->watch.len == 0 || message->scope->watch.len == REPLICATOR_WATCH) &&
           message->scope->compression <= 19 &&
           are_paths(message->scope->directory, message->scope->n_directory);
  case DOPPEL__AGENT__MESSAGE__KIND_REPORT:
    for (gsize i = 0; i < message->report->n_clone; i++)
      if (!is_absolute(&message->report->clone[i]->root))
        return FALSE;
    return TRUE;
  default:
    return TRUE;
  }
}

AgentMessage *
agent_message_unpack(const guint8 *bytes, gsize length, GError **error)
{
  g_autoptr(AgentMessage) message = doppel__agent__message__unpack(NULL, length, bytes);
  if (message && is_sound(message))
    return g_steal_pointer(&message);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "%" G_GSIZE_FORMAT " bytes are no message of an agent's",
                   length);
  return NULL;
}

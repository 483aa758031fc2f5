#include "c2c/local_message.h"

#include <string.h>

#include "base/error.h"

enum { WORDS_MAX = 4096 };

gboolean
local_text_is_sound(const char *text, gsize most)
{
  gsize length = strlen(text);
  if (length > most || !g_utf8_validate(text, length, NULL))
    return FALSE;
  for (const char *at = text; *at; at = g_utf8_next_char(at))
    if (g_unichar_iscntrl(g_utf8_get_char(at)))
      return FALSE;
  return TRUE;
}

static gboolean
is_sound(const LocalRequest *request)
{
  switch (request->what_case) {
  case DOPPEL__WIRE__LOCAL_REQUEST__WHAT_DIAL:
    return local_text_is_sound(request->dial->user, LOCAL_USER_MAX) &&
           local_text_is_sound(request->dial->service, LOCAL_SERVICE_MAX) && *request->dial->service;
  case DOPPEL__WIRE__LOCAL_REQUEST__WHAT_LISTEN:
    return local_text_is_sound(request->listen->service, LOCAL_SERVICE_MAX) && *request->listen->service;
  case DOPPEL__WIRE__LOCAL_REQUEST__WHAT_CONTROL:
    return local_text_is_sound(request->control->verb, LOCAL_VERB_MAX) && *request->control->verb;
  default:
    return FALSE;
  }
}

LocalRequest *
local_request_unpack(const void *data, gsize length, GError **error)
{
  g_autoptr(LocalRequest) request =
      length <= LOCAL_MESSAGE_MAX ? doppel__wire__local_request__unpack(NULL, length, data) : NULL;
  if (request && is_sound(request))
    return g_steal_pointer(&request);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a program has sent a request that is none");
  return NULL;
}

void
local_request_free(LocalRequest *request)
{
  if (request)
    doppel__wire__local_request__free_unpacked(request, NULL);
}

LocalReply *
local_reply_unpack(const void *data, gsize length, GError **error)
{
  g_autoptr(LocalReply) reply =
      length <= LOCAL_MESSAGE_MAX ? doppel__wire__local_reply__unpack(NULL, length, data) : NULL;
  if (reply && local_reply_is_sound(reply) && strlen(reply->words) <= WORDS_MAX &&
      g_utf8_validate(reply->words, -1, NULL) &&
      (!reply->incoming || (local_text_is_sound(reply->incoming->name, LOCAL_USER_MAX) &&
                            local_text_is_sound(reply->incoming->service, LOCAL_SERVICE_MAX))))
    return g_steal_pointer(&reply);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone's node has sent an answer that is none");
  return NULL;
}

void
local_reply_free(LocalReply *reply)
{
  if (reply)
    doppel__wire__local_reply__free_unpacked(reply, NULL);
}

GBytes *
local_message_pack(const ProtobufCMessage *message)
{
  gsize length = protobuf_c_message_get_packed_size(message);
  guint8 *data = g_malloc(MAX(length, 1));
  protobuf_c_message_pack(message, data);
  return g_bytes_new_take(data, length);
}

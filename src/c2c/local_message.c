#include "c2c/local_message.h"

#include <string.h>

#include "base/error.h"
#include "base/line.h"

enum { WORDS_MAX = 4096 };

static gboolean
is_sound(const LocalRequest *request)
{
  switch (request->what_case) {
  case DOPPEL__WIRE__LOCAL_REQUEST__WHAT_DIAL:
    return line_is_plain(request->dial->user, 0, LOCAL_USER_MAX) &&
           line_is_plain(request->dial->service, 1, LOCAL_SERVICE_MAX);
  case DOPPEL__WIRE__LOCAL_REQUEST__WHAT_LISTEN:
    return line_is_plain(request->listen->service, 1, LOCAL_SERVICE_MAX);
  case DOPPEL__WIRE__LOCAL_REQUEST__WHAT_CONTROL:
    return line_is_plain(request->control->verb, 1, LOCAL_VERB_MAX);
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
      (!reply->incoming || (line_is_plain(reply->incoming->name, 0, LOCAL_USER_MAX) &&
                            line_is_plain(reply->incoming->service, 0, LOCAL_SERVICE_MAX))))
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

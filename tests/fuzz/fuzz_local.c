/* Packets of the local socket: what is believed has the properties that whoever reads it relies on. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/line.h"
#include "c2c/local_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(gboolean holds)
{
  if (!holds)
    abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autoptr(LocalRequest) request = local_request_unpack(data, size, NULL);
  if (request && request->what_case == DOPPEL__WIRE__LOCAL_REQUEST__WHAT_DIAL) {
    demand(*request->dial->service && strlen(request->dial->service) <= LOCAL_SERVICE_MAX);
    demand(line_is_plain(request->dial->user, 0, LOCAL_USER_MAX));
  } else if (request && request->what_case == DOPPEL__WIRE__LOCAL_REQUEST__WHAT_LISTEN) {
    demand(*request->listen->service && line_is_plain(request->listen->service, 0, LOCAL_SERVICE_MAX));
  } else if (request) {
    demand(*request->control->verb && strlen(request->control->verb) <= LOCAL_VERB_MAX);
    demand(request->control->body.len <= size);
  }
  g_autoptr(LocalReply) reply = local_reply_unpack(data, size, NULL);
  if (!reply)
    return 0;
  demand(reply->why >= 0 && reply->why <= DOPPEL__WIRE__C2C_REFUSAL__C2C_MALFORMED);
  demand(g_utf8_validate(reply->words, -1, NULL));
  if (reply->incoming) {
    demand(strlen(reply->incoming->name) <= 64);
    demand(reply->incoming->origin.len == 32 && reply->incoming->clone_key.len == 32);
  }
  return 0;
}

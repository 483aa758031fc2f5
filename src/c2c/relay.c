#include "c2c/relay_private.h"

#include <string.h>

#include "base/io.h"
#include "c2c/fd_source.h"
#include "link/pass.h"
#include "wire/message.h"

enum { TRIES = 25, AGAIN_MS = 200 }; /* until a node that was just begun can be asked */

/* ---- a stream ---- */

RelayStream *
relay_stream_new(Relay *relay, MuxStream *stream, const char *service)
{
  RelayStream *on = g_new0(RelayStream, 1);
  *on = (RelayStream){.relay = relay,
                      .stream = stream,
                      .service = g_strdup(service),
                      .in = g_byte_array_new(),
                      .out = g_byte_array_new()};
  relay->streams++;
  g_ptr_array_add(relay->asking, on);
  return on;
}

void
relay_stream_free(RelayStream *on)
{
  on->relay->streams--;
  g_ptr_array_remove_fast(on->relay->asking, on);
  local_question_free(on->question);
  g_clear_pointer(&on->request, g_bytes_unref);
  if (on->again) {
    g_source_destroy(on->again);
    g_source_unref(on->again);
  }
  g_byte_array_unref(on->in);
  g_byte_array_unref(on->out);
  g_free(on->service);
  g_free(on);
}

void
relay_stream_fail(RelayStream *on, Doppel__Wire__C2cRefusal why, const char *words)
{
  if (on->accepted)
    mux_close(on->stream, words);
  else
    mux_refuse(on->stream, why, words);
  relay_stream_free(on);
}

static gboolean
try_to_ask(void *data)
{
  RelayStream *on = data;
  g_autoptr(LocalRequest) request =
      local_request_unpack(g_bytes_get_data(on->request, NULL), g_bytes_get_size(on->request), NULL);
  g_clear_pointer(&on->again, g_source_unref);
  on->question =
      request ? local_question_new(on->relay->node, on->relay->context, request, on->on_answered, on, NULL)
              : NULL;
  if (on->question) {
    g_clear_pointer(&on->request, g_bytes_unref);
  } else if (!request) {
    relay_stream_fail(on, DOPPEL__WIRE__C2C_REFUSAL__C2C_MALFORMED, "that is no user or no service");
  } else if (on->tries++ >= TRIES) {
    relay_stream_fail(on, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY,
                      "the clone takes no part in the network of clones: \"doppel name claim NAME\" gives it "
                      "a name there");
  } else {
    on->again = g_timeout_source_new(AGAIN_MS);
    g_source_set_callback(on->again, try_to_ask, on, NULL);
    g_source_attach(on->again, on->relay->context);
  }
  return G_SOURCE_REMOVE;
}

void
relay_ask(RelayStream *on, const LocalRequest *request, LocalAnswered answered)
{
  on->on_answered = answered;
  LocalRequest passing = *request;
  passing.passes_on = TRUE;
  on->request = wire_pack(&passing.base);
  try_to_ask(on);
}

/* ---- dialling ---- */

static void
on_spliced(void *data)
{
  relay_stream_free(data);
}

static void
on_dialled(LocalQuestion *question, const LocalReply *reply, int fd, void *data)
{
  RelayStream *on = data;
  g_auto(Fd) stream = fd;
  if (!reply) {
    relay_stream_fail(on, DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, "the clone's node has ended");
  } else if (reply->why != DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE || stream < 0) {
    relay_stream_fail(on, reply->why ? reply->why : DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, reply->words);
  } else {
    g_clear_pointer(&on->question, local_question_free);
    mux_accept(on->stream, NULL, NULL);
    mux_splice(on->stream, io_steal_fd(&stream), on->relay->context, on_spliced, on);
  }
}

static void
dial(RelayStream *on, const char *user)
{
  Doppel__Wire__LocalDial message = DOPPEL__WIRE__LOCAL_DIAL__INIT;
  message.user = (char *)user;
  message.service = on->service;
  LocalRequest request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
  request.what_case = DOPPEL__WIRE__LOCAL_REQUEST__WHAT_DIAL;
  request.dial = &message;
  relay_ask(on, &request, on_dialled);
}

static void
on_open(Mux *mux, MuxStream *stream, const char *user, const char *service, void *data)
{
  Relay *relay = data;
  if (relay->streams >= RELAY_STREAMS_MAX) {
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, "this device has too many streams open");
    return;
  }
  RelayStream *on = relay_stream_new(relay, stream, service);
  if (!*user && strcmp(service, LOCAL_CONTROL) == 0)
    relay_control(on);
  else if (!*user && g_str_has_prefix(service, LOCAL_LISTEN))
    relay_listen(on);
  else
    dial(on, user);
}

/* ---- the link ---- */

static void
on_gone(Mux *mux, const GError *error, void *data)
{
  g_main_loop_quit(((Relay *)data)->loop);
}

static gboolean
on_control(GIOCondition ready, void *data)
{
  Relay *relay = data;
  int fd, got;
  while ((got = link_pass_receive(relay->control_fd, &fd)) > 0)
    link_resume(mux_link(relay->mux), fd, NULL);
  return got < 0 ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

int
relay_serve(Link *link, int control_fd, const char *node)
{
  static const MuxCallbacks callbacks = {.open = on_open};
  GMainContext *context = g_main_context_new();
  Relay relay = {.context = context,
                 .loop = g_main_loop_new(context, FALSE),
                 .control_fd = control_fd,
                 .node = node,
                 .asking = g_ptr_array_new()};
  relay.mux = mux_new(link, FALSE, &callbacks, &relay);
  GSource *source = mux_source_new(relay.mux, on_gone, &relay);
  g_source_attach(source, context);
  if (control_fd >= 0)
    relay.control = fd_source_new(control_fd, G_IO_IN, context, on_control, &relay);
  g_main_loop_run(relay.loop);
  g_source_destroy(source);
  g_source_unref(source);
  mux_free(relay.mux);
  /* Those that had no answer yet: with the mux went their streams. */
  while (relay.asking->len > 0)
    relay_stream_free(relay.asking->pdata[0]);
  g_ptr_array_unref(relay.asking);
  fd_source_free(relay.control);
  g_main_loop_unref(relay.loop);
  g_main_context_unref(context);
  return 0;
}

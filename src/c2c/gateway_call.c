/* What a device's program asks of the network of clones: a stream, or an answer. */
#include <string.h>

#include "base/io.h"
#include "c2c/gateway_private.h"

static void
call_free(GatewayCall *what)
{
  g_free(what);
}

/* The program has gone before it had its answer. */
static void
on_program_gone(GatewayCall *what)
{
  mux_close(what->stream, "the program has gone");
  call_free(what);
}

static GatewayCall *
call_new(Gateway *gateway, LocalCall *call)
{
  GatewayCall *what = g_new0(GatewayCall, 1);
  *what = (GatewayCall){.gateway = gateway, .call = call, .gone = on_program_gone};
  local_call_set(call, what);
  return what;
}

static void
fail(GatewayCall *what, Doppel__Wire__C2cRefusal why, const char *words)
{
  local_call_refuse(what->call, why, words);
  call_free(what);
}

static void
on_refused(MuxStream *stream, Doppel__Wire__C2cRefusal why, const char *words, void *data)
{
  fail(data, why, words);
}

/* Opens `service`, or answers the program that it cannot be. */
static gboolean
call_open(GatewayCall *what, const char *user, const char *service, const MuxStreamCallbacks *callbacks)
{
  g_autoptr(GError) error = NULL;
  Mux *mux = gateway_mux(what->gateway, &error);
  what->stream = mux ? mux_open(mux, user, service, callbacks, what, &error) : NULL;
  if (what->stream)
    return TRUE;
  gateway_refuse(what->call, error);
  call_free(what);
  return FALSE;
}

/* ---- a stream ---- */

static void
on_spliced(void *data)
{
  call_free(data);
}

static void
on_dialled(MuxStream *stream, void *data)
{
  GatewayCall *what = data;
  g_autoptr(GError) error = NULL;
  int ends[2];
  if (!gateway_pair(ends, &error)) {
    mux_close(stream, error->message);
    fail(what, DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, error->message);
    return;
  }
  mux_splice(stream, ends[0], what->gateway->context, on_spliced, what);
  local_call_connected(g_steal_pointer(&what->call), ends[1]);
}

static void
on_reset(MuxStream *stream, const char *words, void *data)
{
  fail(data, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY,
       words && *words ? words : "the connection to the own clone was lost");
}

void
gateway_dial(Gateway *gateway, LocalCall *call, const char *user, const char *service)
{
  static const MuxStreamCallbacks callbacks = {
      .accepted = on_dialled, .refused = on_refused, .reset = on_reset};
  call_open(call_new(gateway, call), user, service, &callbacks);
}

/* ---- an answer ---- */

typedef struct {
  GatewayCall what;
  GByteArray *in, *out;
} Control;

static void
control_free(Control *control)
{
  g_byte_array_unref(control->in);
  g_byte_array_unref(control->out);
  call_free(&control->what);
}

static void
on_asker_gone(GatewayCall *what)
{
  mux_close(what->stream, "the program has gone");
  control_free((Control *)what);
}

static void
control_fail(Control *control, Doppel__Wire__C2cRefusal why, const char *words)
{
  local_call_refuse(control->what.call, why, words);
  control_free(control);
}

/* FALSE: that was the last one, and `control` is no more. */
static gboolean
take_reply(Control *control, MuxStream *stream)
{
  g_autoptr(LocalReply) reply =
      local_reply_unpack(control->in->data + LOCAL_FRAME_PREFIX, control->in->len - LOCAL_FRAME_PREFIX, NULL);
  g_byte_array_set_size(control->in, 0);
  if (reply && reply->why == DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE &&
      local_call_answer(control->what.call, reply->body.data, reply->body.len, reply->more) && reply->more)
    return TRUE;
  mux_close(stream, "");
  if (!reply)
    control_fail(control, DOPPEL__WIRE__C2C_REFUSAL__C2C_MALFORMED,
                 "the own clone has sent an answer that is none");
  else if (reply->why != DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE)
    control_fail(control, reply->why, reply->words);
  else
    control_free(control);
  return FALSE;
}

static void
on_control_readable(MuxStream *stream, void *data)
{
  Control *control = data;
  int got;
  while ((got = local_frame_read(stream, control->in, NULL)) > 0)
    if (!take_reply(control, stream))
      return;
  if (got == 0)
    return;
  mux_close(stream, "");
  control_fail(control, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY, "the own clone has ended before its answer");
}

static void
on_control_writable(MuxStream *stream, void *data)
{
  local_frame_write(stream, ((Control *)data)->out);
}

static void
on_control_refused(MuxStream *stream, Doppel__Wire__C2cRefusal why, const char *words, void *data)
{
  control_fail(data, why, words);
}

static void
on_control_reset(MuxStream *stream, const char *words, void *data)
{
  control_fail(data, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY,
               words && *words ? words : "the connection to the own clone was lost");
}

void
gateway_control(Gateway *gateway, LocalCall *call, const char *verb, const guint8 *body, gsize length)
{
  static const MuxStreamCallbacks callbacks = {.refused = on_control_refused,
                                               .readable = on_control_readable,
                                               .writable = on_control_writable,
                                               .reset = on_control_reset};
  g_autoptr(GError) error = NULL;
  Control *control = g_new0(Control, 1);
  *control = (Control){.what = {.gateway = gateway, .call = call, .gone = on_asker_gone},
                       .in = g_byte_array_new(),
                       .out = g_byte_array_new()};
  local_call_set(call, control);
  Mux *mux = gateway_mux(gateway, &error);
  control->what.stream = mux ? mux_open(mux, "", LOCAL_CONTROL, &callbacks, control, &error) : NULL;
  if (!control->what.stream) {
    gateway_refuse(call, error);
    control_free(control);
    return;
  }
  Doppel__Wire__LocalControl message = DOPPEL__WIRE__LOCAL_CONTROL__INIT;
  message.verb = (char *)verb;
  message.body = (ProtobufCBinaryData){length, (guint8 *)body};
  LocalRequest request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
  request.what_case = DOPPEL__WIRE__LOCAL_REQUEST__WHAT_CONTROL;
  request.control = &message;
  local_frame_put(control->out, &request.base);
  local_frame_write(control->what.stream, control->out);
}

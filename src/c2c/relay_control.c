/* A question to the node that is no stream: one request comes, its replies go. */
#include "base/io.h"
#include "c2c/relay_private.h"

enum { OUT_MAX = 256 << 10 }; /* bytes that wait for the device before no more of the node's are taken */

static void
over(RelayStream *on, const char *words)
{
  mux_close(on->stream, words);
  relay_stream_free(on);
}

static void
send_out(RelayStream *on)
{
  local_frame_write(on->stream, on->out);
  if (on->question)
    local_question_pause(on->question, on->out->len > OUT_MAX);
  if (on->answered && on->out->len == 0)
    mux_end(on->stream);
}

static void
on_answered(LocalQuestion *question, const LocalReply *reply, int fd, void *data)
{
  RelayStream *on = data;
  LocalReply gone = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  gone.why = DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED;
  gone.words = (char *)"the clone's node has ended";
  io_close(&fd);
  reply = reply ? reply : &gone;
  local_frame_put(on->out, &reply->base);
  on->answered = !reply->more;
  if (on->answered)
    g_clear_pointer(&on->question, local_question_free);
  send_out(on);
}

static void
on_readable(MuxStream *stream, void *data)
{
  RelayStream *on = data;
  char rest;
  if (on->question || on->request || on->answered) {
    /* The end says that the device is done with it; there is nothing else to say. */
    gssize got = mux_read(stream, &rest, 1);
    if (got != 0)
      over(on, got > 0 ? "a second request" : "");
    return;
  }
  int got = local_frame_read(stream, on->in, NULL);
  if (got == 0)
    return;
  g_autoptr(LocalRequest) request = got > 0 ? local_request_unpack(on->in->data + LOCAL_FRAME_PREFIX,
                                                                   on->in->len - LOCAL_FRAME_PREFIX, NULL)
                                            : NULL;
  if (!request || request->what_case != DOPPEL__WIRE__LOCAL_REQUEST__WHAT_CONTROL)
    over(on, "no request");
  else
    relay_ask(on, request, on_answered);
}

static void
on_writable(MuxStream *stream, void *data)
{
  send_out(data);
}

static void
on_reset(MuxStream *stream, const char *words, void *data)
{
  relay_stream_free(data);
}

void
relay_control(RelayStream *on)
{
  static const MuxStreamCallbacks callbacks = {
      .readable = on_readable, .writable = on_writable, .reset = on_reset};
  on->accepted = TRUE;
  mux_accept(on->stream, &callbacks, on);
}

/* A service that the device offers in its clone's name: as long as its stream "listen:X" is open, each stream
 * that the node has for X becomes one to the device. */
#include <string.h>

#include "base/io.h"
#include "c2c/relay_private.h"

/* One on its way to the device. */
typedef struct {
  Relay *relay;
  Fd fd;
} Incoming;

static void
incoming_free(Incoming *in)
{
  in->relay->streams--;
  io_close(&in->fd);
  g_free(in);
}

static void
on_incoming_spliced(void *data)
{
  incoming_free(data);
}

static void
on_incoming_accepted(MuxStream *stream, void *data)
{
  Incoming *in = data;
  mux_splice(stream, io_steal_fd(&in->fd), in->relay->context, on_incoming_spliced, in);
}

static void
on_incoming_refused(MuxStream *stream, Doppel__Wire__C2cRefusal why, const char *words, void *data)
{
  incoming_free(data);
}

static void
on_incoming_reset(MuxStream *stream, const char *words, void *data)
{
  incoming_free(data);
}

static void
pass_on(RelayStream *on, const Doppel__Wire__LocalPeer *peer, int fd)
{
  static const MuxStreamCallbacks callbacks = {
      .accepted = on_incoming_accepted, .refused = on_incoming_refused, .reset = on_incoming_reset};
  g_auto(Fd) stream_fd = fd;
  if (on->relay->streams >= RELAY_STREAMS_MAX)
    return;
  Incoming *in = g_new0(Incoming, 1);
  *in = (Incoming){on->relay, io_steal_fd(&stream_fd)};
  on->relay->streams++;
  g_autofree char *service = g_strconcat(LOCAL_INCOMING, on->service + strlen(LOCAL_LISTEN), NULL);
  MuxStream *stream = mux_open(on->relay->mux, "", service, &callbacks, in, NULL);
  if (!stream) {
    incoming_free(in);
    return;
  }
  /* Less than any first window. */
  g_autoptr(GByteArray) out = g_byte_array_new();
  local_frame_put(out, &peer->base);
  local_frame_write(stream, out);
}

/* ---- the offer ---- */

static void
on_readable(MuxStream *stream, void *data)
{
  char rest;
  if (mux_read(stream, &rest, 1) == 0)
    return;
  mux_close(stream, "");
  relay_stream_free(data);
}

static void
on_reset(MuxStream *stream, const char *words, void *data)
{
  relay_stream_free(data);
}

static void
on_answered(LocalQuestion *question, const LocalReply *reply, int fd, void *data)
{
  static const MuxStreamCallbacks callbacks = {.readable = on_readable, .reset = on_reset};
  RelayStream *on = data;
  g_auto(Fd) stream = fd;
  if (!reply || reply->why != DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE) {
    relay_stream_fail(on, reply ? reply->why : DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY,
                      reply ? reply->words : "the clone's node has ended");
    return;
  }
  gboolean first = !on->accepted;
  on->accepted = TRUE;
  if (reply->incoming && stream >= 0)
    pass_on(on, reply->incoming, io_steal_fd(&stream));
  if (first)
    mux_accept(on->stream, &callbacks, on);
}

void
relay_listen(RelayStream *on)
{
  Doppel__Wire__LocalListen message = DOPPEL__WIRE__LOCAL_LISTEN__INIT;
  message.service = on->service + strlen(LOCAL_LISTEN);
  LocalRequest request = DOPPEL__WIRE__LOCAL_REQUEST__INIT;
  request.what_case = DOPPEL__WIRE__LOCAL_REQUEST__WHAT_LISTEN;
  request.listen = &message;
  relay_ask(on, &request, on_answered);
}

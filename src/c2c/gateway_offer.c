/* Services that a device's programs offer: a stream "listen:X" to the own clone for each, made again when it
 * was lost, and the streams that come back. */
#include <string.h>

#include "base/io.h"
#include "base/line.h"
#include "c2c/gateway_private.h"

enum { RETRY_MS = 500, RETRY_MOST_MS = 30000, INCOMING_MAX = 256 };

typedef struct {
  GatewayCall what;
  char *service;
  gboolean offered; /* the program was told */
  gboolean away;    /* it was told that, since */
} Offer;

static Offer *
find_offer(const Gateway *gateway, const char *service)
{
  for (guint i = 0; i < gateway->offers->len; i++) {
    Offer *offer = gateway->offers->pdata[i];
    if (strcmp(offer->service, service) == 0)
      return offer;
  }
  return NULL;
}

static void
offer_free(Offer *offer)
{
  g_ptr_array_remove_fast(offer->what.gateway->offers, offer);
  g_free(offer->service);
  g_free(offer);
}

static void
on_program_gone(GatewayCall *what)
{
  if (what->stream)
    mux_close(what->stream, "");
  offer_free((Offer *)what);
}

/* The first time the program hears why; later it is tried again, for the clone may be back soon. */
static void
offer_lost(Offer *offer, Doppel__Wire__C2cRefusal why, const char *words)
{
  offer->what.stream = NULL;
  if (offer->offered) {
    if (!offer->away)
      local_call_away(offer->what.call, words);
    offer->away = TRUE;
    gateway_offer_again(offer->what.gateway);
    return;
  }
  local_call_refuse(offer->what.call, why, words);
  offer_free(offer);
}

static void
on_accepted(MuxStream *stream, void *data)
{
  Offer *offer = data;
  if (!offer->offered || offer->away)
    local_call_offer(offer->what.call);
  offer->offered = TRUE;
  offer->away = FALSE;
  offer->what.gateway->retries = 0;
}

static void
on_refused(MuxStream *stream, Doppel__Wire__C2cRefusal why, const char *words, void *data)
{
  offer_lost(data, why, words);
}

static void
on_reset(MuxStream *stream, const char *words, void *data)
{
  offer_lost(data, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY,
             words && *words ? words : "the connection to the own clone was lost");
}

static void
on_readable(MuxStream *stream, void *data)
{
  char rest;
  if (mux_read(stream, &rest, 1) == 0)
    return;
  mux_close(stream, "");
  offer_lost(data, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY, "the own clone has ended it");
}

static gboolean
offer_make(Offer *offer, GError **error)
{
  static const MuxStreamCallbacks callbacks = {
      .accepted = on_accepted, .refused = on_refused, .readable = on_readable, .reset = on_reset};
  g_autofree char *service = g_strconcat(LOCAL_LISTEN, offer->service, NULL);
  Mux *mux = gateway_mux(offer->what.gateway, error);
  offer->what.stream = mux ? mux_open(mux, "", service, &callbacks, offer, error) : NULL;
  return offer->what.stream != NULL;
}

static gboolean
on_retry(void *data)
{
  Gateway *gateway = data;
  gboolean failed = FALSE;
  g_clear_pointer(&gateway->retry, g_source_unref);
  for (guint i = 0; i < gateway->offers->len; i++) {
    Offer *offer = gateway->offers->pdata[i];
    failed = (!offer->what.stream && !offer_make(offer, NULL)) || failed;
  }
  if (failed)
    gateway_offer_again(gateway);
  return G_SOURCE_REMOVE;
}

void
gateway_offer_again(Gateway *gateway)
{
  if (gateway->retry || gateway->offers->len == 0)
    return;
  guint wait_ms = MIN(RETRY_MS << MIN(gateway->retries, 8), RETRY_MOST_MS);
  gateway->retries++;
  gateway->retry = g_timeout_source_new(wait_ms);
  g_source_set_callback(gateway->retry, on_retry, gateway, NULL);
  g_source_attach(gateway->retry, gateway->context);
}

void
gateway_listen(Gateway *gateway, LocalCall *call, const char *service)
{
  g_autoptr(GError) error = NULL;
  if (strlen(service) > MUX_SERVICE_MAX - strlen(LOCAL_INCOMING)) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_MALFORMED, "the service's name is too long");
    return;
  }
  if (find_offer(gateway, service)) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY,
                      "another program of this device's offers that service");
    return;
  }
  Offer *offer = g_new0(Offer, 1);
  *offer = (Offer){.what = {.gateway = gateway, .call = call, .gone = on_program_gone},
                   .service = g_strdup(service)};
  local_call_set(call, offer);
  g_ptr_array_add(gateway->offers, offer);
  if (!offer_make(offer, &error))
    offer_lost(offer, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY, error->message);
}

/* ---- what comes ---- */

/* A stream that has not yet said from whom it is. */
typedef struct {
  Gateway *gateway;
  char *service;
  GByteArray *in;
} Incoming;

static void
incoming_free(Incoming *in)
{
  in->gateway->streams--;
  g_free(in->service);
  g_byte_array_unref(in->in);
  g_free(in);
}

static void
on_spliced(void *data)
{
  incoming_free(data);
}

static gboolean
read_from(const Incoming *in, Doppel__Wire__LocalPeer **peer, LocalFrom *from)
{
  Doppel__Wire__LocalPeer *read = doppel__wire__local_peer__unpack(NULL, in->in->len - LOCAL_FRAME_PREFIX,
                                                                   in->in->data + LOCAL_FRAME_PREFIX);
  *peer = read;
  Doppel__Wire__LocalReply reply = DOPPEL__WIRE__LOCAL_REPLY__INIT;
  reply.incoming = read;
  if (!read || !local_reply_is_sound(&reply) || !line_is_plain(read->name, 0, LOCAL_USER_MAX))
    return FALSE;
  *from = (LocalFrom){.name = read->name, .service = in->service};
  memcpy(from->origin.bytes, read->origin.data, sizeof from->origin.bytes);
  memcpy(from->clone_key.bytes, read->clone_key.data, sizeof from->clone_key.bytes);
  return TRUE;
}

static void
hand_over(Incoming *in, MuxStream *stream)
{
  const Offer *offer = find_offer(in->gateway, in->service);
  Doppel__Wire__LocalPeer *peer = NULL;
  LocalFrom from;
  int ends[2] = {-1, -1};
  const char *why = NULL;
  if (!read_from(in, &peer, &from))
    why = "nobody has said from whom it is";
  else if (!offer || !offer->offered)
    why = "no program offers that service now";
  else if (!gateway_pair(ends, NULL))
    why = "the device has no descriptors left";
  else if (!local_call_incoming(offer->what.call, &from, ends[1]))
    why = "the program takes no more streams now";
  if (peer)
    doppel__wire__local_peer__free_unpacked(peer, NULL);
  if (!why) {
    mux_splice(stream, ends[0], in->gateway->context, on_spliced, in);
    return;
  }
  io_close(&ends[0]);
  mux_close(stream, why);
  incoming_free(in);
}

static void
on_incoming_readable(MuxStream *stream, void *data)
{
  Incoming *in = data;
  int got = local_frame_read(stream, in->in, NULL);
  if (got > 0) {
    hand_over(in, stream);
  } else if (got < 0) {
    mux_close(stream, "nobody has said from whom it is");
    incoming_free(in);
  }
}

static void
on_incoming_reset(MuxStream *stream, const char *words, void *data)
{
  incoming_free(data);
}

void
gateway_incoming(Gateway *gateway, MuxStream *stream, const char *service)
{
  static const MuxStreamCallbacks callbacks = {.readable = on_incoming_readable, .reset = on_incoming_reset};
  if (!find_offer(gateway, service)) {
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE, "no program of the device's offers that");
    return;
  }
  if (gateway->streams >= INCOMING_MAX) {
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, "the device has too many streams open");
    return;
  }
  Incoming *in = g_new0(Incoming, 1);
  *in = (Incoming){gateway, g_strdup(service), g_byte_array_new()};
  gateway->streams++;
  mux_accept(stream, &callbacks, in);
}

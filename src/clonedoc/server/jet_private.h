/* What jet_stream.c (connection, set-up) and jet_message.c (messages) share. */
#pragma once

#include <nats/nats.h>

#include "clonedoc/server/jet_stream.h"

struct JetStream {
  char *where, *name;
  GPtrArray *servers; /* "nats://HOST:PORT" */
  natsConnection *connection;
  jsCtx *context;
  natsInbox *inbox;
  natsSubscription *answers;
  guint64 tokens;   /* given so far */
  gint connections; /* so far; atomic */
  gint hurries;     /* gboolean; atomic */
  gint64 helped;    /* when it was last of use */
  GQueue waiting;   /* of JetAnswer: came while another was waited for */
};

/* Connects where nothing is connected. libnats looks for another server by itself, unless it has given up for
 * good. FALSE: not at the moment. */
gboolean jet_is_connected(JetStream *stream);

/* Pauses before another attempt; FALSE with GONE and `words` where there is no time for one. A server that
 * has been of no use for some time is left for another: it may be cut off from the others, or have fallen
 * behind.
 */
gboolean jet_may_go_on(JetStream *stream, gint64 deadline, const char *words, GError **error);
/* It was. */
void jet_helped(JetStream *stream);

/* What libnats says of the call that just returned that. */
const char *jet_words(natsStatus status);

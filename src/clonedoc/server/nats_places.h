/* Where in a JetStream stream the entries of documents are (docs/decisions/0040).
 *
 * Which message is entry N? The first with that number, where entry N - 1 is before it; any other with it is
 * *void*, and passed over. A *place* is a message of a document and the number of entries up to it. The
 * author of a message has written down its place: of the message that it came after, and its own number less
 * one. */
#pragma once

#include "clonedoc/server/jet_stream.h"

/* An election takes up to nine seconds, and there may be two in a row. */
#define NATS_PATIENCE_MS 30000
#define NATS_REST_NS     G_GINT64_CONSTANT(100000000) /* after an answer that helps nobody */

typedef struct {
  guint64 number, sequence; /* 0, 0: before the first */
} NatsPlace;

typedef struct {
  NatsPlace last;   /* what was the last message; */
  gboolean is_last; /* as far as is known, it still is */
  gboolean is_same; /* ... or has others behind it */
  NatsPlace read;   /* where the last read ended; 0, 0: not known */
} NatsDocument;

typedef struct {
  JetStream *stream;
  GHashTable *documents; /* DocName: NatsDocument */
  guint connections;     /* of the stream's, so far */
  gint64 led;            /* who leads acknowledged what was sent then */
} NatsPlaces;

/* How sure it is that nothing is missing at the end of what the leader says. */
typedef enum {
  NATS_LATELY, /* it may be what was the end a moment ago */
  NATS_LED,    /* it has all that was acknowledged to anybody, but for a leader that has just stepped down of
                * itself */
  NATS_MARKED, /* it has all */
} NatsSurety;

/* Takes the stream. */
void nats_places_init(NatsPlaces *places, JetStream *stream);
void nats_places_clear(NatsPlaces *places);

/* Before an operation: bounds what is remembered, and forgets what may not hold any more. */
void nats_places_begin(NatsPlaces *places);

NatsDocument *nats_places_document(NatsPlaces *places, const DocName *name);

/* Brings document->last up to date. It goes back only where entries are lost indeed, and not where a new
 * leader does not have them yet. */
gboolean nats_places_look(NatsPlaces *places, const DocName *name, NatsDocument *document, NatsSurety surety,
                          gint64 deadline, GError **error);

/* As doc_log_read(). */
GPtrArray *nats_places_read(NatsPlaces *places, const DocName *name, guint64 from, guint count, gsize bytes,
                            gint64 deadline, GError **error);

/* Documents' entries in NATS JetStream, which several servers share (docs/decisions/0040): one stream, a
 * subject per document, and the entry's number in the header of its message.
 *
 * NATS is asked to store a message only where the document's last one is the one its author knew; but older
 * servers may take two that were asked at once, and then the order decides, which is the same for everybody.
 * So an entry stands when it is seen to be the first, not when it is stored. */
#include "base/clock.h"
#include "clonedoc/server/log.h"
#include "clonedoc/server/nats_append.h"
#include "clonedoc/server/nats_places.h"

typedef struct {
  DocLog log;
  NatsPlaces places;
} NatsLog;

static gint64
deadline_of(void)
{
  return clock_now_ns() + NATS_PATIENCE_MS * G_GINT64_CONSTANT(1000000);
}

static gboolean
nats_append(DocLog *base, DocLogPut *puts, guint count, GError **error)
{
  NatsPlaces *places = &((NatsLog *)base)->places;
  nats_places_begin(places);
  return nats_append_all(places, puts, count, deadline_of(), error);
}

static GPtrArray *
nats_read(DocLog *base, const DocName *name, guint64 from, guint count, gsize bytes, GError **error)
{
  NatsPlaces *places = &((NatsLog *)base)->places;
  nats_places_begin(places);
  return nats_places_read(places, name, from, count, bytes, deadline_of(), error);
}

static gboolean
nats_length(DocLog *base, const DocName *name, guint64 *length, GError **error)
{
  NatsPlaces *places = &((NatsLog *)base)->places;
  nats_places_begin(places);
  NatsDocument *document = nats_places_document(places, name);
  if (!nats_places_look(places, name, document, NATS_LED, deadline_of(), error))
    return FALSE;
  *length = document->last.number;
  return TRUE;
}

static gboolean
nats_size(DocLog *base, guint64 *documents, guint64 *bytes, GError **error)
{
  JetStream *stream = ((NatsLog *)base)->places.stream;
  gint64 deadline = deadline_of();
  return jet_stream_mark(stream, deadline, error) &&
         jet_stream_size(stream, documents, bytes, deadline, error);
}

static void
nats_hurry(DocLog *base)
{
  jet_stream_hurry(((NatsLog *)base)->places.stream);
}

static void
nats_free(DocLog *base)
{
  NatsLog *log = (NatsLog *)base;
  nats_places_clear(&log->places);
  g_free(log);
}

static DocLog *
nats_open(const char *where, GError **error)
{
  JetStream *stream = jet_stream_open(where, deadline_of(), error);
  if (!stream)
    return NULL;
  NatsLog *log = g_new0(NatsLog, 1);
  log->log.kind = &doc_log_nats;
  nats_places_init(&log->places, stream);
  return &log->log;
}

const DocLogKind doc_log_nats = {
    .scheme = "nats",
    .open = nats_open,
    .free = nats_free,
    .append = nats_append,
    .read = nats_read,
    .length = nats_length,
    .size = nats_size,
    .hurry = nats_hurry,
};
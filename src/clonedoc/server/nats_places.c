#include "clonedoc/server/nats_places.h"

#include "base/clock.h"
#include "base/error.h"

/* Who has led so lately still does: the others wait for four seconds before they elect. */
#define LED_NS       G_GINT64_CONSTANT(3000000000)
#define WINDOW_MAX   64u /* questions at once, while one reads */
#define WINDOW_BYTES (4u << 20)
#define PLACES_MAX   65536u /* documents whose places are remembered */

void
nats_places_init(NatsPlaces *places, JetStream *stream)
{
  *places = (NatsPlaces){.stream = stream};
  places->documents = g_hash_table_new_full(doc_name_hash, doc_name_is, g_free, g_free);
}

void
nats_places_clear(NatsPlaces *places)
{
  jet_stream_free(places->stream);
  g_hash_table_unref(places->documents);
}

NatsDocument *
nats_places_document(NatsPlaces *places, const DocName *name)
{
  NatsDocument *document = g_hash_table_lookup(places->documents, name);
  if (!document) {
    document = g_new0(NatsDocument, 1);
    g_hash_table_insert(places->documents, g_memdup2(name, sizeof *name), document);
  }
  return document;
}

/* A log can only be set back while its servers are down. */
void
nats_places_begin(NatsPlaces *places)
{
  guint connections = jet_stream_connections(places->stream);
  if (g_hash_table_size(places->documents) > PLACES_MAX)
    g_hash_table_remove_all(places->documents);
  if (connections == places->connections)
    return;
  places->connections = connections;
  GHashTableIter each;
  gpointer document;
  g_hash_table_iter_init(&each, places->documents);
  while (g_hash_table_iter_next(&each, NULL, &document)) {
    ((NatsDocument *)document)->is_last = ((NatsDocument *)document)->is_same = FALSE;
    ((NatsDocument *)document)->read = (NatsPlace){0};
  }
}

/* ---- places ---- */

/* The place becomes that of the message, which is the next. *is_entry: and not void. */
static gboolean
step(NatsPlaces *places, NatsPlace *place, const JetEntry *message, gboolean *is_entry, GError **error)
{
  if (message->number > place->number + 1)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the log of documents %s is damaged: after entry %" G_GUINT64_FORMAT
                            " of a document comes %" G_GUINT64_FORMAT,
                            jet_stream_where(places->stream), place->number, message->number);
  *is_entry = message->number == place->number + 1;
  place->number += *is_entry;
  place->sequence = message->sequence;
  return TRUE;
}

static NatsPlace
place_before(const JetEntry *message)
{
  return (NatsPlace){.number = message->number - 1, .sequence = message->after};
}

/* Walks to the message `last`, of which it is known that it is there. */
static gboolean
walk(NatsPlaces *places, const DocName *name, NatsPlace *place, guint64 last, gint64 deadline, GError **error)
{
  while (place->sequence < last) {
    g_auto(JetEntry) message = {0};
    gboolean is_entry = FALSE;
    if (!jet_stream_next(places->stream, name, place->sequence, &message, deadline, error) ||
        !step(places, place, &message, &is_entry, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
be_sure(NatsPlaces *places, NatsSurety surety, gint64 deadline, GError **error)
{
  gint64 now = clock_now_ns();
  if (surety == NATS_LATELY || (surety == NATS_LED && places->led != 0 && now < places->led + LED_NS))
    return TRUE;
  if (!jet_stream_mark(places->stream, deadline, error))
    return FALSE;
  places->led = now;
  return TRUE;
}

/* The document's last place; `known` is one that was. */
static gboolean
find_last(NatsPlaces *places, const DocName *name, NatsSurety surety, NatsPlace known, NatsPlace *place,
          gint64 deadline, GError **error)
{
  g_auto(JetEntry) message = {0};
  if (!be_sure(places, surety, deadline, error))
    return FALSE;
  int found = jet_stream_last(places->stream, name, &message, deadline, error);
  if (found > 0 && message.sequence == known.sequence) {
    *place = known;
    return TRUE;
  }
  *place = found > 0 ? place_before(&message) : (NatsPlace){0};
  return found == 0 || (found > 0 && walk(places, name, place, message.sequence, deadline, error));
}

gboolean
nats_places_look(NatsPlaces *places, const DocName *name, NatsDocument *document, NatsSurety surety,
                 gint64 deadline, GError **error)
{
  /* Where the servers were away meanwhile, messages may have other numbers now. */
  NatsPlace known = document->is_same ? document->last : (NatsPlace){0}, place;
  if (!find_last(places, name, surety, known, &place, deadline, error) ||
      (surety != NATS_MARKED && place.sequence < document->last.sequence &&
       !find_last(places, name, NATS_MARKED, known, &place, deadline, error)))
    return FALSE;
  document->last = place;
  document->is_last = document->is_same = TRUE;
  return TRUE;
}

/* The place of entry `number`, which is there, or one before it that is not far: by halves. */
static gboolean
locate(NatsPlaces *places, const DocName *name, NatsDocument *document, guint64 number, NatsPlace *place,
       gint64 deadline, GError **error)
{
  *place = document->read;
  if (number > 0 && place->number == number)
    return TRUE;
  *place = (NatsPlace){0};
  for (guint64 low = 0, high = document->last.sequence; place->number < number && low + 1 < high;) {
    g_auto(JetEntry) message = {0};
    guint64 middle = low + (high - low) / 2;
    if (!jet_stream_next(places->stream, name, middle, &message, deadline, error))
      return FALSE;
    if (message.number > number + 1) {
      high = middle;
    } else {
      *place = place_before(&message);
      low = middle;
    }
  }
  return TRUE;
}

/* ---- reading ---- */

/* What a read is for, and has. */
typedef struct {
  NatsPlace place;
  guint64 from;
  guint count;
  gsize bytes, sum;
  GPtrArray *entries; /* of GBytes */
} Read;

static gboolean
is_full(const Read *read)
{
  return read->entries->len >= read->count || (read->sum >= read->bytes && read->entries->len > 0);
}

static gboolean
take_messages(NatsPlaces *places, Read *read, GArray *messages, GError **error)
{
  for (guint i = 0; i < messages->len && !is_full(read); i++) {
    JetEntry *message = &g_array_index(messages, JetEntry, i);
    gboolean is_entry = FALSE;
    if (!step(places, &read->place, message, &is_entry, error))
      return FALSE;
    if (!is_entry || read->place.number < read->from)
      continue;
    read->sum += g_bytes_get_size(message->entry);
    g_ptr_array_add(read->entries, g_steal_pointer(&message->entry));
  }
  return TRUE;
}

/* The window for the next question, after one that found so many. Where other documents' messages lie between
 * it would only find the same again and again. */
static guint
next_window(const Read *read, guint window, guint found)
{
  gsize each = read->entries->len > 0 ? read->sum / read->entries->len + 1 : WINDOW_BYTES;
  guint most = (guint)CLAMP(WINDOW_BYTES / each, 1, WINDOW_MAX);
  return CLAMP(2 * found > window ? 2 * window : window / 2, 1, most);
}

GPtrArray *
nats_places_read(NatsPlaces *places, const DocName *name, guint64 from, guint count, gsize bytes,
                 gint64 deadline, GError **error)
{
  NatsDocument *document = nats_places_document(places, name);
  g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  Read read = {.from = from, .count = count, .bytes = bytes, .entries = entries};
  if (!nats_places_look(places, name, document, NATS_LATELY, deadline, error))
    return NULL;
  if (from > document->last.number || count == 0)
    return g_steal_pointer(&entries);
  if (!locate(places, name, document, from - 1, &read.place, deadline, error))
    return NULL;
  for (guint window = 1; read.place.sequence < document->last.sequence && !is_full(&read);) {
    guint64 left = document->last.sequence - read.place.sequence;
    g_autoptr(GArray) messages =
        jet_stream_some(places->stream, name, read.place.sequence, (guint)MIN(window, left), deadline, error);
    if (!messages || !take_messages(places, &read, messages, error))
      return NULL;
    window = next_window(&read, window, messages->len);
  }
  document->read = read.place;
  return g_steal_pointer(&entries);
}

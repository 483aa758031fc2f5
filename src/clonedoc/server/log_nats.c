/* Documents' entries in NATS JetStream, which several servers share (docs/decisions/0040): one stream, a
 * subject per document, and the entry's number in the header of its message.
 *
 * Which message is entry N? The first with that number, where entry N - 1 is before it; any other with it is
 * *void*, and passed over. NATS is asked to store a message only where the document's last one is the one its
 * author knew; but older servers may take two that were asked at once, and then the order decides, which is
 * the same for everybody. So an entry stands when it is seen to be the first, not when it is stored.
 *
 * A *place* is a message of a document and the number of entries up to it. The author of a message has
 * written down its place: of the message that it came after, and its own number less one. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/server/jet_stream.h"
#include "clonedoc/server/log.h"

/* An election takes up to nine seconds, and there may be two in a row. */
#define PATIENCE_MS 30000
/* Who has led so lately still does: the others wait for four seconds before they elect. */
#define LED_NS       G_GINT64_CONSTANT(3000000000)
#define REST_NS      G_GINT64_CONSTANT(100000000) /* after an answer that helps nobody */
#define LISTEN_MS    5
#define WINDOW_MAX   64u /* questions at once, while one reads */
#define WINDOW_BYTES (4u << 20)
#define PLACES_MAX   65536u /* documents whose places are remembered */

typedef struct {
  guint64 number, sequence; /* 0, 0: before the first */
} Place;

typedef struct {
  Place last;       /* what was the last message; */
  gboolean is_last; /* as far as is known, it still is */
  gboolean is_same; /* ... or has others behind it */
  Place read;       /* where the last read ended; 0, 0: not known */
} Document;

typedef struct {
  DocLog log;
  JetStream *stream;
  GHashTable *documents; /* DocName: Document */
  guint connections;     /* of the stream's, so far */
  gint64 led;            /* who leads acknowledged what was sent then */
} NatsLog;

static gint64
deadline_of(void)
{
  return clock_now_ns() + PATIENCE_MS * G_GINT64_CONSTANT(1000000);
}

static guint
hash_name(gconstpointer name)
{
  guint hash;
  memcpy(&hash, name, sizeof hash);
  return hash;
}

static gboolean
equal_names(gconstpointer a, gconstpointer b)
{
  return doc_name_equal(a, b);
}

static Document *
document_of(NatsLog *log, const DocName *name)
{
  Document *document = g_hash_table_lookup(log->documents, name);
  if (!document) {
    document = g_new0(Document, 1);
    g_hash_table_insert(log->documents, g_memdup2(name, sizeof *name), document);
  }
  return document;
}

/* Before an operation: bounds what is remembered, and forgets what may not hold any more. A log can only be
 * set back while its servers are down. */
static void
begin(NatsLog *log)
{
  guint connections = jet_stream_connections(log->stream);
  if (g_hash_table_size(log->documents) > PLACES_MAX)
    g_hash_table_remove_all(log->documents);
  if (connections == log->connections)
    return;
  log->connections = connections;
  GHashTableIter each;
  gpointer document;
  g_hash_table_iter_init(&each, log->documents);
  while (g_hash_table_iter_next(&each, NULL, &document)) {
    ((Document *)document)->is_last = ((Document *)document)->is_same = FALSE;
    ((Document *)document)->read = (Place){0};
  }
}

/* ---- places ---- */

/* The place becomes that of the message, which is the next. *is_entry: and not void. */
static gboolean
step(NatsLog *log, Place *place, const JetEntry *message, gboolean *is_entry, GError **error)
{
  if (message->number > place->number + 1)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the log of documents %s is damaged: after entry %" G_GUINT64_FORMAT
                            " of a document comes %" G_GUINT64_FORMAT,
                            jet_stream_where(log->stream), place->number, message->number);
  *is_entry = message->number == place->number + 1;
  place->number += *is_entry;
  place->sequence = message->sequence;
  return TRUE;
}

static Place
place_before(const JetEntry *message)
{
  return (Place){.number = message->number - 1, .sequence = message->after};
}

/* Walks to the message `last`, of which it is known that it is there. */
static gboolean
walk(NatsLog *log, const DocName *name, Place *place, guint64 last, gint64 deadline, GError **error)
{
  while (place->sequence < last) {
    g_auto(JetEntry) message = {0};
    gboolean is_entry = FALSE;
    if (!jet_stream_next(log->stream, name, place->sequence, &message, deadline, error) ||
        !step(log, place, &message, &is_entry, error))
      return FALSE;
  }
  return TRUE;
}

/* How sure it is that nothing is missing at the end of what the leader says. */
typedef enum {
  LATELY, /* it may be what was the end a moment ago */
  LED, /* it has all that was acknowledged to anybody, but for a leader that has just stepped down of itself
        */
  MARKED, /* it has all, */
} Surety;

static gboolean
be_sure(NatsLog *log, Surety surety, gint64 deadline, GError **error)
{
  gint64 now = clock_now_ns();
  if (surety == LATELY || (surety == LED && log->led != 0 && now < log->led + LED_NS))
    return TRUE;
  if (!jet_stream_mark(log->stream, deadline, error))
    return FALSE;
  log->led = now;
  return TRUE;
}

/* The document's last place; `known` is one that was. */
static gboolean
find_last(NatsLog *log, const DocName *name, Surety surety, Place known, Place *place, gint64 deadline,
          GError **error)
{
  g_auto(JetEntry) message = {0};
  if (!be_sure(log, surety, deadline, error))
    return FALSE;
  int found = jet_stream_last(log->stream, name, &message, deadline, error);
  if (found > 0 && message.sequence == known.sequence) {
    *place = known;
    return TRUE;
  }
  *place = found > 0 ? place_before(&message) : (Place){0};
  return found == 0 || (found > 0 && walk(log, name, place, message.sequence, deadline, error));
}

/* Brings document->last up to date. It goes back only where entries are lost indeed, and not where a new
 * leader does not have them yet. */
static gboolean
look(NatsLog *log, const DocName *name, Document *document, Surety surety, gint64 deadline, GError **error)
{
  /* Where the servers were away meanwhile, messages may have other numbers now. */
  Place known = document->is_same ? document->last : (Place){0}, place;
  if (!find_last(log, name, surety, known, &place, deadline, error) ||
      (surety != MARKED && place.sequence < document->last.sequence &&
       !find_last(log, name, MARKED, known, &place, deadline, error)))
    return FALSE;
  document->last = place;
  document->is_last = document->is_same = TRUE;
  return TRUE;
}

/* The place of entry `number`, which is there, or one before it that is not far: by halves. */
static gboolean
locate(NatsLog *log, const DocName *name, Document *document, guint64 number, Place *place, gint64 deadline,
       GError **error)
{
  *place = document->read;
  if (number > 0 && place->number == number)
    return TRUE;
  *place = (Place){0};
  for (guint64 low = 0, high = document->last.sequence; place->number < number && low + 1 < high;) {
    g_auto(JetEntry) message = {0};
    guint64 middle = low + (high - low) / 2;
    if (!jet_stream_next(log->stream, name, middle, &message, deadline, error))
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
  Place place;
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
take_messages(NatsLog *log, Read *read, GArray *messages, GError **error)
{
  for (guint i = 0; i < messages->len && !is_full(read); i++) {
    JetEntry *message = &g_array_index(messages, JetEntry, i);
    gboolean is_entry = FALSE;
    if (!step(log, &read->place, message, &is_entry, error))
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

static GPtrArray *
read_entries(NatsLog *log, const DocName *name, guint64 from, guint count, gsize bytes, gint64 deadline,
             GError **error)
{
  Document *document = document_of(log, name);
  g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  Read read = {.from = from, .count = count, .bytes = bytes, .entries = entries};
  if (!look(log, name, document, LATELY, deadline, error))
    return NULL;
  if (from > document->last.number || count == 0)
    return g_steal_pointer(&entries);
  if (!locate(log, name, document, from - 1, &read.place, deadline, error))
    return NULL;
  for (guint window = 1; read.place.sequence < document->last.sequence && !is_full(&read);) {
    guint64 left = document->last.sequence - read.place.sequence;
    g_autoptr(GArray) messages =
        jet_stream_some(log->stream, name, read.place.sequence, (guint)MIN(window, left), deadline, error);
    if (!messages || !take_messages(log, &read, messages, error))
      return NULL;
    window = next_window(&read, window, messages->len);
  }
  document->read = read.place;
  return g_steal_pointer(&entries);
}

static GPtrArray *
nats_read(DocLog *base, const DocName *name, guint64 from, guint count, gsize bytes, GError **error)
{
  NatsLog *log = (NatsLog *)base;
  begin(log);
  return read_entries(log, name, from, count, bytes, deadline_of(), error);
}

static gboolean
nats_length(DocLog *base, const DocName *name, guint64 *length, GError **error)
{
  NatsLog *log = (NatsLog *)base;
  begin(log);
  Document *document = document_of(log, name);
  if (!look(log, name, document, LED, deadline_of(), error))
    return FALSE;
  *length = document->last.number;
  return TRUE;
}

static gboolean
nats_size(DocLog *base, guint64 *documents, guint64 *bytes, GError **error)
{
  NatsLog *log = (NatsLog *)base;
  gint64 deadline = deadline_of();
  return jet_stream_mark(log->stream, deadline, error) &&
         jet_stream_size(log->stream, documents, bytes, deadline, error);
}

/* ---- appending ---- */

/* What is left to be put of one document, in the order of the numbers. */
typedef struct {
  DocName name;
  Document *document;
  GQueue puts;       /* of DocLogPut */
  guint64 token;     /* of the question under way for the first of them; 0: none is */
  gint64 asked;      /* since when */
  gint64 rests;      /* until then */
  gboolean in_doubt; /* it may have been stored already */
  guint64 stored_at; /* it is, under that sequence, and the question is whether it is the first */
} Queue;

typedef struct {
  NatsLog *log;
  GPtrArray *queues; /* of Queue */
  gint64 deadline;
  GError *why; /* the first of what went wrong */
} Append;

static void
free_queue(gpointer data)
{
  Queue *queue = data;
  g_queue_clear(&queue->puts);
  g_free(queue);
}

static DocLogPut *
first_of(Queue *queue)
{
  return g_queue_peek_head(&queue->puts);
}

/* The first put is done with; the next has its turn. */
static void
settle(Queue *queue, DocLogOutcome outcome)
{
  DocLogPut *put = g_queue_pop_head(&queue->puts);
  put->outcome = outcome;
  queue->token = queue->stored_at = 0;
  queue->in_doubt = FALSE;
}

static void
settle_all(Queue *queue, DocLogOutcome outcome)
{
  while (first_of(queue))
    settle(queue, outcome);
}

static void
fail(Append *append, Queue *queue, GError *why)
{
  if (!append->why)
    append->why = why;
  else
    g_error_free(why);
  queue->document->is_last = FALSE;
  settle_all(queue, DOC_LOG_FAILED);
}

/* Nothing is known but that it may be there. */
static void
doubt(Queue *queue)
{
  queue->token = queue->stored_at = 0;
  queue->in_doubt = TRUE;
  queue->document->is_last = FALSE;
}

static void
stands(Queue *queue, guint64 sequence)
{
  queue->document->last = (Place){.number = first_of(queue)->number, .sequence = sequence};
  queue->document->is_last = TRUE;
  settle(queue, DOC_LOG_DONE);
}

/* The number has an entry. Where it may be this one, it is looked at. */
static void
compare(Append *append, Queue *queue)
{
  DocLogPut *put = first_of(queue);
  g_autoptr(GError) why = NULL;
  g_autoptr(GPtrArray) there = NULL;
  if (queue->in_doubt)
    there = read_entries(append->log, &queue->name, put->number, 1, 1, append->deadline, &why);
  if (queue->in_doubt && !there)
    fail(append, queue, g_steal_pointer(&why));
  else if (there && there->len > 0 && g_bytes_equal(there->pdata[0], put->entry))
    settle(queue, DOC_LOG_DONE);
  else
    settle_all(queue, DOC_LOG_TAKEN);
}

static GError *
lost(Append *append, Queue *queue)
{
  return g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH,
                     "the log of documents %s has lost entries of a document: there are %" G_GUINT64_FORMAT
                     ", and entry %" G_GUINT64_FORMAT " was to be the next",
                     jet_stream_where(append->log->stream), queue->document->last.number,
                     first_of(queue)->number);
}

/* Asks for the first put of the document, or is done with it at once. */
static void
ask(Append *append, Queue *queue)
{
  NatsLog *log = append->log;
  Document *document = queue->document;
  DocLogPut *put = first_of(queue);
  GError *why = NULL;
  if (!document->is_last && !look(log, &queue->name, document, LATELY, append->deadline, &why))
    return fail(append, queue, why);
  if (put->number > document->last.number + 1 &&
      !look(log, &queue->name, document, MARKED, append->deadline, &why))
    return fail(append, queue, why);
  if (put->number <= document->last.number)
    return compare(append, queue);
  if (put->number > document->last.number + 1)
    return fail(append, queue, lost(append, queue));
  queue->asked = clock_now_ns();
  queue->token =
      jet_stream_put(log->stream, &put->document, put->number, document->last.sequence, put->entry);
  if (queue->token == 0)
    queue->rests = queue->asked + REST_NS;
}

static void
take_ack(Append *append, Queue *queue, const JetAck *ack)
{
  Document *document = queue->document;
  queue->token = 0;
  switch (ack->fate) {
  case JET_STORED:
    append->log->led = MAX(append->log->led, queue->asked);
    if (ack->sequence == document->last.sequence + 1)
      return stands(queue, ack->sequence);
    queue->stored_at = ack->sequence;
    return;
  case JET_OTHERWISE:
    document->is_last = FALSE;
    return;
  case JET_LATER:
    doubt(queue);
    queue->rests = clock_now_ns() + REST_NS;
    return;
  case JET_REFUSED:
    fail(append, queue,
         g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_FAILED, "the log of documents %s refuses an entry: %s",
                     jet_stream_where(append->log->stream), ack->words));
  }
}

/* What is stored stands where it is the first after the place that it was made for. */
static void
take_first(Append *append, Queue *queue, const JetEntry *entry)
{
  queue->token = 0;
  if (entry->sequence == 0 || !doc_name_equal(&entry->document, &queue->name))
    queue->rests = clock_now_ns() + REST_NS / 50; /* that member does not have it yet */
  else if (entry->sequence == queue->stored_at)
    stands(queue, entry->sequence);
  else
    doubt(queue);
}

static void
ask_first(Append *append, Queue *queue)
{
  queue->asked = clock_now_ns();
  queue->token = jet_stream_ask(append->log->stream, &queue->name, queue->document->last.sequence);
  if (queue->token == 0)
    queue->rests = queue->asked + REST_NS;
}

static void
give_up(Append *append, Queue *queue)
{
  fail(append, queue,
       g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_GONE,
                   "the log of documents %s does not answer, and whether it has an entry is not known: see "
                   "whether a majority of its NATS servers runs",
                   jet_stream_where(append->log->stream)));
}

/* Gives every document its turn; whether one is waited for. */
static gboolean
go_on(Append *append)
{
  gboolean waits = FALSE;
  gint64 now = clock_now_ns();
  for (guint i = 0; i < append->queues->len; i++) {
    Queue *queue = append->queues->pdata[i];
    if (queue->token != 0 && now > queue->asked + JET_ATTEMPT_MS * G_GINT64_CONSTANT(1000000))
      doubt(queue);
    while (first_of(queue) && queue->token == 0 && now >= queue->rests) {
      if (now > append->deadline)
        give_up(append, queue);
      else if (queue->stored_at != 0)
        ask_first(append, queue);
      else
        ask(append, queue);
    }
    waits = waits || first_of(queue);
  }
  return waits;
}

static void
take_answer(Append *append, const JetAnswer *answer)
{
  for (guint i = 0; i < append->queues->len; i++) {
    Queue *queue = append->queues->pdata[i];
    if (!first_of(queue) || queue->token != answer->token)
      continue;
    if (answer->stored)
      take_ack(append, queue, &answer->ack);
    else
      take_first(append, queue, &answer->entry);
    return;
  }
}

static void
sort_puts(Append *append, DocLogPut *puts, guint count)
{
  g_autoptr(GHashTable) queues = g_hash_table_new(hash_name, equal_names);
  for (guint i = 0; i < count; i++) {
    Queue *queue = g_hash_table_lookup(queues, &puts[i].document);
    puts[i].outcome = DOC_LOG_FAILED;
    if (!queue) {
      queue = g_new0(Queue, 1);
      queue->name = puts[i].document;
      queue->document = document_of(append->log, &queue->name);
      g_hash_table_insert(queues, &queue->name, queue);
      g_ptr_array_add(append->queues, queue);
    }
    g_queue_push_tail(&queue->puts, &puts[i]);
  }
}

/* One question at a time for each document, and all documents at once. */
static gboolean
nats_append(DocLog *base, DocLogPut *puts, guint count, GError **error)
{
  NatsLog *log = (NatsLog *)base;
  begin(log);
  Append append = {
      .log = log, .queues = g_ptr_array_new_with_free_func(free_queue), .deadline = deadline_of()};
  sort_puts(&append, puts, count);
  while (go_on(&append)) {
    g_auto(JetAnswer) answer = {0};
    if (jet_stream_answer(log->stream, &answer, LISTEN_MS))
      take_answer(&append, &answer);
  }
  g_ptr_array_unref(append.queues);
  jet_stream_forget(log->stream);
  if (append.why)
    g_propagate_error(error, append.why);
  return !append.why;
}

/* ---- the kind ---- */

static void
nats_free(DocLog *base)
{
  NatsLog *log = (NatsLog *)base;
  if (log->stream)
    jet_stream_free(log->stream);
  g_hash_table_unref(log->documents);
  g_free(log);
}

static DocLog *
nats_open(const char *where, GError **error)
{
  NatsLog *log = g_new0(NatsLog, 1);
  g_autoptr(DocLog) made = &log->log;
  log->log.kind = &doc_log_nats;
  log->documents = g_hash_table_new_full(hash_name, equal_names, g_free, g_free);
  log->stream = jet_stream_open(where, deadline_of(), error);
  return log->stream ? g_steal_pointer(&made) : NULL;
}

const DocLogKind doc_log_nats = {
    .scheme = "nats",
    .open = nats_open,
    .free = nats_free,
    .append = nats_append,
    .read = nats_read,
    .length = nats_length,
    .size = nats_size,
};

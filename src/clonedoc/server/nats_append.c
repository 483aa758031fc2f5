#include "clonedoc/server/nats_append.h"

#include "base/clock.h"
#include "base/error.h"

#define LISTEN_MS 5

/* What is left to be put of one document, in the order of the numbers. */
typedef struct {
  DocName name;
  NatsDocument *document;
  GQueue puts;       /* of DocLogPut */
  guint64 token;     /* of the question under way for the first of them; 0: none is */
  gint64 asked;      /* since when */
  gint64 rests;      /* until then */
  gboolean in_doubt; /* it may have been stored already */
  guint64 stored_at; /* it is, under that sequence, and the question is whether it is the first */
} Queue;

typedef struct {
  NatsPlaces *places;
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
  queue->document->last = (NatsPlace){.number = first_of(queue)->number, .sequence = sequence};
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
    there = nats_places_read(append->places, &queue->name, put->number, 1, 1, append->deadline, &why);
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
                     jet_stream_where(append->places->stream), queue->document->last.number,
                     first_of(queue)->number);
}

/* Asks for the first put of the document, or is done with it at once. */
static void
ask(Append *append, Queue *queue)
{
  NatsPlaces *places = append->places;
  NatsDocument *document = queue->document;
  DocLogPut *put = first_of(queue);
  GError *why = NULL;
  if (!document->is_last &&
      !nats_places_look(places, &queue->name, document, NATS_LATELY, append->deadline, &why))
    return fail(append, queue, why);
  if (put->number > document->last.number + 1 &&
      !nats_places_look(places, &queue->name, document, NATS_MARKED, append->deadline, &why))
    return fail(append, queue, why);
  if (put->number <= document->last.number)
    return compare(append, queue);
  if (put->number > document->last.number + 1)
    return fail(append, queue, lost(append, queue));
  queue->asked = clock_now_ns();
  queue->token =
      jet_stream_put(places->stream, &put->document, put->number, document->last.sequence, put->entry);
  if (queue->token == 0)
    queue->rests = queue->asked + NATS_REST_NS;
}

static void
take_ack(Append *append, Queue *queue, const JetAck *ack)
{
  NatsDocument *document = queue->document;
  queue->token = 0;
  switch (ack->fate) {
  case JET_STORED:
    append->places->led = MAX(append->places->led, queue->asked);
    if (ack->sequence == document->last.sequence + 1)
      return stands(queue, ack->sequence);
    queue->stored_at = ack->sequence;
    return;
  case JET_OTHERWISE:
    document->is_last = FALSE;
    return;
  case JET_LATER:
    doubt(queue);
    queue->rests = clock_now_ns() + NATS_REST_NS;
    return;
  case JET_REFUSED:
    fail(append, queue,
         g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_FAILED, "the log of documents %s refuses an entry: %s",
                     jet_stream_where(append->places->stream), ack->words));
  }
}

/* What is stored stands where it is the first after the place that it was made for. */
static void
take_first(Append *append, Queue *queue, const JetEntry *entry)
{
  queue->token = 0;
  if (entry->sequence == 0 || !doc_name_equal(&entry->document, &queue->name))
    queue->rests = clock_now_ns() + NATS_REST_NS / 50; /* that member does not have it yet */
  else if (entry->sequence == queue->stored_at)
    stands(queue, entry->sequence);
  else
    doubt(queue);
}

static void
ask_first(Append *append, Queue *queue)
{
  queue->asked = clock_now_ns();
  queue->token = jet_stream_ask(append->places->stream, &queue->name, queue->document->last.sequence);
  if (queue->token == 0)
    queue->rests = queue->asked + NATS_REST_NS;
}

static void
give_up(Append *append, Queue *queue)
{
  fail(append, queue,
       g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_GONE,
                   "the log of documents %s does not answer, and whether it has an entry is not known: see "
                   "whether a majority of its NATS servers runs",
                   jet_stream_where(append->places->stream)));
}

/* Gives every document its turn; whether one is waited for. */
static gboolean
go_on(Append *append)
{
  gboolean waits = FALSE;
  gint64 now = clock_now_ns();
  for (guint i = 0; i < append->queues->len; i++) {
    Queue *queue = append->queues->pdata[i];
    if (queue->token != 0 && (now > queue->asked + JET_ATTEMPT_MS * G_GINT64_CONSTANT(1000000) ||
                              jet_stream_hurries(append->places->stream)))
      doubt(queue);
    while (first_of(queue) && queue->token == 0 &&
           (now >= queue->rests || jet_stream_hurries(append->places->stream))) {
      if (now > append->deadline || jet_stream_hurries(append->places->stream))
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
  g_autoptr(GHashTable) queues = g_hash_table_new(doc_name_hash, doc_name_is);
  for (guint i = 0; i < count; i++) {
    Queue *queue = g_hash_table_lookup(queues, &puts[i].document);
    puts[i].outcome = DOC_LOG_FAILED;
    if (!queue) {
      queue = g_new0(Queue, 1);
      queue->name = puts[i].document;
      queue->document = nats_places_document(append->places, &queue->name);
      g_hash_table_insert(queues, &queue->name, queue);
      g_ptr_array_add(append->queues, queue);
    }
    g_queue_push_tail(&queue->puts, &puts[i]);
  }
}

gboolean
nats_append_all(NatsPlaces *places, DocLogPut *puts, guint count, gint64 deadline, GError **error)
{
  Append append = {
      .places = places, .queues = g_ptr_array_new_with_free_func(free_queue), .deadline = deadline};
  sort_puts(&append, puts, count);
  while (go_on(&append)) {
    g_auto(JetAnswer) answer = {0};
    if (jet_stream_answer(places->stream, &answer, LISTEN_MS))
      take_answer(&append, &answer);
  }
  g_ptr_array_unref(append.queues);
  jet_stream_forget(places->stream);
  if (append.why)
    g_propagate_error(error, append.why);
  return !append.why;
}

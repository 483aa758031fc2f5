/* What the ordering server asks its log, and what becomes of the answers. */
#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/server/server_private.h"

#define POLLED    64u                            /* documents that are looked at each time */
#define MEND_NS   G_GINT64_CONSTANT(10000000000) /* what is followed and could not be read is tried again */
#define READS_MAX 4u /* calls of a connection that need entries from the log: each may hold some MiB */

typedef struct {
  DocErrand errand;
  DocServer *server;
  DocTask *task;    /* whose; NULL: that of a follow, or none */
  GPtrArray *tasks; /* of DocTask: of all who want to know how long the document is */
  gint begun;       /* atomic: the log is being asked that, and whoever comes now comes too late */
  guint64 visit, follow;
  DocName document;
  guint64 from, length;
  guint count;
  gsize bytes;
  gboolean doubted, anew; /* of a slice: is to be compared with the log; is longer than that */
  GPtrArray *entries;     /* of GBytes */
  DocBatch *batch;
  GArray *lengths; /* of Length */
} Errand;

typedef struct {
  DocName document;
  guint64 number, length; /* here, and in the log; */
  gboolean known;         /* which has said so */
} Length;

static void
errand_free(DocErrand *base)
{
  Errand *errand = (Errand *)base;
  if (errand->task)
    doc_task_free(errand->task);
  g_clear_pointer(&errand->tasks, g_ptr_array_unref);
  if (errand->batch)
    doc_batch_free(errand->batch);
  g_clear_pointer(&errand->entries, g_ptr_array_unref);
  g_clear_pointer(&errand->lengths, g_array_unref);
  g_free(errand);
}

static Errand *
errand_new(DocServer *server, gboolean (*run)(DocErrand *errand, DocLog *log, GError **error),
           void (*done)(DocErrand *errand, gpointer server))
{
  Errand *errand = g_new0(Errand, 1);
  errand->errand = (DocErrand){.run = run, .done = done, .free = errand_free};
  errand->server = server;
  return errand;
}

static void
note_error(DocServer *server, const Errand *errand)
{
  if (errand->errand.error)
    doc_server_complain(server, errand->errand.error->message);
}

/* ---- how long a document is ---- */

static gboolean
run_length(DocErrand *base, DocLog *log, GError **error)
{
  Errand *errand = (Errand *)base;
  g_atomic_int_set(&errand->begun, TRUE);
  return doc_log_length(log, &errand->document, &errand->length, error);
}

static void
take_length(DocServer *server, const Errand *errand, DocTask *task)
{
  task->fresh = TRUE;
  task->blind = errand->errand.error != NULL;
  task->length = errand->length;
  doc_server_put(server, task);
}

static void
length_done(DocErrand *base, gpointer data)
{
  DocServer *server = data;
  Errand *errand = (Errand *)base;
  g_autoptr(GPtrArray) tasks = g_steal_pointer(&errand->tasks);
  note_error(server, errand);
  if (g_hash_table_lookup(server->asked, &errand->document) == errand)
    g_hash_table_remove(server->asked, &errand->document);
  DocOpen *open = doc_shelf_find(server->shelf, &errand->document);
  if (open && open->state == DOC_OPEN_READY && !base->error &&
      errand->length != doc_history_number(open->history))
    doc_shelf_read_again(server->shelf, open, errand->length < doc_history_number(open->history));
  while (tasks->len > 0)
    take_length(server, errand, g_ptr_array_steal_index(tasks, 0));
}

/* What is asked for many who follow one document is asked once: but whoever comes when the log is being asked
 * already may know more than it is about to say. */
void
doc_server_ask(DocServer *server, DocTask *task)
{
  Errand *errand = g_hash_table_lookup(server->asked, &task->call->document);
  if (errand && !g_atomic_int_get(&errand->begun)) {
    g_ptr_array_add(errand->tasks, task);
    return;
  }
  errand = errand_new(server, run_length, length_done);
  errand->document = task->call->document;
  errand->tasks = g_ptr_array_new_with_free_func((GDestroyNotify)(void (*)(void))doc_task_free);
  g_ptr_array_add(errand->tasks, task);
  g_hash_table_replace(server->asked, &errand->document, errand);
  doc_clerk_send(server->clerk, &errand->errand);
}

/* ---- entries ---- */

static gboolean
run_read(DocErrand *base, DocLog *log, GError **error)
{
  Errand *errand = (Errand *)base;
  errand->entries = doc_log_read(log, &errand->document, errand->from, errand->count, errand->bytes, error);
  return errand->entries != NULL;
}

static void
read_done(DocErrand *base, gpointer data)
{
  DocServer *server = data;
  Errand *errand = (Errand *)base;
  note_error(server, errand);
  DocTask *task = g_steal_pointer(&errand->task);
  if (!task) {
    doc_server_tell_read(server, errand->visit, errand->follow, &errand->document, errand->from,
                         errand->entries);
  } else if (errand->entries) {
    g_clear_pointer(&task->read, g_ptr_array_unref);
    task->read = g_steal_pointer(&errand->entries);
    task->first = errand->from;
    doc_server_put(server, task);
  } else {
    doc_server_answer_briefly(server, task, DOC_STATUS(FAILED), "the server could not look for the entry");
  }
}

static void
send_read(DocServer *server, Errand *errand, const DocName *document, guint64 from, guint count, gsize bytes)
{
  errand->document = *document;
  errand->from = from;
  errand->count = count;
  errand->bytes = bytes;
  doc_clerk_send(server->clerk, &errand->errand);
}

void
doc_server_read(DocServer *server, DocTask *task, guint64 from, guint count, gsize bytes)
{
  DocVisit *visit = link_door_find(server->door, task->visit);
  if (!visit) {
    doc_task_free(task);
    return;
  }
  if (!task->reads && visit->reads >= READS_MAX) {
    doc_server_answer_busy(server, task, NULL);
    return;
  }
  visit->reads += !task->reads;
  task->reads = TRUE;
  Errand *errand = errand_new(server, run_read, read_done);
  errand->task = task;
  send_read(server, errand, &task->call->document, from, count, bytes);
}

void
doc_server_read_follow(DocServer *server, DocFollow *follow, guint count, gsize bytes)
{
  Errand *errand = errand_new(server, run_read, read_done);
  errand->visit = follow->visit->base.id;
  errand->follow = follow->id;
  follow->visit->reading = TRUE;
  send_read(server, errand, &follow->open->name, follow->next, count, bytes);
}

/* ---- what the shelf wants ---- */

static gboolean
run_slice(DocErrand *base, DocLog *log, GError **error)
{
  Errand *errand = (Errand *)base;
  if (errand->doubted && !doc_log_length(log, &errand->document, &errand->length, error))
    return FALSE;
  errand->anew = errand->doubted && errand->length < errand->from - 1;
  if (errand->anew)
    errand->from = 1;
  return run_read(base, log, error);
}

static void
slice_done(DocErrand *base, gpointer data)
{
  DocServer *server = data;
  Errand *errand = (Errand *)base;
  DocOpen *open = doc_shelf_find(server->shelf, &errand->document);
  server->reads = FALSE;
  if (errand->anew)
    doc_shelf_begin_anew(open);
  if (doc_shelf_take(server->shelf, open, errand->entries, base->error))
    doc_server_end_waiting(server, open);
  doc_server_read_slice(server);
}

void
doc_server_read_slice(DocServer *server)
{
  DocOpen *open = server->reads ? NULL : doc_shelf_next(server->shelf);
  if (!open)
    return;
  server->reads = TRUE;
  Errand *errand = errand_new(server, run_slice, slice_done);
  errand->doubted = open->doubted;
  send_read(server, errand, &open->name, doc_history_number(open->history) + 1, DOC_SLICE_ENTRIES,
            DOC_SLICE_BYTES);
}

/* ---- what other servers have appended ---- */

static gboolean
run_poll(DocErrand *base, DocLog *log, GError **error)
{
  Errand *errand = (Errand *)base;
  for (guint i = 0; i < errand->lengths->len; i++) {
    Length *length = &g_array_index(errand->lengths, Length, i);
    length->known = doc_log_length(log, &length->document, &length->length, error);
    if (!length->known)
      return FALSE;
  }
  return TRUE;
}

static void
poll_done(DocErrand *base, gpointer data)
{
  DocServer *server = data;
  Errand *errand = (Errand *)base;
  server->polls = FALSE;
  for (guint i = 0; i < errand->lengths->len; i++) {
    const Length *length = &g_array_index(errand->lengths, Length, i);
    DocOpen *open = doc_shelf_find(server->shelf, &length->document);
    if (length->known && length->length != length->number && open && open->state == DOC_OPEN_READY &&
        doc_history_number(open->history) == length->number)
      doc_shelf_read_again(server->shelf, open, length->length < length->number);
  }
  doc_server_read_slice(server);
}

void
doc_server_poll(DocServer *server)
{
  if (server->polls || server->followed->len == 0)
    return;
  Errand *errand = errand_new(server, run_poll, poll_done);
  errand->lengths = g_array_new(FALSE, TRUE, sizeof(Length));
  for (guint left = MIN(server->followed->len, POLLED); left > 0; left--) {
    server->polled = (server->polled + 1) % server->followed->len;
    DocOpen *open = server->followed->pdata[server->polled];
    Length length = {.document = open->name, .number = doc_history_number(open->history)};
    if (open->state == DOC_OPEN_READY)
      g_array_append_val(errand->lengths, length);
    else if (open->state == DOC_OPEN_BROKEN && clock_now_ns() > open->broken_at + MEND_NS)
      doc_shelf_read_again(server->shelf, open, FALSE);
  }
  server->polls = TRUE;
  doc_clerk_send(server->clerk, &errand->errand);
  doc_server_read_slice(server);
}

/* ---- appending ---- */

static gboolean
run_append(DocErrand *base, DocLog *log, GError **error)
{
  GArray *puts = ((Errand *)base)->batch->puts;
  return doc_log_append_all(log, (DocLogPut *)puts->data, puts->len, error);
}

static void
append_done(DocErrand *base, gpointer data)
{
  DocServer *server = data;
  Errand *errand = (Errand *)base;
  server->batch = NULL;
  if (base->error)
    note_error(server, errand);
  else
    g_clear_pointer(&server->complained, g_free); /* the next trouble is another one */
  doc_batch_done(server, errand->batch, base->error);
}

void
doc_server_append(DocServer *server, DocBatch *batch)
{
  Errand *errand = errand_new(server, run_append, append_done);
  errand->batch = server->batch = batch;
  for (guint i = 0; i < batch->opens->len; i++)
    ((DocOpen *)batch->opens->pdata[i])->state = DOC_OPEN_APPENDING;
  server->counters.batches++;
  doc_clerk_send(server->clerk, &errand->errand);
}

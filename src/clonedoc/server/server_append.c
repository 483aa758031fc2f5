/* Entries that want a number: judged as every member will judge them, and appended in batches. */
#include "clonedoc/server/server_private.h"

#define TRIES_MAX 32u /* where other servers were faster */
#define RIVALS    64u

static gboolean
may_found(const DocServer *server, const DocEnvelope *envelope)
{
  const GArray *founders = server->options.founders;
  for (guint i = 0; founders && i < founders->len; i++)
    if (identity_public_equal(&g_array_index(founders, IdentityPublic, i), &envelope->author))
      return TRUE;
  return !founders || founders->len == 0;
}

static void
refuse(DocServer *server, DocTask *task, DocOpen *open, DocFault fault)
{
  server->counters.refused++;
  DocAnswer *answer = doc_answer_new(task->call->id, DOC_STATUS(REFUSED), doc_fault_name(fault));
  answer->fault = fault;
  if (open->puts == 0)
    answer->head = g_bytes_ref(doc_server_head(server, open));
  doc_server_answer(server, task, answer);
}

static void
answer_number(DocServer *server, DocTask *task, DocOpen *open, guint64 number)
{
  DocAnswer *answer = doc_answer_new(task->call->id, DOC_STATUS(OK), NULL);
  answer->number = number;
  answer->head = g_bytes_ref(doc_server_head(server, open));
  doc_server_answer(server, task, answer);
}

static void
answer_unknown(DocServer *server, DocTask *task, DocOpen *open)
{
  DocAnswer *answer = doc_answer_new(task->call->id, DOC_STATUS(UNKNOWN), NULL);
  answer->head = g_bytes_ref(doc_server_head(server, open));
  doc_server_answer(server, task, answer);
}

/* Of an author's entry that was there before: it is answered where it is this very one, whose answer was
 * lost. FALSE: it is another. */
static gboolean
answer_known(DocServer *server, DocTask *task, DocOpen *open)
{
  guint64 number = doc_open_number(open, &task->author, task->sequence);
  GBytes *recent = number > 0 ? doc_open_recent(open, number) : NULL;
  if (!recent && task->read && task->first == number)
    recent = task->read->len > 0 ? task->read->pdata[0] : NULL;
  else if (!recent && number > 0) {
    doc_server_read(server, task, number, 1, 1);
    return TRUE;
  }
  if (!recent || !g_bytes_equal(recent, task->packed))
    return FALSE;
  answer_number(server, task, open, number);
  return TRUE;
}

/* The history goes on with what was judged before, which the log will have or all of it is read again. */
static void
settle(DocOpen *open)
{
  DocVerdict verdict;
  if (open->unsettled)
    doc_history_take_again(open->history, doc_history_number(open->history) + 1, open->unsettled, &verdict,
                           NULL);
  g_clear_pointer(&open->unsettled, doc_envelope_free);
}

/* What a document's size and its founders allow. NULL: nothing is wrong. */
static const char *
find_limit(const DocServer *server, const DocOpen *open, const DocTask *task)
{
  if (g_bytes_get_size(task->packed) > server->options.entry_bytes)
    return "entries are too long for this server";
  if (open->bytes + g_bytes_get_size(task->packed) > server->options.document_bytes)
    return "the document has no more room on this server";
  if (doc_history_number(open->history) == 0 && server->documents >= server->options.documents_max)
    return "this server has no room for another document";
  return NULL;
}

static void
put(DocBatch *batch, DocOpen *open, DocTask *task)
{
  DocLogPut one = {
      .document = open->name,
      .number = doc_history_number(open->history) + 1,
      .entry = task->packed,
      .outcome = DOC_LOG_FAILED,
  };
  g_array_append_val(batch->puts, one);
  g_ptr_array_add(batch->tasks, task);
  g_ptr_array_add(batch->opens, open);
  open->puts++;
  open->unsettled = g_steal_pointer(&task->envelope);
}

/* Refuses what has no place in the history, as far as it was read: another server may have appended what the
 * entry was made on. */
static void
refuse_or_wait(DocServer *server, DocOpen *open, DocTask *task, DocFault fault, DocVerdict verdict)
{
  if (!task->fresh && open->puts > 0)
    doc_server_put(server, task);
  else if (!task->fresh)
    doc_server_ask(server, task);
  else if (task->blind)
    doc_server_answer_blind(server, task);
  else if (fault != DOC_FAULT_NONE)
    refuse(server, task, open, fault);
  else
    doc_server_answer_briefly(server, task, DOC_STATUS(DENIED), doc_verdict_name(verdict));
}

/* An author's entry with that sequence is there already. TRUE: the task is taken care of. */
static gboolean
find_known(DocServer *server, DocOpen *open, DocTask *task)
{
  if (task->sequence > doc_history_sequence(open->history, &task->author))
    return FALSE;
  if (open->puts == 0)
    return answer_known(server, task, open);
  doc_server_put(server, task); /* it may be in this very batch */
  return TRUE;
}

void
doc_batch_add(DocServer *server, DocBatch *batch, DocOpen *open, DocTask *task)
{
  const DocEnvelope *envelope = task->envelope;
  DocVerdict verdict = DOC_GOOD;
  DocFault fault = DOC_FAULT_NONE;
  /* A second one would be judged on top of what may come too late: all of the history would have to be read
   * again, and a server that reads as long as others append never has its turn. */
  if (open->puts > 0 && open->rivals > 0) {
    doc_server_put(server, task);
    return;
  }
  settle(open);
  if (find_known(server, open, task))
    return;
  gboolean first = doc_history_number(open->history) == 0;
  const char *limit = find_limit(server, open, task);
  if (limit)
    doc_server_answer_briefly(server, task, DOC_STATUS(FULL), limit);
  else if (first && envelope->base > 0)
    answer_unknown(server, task, open);
  else if (first && !may_found(server, envelope))
    doc_server_answer_briefly(server, task, DOC_STATUS(DENIED), "may not make documents on this server");
  else if (!doc_history_would_take(open->history, envelope, &verdict, &fault) ||
           verdict == DOC_VOID_STRANGER || verdict == DOC_VOID_REMOVED)
    refuse_or_wait(server, open, task, fault, verdict);
  else
    put(batch, open, task);
}

/* ---- appending ---- */

/* Of the batch's puts of that document, the first. */
static gboolean
is_first_of(const DocBatch *batch, guint which)
{
  for (guint i = 0; i < which; i++)
    if (batch->opens->pdata[i] == batch->opens->pdata[which])
      return FALSE;
  return TRUE;
}

static void
note_done(DocServer *server, const DocTask *task, const DocLogPut *put, DocOpen *open)
{
  doc_open_add(open, &task->author, task->sequence, put->number, put->entry);
  server->counters.appended++;
  server->documents += put->number == 1;
}

static void
try_again(DocServer *server, DocTask *task, DocOpen *open)
{
  gsize length;
  const void *bytes = g_bytes_get_data(task->packed, &length);
  if (++task->tries >= TRIES_MAX) {
    doc_server_answer_briefly(server, task, DOC_STATUS(BUSY), "other servers are faster");
    return;
  }
  if (!task->envelope)
    task->envelope = doc_envelope_decode(bytes, length, NULL);
  g_queue_push_head(&open->waiting, task);
}

/* All of a document's are DONE, or its history may be another than the log's. */
static void
finish_document(DocServer *server, DocBatch *batch, guint first)
{
  DocOpen *open = batch->opens->pdata[first];
  gboolean good = TRUE, failed = FALSE;
  for (guint i = first; i < batch->puts->len; i++) {
    DocLogOutcome outcome = g_array_index(batch->puts, DocLogPut, i).outcome;
    good = good && (batch->opens->pdata[i] != open || outcome == DOC_LOG_DONE);
    failed = failed || (batch->opens->pdata[i] == open && outcome == DOC_LOG_FAILED);
  }
  open->state = DOC_OPEN_READY;
  if (good) {
    settle(open);
    for (guint i = first; i < batch->puts->len; i++)
      if (batch->opens->pdata[i] == open)
        note_done(server, batch->tasks->pdata[i], &g_array_index(batch->puts, DocLogPut, i), open);
    open->puts = 0;
    open->rivals -= open->rivals > 0;
  } else {
    open->rivals = RIVALS;
    doc_shelf_read_again(server->shelf, open, failed);
  }
}

/* Not what is to be tried again. */
static void
finish_task(DocServer *server, DocBatch *batch, guint which, const GError *error)
{
  const DocLogPut *done = &g_array_index(batch->puts, DocLogPut, which);
  DocTask *task = batch->tasks->pdata[which];
  DocOpen *open = batch->opens->pdata[which];
  if (open->state == DOC_OPEN_READY)
    answer_number(server, task, open, done->number);
  else if (done->outcome == DOC_LOG_FAILED)
    doc_server_answer_briefly(server, task, DOC_STATUS(FAILED),
                              error ? "the server could not keep the entry" : NULL);
  else /* where it is in the log already, it will be found there */
    return;
  batch->tasks->pdata[which] = NULL;
}

/* What came meanwhile is behind what was there before. */
static void
go_on(DocServer *server, DocBatch *batch)
{
  for (guint i = batch->tasks->len; i-- > 0;)
    if (batch->tasks->pdata[i])
      try_again(server, g_steal_pointer(&batch->tasks->pdata[i]), batch->opens->pdata[i]);
  for (DocTask *task; (task = g_queue_pop_tail(&server->later));) {
    DocOpen *open = doc_shelf_find(server->shelf, &task->call->document);
    gboolean waits = open && open->state != DOC_OPEN_READY;
    g_queue_push_head(waits ? &open->waiting : &server->tasks, task);
  }
}

DocBatch *
doc_batch_new(void)
{
  DocBatch *batch = g_new0(DocBatch, 1);
  batch->puts = g_array_new(FALSE, TRUE, sizeof(DocLogPut));
  batch->tasks = g_ptr_array_new();
  batch->opens = g_ptr_array_new();
  return batch;
}

void
doc_batch_free(DocBatch *batch)
{
  for (guint i = 0; i < batch->tasks->len; i++)
    if (batch->tasks->pdata[i])
      doc_task_free(batch->tasks->pdata[i]);
  g_array_unref(batch->puts);
  g_ptr_array_unref(batch->tasks);
  g_ptr_array_unref(batch->opens);
  g_free(batch);
}

void
doc_batch_done(DocServer *server, DocBatch *batch, const GError *error)
{
  for (guint i = 0; i < batch->puts->len; i++)
    if (is_first_of(batch, i))
      finish_document(server, batch, i);
  for (guint i = 0; i < batch->puts->len; i++)
    finish_task(server, batch, i, error);
  go_on(server, batch);
  for (guint i = 0; i < batch->puts->len; i++) {
    DocOpen *open = batch->opens->pdata[i];
    if (is_first_of(batch, i) && open->state == DOC_OPEN_READY)
      doc_server_end_waiting(server, open);
  }
  doc_server_wake(server);
}

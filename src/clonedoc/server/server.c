#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/server/server_private.h"

#define CALLS_MAX      64u          /* of a connection that are not answered */
#define HELD_MAX       (256u << 20) /* bytes of entries that have no number yet, of all */
#define PRICE_CREATE   20u
#define PRICE_BYTES    (16u << 10) /* of an entry cost as much as a call */
#define POLL_MS        200         /* other servers of the same log append, too */
#define POLL_DOCUMENTS 64u         /* looked at each time */

void
doc_task_free(DocTask *task)
{
  if (task->packed)
    task->server->held -= g_bytes_get_size(task->packed);
  doc_call_free(task->call);
  g_clear_pointer(&task->envelope, doc_envelope_free);
  g_clear_pointer(&task->packed, g_bytes_unref);
  g_free(task);
}

void
doc_server_complain(DocServer *server, const char *words)
{
  if (g_strcmp0(words, server->complained) == 0)
    return;
  g_free(server->complained);
  server->complained = g_strdup(words);
  if (server->options.complain)
    server->options.complain(words, server->options.data);
}

GBytes *
doc_server_head(DocServer *server, DocOpen *open)
{
  if (!open->head.packed)
    doc_head_sign(&open->head, open->history, server->options.key);
  return open->head.packed;
}

gboolean
doc_server_is_fresh(DocServer *server, DocOpen *open, DocTask *task)
{
  guint64 length;
  if (!task->fresh && doc_log_length(server->options.log, &open->name, &length, NULL) &&
      length != doc_history_number(open->history))
    doc_shelf_read_again(server->shelf, open);
  task->fresh = TRUE;
  return open->state == DOC_OPEN_READY;
}

/* ---- turns ---- */

static void
wait_for_turn(DocServer *server)
{
  g_source_set_ready_time(server->turn, 0);
}

void
doc_server_put(DocServer *server, DocTask *task)
{
  g_queue_push_tail(&server->tasks, task);
  wait_for_turn(server);
}

static gboolean
is_append(const DocTask *task)
{
  return task->call->what == DOC_WHAT(APPEND);
}

/* One that nobody has made yet is not kept open for those who ask. */
static void
close_unknown(DocServer *server, DocOpen *open)
{
  if (open->state != DOC_OPEN_READING && doc_history_number(open->history) == 0)
    doc_shelf_close(server->shelf, open);
}

/* Who is a member of a document that somebody really made is no stranger. */
static void
admit(DocServer *server, const DocOpen *open, const DocTask *task)
{
  DocVisit *visit = doc_door_find(server->door, task->visit);
  if (visit && doc_history_role(open->history, &task->peer) != DOC_NONE)
    doc_door_admit(visit);
}

/* Of a name that nothing is known of: for whoever asks, the shelf is not touched. TRUE: it is answered. */
static gboolean
answer_unknown(DocServer *server, DocTask *task)
{
  guint64 length = 0;
  DocName name;
  if (doc_shelf_has(server->shelf, &task->call->document) ||
      !doc_log_length(server->options.log, &task->call->document, &length, NULL) || length > 0)
    return FALSE;
  if (is_append(task) && task->envelope->base == 0) {
    doc_envelope_name(task->envelope, &name);
    if (doc_name_equal(&name, &task->call->document))
      return FALSE;
  }
  g_autoptr(DocHistory) nothing = doc_history_new(&task->call->document);
  g_auto(DocHead) head = {0};
  doc_head_sign(&head, nothing, server->options.key);
  DocAnswer *answer = doc_answer_new(task->call->id, DOC_STATUS(UNKNOWN), NULL);
  answer->head = g_bytes_ref(head.packed);
  doc_server_answer(server, task, answer);
  return TRUE;
}

/* What can be done now: appends are put into the batch, all else behind it. */
static void
begin_task(DocServer *server, DocBatch *batch, GPtrArray *others, DocTask *task)
{
  if (answer_unknown(server, task))
    return;
  DocOpen *open = doc_shelf_open(server->shelf, &task->call->document);
  if (!open) {
    server->counters.busy++;
    doc_server_answer_briefly(server, task, DOC_STATUS(BUSY), "too many documents are open");
  } else if (open->state != DOC_OPEN_READY) {
    g_queue_push_tail(&open->waiting, task);
  } else if (is_append(task)) {
    admit(server, open, task);
    doc_batch_add(server, batch, open, task);
    close_unknown(server, open);
  } else {
    g_ptr_array_add(others, task);
  }
}

static void
do_others(DocServer *server, GPtrArray *others)
{
  for (guint i = 0; i < others->len; i++) {
    DocTask *task = others->pdata[i];
    DocOpen *open = doc_shelf_open(server->shelf, &task->call->document);
    if (!open || open->state != DOC_OPEN_READY || !doc_server_is_fresh(server, open, task)) {
      doc_server_put(server, task);
      continue;
    }
    admit(server, open, task);
    doc_server_tell(server, open, task);
    close_unknown(server, open);
  }
}

static void
tell_all(DocServer *server, const DocBatch *batch)
{
  for (guint i = 0; i < batch->opens->len; i++) {
    DocOpen *open = batch->opens->pdata[i];
    if (i > 0 && batch->opens->pdata[i - 1] == open)
      continue;
    doc_server_tell_follows(server, open);
  }
}

static void
do_tasks(DocServer *server)
{
  g_autoptr(GArray) puts = g_array_new(FALSE, TRUE, sizeof(DocLogPut));
  g_autoptr(GPtrArray) tasks = g_ptr_array_new();
  g_autoptr(GPtrArray) opens = g_ptr_array_new();
  g_autoptr(GPtrArray) others = g_ptr_array_new();
  DocBatch batch = {puts, tasks, opens};
  for (guint left = MIN(server->tasks.length, DOC_LOG_BATCH_MAX); left > 0; left--)
    begin_task(server, &batch, others, g_queue_pop_head(&server->tasks));
  doc_batch_commit(server, &batch);
  tell_all(server, &batch);
  do_others(server, others);
}

/* A document can be worked on now, or never. */
static void
end_waiting(DocServer *server, DocOpen *open)
{
  if (open->state == DOC_OPEN_BROKEN)
    doc_server_complain(server, open->words);
  for (DocTask *task; (task = g_queue_pop_head(&open->waiting));)
    if (open->state == DOC_OPEN_READY)
      doc_server_put(server, task);
    else
      doc_server_answer_briefly(server, task, DOC_STATUS(FAILED), "the server cannot read the document");
  doc_server_tell_follows(server, open);
}

static void feed(DocServer *server);

static gboolean
turn(gpointer data)
{
  DocServer *server = data;
  g_source_set_ready_time(server->turn, -1);
  DocOpen *open = doc_shelf_read(server->shelf);
  if (open)
    end_waiting(server, open);
  do_tasks(server);
  feed(server);
  if (server->tasks.length > 0 || doc_shelf_is_reading(server->shelf))
    wait_for_turn(server);
  return G_SOURCE_CONTINUE;
}

/* What other servers have appended is told as if it had been appended here. */
static gboolean
poll_log(gpointer data)
{
  DocServer *server = data;
  for (guint left = MIN(server->followed->len, POLL_DOCUMENTS); left > 0; left--) {
    server->polled = (server->polled + 1) % server->followed->len;
    DocOpen *open = server->followed->pdata[server->polled];
    guint64 length;
    if (open->state == DOC_OPEN_READY && doc_log_length(server->options.log, &open->name, &length, NULL) &&
        length != doc_history_number(open->history))
      doc_shelf_read_again(server->shelf, open);
  }
  if (doc_shelf_is_reading(server->shelf))
    wait_for_turn(server);
  return G_SOURCE_CONTINUE;
}

/* ---- conversations ---- */

void
doc_server_answered(DocServer *server, DocVisit *visit)
{
  if (visit->calls-- == CALLS_MAX)
    g_array_append_val(server->hungry, visit->id);
}

void
doc_server_answer(DocServer *server, DocTask *task, DocAnswer *answer)
{
  DocVisit *visit = doc_door_find(server->door, task->visit);
  if (visit) {
    if (server->options.hand_out)
      server->options.hand_out(&task->peer, &task->call->document, answer, server->options.data);
    g_autoptr(GBytes) bytes = doc_answer_encode(answer);
    /* A link that is dead says so when it is worked on. */
    doc_message_send(visit->link, bytes, NULL);
    doc_server_answered(server, visit);
  }
  doc_answer_free(answer);
  doc_task_free(task);
}

void
doc_server_answer_briefly(DocServer *server, DocTask *task, DocStatus status, const char *words)
{
  doc_server_answer(server, task, doc_answer_new(task->call->id, status, words));
}

static DocTask *
new_task(DocServer *server, DocVisit *visit, DocCall *call)
{
  DocTask *task = g_new0(DocTask, 1);
  task->server = server;
  task->visit = visit->id;
  task->peer = *link_peer(visit->link);
  task->call = call;
  visit->calls++;
  return task;
}

static gboolean
take_entry(DocTask *task)
{
  gsize length;
  const void *bytes = g_bytes_get_data(task->call->entry, &length);
  task->envelope = doc_envelope_decode(bytes, length, NULL);
  if (!task->envelope)
    return FALSE;
  /* What somebody has hidden between the fields is not kept. */
  task->packed = doc_envelope_pack(task->envelope);
  task->server->held += g_bytes_get_size(task->packed);
  task->author = task->envelope->author;
  task->sequence = task->envelope->sequence;
  g_clear_pointer(&task->call->entry, g_bytes_unref);
  return TRUE;
}

static guint
price(const DocTask *task)
{
  if (!is_append(task))
    return 1;
  return (task->envelope->base == 0 ? PRICE_CREATE : 1) +
         (guint)(g_bytes_get_size(task->packed) / PRICE_BYTES);
}

static void
take_call(DocServer *server, DocVisit *visit, GBytes *bytes)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  DocCall *call = doc_call_decode(data, length, NULL);
  server->counters.calls++;
  if (call && call->what == DOC_WHAT(END)) {
    doc_server_end_follow(server, visit, call->ends);
    doc_call_free(call);
    return;
  }
  DocTask *task = new_task(server, visit, call ? call : g_new0(DocCall, 1));
  if (!call) {
    doc_server_answer_briefly(server, task, DOC_STATUS(MALFORMED), NULL);
  } else if (is_append(task) && !take_entry(task)) {
    DocAnswer *answer = doc_answer_new(call->id, DOC_STATUS(REFUSED), doc_fault_name(DOC_FAULT_DAMAGED));
    answer->fault = DOC_FAULT_DAMAGED;
    server->counters.refused++;
    doc_server_answer(server, task, answer);
  } else if (!doc_door_pay(visit, price(task))) {
    server->counters.busy++;
    doc_server_answer_briefly(server, task, DOC_STATUS(BUSY), NULL);
  } else {
    doc_server_put(server, task);
  }
}

static gsize
assembled(const DocVisit *visit)
{
  return visit->parts.bytes ? visit->parts.bytes->len : 0;
}

/* FALSE: the connection has to go. */
static gboolean
take_message(DocServer *server, DocVisit *visit, const LinkMessage *message)
{
  g_autoptr(GBytes) whole = NULL;
  server->held -= assembled(visit);
  int step = doc_parts_take(&visit->parts, message, DOC_CALL_MAX, &whole, NULL);
  server->held += assembled(visit);
  if (step < 0 || server->held > HELD_MAX)
    return FALSE;
  if (step > 0)
    take_call(server, visit, whole);
  return TRUE;
}

static gboolean
take_all(DocServer *server, DocVisit *visit)
{
  while (visit->calls < CALLS_MAX) {
    g_autoptr(LinkMessage) message = link_take(visit->link);
    if (!message)
      return TRUE;
    if (!take_message(server, visit, message))
      return FALSE;
  }
  return TRUE;
}

/* Calls that wait in a link wake nobody. */
static void
feed(DocServer *server)
{
  g_autoptr(GArray) hungry = server->hungry;
  server->hungry = g_array_new(FALSE, FALSE, sizeof(guint64));
  for (guint i = 0; i < hungry->len; i++) {
    DocVisit *visit = doc_door_find(server->door, g_array_index(hungry, guint64, i));
    if (visit && !take_all(server, visit))
      doc_door_drop(visit);
  }
}

static gboolean
work(DocVisit *visit, gpointer data)
{
  DocServer *server = data;
  if (!link_work(visit->link, NULL) || !take_all(server, visit))
    return FALSE;
  doc_server_tell_visit(server, visit);
  return TRUE;
}

static void
gone(DocVisit *visit, gpointer data)
{
  DocServer *server = data;
  server->held -= assembled(visit);
  doc_server_end_follows(server, visit);
}

/* ---- the server ---- */

static gboolean
dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
  return callback(data);
}

DocServer *
doc_server_new(const DocServerOptions *options, GMainContext *context, GError **error)
{
  static GSourceFuncs functions = {.dispatch = dispatch};
  guint64 documents, bytes;
  if (!doc_log_size(options->log, &documents, &bytes, error))
    return NULL;
  DocServer *server = g_new0(DocServer, 1);
  server->options = *options;
  server->context = g_main_context_ref(context ? context : g_main_context_default());
  server->documents = documents;
  server->hungry = g_array_new(FALSE, FALSE, sizeof(guint64));
  server->followed = g_ptr_array_new();
  server->shelf =
      doc_shelf_new(options->log, MAX(options->open_max, 1), (GDestroyNotify)(void (*)(void))doc_task_free);
  server->door = doc_door_new(options->key, options->rate, server->context,
                              &(DocDoorEvents){.work = work, .gone = gone, .data = server});
  server->turn = g_source_new(&functions, sizeof(GSource));
  g_source_set_callback(server->turn, turn, server, NULL);
  g_source_attach(server->turn, server->context);
  server->poll = g_timeout_source_new(POLL_MS);
  g_source_set_callback(server->poll, poll_log, server, NULL);
  g_source_attach(server->poll, server->context);
  return server;
}

static void
free_source(GSource *source)
{
  g_source_destroy(source);
  g_source_unref(source);
}

void
doc_server_free(DocServer *server)
{
  if (!server)
    return;
  free_source(server->turn);
  free_source(server->poll);
  doc_door_free(server->door);
  g_queue_clear_full(&server->tasks, (GDestroyNotify)(void (*)(void))doc_task_free);
  doc_shelf_free(server->shelf);
  g_main_context_unref(server->context);
  g_array_unref(server->hungry);
  g_ptr_array_unref(server->followed);
  g_free(server->complained);
  g_free(server);
}

void
doc_server_listen(DocServer *server, int fd)
{
  doc_door_listen(server->door, fd);
}

DocServerCounters
doc_server_counters(const DocServer *server)
{
  DocServerCounters counters = server->counters;
  counters.door = doc_door_counters(server->door);
  return counters;
}

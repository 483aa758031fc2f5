#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/server/server_private.h"

#define CALLS_MAX    64u         /* of a connection that are not answered */
#define MEMBER_MOST  16          /* connections of a member's key */
#define SILENT_MS    60000       /* who follows is probed so seldom: a probe wakes a radio */
#define INBOX_MAX    (16u << 10) /* bytes: calls that come together go to the disk together */
#define READ_NS      (30 * G_GINT64_CONSTANT(1000000000)) /* to take anything at all of what was answered */
#define PRICE_CREATE 20u
#define PRICE_BYTES  (16u << 10) /* of an entry cost as much as a call */
#define POLL_MS      200         /* other servers of the same log append, too */

void
doc_task_free(DocTask *task)
{
  if (task->packed)
    task->server->held -= g_bytes_get_size(task->packed);
  doc_call_free(task->call);
  g_clear_pointer(&task->envelope, doc_envelope_free);
  g_clear_pointer(&task->packed, g_bytes_unref);
  g_clear_pointer(&task->read, g_ptr_array_unref);
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

/* ---- turns ---- */

void
doc_server_wake(DocServer *server)
{
  g_source_set_ready_time(server->turn, 0);
}

void
doc_server_put(DocServer *server, DocTask *task)
{
  g_queue_push_tail(&server->tasks, task);
  doc_server_wake(server);
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
  DocVisit *visit = link_door_find(server->door, task->visit);
  if (visit && doc_history_role(open->history, &task->peer) != DOC_NONE)
    link_door_admit(&visit->base);
}

static gboolean
is_founding(const DocTask *task)
{
  DocName name;
  if (!is_append(task) || task->envelope->base > 0)
    return FALSE;
  doc_envelope_name(task->envelope, &name);
  return doc_name_equal(&name, &task->call->document);
}

static void
answer_unknown(DocServer *server, DocTask *task)
{
  g_autoptr(DocHistory) nothing = doc_history_new(&task->call->document);
  g_auto(DocHead) head = {0};
  doc_head_sign(&head, nothing, server->options.key);
  DocAnswer *answer = doc_answer_new(task->call->id, DOC_STATUS(UNKNOWN), NULL);
  answer->head = g_bytes_ref(head.packed);
  doc_server_answer(server, task, answer);
}

void
doc_server_answer_blind(DocServer *server, DocTask *task)
{
  doc_server_answer_briefly(server, task, DOC_STATUS(FAILED), "the server's log does not answer");
}

/* Whether its document is not to be opened, for whoever asks: nothing is known of it. */
static gboolean
is_turned_away(DocServer *server, DocTask *task)
{
  if (doc_shelf_find(server->shelf, &task->call->document))
    return FALSE;
  if (!task->fresh)
    doc_server_ask(server, task);
  else if (task->blind)
    doc_server_answer_blind(server, task);
  else if (task->length == 0 && !is_founding(task))
    answer_unknown(server, task);
  else
    return FALSE;
  return TRUE;
}

/* What can be done now: appends are put into the batch, all else behind it. */
static void
begin_task(DocServer *server, DocBatch *batch, GPtrArray *others, DocTask *task)
{
  if (is_turned_away(server, task))
    return;
  DocOpen *open = doc_shelf_open(server->shelf, &task->call->document);
  if (!open) {
    doc_server_answer_busy(server, task, "too many documents are open");
  } else if (open->state != DOC_OPEN_READY) {
    g_queue_push_tail(&open->waiting, task);
  } else if (!is_append(task)) {
    g_ptr_array_add(others, task);
  } else if (server->batch) {
    g_queue_push_tail(&server->later, task);
  } else {
    admit(server, open, task);
    doc_batch_add(server, batch, open, task);
    close_unknown(server, open);
  }
}

static void
do_others(DocServer *server, GPtrArray *others)
{
  for (guint i = 0; i < others->len; i++) {
    DocTask *task = others->pdata[i];
    DocOpen *open = doc_shelf_open(server->shelf, &task->call->document);
    if (!open || open->state != DOC_OPEN_READY) {
      doc_server_put(server, task);
    } else if (!task->fresh) {
      doc_server_ask(server, task);
    } else if (task->blind) {
      doc_server_answer_blind(server, task);
    } else {
      admit(server, open, task);
      doc_server_tell(server, open, task);
      close_unknown(server, open);
    }
  }
}

static void
do_tasks(DocServer *server)
{
  g_autoptr(GPtrArray) others = g_ptr_array_new();
  DocBatch *batch = doc_batch_new();
  for (guint left = MIN(server->tasks.length, DOC_LOG_BATCH_MAX); left > 0; left--)
    begin_task(server, batch, others, g_queue_pop_head(&server->tasks));
  if (batch->puts->len > 0)
    doc_server_append(server, batch);
  else
    doc_batch_free(batch);
  do_others(server, others);
}

void
doc_server_end_waiting(DocServer *server, DocOpen *open)
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
  do_tasks(server);
  doc_server_read_slice(server);
  feed(server);
  if (server->tasks.length > 0)
    doc_server_wake(server);
  return G_SOURCE_CONTINUE;
}

/* What other servers have appended is told as if it had been appended here. */
static gboolean
poll_log(gpointer data)
{
  doc_server_poll(data);
  return G_SOURCE_CONTINUE;
}

/* ---- conversations ---- */

void
doc_server_answered(DocServer *server, DocVisit *visit)
{
  if (visit->calls-- != CALLS_MAX)
    return;
  g_array_append_val(server->hungry, visit->base.id);
  doc_server_wake(server);
}

void
doc_server_answer(DocServer *server, DocTask *task, DocAnswer *answer)
{
  DocVisit *visit = link_door_find(server->door, task->visit);
  if (visit) {
    if (server->options.hand_out)
      server->options.hand_out(&task->peer, &task->call->document, answer, server->options.data);
    g_autoptr(GBytes) bytes = doc_answer_encode(answer);
    /* A link that is dead says so when it is worked on. */
    doc_message_send(visit->base.link, bytes, NULL);
    visit->reads -= task->reads;
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

void
doc_server_answer_busy(DocServer *server, DocTask *task, const char *words)
{
  server->counters.busy++;
  doc_server_answer_briefly(server, task, DOC_STATUS(BUSY), words);
}

static DocTask *
new_task(DocServer *server, DocVisit *visit, DocCall *call)
{
  DocTask *task = g_new0(DocTask, 1);
  task->server = server;
  task->visit = visit->base.id;
  task->peer = *link_peer(visit->base.link);
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
  } else if (is_append(task) && server->held > server->options.held_max / 2) {
    doc_server_answer_busy(server, task, "too many entries wait for a number");
  } else if (!link_door_pay(&visit->base, price(task))) {
    doc_server_answer_busy(server, task, NULL);
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
  server->parts -= assembled(visit);
  int step = doc_parts_take(&visit->parts, message, DOC_CALL_MAX, &whole, NULL);
  server->parts += assembled(visit);
  /* Who sends a part can send it again; half of the room is for what has come whole. */
  if (step < 0 || (step == 0 && server->held + server->parts > server->options.held_max))
    return FALSE;
  if (step > 0)
    take_call(server, visit, whole);
  return TRUE;
}

static gboolean
take_all(DocServer *server, DocVisit *visit)
{
  while (visit->calls < CALLS_MAX) {
    g_autoptr(LinkMessage) message = link_take(visit->base.link);
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
    DocVisit *visit = link_door_find(server->door, g_array_index(hungry, guint64, i));
    if (visit && !take_all(server, visit))
      link_door_drop(&visit->base);
  }
}

/* Who takes something of what is sent has time for more; who waits for an answer waits for us. */
static void
set_deadline(DocVisit *visit)
{
  gint64 now = clock_now_ns();
  gsize unwritten = link_backlog(visit->base.link).unwritten;
  if (link_state(visit->base.link) != LINK_UP)
    return;
  if (unwritten == 0 || visit->unwritten == 0 || unwritten < visit->unwritten)
    visit->base.deadline = unwritten > 0 ? now + READ_NS
                           : visit->follows->len > 0 || visit->calls > 0
                               ? G_MAXINT64
                               : now + link_door_idle_ns(&visit->base);
  visit->unwritten = unwritten;
}

/* Nobody has a pass. */
static gboolean
came(LinkVisit *base, const LinkPreamble *preamble, LinkCallerSource *holder, gpointer data)
{
  ((DocVisit *)base)->follows = g_ptr_array_new();
  return FALSE;
}

static gboolean
work(LinkVisit *base, gpointer data)
{
  DocVisit *visit = (DocVisit *)base;
  if (!link_work(base->link, NULL) || !take_all(data, visit))
    return FALSE;
  doc_server_tell_visit(data, visit);
  set_deadline(visit);
  return TRUE;
}

static void
gone(LinkVisit *base, gpointer data)
{
  DocVisit *visit = (DocVisit *)base;
  DocServer *server = data;
  server->parts -= assembled(visit);
  doc_parts_clear(&visit->parts);
  doc_server_end_follows(server, visit);
  g_clear_pointer(&visit->follows, g_ptr_array_unref);
}

/* ---- the server ---- */

static LinkDoor *
new_door(DocServer *server)
{
  LinkDoorRules rules = {.size = sizeof(DocVisit),
                         .rate = server->options.rate,
                         .member_most = MEMBER_MOST,
                         .link = LINK_OPTIONS_DEFAULT,
                         .came = came,
                         .work = work,
                         .gone = gone,
                         .data = server};
  rules.link.keepalive_ms = SILENT_MS;
  rules.link.compression = -1; /* what is sealed does not get smaller */
  rules.link.message_max = DOC_PART_MAX;
  rules.link.inbox_max = INBOX_MAX;
  return link_door_new(&rules, server->options.key, server->context);
}

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
  server->asked = g_hash_table_new(doc_name_hash, doc_name_is);
  server->shelf = doc_shelf_new(MAX(options->open_max, 1), (GDestroyNotify)(void (*)(void))doc_task_free);
  server->clerk = doc_clerk_new(options->log, server->context, server);
  server->door = new_door(server);
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
  doc_clerk_free(server->clerk);
  link_door_free(server->door);
  g_queue_clear_full(&server->tasks, (GDestroyNotify)(void (*)(void))doc_task_free);
  g_queue_clear_full(&server->later, (GDestroyNotify)(void (*)(void))doc_task_free);
  doc_shelf_free(server->shelf);
  g_main_context_unref(server->context);
  g_array_unref(server->hungry);
  g_ptr_array_unref(server->followed);
  g_hash_table_unref(server->asked);
  g_free(server->complained);
  g_free(server);
}

void
doc_server_listen(DocServer *server, int fd)
{
  link_door_listen(server->door, fd);
}

DocServerCounters
doc_server_counters(const DocServer *server)
{
  DocServerCounters counters = server->counters;
  counters.door = link_door_counters(server->door);
  return counters;
}

#include "replicator/telling.h"

#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define NS_PER_MS      G_GINT64_CONSTANT(1000000)
#define REPORT_NS      (250 * NS_PER_MS)
#define MEASURE_NS     (1000 * NS_PER_MS)
#define BATCH_BYTES    (256u << 10) /* of steps that go with one transaction of the index */
#define BATCH_COUNT    1024u
#define TOGETHER_BYTES (64u << 10) /* of steps in one message */
#define PIECES         8u          /* a second, where the rate is limited: so much goes at once */
#define PIECE_LEAST    1024u

typedef struct {
  guint64 number;
  GBytes *step; /* until it is sent */
  gsize length;
} Told;

static void
told_free(gpointer pointer)
{
  Told *told = pointer;
  g_clear_pointer(&told->step, g_bytes_unref);
  g_free(told);
}

void
telling_init(Telling *telling, Link *link, CloneIndex *index, const ReplicatorOptions *options)
{
  *telling = (Telling){.link = link, .index = index, .options = options};
  g_queue_init(&telling->under_way);
}

void
telling_clear(Telling *telling)
{
  g_clear_pointer(&telling->steps, generation_steps_free);
  g_clear_pointer(&telling->public, public_set_free);
  g_queue_clear_full(&telling->under_way, told_free);
}

/* ---- progress ---- */

static void
measure(Telling *telling, guint64 done, gint64 now)
{
  gint64 passed = now - telling->measured_ns;
  if (passed < MEASURE_NS)
    return;
  double speed = (double)(done - telling->measured) * 1000 * NS_PER_MS / passed;
  telling->speed = telling->speed > 0 ? 0.7 * telling->speed + 0.3 * speed : speed;
  telling->measured = done;
  telling->measured_ns = now;
}

void
telling_report(Telling *telling, ReplicatorPhase phase)
{
  gint64 now = clock_now_ns();
  if (!telling->options->progress || (phase == telling->phase && now - telling->reported_ns < REPORT_NS))
    return;
  ReplicatorProgress report = {
      .phase = phase, .left_s = -1, .sent = link_counters(telling->link)->bytes_sent};
  telling->phase = phase;
  telling->reported_ns = now;
  if (telling->steps) {
    GenerationProgress progress = generation_steps_progress(telling->steps);
    measure(telling, progress.bytes_done, now);
    report.paths = progress.changes;
    report.paths_done = progress.changes_done;
    report.bytes = progress.bytes;
    report.bytes_done = progress.bytes_done;
    report.rate = telling->speed;
    if (telling->speed > 0 && progress.bytes >= progress.bytes_done)
      report.left_s = (progress.bytes - progress.bytes_done) / telling->speed;
  }
  telling->options->progress(telling->options->user, &report);
}

/* A large file may be read for long without anything to tell. The link answers its peer meanwhile; that it
 * died is found out when it is next used. */
static void
while_reading(gpointer user_data)
{
  Telling *telling = user_data;
  link_work(telling->link, NULL);
  telling_report(telling, REPLICATOR_TELLING);
}

void
telling_begin(Telling *telling, int root, TreePlan *plan, guint64 durable)
{
  telling->steps = generation_steps_new(telling->index->tree, root, plan, durable + 1);
  telling->last = telling->durable = durable;
  if (telling->public) {
    guint8 salt[GENERATION_SALT];
    randombytes_buf(salt, sizeof salt);
    generation_steps_set_public(telling->steps, telling->public, salt);
  }
  generation_steps_set_tick(telling->steps, while_reading, telling);
  telling->piece = TOGETHER_BYTES;
  if (telling->options->rate) {
    telling->piece = CLAMP(telling->options->rate / PIECES, PIECE_LEAST, TOGETHER_BYTES);
    generation_steps_set_piece(telling->steps, telling->piece);
  }
  pace_begin(&telling->pace, telling->options->rate, link_counters(telling->link)->bytes_sent);
  telling->measured_ns = clock_now_ns();
}

/* ---- what the clone says ---- */

static gboolean
on_durable(Telling *telling, guint64 number, GError **error)
{
  if (number < telling->durable || number > telling->last)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone has steps that were never told");
  telling->durable = number;
  for (Told *told; (told = g_queue_peek_head(&telling->under_way)) && told->number <= number;) {
    telling->window -= told->length;
    told_free(g_queue_pop_head(&telling->under_way));
  }
  generation_steps_durable(telling->steps, number);
  return TRUE;
}

static gboolean
on_mismatch(Telling *telling, guint64 number, GError **error)
{
  if (++telling->index->state.heard > SYNC_MISMATCH_MAX || !generation_steps_mismatch(telling->steps, number))
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                            "the clone's copy of a file is not what this device takes it for");
  return TRUE;
}

static gboolean
on_message(Telling *telling, SyncMessage *message, GError **error)
{
  g_autoptr(SyncMessage) taken = message;
  switch (taken->kind_case) {
  case DOPPEL__SYNC__MESSAGE__KIND_DURABLE:
    if (taken->durable->uncommitted)
      return sync_unexpected(taken, error);
    return on_durable(telling, taken->durable->number, error);
  case DOPPEL__SYNC__MESSAGE__KIND_MISMATCH:
    return on_mismatch(telling, taken->mismatch->number, error);
  default:
    /* A Failure, or nothing that has a place here. */
    conversation_expect(g_steal_pointer(&taken), DOPPEL__SYNC__MESSAGE__KIND_DURABLE, error);
    return FALSE;
  }
}

/* All that has arrived. */
static gboolean
listen_to_clone(Telling *telling, GError **error)
{
  for (;;) {
    GError *problem = NULL;
    SyncMessage *message = sync_take(telling->link, &problem);
    if (!message) {
      if (problem)
        g_propagate_error(error, problem);
      return !problem;
    }
    if (!on_message(telling, message, error))
      return FALSE;
  }
}

/* Waits for anything to happen. What had arrived when the link died is listened to first: it may say why. */
static gboolean
wait_for_clone(Telling *telling, int timeout_ms, GError **error)
{
  g_autoptr(GError) dead = NULL;
  const int look_ms = REPORT_NS / NS_PER_MS;
  int wait_ms = timeout_ms < 0 || timeout_ms > look_ms ? look_ms : timeout_ms;
  telling_report(telling, REPLICATOR_TELLING);
  if (!link_wait(telling->link, wait_ms, error))
    return FALSE;
  gboolean alive = link_work(telling->link, &dead);
  if (!listen_to_clone(telling, error))
    return FALSE;
  if (!alive)
    g_propagate_error(error, g_steal_pointer(&dead));
  return alive;
}

/* ---- what the clone is told ---- */

/* The index names a new attempt before the clone hears of it. */
static void
name_attempt(CloneIndexState *state)
{
  if (state->attempting)
    return;
  state->attempting = state->head + 1;
  state->heard = 0;
  randombytes_buf(state->attempt, sizeof state->attempt);
}

static gboolean
begin_attempt(Telling *telling, GError **error)
{
  CloneIndexState *state = &telling->index->state;
  Doppel__Sync__Begin begin = DOPPEL__SYNC__BEGIN__INIT;
  Doppel__Sync__Attempt attempt = DOPPEL__SYNC__ATTEMPT__INIT;
  attempt.identity = (ProtobufCBinaryData){sizeof state->attempt, state->attempt};
  attempt.generation = state->attempting;
  attempt.durable = telling->durable;
  begin.attempt = &attempt;
  telling->begun = TRUE;
  return SYNC_SEND(telling->link, BEGIN, begin, &begin, error);
}

/* The first steps of `batch`, as many as fit into a message; they are under way then. */
static gboolean
send_steps(Telling *telling, GQueue *batch, GError **error)
{
  ProtobufCBinaryData steps[BATCH_COUNT];
  Doppel__Sync__Step message = DOPPEL__SYNC__STEP__INIT;
  GList *first = g_queue_peek_head_link(batch);
  gsize bytes = 0;
  message.step = steps;
  message.heard = telling->index->state.heard;
  for (GList *at = first; at && message.n_step < BATCH_COUNT; at = at->next) {
    Told *told = at->data;
    if (message.n_step > 0 && bytes + told->length > telling->piece)
      break;
    bytes += told->length;
    steps[message.n_step++] =
        (ProtobufCBinaryData){told->length, (guint8 *)g_bytes_get_data(told->step, NULL)};
  }
  gboolean sent = SYNC_SEND(telling->link, STEP, step, &message, error);
  for (gsize i = 0; i < message.n_step; i++) {
    Told *told = g_queue_pop_head(batch);
    g_clear_pointer(&told->step, g_bytes_unref);
    telling->last = told->number;
    telling->window += told->length;
    g_queue_push_tail(&telling->under_way, told);
  }
  return sent;
}

/* Steps for one transaction: those that the queue got are told, in the index. FALSE with an error. */
static gboolean
make_batch(Telling *telling, GQueue *batch, GError **error)
{
  gsize bytes = 0;
  while (bytes < BATCH_BYTES && batch->length < BATCH_COUNT) {
    GError *problem = NULL;
    g_autoptr(GenerationStep) step = generation_steps_next(telling->steps, &problem);
    if (problem) {
      g_propagate_error(error, problem);
      return FALSE;
    }
    if (!step)
      return TRUE;
    Told *told = g_new0(Told, 1);
    told->number = step->number;
    told->step = generation_step_pack(step);
    told->length = g_bytes_get_size(told->step);
    bytes += told->length;
    g_queue_push_tail(batch, told);
  }
  return TRUE;
}

/* Waits until more may be sent. */
static gboolean
keep_pace(Telling *telling, GError **error)
{
  int pause_ms;
  while ((pause_ms = pace_wait_ms(&telling->pace, link_counters(telling->link)->bytes_sent)) > 0)
    if (!wait_for_clone(telling, pause_ms, error))
      return FALSE;
  return TRUE;
}

static gboolean
send_batch(Telling *telling, GQueue *batch, GError **error)
{
  name_attempt(&telling->index->state);
  if (!clone_index_save(telling->index, error) || (!telling->begun && !begin_attempt(telling, error)))
    return FALSE;
  while (batch->length > 0)
    if (!keep_pace(telling, error) || !send_steps(telling, batch, error))
      return FALSE;
  return TRUE;
}

/* One batch, if it may be sent now; *done where there is nothing more to tell. */
static gboolean
tell_more(Telling *telling, gboolean *done, GError **error)
{
  GQueue batch = G_QUEUE_INIT;
  if (telling->window >= TELLING_WINDOW)
    return wait_for_clone(telling, -1, error);
  gboolean good = make_batch(telling, &batch, error);
  if (good && batch.length > 0)
    good = send_batch(telling, &batch, error) && listen_to_clone(telling, error);
  else
    *done = TRUE;
  g_queue_clear_full(&batch, told_free);
  telling_report(telling, REPLICATOR_TELLING);
  return good;
}

gboolean
telling_tell(Telling *telling, GError **error)
{
  gboolean done = FALSE;
  if (telling->index->state.attempting && !telling->begun && !begin_attempt(telling, error))
    return FALSE;
  while (!done) {
    if (!tell_more(telling, &done, error)) {
      clone_index_save(telling->index, NULL);
      return FALSE;
    }
  }
  return TRUE;
}

/* There was a mismatch that the device had not heard of when it told the COMMIT: since then it has. */
static gboolean
take_back_commit(Telling *telling, const Doppel__Sync__Durable *durable, guint64 heard, GError **error)
{
  CloneIndexState *state = &telling->index->state;
  const Told *tail = g_queue_peek_tail(&telling->under_way);
  if (!tail || tail->number != telling->last || durable->number + 1 != telling->last || state->heard == heard)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone does not complete what it has");
  g_autofree Told *commit = g_queue_pop_tail(&telling->under_way);
  telling->window -= commit->length;
  telling->last--;
  state->commit_time_ns = 0;
  generation_steps_uncommit(telling->steps);
  return on_durable(telling, durable->number, error);
}

/* The answer to the COMMIT: a Committed, or a Durable that says that it was not done. */
static SyncMessage *
wait_for_commit(Telling *telling, GError **error)
{
  for (;;) {
    g_autoptr(SyncMessage) message = sync_wait(telling->link, CONVERSATION_WAIT_MS, error);
    if (!message || message->kind_case == DOPPEL__SYNC__MESSAGE__KIND_COMMITTED ||
        (message->kind_case == DOPPEL__SYNC__MESSAGE__KIND_DURABLE && message->durable->uncommitted))
      return g_steal_pointer(&message);
    if (!on_message(telling, g_steal_pointer(&message), error))
      return NULL;
  }
}

static gboolean
send_commit(Telling *telling, GError **error)
{
  CloneIndexState *state = &telling->index->state;
  g_autoptr(GenerationStep) step = generation_steps_commit(telling->steps, state->attempting);
  GQueue batch = G_QUEUE_INIT;
  Told *told = g_new0(Told, 1);
  *told = (Told){.number = step->number, .step = generation_step_pack(step)};
  told->length = g_bytes_get_size(told->step);
  g_queue_push_tail(&batch, told);
  state->commit_time_ns = step->time_ns;
  state->commit_nodes = step->nodes;
  gboolean sent = clone_index_save(telling->index, error) && send_steps(telling, &batch, error);
  g_queue_clear_full(&batch, told_free);
  return sent;
}

SyncMessage *
telling_complete(Telling *telling, GError **error)
{
  for (;;) {
    guint64 heard = telling->index->state.heard;
    telling_report(telling, REPLICATOR_COMPLETING);
    g_autoptr(SyncMessage) answer = send_commit(telling, error) ? wait_for_commit(telling, error) : NULL;
    if (!answer || answer->kind_case == DOPPEL__SYNC__MESSAGE__KIND_COMMITTED)
      return g_steal_pointer(&answer);
    if (!take_back_commit(telling, answer->durable, heard, error) || !telling_tell(telling, error))
      return NULL;
  }
}

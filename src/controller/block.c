/* One block: captured, run in the clone, brought home; or given up, and run here. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "controller/block_private.h"
#include "controller/rerun.h"

#define DELTA_BYTES_MAX (2ull << 30)
enum { SLEEP_AFTER_MS = 2 };

/* The time since the last mark was spent on this. */
static void
mark(Controller *controller, SplitPart part)
{
  gint64 now = clock_now_ns();
  controller->split[part] = now - controller->mark_ns;
  controller->mark_ns = now;
}

/* ---- sending ---- */

static gboolean
send_piece(Doppel__Engine__DeltaPiece *piece, void *user, GError **error)
{
  EngineMessage message = {PROTOBUF_C_MESSAGE_INIT(&doppel__engine__message__descriptor),
                           DOPPEL__ENGINE__MESSAGE__KIND_DELTA,
                           {.delta = piece}};
  /* The block's own message comes right behind the last one. */
  return (piece->last ? engine_queue : engine_send)(((Controller *)user)->link, &message, error);
}

/* Output that nobody can tell from later output: to what blocks, and keeps bytes in order. */
static void
note_bufferable(const MirrorFiles *files, GArray *list)
{
  for (guint i = 0; i < files->len; i++) {
    const MirrorFile *file = files->pdata[i];
    guint32 type = file->device_mode & S_IFMT;
    if (file->kind == MIRROR_FILE_PIN && !(file->device_flags & O_NONBLOCK) &&
        (type == S_IFCHR || type == S_IFIFO || type == S_IFREG))
      g_array_append_val(list, file->pin);
  }
}

static gboolean
send_signals(Controller *controller, GArray *waiting, GError **error)
{
  for (guint i = 0; i < waiting->len; i++) {
    const MirrorSignal *signal = &g_array_index(waiting, MirrorSignal, i);
    ForwardedSignal sent = {signal->own_tid, signal->info};
    Doppel__Engine__Signal message = DOPPEL__ENGINE__SIGNAL__INIT;
    g_array_append_val(controller->signals_sent, sent);
    message.thread = signal->own_tid;
    message.has_block = TRUE;
    message.block = controller->block;
    message.info.data = (guint8 *)&signal->info;
    message.info.len = sizeof signal->info;
    if (!ENGINE_SEND(controller->link, SIGNAL, signal, &message, error))
      return FALSE;
  }
  return TRUE;
}

/* What a block begins with. */
typedef struct {
  GPtrArray *files, *stale;
  MirrorDelta *delta;
} Beginning;

static void
beginning_clear(Beginning *beginning)
{
  g_clear_pointer(&beginning->files, g_ptr_array_unref);
  g_clear_pointer(&beginning->stale, g_ptr_array_unref);
  g_clear_pointer(&beginning->delta, mirror_delta_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Beginning, beginning_clear)

/* The program is asked first, and answers while all else is looked at. */
static gboolean
capture(Controller *controller, Beginning *beginning, GError **error)
{
  MirrorTwin *twin = controller->twin;
  if (!mirror_twin_ask(twin, error))
    return FALSE;
  beginning->files =
      mirror_files_read_primary(controller->process, controller_is_inherited, controller, error);
  if (beginning->files && pins_begin(controller, beginning->files))
    beginning->stale = device_files_stale(controller->files, controller->pid, error);
  if (beginning->stale)
    beginning->delta = mirror_twin_capture(twin, beginning->files, error);
  return beginning->delta || (mirror_twin_answered(twin, NULL), FALSE);
}

static gboolean
send_block(Controller *controller, Function *function, guint64 entry_sp, guint64 return_address,
           GError **error)
{
  g_auto(Beginning) beginning = {0};
  g_autoptr(GArray) bufferable = g_array_new(FALSE, FALSE, sizeof(gint32));
  g_autoptr(GArray) waiting = g_array_new(FALSE, FALSE, sizeof(MirrorSignal));
  if (!mirror_signals_take(controller->process, waiting, error))
    return FALSE;
  controller->block++;
  pages_begin(controller, function);
  if (!send_signals(controller, waiting, error) || !capture(controller, &beginning, error))
    return FALSE;
  mark(controller, SPLIT_CAPTURE);
  if (!mirror_delta_send(beginning.delta, send_piece, controller, error))
    return FALSE;
  note_bufferable(beginning.files, bufferable);
  Doppel__Engine__Block block = DOPPEL__ENGINE__BLOCK__INIT;
  block.block = controller->block;
  block.thread = controller->block_thread->own_tid;
  block.entry_sp = entry_sp;
  block.return_address = return_address;
  block.children = controller->twin->children;
  block.n_bufferable = bufferable->len;
  block.bufferable = (gint32 *)(void *)bufferable->data;
  block.n_stale = beginning.stale->len;
  block.stale = (Doppel__Engine__Told **)beginning.stale->pdata;
  return ENGINE_SEND(controller->link, BLOCK, block, &block, error);
}

/* ---- while it runs ---- */

gboolean
controller_message(Controller *controller, EngineMessage *message, GError **error)
{
  gint64 began = timeline_now(controller);
  gboolean about_files, good = device_files_message(controller->files, message, &about_files, error);
  if (about_files) {
    timeline_files(controller, message, began);
    return good;
  }
  switch (message->kind_case) {
  case DOPPEL__ENGINE__MESSAGE__KIND_HELLO:
    return session_hello(controller, message->hello, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_STARTED:
    return session_started(controller, message->started, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_FORWARD:
    return pins_forward(controller, message->forward, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_CANCEL_FORWARD:
    return pins_cancel(controller, message->cancel_forward->id, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_CLOSE_PINS:
    return pins_close(controller, message->close_pins, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_OUTPUT:
    return pins_output(controller, message->output, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_SIGNAL:
    controller->signal_deadline_ns = 0; /* it has reached the mirror, which dies of it or does not */
    return TRUE;
  case DOPPEL__ENGINE__MESSAGE__KIND_PULL:
    return pages_pull(controller, message->pull, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_NEED_THREADS:
    return pins_threads(controller, message->need_threads->count, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_DELTA:
    if (!controller->incoming)
      controller->incoming = mirror_delta_new();
    return !controller->incoming_complete &&
           mirror_delta_receive(controller->incoming, message->delta, DELTA_BYTES_MAX,
                                &controller->incoming_complete, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_BLOCK_END:
    if (message->block_end->block != controller->block)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the end of another block");
    controller->end = message;
    return TRUE;
  case DOPPEL__ENGINE__MESSAGE__KIND_FAILURE:
    return doppel_error_set(error, DOPPEL_ERROR_ABORTED, "the clone says: %s", message->failure->reason);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message '%s' that no clone sends now",
                            engine_message_name(message));
  }
}

gboolean
controller_message_between(Controller *controller, const EngineMessage *message, GError **error)
{
  gboolean about_files;
  switch (message->kind_case) {
  case DOPPEL__ENGINE__MESSAGE__KIND_ASK_PATHS:
  case DOPPEL__ENGINE__MESSAGE__KIND_ASK_DIRECTORY:
  case DOPPEL__ENGINE__MESSAGE__KIND_ASK_CONTENT:
    return controller->files && device_files_message(controller->files, message, &about_files, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_NEED_THREADS: /* too late for its block */
    return TRUE;
  case DOPPEL__ENGINE__MESSAGE__KIND_HELLO:
    return session_hello(controller, message->hello, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_STARTED:
    return controller->files && session_started(controller, message->started, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_FAILURE:
    return doppel_error_set(error, DOPPEL_ERROR_ABORTED, "the clone says: %s", message->failure->reason);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message '%s' that no clone sends between blocks",
                            engine_message_name(message));
  }
}

/* Messages in their order; while an output is being written, what comes after it waits. */
static gboolean
work_messages(Controller *controller, GError **error)
{
  while (!controller->end && !pins_output_active(controller)) {
    GError *bad = NULL;
    EngineMessage *message = g_queue_pop_head(controller->postponed);
    if (!message)
      message = engine_take(controller->link, &bad);
    if (!message) {
      if (bad)
        g_propagate_error(error, bad);
      return !bad;
    }
    gboolean done = controller_message(controller, message, error);
    if (message != controller->end)
      engine_message_free(message);
    if (!done) {
      if (error && !*error)
        doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message of the clone at a wrong moment");
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean
on_primary_stop(Controller *controller, const MirrorStop *stop, GError **error)
{
  switch (stop->kind) {
  case MIRROR_STOP_CALL_DONE:
    return pins_done(controller, stop->thread, error);
  case MIRROR_STOP_SIGNAL:
    return signals_forward(controller, stop->thread, error);
  case MIRROR_STOP_GROUP:
    /* Job control: stop as the program does; the shell wakes both. */
    mirror_thread_resume(stop->thread, PTRACE_LISTEN, NULL);
    kill(getpid(), SIGSTOP);
    return TRUE;
  case MIRROR_STOP_GONE:
    if (stop->thread == mirror_thread_leader(controller->process)) {
      controller->exited = TRUE;
      controller->exit_status = stop->status;
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the program died");
    }
    if (stop->thread)
      mirror_thread_remove(stop->thread);
    return TRUE;
  default:
    return !stop->thread || !stop->thread->in_call || mirror_thread_resume(stop->thread, PTRACE_CONT, error);
  }
}

gboolean
block_work_primary(Controller *controller, GError **error)
{
  for (;;) {
    int status;
    pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);
    if (tid <= 0)
      return TRUE;
    if (tid == controller->augmenter) {
      controller->augmenter = -1;
      continue;
    }
    if (rerun_child_stop(controller, tid, status) || !mirror_thread_find(controller->process, tid))
      continue;
    MirrorStop stop = mirror_stop_read(controller->process, tid, status);
    if (!on_primary_stop(controller, &stop, error))
      return FALSE;
  }
}

static gboolean
deadline_passed(const Controller *controller)
{
  return controller->signal_deadline_ns && clock_now_ns() > controller->signal_deadline_ns;
}

/* One wait and what comes of it. */
static gboolean
turn(Controller *controller, GError **error)
{
  struct pollfd fds[8] = {{.fd = controller->signals, .events = POLLIN},
                          {.fd = home_fd(controller), .events = POLLIN}};
  int timeout = -1;
  guint count = 2;
  if (controller->link)
    count += link_prepare(controller->link, fds + count, &timeout);
  gboolean awake = controller->block_thread && !controller->block_thread->in_call && !controller->end;
  if (awake)
    timeout = timeout < 0 ? SLEEP_AFTER_MS : MIN(timeout, SLEEP_AFTER_MS);
  if (controller->signal_deadline_ns)
    timeout = timeout < 0 ? 100 : MIN(timeout, 100);
  if (!controller->end && decide_gives_up(controller, &timeout))
    return doppel_error_set(error, DOPPEL_ERROR_ABORTED,
                            "the link is too slow or away: the device is done sooner");
  int ready = poll(fds, count, timeout);
  if (ready < 0 && errno != EINTR)
    return doppel_error_errno(error, "waiting");
  if (fds[1].revents && !home_serve(controller, error))
    home_lost(controller, *error);
  if (signals_own(controller) && !block_work_primary(controller, error))
    return FALSE;
  if (controller->failure)
    return doppel_error_set(error, DOPPEL_ERROR_ABORTED, "%s", controller->failure);
  if (deadline_passed(controller))
    return doppel_error_set(error, DOPPEL_ERROR_ABORTED, "a fatal signal came and the clone did not answer");
  g_autoptr(GError) dead = NULL;
  if (controller->link)
    link_work(controller->link, &dead);
  if (!work_messages(controller, error))
    return FALSE;
  if (dead && !controller->end) {
    g_propagate_error(error, g_steal_pointer(&dead));
    return FALSE;
  }
  return ready != 0 || !awake || controller->end || pins_sleep(controller, error);
}

static gboolean
wait_for_end(Controller *controller, GError **error)
{
  while (!controller->end)
    if (!turn(controller, error))
      return FALSE;
  return TRUE;
}

/* ---- the block ---- */

static void
clear_block(Controller *controller)
{
  g_clear_pointer(&controller->incoming, mirror_delta_free);
  controller->incoming_complete = FALSE;
  g_clear_pointer(&controller->end, engine_message_free);
  g_clear_pointer(&controller->failure, g_free);
  device_files_clear(controller->files);
  controller->signal_deadline_ns = 0;
  controller->phase = BLOCK_NONE;
  controller->block_thread = NULL;
  controller->block_function = NULL;
}

static void
give_up(Controller *controller, Function *function, const GError *error)
{
  explain(controller, "%s: runs on the device: %s", function ? function->text : "the program",
          error->message);
  if (function) {
    function_reason(function, error->message);
    function->aborted++;
    decide_failed(controller, function, clock_now_ns() - controller->block_start_ns);
  }
  if (!controller->exited) {
    g_autoptr(GError) ignored = NULL;
    pins_stop_all(controller, &ignored);
    if (!controller->exited) {
      pins_end(controller);
      signals_requeue(controller, 0);
    }
  }
  pages_cancel(controller);
  timeline_block(controller, function ? function->text : NULL, error->message);
  home_bring(controller);
  session_close(controller);
  if (++controller->sessions_failed >= 3 && !controller->why_no_session)
    controller->why_no_session =
        g_strdup_printf("the clone failed %u times, last: %s", controller->sessions_failed, error->message);
  if (!controller->exited)
    rerun_begin(controller);
}

/* What the clone says of its own time counts as far as it fits into the time that was waited. */
static void
note_split(Controller *controller, Function *function)
{
  const Doppel__Engine__BlockEnd *end = controller->end->block_end;
  const guint64 told[] = {end->apply_ns, end->run_ns, end->capture_ns, end->send_ns};
  gint64 *left = &controller->split[SPLIT_WIRE];
  for (guint i = 0; i < G_N_ELEMENTS(told); i++) {
    controller->split[SPLIT_CLONE_APPLY + i] = (gint64)MIN(told[i], (guint64)*left);
    *left -= controller->split[SPLIT_CLONE_APPLY + i];
  }
  split_add(function, controller->split);
}

static void
note_result(Controller *controller, Function *function)
{
  const Doppel__Engine__BlockEnd *end = controller->end->block_end;
  mark(controller, SPLIT_APPLY);
  gint64 took = controller->mark_ns - controller->block_start_ns;
  controller->sessions_failed = 0;
  if (end->how == DOPPEL__ENGINE__HOW__CUT)
    explain(controller, "%s: came home early: %s", function ? function->text : "the program",
            end->reason ? end->reason : "");
  if (!function)
    return;
  controller->left_by = function;
  note_split(controller, function);
  stats_block(controller, function, took);
  timeline_block(controller, function->text, NULL);
  if (end->how == DOPPEL__ENGINE__HOW__CUT) {
    function->cut++;
    function_reason(function, end->reason ? end->reason : "cut");
  }
  decide_learn_remote(controller, function, took);
}

void
controller_count_from_here(Controller *controller)
{
  controller->bytes_out_before = link_counters(controller->link)->bytes_sent;
  controller->bytes_in_before = link_counters(controller->link)->bytes_received;
  traffic_begin(&controller->meter);
}

gboolean
controller_block(Controller *controller, MirrorThread *thread, guint64 entry_sp, guint64 return_address,
                 Function *function)
{
  g_autoptr(GError) error = NULL;
  controller->block_start_ns = controller->mark_ns = clock_now_ns();
  memset(controller->split, 0, sizeof controller->split);
  controller->block_thread = thread;
  controller->block_function = controller->options->whole ? NULL : function;
  controller->away_since_ns = 0;
  controller->too_slow = FALSE;
  controller->phase = BLOCK_RUNNING;
  pinlog_forget(controller->log);
  gboolean done =
      mirror_process_freeze(controller->process, NULL, NULL, &error) && session_start(controller, &error);
  if (done) {
    /* The first block of a session has the session's opening on its account. */
    if (controller->block > 0)
      controller_count_from_here(controller);
    mark(controller, SPLIT_STOP);
    done = send_block(controller, function, entry_sp, return_address, &error);
    mark(controller, SPLIT_SEND);
  }
  done = done && wait_for_end(controller, &error);
  mark(controller, SPLIT_WIRE);
  if (done && controller->end->block_end->how == DOPPEL__ENGINE__HOW__ABORTED)
    done =
        doppel_error_set(&error, DOPPEL_ERROR_ABORTED, "%s",
                         controller->end->block_end->reason ? controller->end->block_end->reason : "aborted");
  done = done && pages_end(controller, controller->end->block_end, &error) &&
         block_reintegrate(controller, &error);
  if (done) {
    note_result(controller, function);
    pinlog_forget(controller->log);
    if (controller->end->block_end->worn) {
      home_bring(controller);
      session_close(controller);
    }
  } else {
    give_up(controller, function, error);
  }
  clear_block(controller);
  return done;
}

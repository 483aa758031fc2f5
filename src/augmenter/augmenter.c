#include "augmenter/augmenter.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "augmenter/paths.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "base/io.h"

#define DELTA_BYTES_MAX (2ull << 30)

/* ---- messages ---- */

static gboolean
fail(Augmenter *augmenter, const char *reason)
{
  Doppel__Engine__Failure failure = DOPPEL__ENGINE__FAILURE__INIT;
  failure.reason = (char *)reason;
  augmenter->over = TRUE;
  return ENGINE_SEND(augmenter->link, FAILURE, failure, &failure, NULL);
}

static gboolean
on_hello(Augmenter *augmenter, const Doppel__Engine__Hello *hello, GError **error)
{
  struct utsname names;
  uname(&names);
  g_autofree char *features = arch_features();
  Doppel__Engine__Hello own = DOPPEL__ENGINE__HELLO__INIT;
  own.version = ENGINE_VERSION;
  own.architecture = (char *)arch_name;
  own.features = features;
  own.kernel = names.release;
  own.has_processors = TRUE;
  own.processors = sysconf(_SC_NPROCESSORS_ONLN);
  own.has_store = augmenter->store != NULL;
  if (own.has_store)
    own.store = (ProtobufCBinaryData){PAGE_STORE_IDENTITY, (guint8 *)page_store_identity(augmenter->store)};
  return ENGINE_SEND(augmenter->link, HELLO, hello, &own, error);
}

/* First the places of the clone's files, since contents may be asked for before the mirror is there; then
 * what turned out since. */
gboolean
augmenter_tell_started(Augmenter *augmenter, GError **error)
{
  Doppel__Engine__Started started = DOPPEL__ENGINE__STARTED__INIT;
  g_autoptr(GPtrArray) mountpoints = paths_mountpoints(augmenter->paths);
  g_autofree ProtobufCBinaryData *list = g_new(ProtobufCBinaryData, mountpoints->len + 1);
  for (guint i = 0; i < mountpoints->len; i++)
    list[i] = (ProtobufCBinaryData){strlen(mountpoints->pdata[i]), mountpoints->pdata[i]};
  started.n_mountpoint = augmenter->process ? 0 : mountpoints->len;
  started.mountpoint = list;
  const GPtrArray *notes = paths_notes(augmenter->paths);
  started.n_note = notes->len - augmenter->notes_told;
  started.note = (char **)notes->pdata + augmenter->notes_told;
  augmenter->notes_told = notes->len;
  started.setup_ns = augmenter->process ? clock_now_ns() - augmenter->ordered_ns : 0;
  return ENGINE_SEND(augmenter->link, STARTED, started, &started, error);
}

static gboolean
on_start(Augmenter *augmenter, const Doppel__Engine__Start *start, GError **error)
{
  g_autoptr(GError) why = NULL;
  augmenter->ordered_ns = clock_now_ns();
  if (!augmenter_start_mirror(augmenter, start, &why))
    return fail(augmenter, why->message);
  return augmenter_tell_started(augmenter, error);
}

static gboolean
on_prepare(Augmenter *augmenter, const Doppel__Engine__Prepare *prepare, GError **error)
{
  g_autoptr(GError) why = NULL;
  return augmenter_prepare(augmenter, prepare, &why) || fail(augmenter, why->message);
}

static gboolean
on_threads(Augmenter *augmenter, const Doppel__Engine__Threads *threads, GError **error)
{
  augmenter->asked_threads = FALSE;
  /* Too late for its block: the device has ended those threads with it. */
  if (augmenter->phase != MIRROR_RUNNING)
    return TRUE;
  if (threads->error || !threads->n_thread)
    return augmenter_block_end(augmenter, DOPPEL__ENGINE__HOW__CUT, 0,
                               threads->error ? threads->error : "no thread could be made on the device",
                               error);
  g_array_append_vals(augmenter->reserved, threads->thread, threads->n_thread);
  return augmenter_retry_held(augmenter, error);
}

static gboolean
on_delta(Augmenter *augmenter, const Doppel__Engine__DeltaPiece *piece, GError **error)
{
  if (augmenter->phase != MIRROR_READY || augmenter->incoming_complete)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a delta at a wrong moment");
  if (!augmenter->incoming)
    augmenter->incoming = mirror_delta_new();
  return mirror_delta_receive(augmenter->incoming, piece, DELTA_BYTES_MAX, &augmenter->incoming_complete,
                              error);
}

static gboolean
on_block(Augmenter *augmenter, const Doppel__Engine__Block *block, GError **error)
{
  g_autoptr(GError) why = NULL;
  if (augmenter_block_begin(augmenter, block, &why))
    return TRUE;
  return fail(augmenter, why->message);
}

/* Calls may have waited for it, or the block's end. */
static gboolean
on_files(Augmenter *augmenter, GError **error)
{
  return augmenter_retry_held(augmenter, error) && augmenter_block_settle(augmenter, error);
}

gboolean
augmenter_message(Augmenter *augmenter, const EngineMessage *message, GError **error)
{
  gboolean about_files = FALSE,
           good = !augmenter->paths || paths_message(augmenter->paths, message, &about_files, error);
  if (about_files)
    return good && on_files(augmenter, error);
  switch (message->kind_case) {
  case DOPPEL__ENGINE__MESSAGE__KIND_HELLO:
    return on_hello(augmenter, message->hello, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_PREPARE:
    return on_prepare(augmenter, message->prepare, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_START:
    return on_start(augmenter, message->start, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_DELTA:
    return on_delta(augmenter, message->delta, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_BLOCK:
    return on_block(augmenter, message->block, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_SIGNAL:
    return augmenter->process && augmenter_signal(augmenter, message->signal, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_FORWARDED:
    augmenter_forwarded(augmenter, message->forwarded);
    return augmenter_block_settle(augmenter, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_THREADS:
    return on_threads(augmenter, message->threads, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_PULL:
    return stay_pull(augmenter, message->pull, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_COMMIT:
    return augmenter_commit(augmenter, error);
  case DOPPEL__ENGINE__MESSAGE__KIND_DROP:
  case DOPPEL__ENGINE__MESSAGE__KIND_BYE:
    augmenter->over = TRUE;
    return TRUE;
  default:
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message '%s' that no device sends",
                            engine_message_name(message));
  }
}

static gboolean
drain_link(Augmenter *augmenter, GError **error)
{
  /* What arrived before the end of the link counts still: a goodbye among it. */
  g_autoptr(GError) dead = NULL;
  link_work(augmenter->link, &dead);
  for (;;) {
    GError *bad = NULL;
    g_autoptr(EngineMessage) message = augmenter->over ? NULL : g_queue_pop_head(augmenter->postponed);
    if (!message && !augmenter->over)
      message = engine_take(augmenter->link, &bad);
    if (bad) {
      g_propagate_error(error, bad);
      return FALSE;
    }
    if (!message && dead && !augmenter->over) {
      g_propagate_error(error, g_steal_pointer(&dead));
      return FALSE;
    }
    if (!message)
      return TRUE;
    if (!augmenter_message(augmenter, message, error)) {
      if (error && !*error)
        doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message '%s' at a wrong moment",
                         engine_message_name(message));
      return FALSE;
    }
  }
}

/* ---- the loop ---- */

/* The device has connected anew. A connection that is not the device's leaves the link as it was. */
static gboolean
take_socket(Augmenter *augmenter, GError **error)
{
  int fd, got = session_receive_socket(augmenter->session, &fd);
  if (got < 0)
    augmenter->control = -1;
  else if (got > 0)
    link_resume(augmenter->link, fd, NULL);
  return TRUE;
}

EngineMessage *
augmenter_wait_message(Augmenter *augmenter, GError **error)
{
  for (;;) {
    g_autoptr(GError) dead = NULL;
    GError *bad = NULL;
    link_work(augmenter->link, &dead);
    g_autoptr(EngineMessage) message = engine_take(augmenter->link, &bad);
    augmenter->over |= message && (message->kind_case == DOPPEL__ENGINE__MESSAGE__KIND_BYE ||
                                   message->kind_case == DOPPEL__ENGINE__MESSAGE__KIND_DROP);
    if (augmenter->over)
      doppel_error_set(&bad, DOPPEL_ERROR_GONE, "the device has ended the session");
    /* The device waits for the answer, and answers nobody meanwhile. */
    if (message && !bad && message->kind_case == DOPPEL__ENGINE__MESSAGE__KIND_PULL) {
      if (!stay_pull(augmenter, message->pull, error))
        return NULL;
      continue;
    }
    if (message && !bad)
      return g_steal_pointer(&message);
    if (bad || dead) {
      g_propagate_error(error, bad ? bad : g_steal_pointer(&dead));
      return NULL;
    }
    struct pollfd fds[1 + LINK_POLL_MAX] = {{.fd = augmenter->control, .events = POLLIN}};
    int timeout = -1;
    guint count = 1 + link_prepare(augmenter->link, fds + 1, &timeout);
    if (poll(fds, count, timeout) < 0 && errno != EINTR) {
      doppel_error_errno(error, "waiting");
      return NULL;
    }
    if (fds[0].revents && !take_socket(augmenter, error))
      return NULL;
  }
}

gboolean
augmenter_postpone(Augmenter *augmenter, EngineMessage *message, GError **error)
{
  enum { POSTPONED_MAX = 4096 };
  if (g_queue_get_length(augmenter->postponed) >= POSTPONED_MAX) {
    engine_message_free(message);
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the device does not answer, and sends other things");
  }
  g_queue_push_tail(augmenter->postponed, message);
  return TRUE;
}

enum { POLL_CHILDREN, POLL_LISTENER, POLL_CONTROL, POLL_FAULTS, POLL_LINK, POLL_COUNT = POLL_LINK + 4 };

gboolean
augmenter_turn(Augmenter *augmenter, GError **error)
{
  struct pollfd fds[POLL_COUNT] = {
      {.fd = augmenter->process ? augmenter->children : -1, .events = POLLIN},
      {.fd = augmenter->process ? augmenter->listener : -1, .events = POLLIN},
      {.fd = augmenter->control, .events = POLLIN},
      {.fd = augmenter->twin ? mirror_pager_fd(augmenter->twin->pager) : -1, .events = POLLIN},
  };
  int timeout = -1;
  guint count = POLL_LINK + link_prepare(augmenter->link, fds + POLL_LINK, &timeout);
  if (!g_queue_is_empty(augmenter->postponed)) /* no descriptor tells of these */
    timeout = 0;
  if (augmenter_output_due(augmenter, &timeout) && !augmenter_output_flush(augmenter, error))
    return FALSE;
  if (poll(fds, count, timeout) < 0 && errno != EINTR)
    return doppel_error_errno(error, "waiting");
  if (fds[POLL_CONTROL].revents && !take_socket(augmenter, error))
    return FALSE;
  if (!drain_link(augmenter, error))
    return FALSE;
  if (augmenter->process && !augmenter->over) {
    if (fds[POLL_FAULTS].revents & POLLIN && !mirror_pager_serve(augmenter->twin->pager, error))
      return FALSE;
    if (fds[POLL_LISTENER].revents & POLLIN && !augmenter_notified(augmenter, error))
      return FALSE;
    if (fds[POLL_LISTENER].revents == POLLHUP) /* nobody is left who could call; it would wake us for ever */
      io_close(&augmenter->listener);
    if (fds[POLL_CHILDREN].revents && !augmenter_reap(augmenter, error))
      return FALSE;
  }
  return augmenter_memory_came(augmenter, error);
}

static void
clear(Augmenter *augmenter)
{
  paths_free(augmenter->paths);
  if (augmenter->twin)
    mirror_pager_free(augmenter->twin->pager);
  stay_end(augmenter);
  mirror_twin_free(augmenter->twin);
  mirror_process_free(augmenter->process);
  sandbox_free(augmenter->sandbox);
  mirror_delta_free(augmenter->incoming);
  g_queue_free_full(augmenter->postponed, (GDestroyNotify)engine_message_free);
  g_ptr_array_unref(augmenter->held);
  g_ptr_array_unref(augmenter->outputs);
  g_hash_table_unref(augmenter->pins);
  g_array_unref(augmenter->bufferable);
  g_array_unref(augmenter->signals);
  g_array_unref(augmenter->early);
  g_array_unref(augmenter->end_signals);
  g_hash_table_unref(augmenter->sent_back);
  g_hash_table_unref(augmenter->clock_bases);
  g_array_unref(augmenter->processors);
  g_array_unref(augmenter->reserved);
  g_free(augmenter->end_reason);
  g_clear_error(&augmenter->missing);
  page_store_close(augmenter->store);
  io_close(&augmenter->listener);
  io_close(&augmenter->device);
  io_close(&augmenter->children);
}

int
augmenter_session(Link *link, const AugmenterSession *session)
{
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, NULL);
  Augmenter augmenter = {
      .link = link,
      .session = session,
      .listener = -1,
      .device = -1,
      .control = session->control_fd,
      .children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK),
      .postponed = g_queue_new(),
      .held = g_ptr_array_new_with_free_func((GDestroyNotify)held_call_free),
      .outputs = g_ptr_array_new_with_free_func((GDestroyNotify)pin_output_free),
      .pins = g_hash_table_new(NULL, NULL),
      .bufferable = g_array_new(FALSE, FALSE, sizeof(gint32)),
      .signals = g_array_new(FALSE, FALSE, sizeof(QueuedSignal)),
      .early = g_array_new(FALSE, FALSE, sizeof(QueuedSignal)),
      .end_signals = g_array_new(FALSE, FALSE, sizeof(QueuedSignal)),
      .clock_bases = g_hash_table_new_full(NULL, NULL, NULL, g_free),
      .processors = g_array_new(FALSE, FALSE, sizeof(guint32)),
      .sent_back = g_hash_table_new(NULL, NULL),
      .reserved = g_array_new(FALSE, FALSE, sizeof(pid_t)),
  };
  heap_keep_freed();
  demand_open_store(&augmenter);
  g_autoptr(GError) error = NULL;
  /* What came with the handshake is there already: nothing would wake us for it. */
  gboolean going = drain_link(&augmenter, &error);
  while (going && !augmenter.over)
    going = augmenter_turn(&augmenter, &error);
  if (error && link_state(link) != LINK_DEAD)
    fail(&augmenter, error->message);
  clear(&augmenter);
  return error ? 1 : 0;
}

#include "replicator/receive_private.h"

#include <errno.h>
#include <poll.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/pass.h"
/* Milliseconds between looks, while the link is away, whether another session wants the store. */
#define AWAY_LOOK_MS 100

static void
take_sockets(Receiver *receiver)
{
  int fd, got;
  while ((got = link_pass_receive(receiver->control_fd, &fd)) > 0)
    link_resume(receiver->link, fd, NULL);
  if (got < 0)
    receiver->control_fd = -1;
}

gboolean
receiver_wait(Receiver *receiver, int timeout_ms, GError **error)
{
  struct pollfd fds[LINK_POLL_MAX + 1];
  if (link_state(receiver->link) == LINK_AWAY && (timeout_ms < 0 || timeout_ms > AWAY_LOOK_MS))
    timeout_ms = AWAY_LOOK_MS;
  guint count = link_prepare(receiver->link, fds, &timeout_ms);
  fds[count] = (struct pollfd){.fd = receiver->control_fd, .events = POLLIN};
  if (poll(fds, count + 1, timeout_ms) < 0 && errno != EINTR)
    return doppel_error_errno(error, "cannot wait for the device");
  if (receiver->control_fd >= 0 && fds[count].revents)
    take_sockets(receiver);
  if (!link_work(receiver->link, error))
    return FALSE;
  if (link_state(receiver->link) == LINK_AWAY && receiver->store && receiver_is_awaited(receiver))
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the device has begun another synchronisation");
  return TRUE;
}

static gboolean
on_hello(Receiver *receiver, const Doppel__Sync__Hello *hello, GError **error)
{
  if (hello->version != SYNC_VERSION)
    return doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "the clone's host synchronises by version %u, the device by version %u: install the "
        "same doppel on both",
        SYNC_VERSION, hello->version);
  receiver->greeted = TRUE;
  if (receiver->place->enter)
    receiver_enter(hello->uid, hello->gid);
  return receiver_open(receiver, hello->write, error) && receiver_welcome(receiver, error);
}

static gboolean
on_writing(Receiver *receiver, const SyncMessage *message, GError **error)
{
  if (!receiver->store)
    return sync_unexpected(message, error);
  switch (message->kind_case) {
  case DOPPEL__SYNC__MESSAGE__KIND_BEGIN:
    return receiver_begin(receiver, message->begin->attempt, error);
  case DOPPEL__SYNC__MESSAGE__KIND_ABANDON:
    return receiver_abandon(receiver, error);
  default:
    return receiver_step(receiver, message->step, error);
  }
}

static gboolean
on_message(Receiver *receiver, const SyncMessage *message, GError **error)
{
  if (receiver->greeted == (message->kind_case == DOPPEL__SYNC__MESSAGE__KIND_HELLO))
    return sync_unexpected(message, error);
  switch (message->kind_case) {
  case DOPPEL__SYNC__MESSAGE__KIND_HELLO:
    return on_hello(receiver, message->hello, error);
  case DOPPEL__SYNC__MESSAGE__KIND_BEGIN:
  case DOPPEL__SYNC__MESSAGE__KIND_ABANDON:
  case DOPPEL__SYNC__MESSAGE__KIND_STEP:
    return on_writing(receiver, message, error);
  case DOPPEL__SYNC__MESSAGE__KIND_LIST:
    return receiver_list(receiver, error);
  case DOPPEL__SYNC__MESSAGE__KIND_SHOW:
    return receiver_show(receiver, message->show, error);
  case DOPPEL__SYNC__MESSAGE__KIND_CONTENTS:
    return receiver_public(receiver, message->contents, error);
  case DOPPEL__SYNC__MESSAGE__KIND_COMPARE:
    return receiver_compare(receiver, message->compare, error);
  case DOPPEL__SYNC__MESSAGE__KIND_KEEP:
    return receiver_keep(receiver, message->keep, error);
  case DOPPEL__SYNC__MESSAGE__KIND_FETCH:
    return receiver_fetch(receiver, message->fetch, error);
  case DOPPEL__SYNC__MESSAGE__KIND_MORE: /* for an answer that ended meanwhile */
    return TRUE;
  case DOPPEL__SYNC__MESSAGE__KIND_BYE:
    receiver->over = TRUE;
    return TRUE;
  default:
    return sync_unexpected(message, error);
  }
}

static int
due_ms(const Receiver *receiver)
{
  gint64 due_us = receiver->store ? generation_store_due_us(receiver->store) : -1;
  return due_us < 0 ? -1 : (int)MIN(due_us / 1000 + 1, G_MAXINT);
}

/* Steps that nothing follows become durable when it is time. */
static gboolean
keep_time(Receiver *receiver, GError **error)
{
  if (!receiver->store || generation_store_due_us(receiver->store) != 0)
    return TRUE;
  return generation_store_sync(receiver->store, error) && receiver_tell_durable(receiver, error);
}

static gboolean
work(Receiver *receiver, gboolean *gone, GError **error)
{
  while (!receiver->over) {
    GError *problem = NULL;
    g_autoptr(SyncMessage) message = sync_take(receiver->link, &problem);
    if (problem) {
      g_propagate_error(error, problem);
      return FALSE;
    }
    if (message && !on_message(receiver, message, error))
      return FALSE;
    if (!keep_time(receiver, error))
      return FALSE;
    if (message)
      continue;
    if (!receiver_wait(receiver, due_ms(receiver), NULL)) {
      *gone = TRUE;
      return TRUE;
    }
  }
  return TRUE;
}

/* A wish that cannot be read is no reason to give anything up. */
static gboolean
tidy_store(Receiver *receiver, GError **error)
{
  g_auto(GenerationRetention) retention = {0};
  g_auto(Fd) lock = receiver_keep_lock(receiver, error);
  return lock >= 0 && generation_retention_read(receiver->directory, &retention, error) &&
         generation_store_tidy(receiver->store, &retention, GENERATION_STACK_USUAL, error);
}

static void
tidy_up(Receiver *receiver)
{
  g_autoptr(GError) error = NULL;
  if (!tidy_store(receiver, &error))
    g_printerr("doppeld: clone %s: its old generations cannot be tidied up: %s\n", receiver->place->name,
               error->message);
}

/* The device need not wait for what is only about room. */
static void
part(Receiver *receiver, gboolean gone)
{
  GenerationAttempt attempt;
  if (!receiver->store)
    return;
  if (gone && generation_store_attempt(receiver->store, &attempt))
    generation_store_sync(receiver->store, NULL);
  if (receiver->committed)
    tidy_up(receiver);
}

/* What the device sent before it heard of the failure is not to hide that: a connection that is closed with
 * bytes unread is lost for its peer. */
static void
tell_failure(Receiver *receiver, const GError *error)
{
  enum { FAREWELL_MS = 10000 };
  gint64 deadline = clock_now_ns() + FAREWELL_MS * G_GINT64_CONSTANT(1000000);
  gboolean alive = sync_fail(receiver->link, error);
  while (alive && clock_left_ms(deadline) > 0) {
    g_autoptr(LinkMessage) message = link_take(receiver->link);
    alive = message || receiver_wait(receiver, clock_left_ms(deadline), NULL);
  }
}

int
replicator_receive(Link *link, const ReplicatorPlace *place)
{
  g_autoptr(GError) error = NULL;
  gboolean gone = FALSE;
  Receiver receiver = {.link = link,
                       .place = place,
                       .control_fd = place->control_fd,
                       .directory = -1,
                       .lock = -1,
                       .live = -1,
                       .public_set = -1,
                       .readable = -1,
                       .mismatches = g_array_new(FALSE, FALSE, sizeof(guint64))};
  gboolean good = work(&receiver, &gone, &error);
  if (!good && link_state(link) == LINK_DEAD) /* a device that went away as it was being answered */
    good = gone = TRUE;
  if (!good) {
    g_printerr("doppeld: clone %s: %s\n", place->name, error->message);
    tell_failure(&receiver, error);
  }
  io_close(&receiver.live);
  part(&receiver, gone);
  generation_store_free(receiver.store);
  io_close(&receiver.lock);
  io_close(&receiver.public_set);
  io_close(&receiver.readable);
  io_close(&receiver.directory);
  g_array_unref(receiver.mismatches);
  return good ? 0 : 1;
}

#include "link/engine.h"

#include <errno.h>
#include <poll.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/state.h"

void
engine_message_free(EngineMessage *message)
{
  if (message)
    doppel__engine__message__free_unpacked(message, NULL);
}

void
engine_observe(Link *link, EngineObserver observer, void *user)
{
  link->observer = observer;
  link->observer_user = user;
}

static void
observed(Link *link, const EngineMessage *message, gsize length, gboolean out)
{
  if (link->observer)
    link->observer(link->observer_user, message, length, out, link->inbox.length);
}

static gboolean
hand_over(Link *link, const EngineMessage *message,
          gboolean (*to)(Link *, guint32, const struct iovec *, guint, GError **), GError **error)
{
  gsize length = doppel__engine__message__get_packed_size(message);
  guint8 small[4096];
  g_autofree guint8 *large = length > sizeof small ? g_malloc(length) : NULL;
  guint8 *room = large ? large : small;
  doppel__engine__message__pack(message, room);
  observed(link, message, length, TRUE);
  return to(link, ENGINE_CHANNEL, &(struct iovec){room, length}, 1, error);
}

gboolean
engine_send(Link *link, const EngineMessage *message, GError **error)
{
  return hand_over(link, message, link_send, error);
}

gboolean
engine_queue(Link *link, const EngineMessage *message, GError **error)
{
  return hand_over(link, message, link_queue, error);
}

EngineMessage *
engine_take(Link *link, GError **error)
{
  g_autoptr(LinkMessage) raw = link_take(link);
  if (!raw)
    return NULL;
  EngineMessage *message =
      raw->channel == ENGINE_CHANNEL ? doppel__engine__message__unpack(NULL, raw->length, raw->data) : NULL;
  if (!message || message->kind_case == DOPPEL__ENGINE__MESSAGE__KIND__NOT_SET) {
    engine_message_free(message);
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                     "the other side sent %" G_GSIZE_FORMAT " bytes that are no message", raw->length);
    return NULL;
  }
  observed(link, message, raw->length, FALSE);
  return message;
}

EngineMessage *
engine_wait(Link *link, int timeout_ms, GError **error)
{
  gint64 deadline = timeout_ms < 0 ? G_MAXINT64 : clock_now_ns() + (gint64)timeout_ms * 1000000;
  for (;;) {
    GError *bad = NULL;
    EngineMessage *message = engine_take(link, &bad);
    if (message)
      return message;
    if (bad) {
      g_propagate_error(error, bad);
      return NULL;
    }
    gint64 left = timeout_ms < 0 ? -1 : (deadline - clock_now_ns()) / 1000000;
    if (timeout_ms >= 0 && left <= 0) {
      doppel_error_set(error, DOPPEL_ERROR_GONE, "the other side did not answer within %d ms", timeout_ms);
      return NULL;
    }
    struct pollfd fds[4];
    int wait = (int)MIN(left, G_MAXINT);
    guint count = link_prepare(link, fds, &wait);
    if (poll(fds, count, wait) < 0 && errno != EINTR) {
      doppel_error_errno(error, "waiting for the other side");
      return NULL;
    }
    g_autoptr(GError) dead = NULL;
    if (link_work(link, &dead))
      continue;
    /* What arrived before the end counts still. */
    message = engine_take(link, NULL);
    if (!message)
      g_propagate_error(error, g_steal_pointer(&dead));
    return message;
  }
}

const char *
engine_message_name(const EngineMessage *message)
{
  const ProtobufCFieldDescriptor *field =
      protobuf_c_message_descriptor_get_field(&doppel__engine__message__descriptor, message->kind_case);
  return field ? field->name : "unknown";
}

/* What goes over the connection in use: messages out and in, acknowledgements, probes. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/state.h"

#define OUT_MAX    (64u << 10)  /* encrypted bytes that wait for the socket */
#define TELL_BYTES (512u << 10) /* an acknowledgement of its own after so many bytes, */
#define TELL_COUNT 128          /* or messages, */
#define TELL_MS    1000         /* or so long: it only frees the peer's memory, and a radio woken costs */
#define INBOX_MAX  LINK_UNSENT_MAX
#define INBOX_END  (4 * (gsize)INBOX_MAX) /* a peer that sends more without listening is hostile */

#define MS(ms) ((ms)*G_GINT64_CONSTANT(1000000))

static gboolean
put_control(Link *link, WireFrameKind kind, GError **error)
{
  guint8 header[WIRE_FRAME_HEADER];
  guint64 before = link->outbox.cursor ? link->outbox.cursor->number - 1 : link->outbox.number;
  WireFrame frame = {.kind = kind, .sequence = (guint32)before, .acknowledged = (guint32)link->received};
  wire_frame_encode(header, &frame);
  link->told = link->received;
  link->untold_bytes = 0;
  link->tell_at = 0;
  return link_connection_put(link->connection, header, sizeof header, error);
}

static gboolean
must_tell(const Link *link)
{
  return link->received - link->told >= TELL_COUNT || link->untold_bytes >= TELL_BYTES;
}

/* Frames between two messages. */
static gboolean
put_controls(Link *link, GError **error)
{
  if (link->owes_pong) {
    link->owes_pong = FALSE;
    if (!put_control(link, WIRE_PONG, error))
      return FALSE;
  }
  if (link->owes_ping) {
    link->owes_ping = FALSE;
    if (!put_control(link, WIRE_PING, error))
      return FALSE;
  }
  return !must_tell(link) || link->outbox.cursor || put_control(link, WIRE_ACK, error);
}

static gboolean
put_message(Link *link, gsize room, GError **error)
{
  LinkOutbox *outbox = &link->outbox;
  LinkFrame *frame = outbox->cursor;
  if (outbox->offset == 0) {
    wire_frame_acknowledge(frame->bytes, (guint32)link->received);
    link->told = link->received;
    link->untold_bytes = 0;
    link->tell_at = 0;
  }
  gsize length = MIN(frame->length - outbox->offset, room);
  gboolean done = link_connection_put(link->connection, frame->bytes + outbox->offset, length, error);
  link_outbox_advance(outbox, length);
  /* A socket pair loses nothing: what it took has as good as arrived. */
  if (link->local && outbox->cursor != frame)
    link_outbox_acknowledge(outbox, frame->number);
  return done;
}

static gboolean
transmit(Link *link, GError **error)
{
  LinkConnection *connection = link->connection;
  for (;;) {
    if (link_connection_backlog(connection) >= OUT_MAX && !link_connection_flush(connection, error))
      return FALSE;
    gsize backlog = link_connection_backlog(connection);
    if (backlog >= OUT_MAX)
      return TRUE;
    if (link->outbox.offset == 0 && !put_controls(link, error))
      return FALSE;
    if (!link->outbox.cursor)
      return link_connection_flush(connection, error);
    if (!put_message(link, OUT_MAX - backlog, error))
      return FALSE;
  }
}

static gboolean
may_transmit(const Link *link)
{
  return link->connection && (link->connection->stage == LINK_CONNECTION_OPEN || link->early);
}

void
link_transmit(Link *link)
{
  GError *error = NULL;
  if (!link->connection)
    return;
  gboolean done =
      may_transmit(link) ? transmit(link, &error) : link_connection_flush(link->connection, &error);
  if (done)
    return;
  /* What the peer said before it closed may tell why. */
  link_receive(link, clock_now_ns());
  if (link->connection)
    link_lose(link, g_steal_pointer(&error));
  g_clear_error(&error);
}

LinkBacklog
link_backlog(const Link *link)
{
  gsize encrypted = link->connection ? link_connection_backlog(link->connection) : 0;
  return (LinkBacklog){.unwritten = link->outbox.unwritten + encrypted, .kept = link->outbox.bytes};
}

gboolean
link_wants_write(const Link *link)
{
  return link->connection &&
         (link_connection_backlog(link->connection) > 0 || (may_transmit(link) && link->outbox.cursor));
}

gboolean
link_wants_read(const Link *link)
{
  gsize max = link->options.inbox_max > 0 ? link->options.inbox_max : INBOX_MAX;
  return link->inbox_bytes < max || link->insatiable;
}

void
link_limit_inbox(Link *link, gsize bytes)
{
  link->options.inbox_max = bytes;
}

void
link_apply_unsent(Link *link)
{
  if (link->connection && link->unsent_max > 0)
    setsockopt(link->connection->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &link->unsent_max,
               sizeof link->unsent_max);
}

void
link_limit_unsent(Link *link, guint bytes)
{
  link->unsent_max = bytes;
  link_apply_unsent(link);
}

void
link_give_back(Link *link, LinkMessage *message)
{
  if (link->connection)
    link_connection_recycle(link->connection, message);
  else
    link_message_free(message);
}

static gboolean
take_acknowledgement(Link *link, const WireFrame *frame, GError **error)
{
  if (link->local)
    return TRUE;
  guint64 number = wire_frame_expand(link->outbox.acknowledged, frame->acknowledged);
  if (link_outbox_acknowledge(&link->outbox, number))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the peer acknowledged message %" G_GUINT64_FORMAT ", which it cannot have got",
                          number);
}

/* A packed message is taken apart as it arrives: it arrives once. */
static LinkMessage *
unpack(Link *link, const LinkMessage *packed, GError **error)
{
  gsize length;
  gsize max = link->options.message_max > 0 ? link->options.message_max : LINK_MESSAGE_MAX;
  if (!wire_packed_length(packed->data, packed->length, max, &length, error))
    return NULL;
  if (!link->unpacker)
    link->unpacker = wire_unpacker_new();
  g_autoptr(LinkMessage) message = link_message_new(packed->channel, length);
  guint8 *data = (guint8 *)message->data;
  return wire_unpacker_unpack(link->unpacker, packed->data, packed->length, data, length, error)
             ? g_steal_pointer(&message)
             : NULL;
}

static gboolean
take_data(Link *link, LinkMessage *message, gint64 now, GError **error)
{
  link->received++;
  link->counters.messages_received++;
  gsize size = sizeof *message + message->length;
  link->untold_bytes += size;
  link->inbox_bytes += size;
  g_queue_push_tail(&link->inbox, message);
  if (!link->tell_at && !link->local)
    link->tell_at = now + MS(TELL_MS);
  if (link->inbox_bytes > INBOX_END)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the peer floods us with messages and takes none");
  return TRUE;
}

static gboolean
handle_frame(Link *link, const WireFrame *frame, LinkMessage **message, gint64 now, GError **error)
{
  if (frame->kind == WIRE_HELLO || frame->kind == WIRE_WELCOME)
    return link_greeted(link, link->connection, frame, *message, now, error);
  gboolean numbered = frame->kind == WIRE_DATA || frame->kind == WIRE_PACKED;
  guint64 expected = link->received + (numbered ? 1 : 0);
  if (frame->sequence != (guint32)expected)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the peer sent message number %u where %" G_GUINT64_FORMAT " was due",
                            frame->sequence, expected);
  if (!take_acknowledgement(link, frame, error))
    return FALSE;
  switch (frame->kind) {
  case WIRE_DATA:
    return take_data(link, g_steal_pointer(message), now, error);
  case WIRE_PACKED: {
    LinkMessage *unpacked = unpack(link, *message, error);
    return unpacked && take_data(link, unpacked, now, error);
  }
  case WIRE_PING:
    link->owes_pong = TRUE;
    return TRUE;
  case WIRE_BYE:
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the peer has ended the session");
  default:
    return TRUE;
  }
}

static int
receive_frame(Link *link, gint64 now, GError **error)
{
  WireFrame frame;
  g_autoptr(LinkMessage) message = NULL;
  int got = link_connection_next(link->connection, &frame, &message, error);
  if (got > 0 && !handle_frame(link, &frame, &message, now, error)) {
    /* Said inside TLS, by the peer itself: there is no point in coming back. */
    link_die(link, g_error_copy(*error));
    return -1;
  }
  if (got < 0 && (g_error_matches(*error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE) ||
                  g_error_matches(*error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED)))
    link_die(link, g_error_copy(*error));
  else if (got < 0)
    link_lose(link, g_error_copy(*error));
  return got;
}

void
link_receive(Link *link, gint64 now)
{
  gboolean more = TRUE;
  while (link->connection && more && link_wants_read(link)) {
    LinkConnection *connection = link->connection;
    guint64 before = connection->received;
    more = link_connection_fill(connection);
    if (connection->received != before) {
      link->heard_at = now;
      link->probed_at = 0;
    }
    int got;
    do {
      g_autoptr(GError) error = NULL;
      got = receive_frame(link, now, &error);
    } while (got > 0 && link->connection && link_wants_read(link));
  }
  link->starved = link->connection && !link_wants_read(link);
}

/* The dialling end probes first, so that two silent ends do not both. */
static gint64
patience(const Link *link)
{
  gint64 span = MS(MAX(link->options.keepalive_ms, 1));
  return link->dials ? span : span + span / 2;
}

/* When the peer will have been silent for too long, once more. */
static gint64
keep_alive_at(const Link *link)
{
  return link->probed_at ? link->probed_at + MS(link->options.keepalive_ms) : link->heard_at + patience(link);
}

void
link_keep_alive(Link *link, gint64 now)
{
  if (link->local || !link->connection)
    return;
  if (link->connection->stage != LINK_CONNECTION_OPEN) {
    if (now >= link->connection->deadline)
      link_lose(link, g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_GONE, "%s does not answer",
                                  link->connection->address));
    return;
  }
  if (!link_wants_read(link))
    link->heard_at = now;
  gboolean due = now >= keep_alive_at(link);
  /* On a slow link the probe waits behind what is being sent, and its answer could say no more than that. */
  gboolean moves = due && link_connection_moves(link->connection);
  if (due && link->probed_at && !moves) {
    link_lose(link, g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_GONE, "%s is silent", link->connection->address));
    return;
  }
  if (due) {
    link->owes_ping |= !link->probed_at;
    link->probed_at = now;
  }
  if (link->tell_at && now >= link->tell_at && link->outbox.offset == 0) {
    g_autoptr(GError) error = NULL;
    put_control(link, WIRE_ACK, &error);
  }
}

gint64
link_keep_alive_due(const Link *link)
{
  if (link->local || !link->connection)
    return G_MAXINT64;
  if (link->connection->stage != LINK_CONNECTION_OPEN)
    return link->connection->deadline;
  gint64 due = keep_alive_at(link);
  /* In the middle of a message an acknowledgement has to wait for the socket, not for the clock. */
  if (link->tell_at && link->outbox.offset == 0)
    due = MIN(due, link->tell_at);
  return due;
}

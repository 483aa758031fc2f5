#include "link/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "link/state.h"

#define PACK_LEAST 192 /* bytes of a message: less does not pay */

#define MS(ms) ((ms)*G_GINT64_CONSTANT(1000000))

static Link *
link_new(const LinkOptions *options)
{
  Link *link = g_new0(Link, 1);
  link->options = options ? *options : LINK_OPTIONS_DEFAULT;
  link->state = LINK_AWAY;
  link->epoll_fd = -1;
  g_queue_init(&link->inbox);
  link->candidates = g_ptr_array_new_with_free_func((GDestroyNotify)link_connection_free);
  link->heard_at = link->away_at = clock_now_ns();
  return link;
}

Link *
link_new_local(int fd)
{
  Link *link = link_new(NULL);
  link->local = TRUE;
  link->welcomed = TRUE;
  link->connection = link_connection_local(fd);
  link->state = LINK_UP;
  return link;
}

Link *
link_new_passed(int fd, int counters)
{
  g_auto(Fd) file = counters;
  struct stat facts;
  const LinkCounters *passed = MAP_FAILED;
  if (fstat(file, &facts) == 0 && facts.st_size == sizeof *passed)
    passed = mmap(NULL, sizeof *passed, PROT_READ, MAP_SHARED, file, 0);
  if (passed == MAP_FAILED) {
    close(fd);
    return NULL;
  }
  Link *link = link_new_local(fd);
  link->passed = passed;
  return link;
}

static Link *
new_secure(const IdentityKey *own, const IdentityPublic *peer, const LinkOptions *options, GError **error)
{
  g_autoptr(Link) link = link_new(options);
  link->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (link->epoll_fd < 0) {
    doppel_error_errno(error, "cannot watch the connections of a link");
    return NULL;
  }
  link->tls = link_tls_new(own, peer, error);
  return link->tls ? g_steal_pointer(&link) : NULL;
}

Link *
link_dial_later(const char *const *addresses, const IdentityKey *own, const IdentityPublic *peer,
                const guint8 clone[16], const LinkOptions *options, GError **error)
{
  g_autoptr(Link) link = new_secure(own, peer, options, error);
  if (!link)
    return NULL;
  link->dials = TRUE;
  if (!link->options.tickets)
    link_tls_refuse_tickets(link->tls);
  memcpy(link->preamble.clone, clone, WIRE_ID_LENGTH);
  link->preamble.purpose = link->options.purpose;
  randombytes_buf(link->preamble.session, WIRE_ID_LENGTH);
  link->dialler = link_dialler_new(addresses, link->epoll_fd, error);
  if (!link->dialler)
    return NULL;
  gint64 now = clock_now_ns();
  link_dialler_start(link->dialler, now);
  link_join(link, now);
  return g_steal_pointer(&link);
}

/* Drives a link until it is up or dead. */
static gboolean
wait_up(Link *link, GError **error)
{
  while (link->state == LINK_AWAY) {
    if (!link_wait(link, -1, error) || !link_work(link, error))
      return FALSE;
  }
  return link->state == LINK_UP;
}

Link *
link_dial(const char *const *addresses, const IdentityKey *own, const IdentityPublic *peer,
          const guint8 clone[16], const LinkOptions *options, GError **error)
{
  g_autoptr(Link) link = link_dial_later(addresses, own, peer, clone, options, error);
  return link && wait_up(link, error) ? g_steal_pointer(&link) : NULL;
}

void
link_set_addresses(Link *link, const char *const *addresses)
{
  if (!link->dialler)
    return;
  link_dialler_set_addresses(link->dialler, addresses);
  if (link->state == LINK_AWAY && !link->connection)
    link_dialler_start(link->dialler, clock_now_ns());
}

Link *
link_accept_later(const LinkPreamble *preamble, const IdentityKey *own, const IdentityPublic *peer,
                  const LinkOptions *options, GError **error)
{
  Link *link = new_secure(own, peer, options, error);
  if (link)
    link->preamble = *preamble;
  return link;
}

void
link_let_in(Link *link, const IdentityPublic *peer)
{
  link_tls_let_in(link->tls, peer);
}

Link *
link_accept(int fd, const LinkPreamble *preamble, const IdentityKey *own, const IdentityPublic *peer,
            const LinkOptions *options, GError **error)
{
  g_auto(Fd) socket_fd = fd;
  g_autoptr(Link) link = link_accept_later(preamble, own, peer, options, error);
  if (!link || !link_resume(link, io_steal_fd(&socket_fd), error))
    return NULL;
  /* There is no other socket to come: what becomes of this one decides. */
  while (link->state == LINK_AWAY && link->candidates->len > 0)
    if (!link_wait(link, -1, error) || !link_work(link, error))
      return NULL;
  if (link->state == LINK_UP)
    return g_steal_pointer(&link);
  doppel_error_set(
      error, DOPPEL_ERROR_DENIED,
      "a connection was refused: its handshake failed or it has another key than the paired device");
  return NULL;
}

gboolean
link_resume(Link *link, int fd, GError **error)
{
  if (link->local || link->dials || link->state == LINK_DEAD) {
    close(fd);
    return doppel_error_set(error, DOPPEL_ERROR_GONE,
                            "there is no session that a new connection could resume");
  }
  LinkConnection *candidate = link_connection_accept(fd, link->tls, error);
  if (!candidate)
    return FALSE;
  /* Strangers can name a session, too: no order of theirs tells which of the many has to go. */
  if (link->candidates->len == LINK_CANDIDATES_MAX)
    link_settle(link,
                g_ptr_array_steal_index_fast(link->candidates, g_random_int_range(0, LINK_CANDIDATES_MAX)));
  candidate->deadline = clock_now_ns() + MS(link->options.connect_ms);
  candidate->message_max = link->options.message_max;
  candidate->watched = EPOLLIN;
  epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, candidate->fd, &(struct epoll_event){.events = EPOLLIN});
  g_ptr_array_add(link->candidates, candidate);
  return TRUE;
}

void
link_settle(Link *link, LinkConnection *connection)
{
  if (!connection)
    return;
  /* What strangers sent is not this link's. */
  if (link->dials || connection->stage == LINK_CONNECTION_OPEN) {
    link->settled_sent += connection->sent;
    link->settled_received += connection->received;
  }
  link_connection_free(connection);
}

void
link_die(Link *link, GError *error)
{
  if (link->death) {
    g_error_free(error);
    return;
  }
  link->death = error;
  link->state = LINK_DEAD;
  if (link->dialler)
    link_dialler_stop(link->dialler);
  link_settle(link, g_steal_pointer(&link->connection));
  while (link->candidates->len > 0)
    link_settle(link, g_ptr_array_steal_index_fast(link->candidates, link->candidates->len - 1));
}

void
link_lose(Link *link, GError *error)
{
  gint64 now = clock_now_ns();
  gboolean was_up = link->state == LINK_UP;
  if (link->local || (was_up && link->options.resume_ms == 0)) {
    link_die(link, error);
    return;
  }
  link_settle(link, g_steal_pointer(&link->connection));
  link->state = LINK_AWAY;
  link->early = FALSE;
  link->probed_at = 0;
  if (was_up)
    link->away_at = now;
  if (link->dialler && was_up)
    link_dialler_start(link->dialler, now);
  if (link->dialler)
    link_dialler_failed(link->dialler, now, error);
  else
    g_error_free(error);
}

/* Says goodbye and lets the socket's buffer be delivered: a close with unread bytes would be a reset. */
static void
part(Link *link)
{
  LinkConnection *connection = link->connection;
  guint8 header[WIRE_FRAME_HEADER];
  WireFrame bye = {
      .kind = WIRE_BYE, .sequence = (guint32)link->outbox.number, .acknowledged = (guint32)link->received};
  wire_frame_encode(header, &bye);
  if (!link->outbox.cursor && link_connection_put(connection, header, sizeof header, NULL))
    link_connection_flush(connection, NULL);
  shutdown(connection->fd, SHUT_WR);
  guint8 rest[4096];
  while (recv(connection->fd, rest, sizeof rest, MSG_DONTWAIT) > 0)
    ;
}

void
link_free(Link *link)
{
  if (!link)
    return;
  link_transmit(link);
  if (link->connection && link->state == LINK_UP)
    part(link);
  link_connection_free(link->connection);
  g_ptr_array_free(link->candidates, TRUE);
  link_dialler_free(link->dialler);
  link_tls_free(link->tls);
  io_close(&link->epoll_fd);
  link_outbox_clear(&link->outbox);
  wire_packer_free(link->packer);
  wire_unpacker_free(link->unpacker);
  g_queue_clear_full(&link->inbox, (GDestroyNotify)link_message_free);
  g_clear_error(&link->death);
  if (link->passed)
    munmap((void *)link->passed, sizeof *link->passed);
  g_free(link);
}

static gboolean
set_dead(const Link *link, GError **error)
{
  g_propagate_error(error, g_error_copy(link->death));
  return FALSE;
}

/* Waits until the peer has taken enough for `length` bytes more. */
static gboolean
make_room(Link *link, gsize length, GError **error)
{
  link->insatiable = TRUE;
  gboolean alive = TRUE;
  while (alive && link->outbox.bytes > 0 && link->outbox.bytes + length > LINK_UNSENT_MAX)
    alive = link_wait(link, -1, error) && link_work(link, error);
  link->insatiable = FALSE;
  return alive;
}

static void
add_packed(Link *link, guint32 channel, const struct iovec *pieces, guint count, gsize length)
{
  gsize bound = wire_packed_bound(length);
  guint8 small[8192];
  g_autofree guint8 *large = bound > sizeof small ? g_malloc(bound) : NULL;
  guint8 *packed = large ? large : small;
  if (!link->packer) {
    link->packer = wire_packer_new();
    wire_packer_set_level(link->packer, link->options.compression);
  }
  gsize packed_length = wire_packer_pack(link->packer, pieces, count, packed);
  link_outbox_add(&link->outbox, WIRE_PACKED, channel, &(struct iovec){packed, packed_length}, 1,
                  packed_length);
}

gboolean
link_queue(Link *link, guint32 channel, const struct iovec *pieces, guint count, GError **error)
{
  gsize length = 0;
  for (guint i = 0; i < count; i++) {
    if (pieces[i].iov_len > LINK_MESSAGE_MAX - length)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "a message of more than %u bytes cannot be sent",
                              LINK_MESSAGE_MAX);
    length += pieces[i].iov_len;
  }
  if (link->state != LINK_DEAD && link->outbox.bytes + length > LINK_UNSENT_MAX &&
      !make_room(link, length, error))
    return FALSE;
  if (link->state == LINK_DEAD)
    return set_dead(link, error);
  if (link->local || length < PACK_LEAST || link->options.compression < 0)
    link_outbox_add(&link->outbox, WIRE_DATA, channel, pieces, count, length);
  else
    add_packed(link, channel, pieces, count, length);
  link->counters.messages_sent++;
  return TRUE;
}

gboolean
link_send(Link *link, guint32 channel, const struct iovec *pieces, guint count, GError **error)
{
  return link_queue(link, channel, pieces, count, error) && link_push(link, error);
}

gboolean
link_push(Link *link, GError **error)
{
  link_transmit(link);
  return link->state != LINK_DEAD || set_dead(link, error);
}

guint
link_prepare(Link *link, struct pollfd *fds, int *timeout_ms)
{
  guint count = 0;
  if (link->state == LINK_DEAD) {
    *timeout_ms = 0;
    return 0;
  }
  if (link->connection)
    fds[count++] = (struct pollfd){.fd = link->connection->fd,
                                   .events = (link_wants_read(link) ? POLLIN : 0) |
                                             (link_wants_write(link) ? POLLOUT : 0)};
  if (link_joining(link))
    fds[count++] = (struct pollfd){.fd = link->epoll_fd, .events = POLLIN};
  if (link->starved && link_wants_read(link))
    *timeout_ms = 0;
  gint64 due = MIN(link_keep_alive_due(link), link_join_due(link));
  if (due != G_MAXINT64) {
    int left_ms = clock_left_ms(due);
    *timeout_ms = *timeout_ms < 0 ? left_ms : MIN(*timeout_ms, left_ms);
  }
  return count;
}

gboolean
link_wait(Link *link, int timeout_ms, GError **error)
{
  struct pollfd fds[LINK_POLL_MAX];
  guint count = link_prepare(link, fds, &timeout_ms);
  if (poll(fds, count, timeout_ms) < 0 && errno != EINTR)
    return doppel_error_errno(error, "cannot wait for the link");
  return TRUE;
}

gboolean
link_work(Link *link, GError **error)
{
  gint64 now = clock_now_ns();
  LinkConnection *connection = link->connection;
  if (connection)
    link_receive(link, now);
  link_join(link, now);
  /* Messages may have come in the same piece as the greeting. */
  if (link->connection != connection)
    link_receive(link, now);
  link_keep_alive(link, now);
  link_transmit(link);
  return link->state != LINK_DEAD || set_dead(link, error);
}

LinkMessage *
link_await(Link *link, int timeout_ms, GError **error)
{
  gint64 deadline = timeout_ms < 0 ? G_MAXINT64 : clock_now_ns() + timeout_ms * G_GINT64_CONSTANT(1000000);
  g_autoptr(GError) dead = NULL;
  for (;;) {
    LinkMessage *message = link_take(link);
    if (message)
      return message;
    if (dead) { /* and all that had arrived before is taken */
      g_propagate_error(error, g_steal_pointer(&dead));
      return NULL;
    }
    int left = timeout_ms < 0 ? -1 : clock_left_ms(deadline);
    if (left == 0) {
      doppel_error_set(error, DOPPEL_ERROR_GONE, "the other end did not answer within %.1f s",
                       timeout_ms / 1000.0);
      return NULL;
    }
    if (!link_wait(link, left, error))
      return NULL;
    link_work(link, &dead);
  }
}

static gboolean
delivered(const Link *link)
{
  return !link->outbox.first && !(link->local && link_wants_write(link));
}

gboolean
link_flush(Link *link, int timeout_ms, GError **error)
{
  gint64 deadline = clock_now_ns() + MS((gint64)timeout_ms);
  link->insatiable = TRUE;
  gboolean alive = link->state != LINK_DEAD || set_dead(link, error);
  while (alive && !delivered(link)) {
    gint64 left = (deadline - clock_now_ns() + 999999) / 1000000;
    if (left <= 0) {
      alive = doppel_error_set(error, DOPPEL_ERROR_GONE, "the peer did not take all messages within %d ms",
                               timeout_ms);
      break;
    }
    if (!link->owes_ping && !link->probed_at && !link->local && link->state == LINK_UP) {
      /* An answer carries the acknowledgement that is waited for. */
      link->owes_ping = TRUE;
      link->probed_at = clock_now_ns();
      link_transmit(link);
    }
    alive = link_wait(link, left, error) && link_work(link, error);
  }
  link->insatiable = FALSE;
  return alive;
}

LinkMessage *
link_take(Link *link)
{
  LinkMessage *message = g_queue_pop_head(&link->inbox);
  if (message)
    link->inbox_bytes -= sizeof *message + message->length;
  return message;
}

gboolean
link_peek(const Link *link, guint32 *channel)
{
  const LinkMessage *message = g_queue_peek_head((GQueue *)&link->inbox);
  if (message)
    *channel = message->channel;
  return message != NULL;
}

LinkState
link_state(const Link *link)
{
  return link->state;
}

const IdentityPublic *
link_peer(const Link *link)
{
  return link->welcomed && !link->local ? &link->peer : NULL;
}

const LinkCounters *
link_counters(Link *link)
{
  if (link->passed) {
    link->counters.bytes_sent = link->passed->bytes_sent;
    link->counters.bytes_received = link->passed->bytes_received;
    link->counters.reconnects = link->passed->reconnects;
    return &link->counters;
  }
  link->counters.bytes_sent = link->settled_sent;
  link->counters.bytes_received = link->settled_received;
  if (link->connection) {
    link->counters.bytes_sent += link->connection->sent;
    link->counters.bytes_received += link->connection->received;
  }
  for (guint i = 0; link->dials && i < link->candidates->len; i++) {
    const LinkConnection *candidate = link->candidates->pdata[i];
    link->counters.bytes_sent += candidate->sent;
    link->counters.bytes_received += candidate->received;
  }
  return &link->counters;
}

double
link_round_trip_s(const Link *link)
{
  struct tcp_info info = {0};
  socklen_t length = sizeof info;
  if (!link->connection || link->state != LINK_UP ||
      getsockopt(link->connection->fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
    return 0;
  return info.tcpi_rtt / 1e6;
}

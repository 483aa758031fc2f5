#include "link/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define IN_ROOM     (128u << 10) /* bytes asked from the socket at a time */
#define DIRECT_MIN  (16u << 10)  /* a local read of so much goes past the buffer */
#define SPARE_LEAST (16u << 10)  /* smaller messages are the heap's business */
#define SPARE_ROOM  (64u << 10)  /* of those whose memory is used again */
#define LOCAL_ROOM  (1 << 20)    /* socket buffer of a local link */

/* Over MPTCP, BBR never hears that it is the program that sends little, and takes a path to be as slow as
 * small messages are: docs/decisions/0011-no-bbr-over-mptcp.md. Where nothing else is allowed it stays. */
static void
leave_bbr(int fd)
{
  static const char *const others[] = {"cubic", "reno"};
  char name[16] = "";
  socklen_t length = sizeof name - 1;
  if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length) < 0 || !g_str_has_prefix(name, "bbr"))
    return;
  for (gsize i = 0; i < G_N_ELEMENTS(others); i++)
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, others[i], strlen(others[i])) == 0)
      return;
}

int
link_stream_socket(int family, gboolean multipath)
{
  int fd = -1;
  if (multipath)
    fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_MPTCP);
  if (fd >= 0)
    leave_bbr(fd);
  /* Without MPTCP in the kernel, or with it switched off: each has its own errno. */
  if (fd < 0)
    fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return fd;
}

static void
buffer_make_room(LinkBuffer *buffer, gsize length)
{
  if (buffer->start == buffer->end)
    buffer->start = buffer->end = 0;
  if (buffer->room - buffer->end >= length)
    return;
  if (buffer->start > 0) {
    memmove(buffer->data, buffer->data + buffer->start, buffer->end - buffer->start);
    buffer->end -= buffer->start;
    buffer->start = 0;
  }
  if (buffer->room - buffer->end < length) {
    buffer->room = MAX(buffer->room * 2, buffer->end + length);
    buffer->data = g_realloc(buffer->data, buffer->room);
  }
}

static void
buffer_append(LinkBuffer *buffer, const void *data, gsize length)
{
  buffer_make_room(buffer, length);
  memcpy(buffer->data + buffer->end, data, length);
  buffer->end += length;
}

/* What TLS writes goes to the output buffer, whatever its size: it never has to ask again. */
static ssize_t
push(gnutls_transport_ptr_t transport, const giovec_t *pieces, int count)
{
  LinkConnection *connection = transport;
  gsize total = 0;
  for (int i = 0; i < count; i++) {
    buffer_append(&connection->out, pieces[i].iov_base, pieces[i].iov_len);
    total += pieces[i].iov_len;
  }
  return total;
}

static ssize_t
pull(gnutls_transport_ptr_t transport, void *data, size_t length)
{
  LinkConnection *connection = transport;
  LinkBuffer *in = &connection->in;
  gsize have = MIN(in->end - in->start, length);
  if (have == 0 && !connection->ended) {
    gnutls_transport_set_errno(connection->tls, EAGAIN);
    return -1;
  }
  memcpy(data, in->data + in->start, have);
  in->start += have;
  return have;
}

static gboolean
open_tls(LinkConnection *connection, LinkTls *tls, GError **error)
{
  connection->tls = link_tls_open(tls, connection->server, error);
  if (!connection->tls)
    return FALSE;
  gnutls_transport_set_ptr(connection->tls, connection);
  gnutls_transport_set_vec_push_function(connection->tls, push);
  gnutls_transport_set_pull_function(connection->tls, pull);
  return TRUE;
}

static LinkConnection *
new_connection(int fd, LinkConnectionStage stage)
{
  LinkConnection *connection = g_new0(LinkConnection, 1);
  connection->fd = fd;
  connection->stage = stage;
  return connection;
}

LinkConnection *
link_connection_dial(const struct sockaddr *peer, socklen_t length, const char *address,
                     const WirePreamble *preamble, LinkTls *tls, gboolean multipath, GError **error)
{
  int fd = link_stream_socket(peer->sa_family, multipath);
  if (fd < 0) {
    doppel_error_errno(error, "cannot make a socket to reach %s", address);
    return NULL;
  }
  g_autoptr(LinkConnection) connection = new_connection(fd, LINK_CONNECTION_DIALLING);
  connection->address = g_strdup(address);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  if (connect(fd, peer, length) < 0 && errno != EINPROGRESS) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "cannot reach %s: %s", address, g_strerror(errno));
    return NULL;
  }
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  wire_preamble_encode(bytes, preamble);
  buffer_append(&connection->out, bytes, sizeof bytes);
  return open_tls(connection, tls, error) ? g_steal_pointer(&connection) : NULL;
}

static char *
peer_address(int fd)
{
  struct sockaddr_storage peer = {0};
  socklen_t length = sizeof peer;
  char host[INET6_ADDRSTRLEN] = "an unknown address";
  if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0) {
    const void *raw = peer.ss_family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)&peer)->sin6_addr
                                                 : (void *)&((struct sockaddr_in *)&peer)->sin_addr;
    if (peer.ss_family == AF_INET || peer.ss_family == AF_INET6)
      inet_ntop(peer.ss_family, raw, host, sizeof host);
  }
  return g_strdup(host);
}

LinkConnection *
link_connection_accept(int fd, LinkTls *tls, GError **error)
{
  g_autoptr(LinkConnection) connection = new_connection(fd, LINK_CONNECTION_SHAKING);
  connection->server = TRUE;
  connection->received = WIRE_PREAMBLE_LENGTH;
  connection->address = peer_address(fd);
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
    doppel_error_errno(error, "cannot use the connection from %s", connection->address);
    return NULL;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  return open_tls(connection, tls, error) ? g_steal_pointer(&connection) : NULL;
}

LinkConnection *
link_connection_local(int fd)
{
  LinkConnection *connection = new_connection(fd, LINK_CONNECTION_OPEN);
  connection->address = g_strdup("the local clone");
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){LOCAL_ROOM}, sizeof(int));
  return connection;
}

void
link_connection_free(LinkConnection *connection)
{
  if (!connection)
    return;
  if (connection->tls)
    gnutls_deinit(connection->tls);
  io_close(&connection->fd);
  link_message_free(connection->message);
  while (connection->spares > 0)
    link_message_free(connection->spare[--connection->spares]);
  g_free(connection->in.data);
  g_free(connection->out.data);
  g_free(connection->address);
  g_free(connection);
}

static gboolean
set_lost(const LinkConnection *connection, GError **error)
{
  if (connection->failure)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the connection to %s broke: %s", connection->address,
                            g_strerror(connection->failure));
  return doppel_error_set(error, DOPPEL_ERROR_GONE, "%s closed the connection", connection->address);
}

static gboolean
set_not_shaken(LinkConnection *connection, int result, GError **error)
{
  if (result == GNUTLS_E_CERTIFICATE_ERROR)
    return doppel_error_set(
        error, DOPPEL_ERROR_DENIED,
        "%s has another key than the one that was paired: it is another machine, or somebody "
        "is in between; if it was set up anew, pair again",
        connection->address);
  if (connection->ended)
    return doppel_error_set(
        error, DOPPEL_ERROR_GONE,
        "%s closed the connection before the handshake was over%s%s: it does not know this "
        "clone (any more), is overloaded, or is no doppel host",
        connection->address, connection->failure ? ", " : "",
        connection->failure ? g_strerror(connection->failure) : "");
  return doppel_error_set(error, DOPPEL_ERROR_GONE, "no handshake with %s: %s", connection->address,
                          gnutls_strerror(result));
}

static gboolean
finish_connect(LinkConnection *connection, GError **error)
{
  int failure = 0;
  socklen_t length = sizeof failure;
  getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &failure, &length);
  if (failure)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "cannot reach %s: %s", connection->address,
                            g_strerror(failure));
  struct sockaddr_storage peer;
  length = sizeof peer;
  if (getpeername(connection->fd, (struct sockaddr *)&peer, &length) == 0)
    connection->stage = LINK_CONNECTION_SHAKING;
  return TRUE;
}

gboolean
link_connection_shake(LinkConnection *connection, GError **error)
{
  if (connection->stage == LINK_CONNECTION_DIALLING && !finish_connect(connection, error))
    return FALSE;
  if (connection->stage != LINK_CONNECTION_SHAKING)
    return TRUE;
  link_connection_fill(connection);
  int result;
  do
    result = gnutls_handshake(connection->tls);
  while (result == GNUTLS_E_INTERRUPTED || result == GNUTLS_E_WARNING_ALERT_RECEIVED);
  if (result < 0 && result != GNUTLS_E_AGAIN) {
    set_not_shaken(connection, result, error);
    gnutls_alert_send_appropriate(connection->tls, result);
    link_connection_flush(connection, NULL);
    return FALSE;
  }
  if (result == GNUTLS_E_SUCCESS) {
    if (!link_tls_peer(connection->tls, &connection->peer))
      return set_not_shaken(connection, GNUTLS_E_CERTIFICATE_ERROR, error);
    connection->stage = LINK_CONNECTION_GREETING;
    /* The last flight of the handshake waits for the greeting, to leave with it. */
    if (!connection->server)
      return TRUE;
  }
  return link_connection_flush(connection, error);
}

static gssize
socket_read(LinkConnection *connection, void *data, gsize length)
{
  gssize got;
  do
    got = recv(connection->fd, data, length, MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  if (got > 0)
    connection->received += got;
  else if (got == 0 || errno != EAGAIN) {
    connection->ended = TRUE;
    connection->failure = got < 0 ? errno : 0;
  }
  return got;
}

gboolean
link_connection_fill(LinkConnection *connection)
{
  LinkBuffer *in = &connection->in;
  if (connection->ended)
    return FALSE;
  if (!in->data)
    buffer_make_room(in, IN_ROOM);
  if (in->start == in->end)
    in->start = in->end = 0;
  gsize room = in->room - in->end;
  if (room == 0)
    return FALSE;
  gssize got = socket_read(connection, in->data + in->end, room);
  if (got > 0)
    in->end += got;
  return got == (gssize)room;
}

/* Plain bytes: > 0, 0 where there are none yet, -1. */
static gssize
read_tls(LinkConnection *connection, void *data, gsize length, GError **error)
{
  const LinkBuffer *in = &connection->in;
  gssize got;
  gsize before;
  /* After a ticket GnuTLS says AGAIN as well. The socket would not wake us for the records behind it, which
   * are in our buffer already. */
  do {
    before = in->start;
    got = gnutls_record_recv(connection->tls, data, length);
  } while (got == GNUTLS_E_INTERRUPTED || got == GNUTLS_E_WARNING_ALERT_RECEIVED ||
           (got == GNUTLS_E_AGAIN && in->start > before && in->start < in->end));
  if (got > 0)
    return got;
  if (got == GNUTLS_E_AGAIN)
    return 0;
  /* In TLS 1.3 a client is through before the server has looked at the client's key. */
  if (got == GNUTLS_E_FATAL_ALERT_RECEIVED && connection->stage == LINK_CONNECTION_GREETING)
    doppel_error_set(error, DOPPEL_ERROR_DENIED,
                     "%s refused this device's key (%s): it is not, or no longer, paired with this clone",
                     connection->address, gnutls_alert_get_name(gnutls_alert_get(connection->tls)));
  else if (connection->ended || got == 0)
    set_lost(connection, error);
  else
    doppel_error_set(error, DOPPEL_ERROR_GONE, "the connection to %s is damaged: %s", connection->address,
                     gnutls_strerror(got));
  return -1;
}

static gssize
read_local(LinkConnection *connection, guint8 *data, gsize length, GError **error)
{
  LinkBuffer *in = &connection->in;
  gsize have = MIN(in->end - in->start, length);
  if (have > 0) {
    memcpy(data, in->data + in->start, have);
    in->start += have;
    return have;
  }
  if (length >= DIRECT_MIN && !connection->ended) {
    gssize got = socket_read(connection, data, length);
    if (got > 0)
      return got;
  }
  if (!connection->ended)
    return 0;
  set_lost(connection, error);
  return -1;
}

static gssize
read_plain(LinkConnection *connection, void *data, gsize length, GError **error)
{
  return connection->tls ? read_tls(connection, data, length, error)
                         : read_local(connection, data, length, error);
}

static LinkMessage *
message_in(LinkMessage *memory, guint32 channel, gsize length, gsize room)
{
  *memory = (LinkMessage){.channel = channel, .data = (guint8 *)(memory + 1), .length = length, .room = room};
  return memory;
}

LinkMessage *
link_message_new(guint32 channel, gsize length)
{
  return message_in(g_malloc(sizeof(LinkMessage) + length), channel, length, length);
}

static LinkMessage *
new_message(LinkConnection *connection, guint32 channel, gsize length)
{
  if (length < SPARE_LEAST || length > SPARE_ROOM)
    return link_message_new(channel, length);
  LinkMessage *memory = connection->spares > 0 ? connection->spare[--connection->spares]
                                               : g_malloc(sizeof(LinkMessage) + SPARE_ROOM);
  return message_in(memory, channel, length, SPARE_ROOM);
}

void
link_connection_recycle(LinkConnection *connection, LinkMessage *message)
{
  if (message->room == SPARE_ROOM && connection->spares < LINK_SPARES)
    connection->spare[connection->spares++] = message;
  else
    link_message_free(message);
}

void
link_message_free(LinkMessage *message)
{
  g_free(message);
}

static gboolean
begin_frame(LinkConnection *connection, GError **error)
{
  WireFrame *frame = &connection->frame;
  if (!wire_frame_decode(connection->header, frame, error))
    return FALSE;
  gboolean greeting = frame->kind == WIRE_HELLO || frame->kind == WIRE_WELCOME;
  if (greeting != (connection->stage == LINK_CONNECTION_GREETING))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "%s sent a frame of kind %u at the wrong time",
                            connection->address, (guint)frame->kind);
  if (connection->message_max > 0 && frame->length > connection->message_max)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "%s sent a message of %u bytes, more than it may",
                            connection->address, (guint)frame->length);
  connection->message = new_message(connection, frame->channel, frame->length);
  connection->message_have = 0;
  return TRUE;
}

int
link_connection_next(LinkConnection *connection, WireFrame *frame, LinkMessage **message, GError **error)
{
  while (connection->header_have < WIRE_FRAME_HEADER) {
    gssize got = read_plain(connection, connection->header + connection->header_have,
                            WIRE_FRAME_HEADER - connection->header_have, error);
    if (got <= 0)
      return got;
    connection->header_have += got;
  }
  if (!connection->message && !begin_frame(connection, error))
    return -1;
  while (connection->message_have < connection->frame.length) {
    gssize got = read_plain(connection, (guint8 *)connection->message->data + connection->message_have,
                            connection->frame.length - connection->message_have, error);
    if (got <= 0)
      return got;
    connection->message_have += got;
  }
  connection->header_have = 0;
  *frame = connection->frame;
  *message = g_steal_pointer(&connection->message);
  return 1;
}

/* Bytes that the socket took at once, or -1 for a lost connection. */
static gssize
socket_write(LinkConnection *connection, const void *data, gsize length)
{
  gssize done;
  do
    done = send(connection->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (done < 0 && errno == EINTR);
  if (done >= 0)
    connection->sent += done;
  else if (errno == EAGAIN)
    return 0;
  else
    connection->failure = errno;
  return done;
}

gboolean
link_connection_put(LinkConnection *connection, const void *data, gsize length, GError **error)
{
  if (!connection->tls) {
    gssize done = link_connection_backlog(connection) ? 0 : socket_write(connection, data, length);
    if (done < 0)
      return set_lost(connection, error);
    if (done < length)
      buffer_append(&connection->out, (const guint8 *)data + done, length - done);
    return TRUE;
  }
  for (gsize at = 0; at < length;) {
    gssize done = gnutls_record_send(connection->tls, (const guint8 *)data + at, length - at);
    if (done < 0 && done != GNUTLS_E_INTERRUPTED && done != GNUTLS_E_AGAIN)
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "cannot encrypt for %s: %s", connection->address,
                              gnutls_strerror(done));
    at += MAX(done, 0);
  }
  return TRUE;
}

gboolean
link_connection_flush(LinkConnection *connection, GError **error)
{
  LinkBuffer *out = &connection->out;
  while (out->start < out->end && connection->stage != LINK_CONNECTION_DIALLING) {
    gssize done = socket_write(connection, out->data + out->start, out->end - out->start);
    if (done < 0)
      return set_lost(connection, error);
    out->start += done;
    if (done == 0)
      break;
  }
  return TRUE;
}

gsize
link_connection_backlog(const LinkConnection *connection)
{
  return connection->out.end - connection->out.start;
}

gboolean
link_connection_moves(LinkConnection *connection)
{
  int under_way = 0;
  if (ioctl(connection->fd, SIOCOUTQ, &under_way) < 0 || under_way < 0 || under_way > connection->sent)
    return FALSE;
  guint64 before = connection->arrived;
  connection->arrived = connection->sent - under_way;
  return under_way > 0 && connection->arrived > before;
}

short
link_connection_events(const LinkConnection *connection)
{
  if (connection->stage == LINK_CONNECTION_DIALLING)
    return POLLOUT;
  return POLLIN | (link_connection_backlog(connection) > 0 ? POLLOUT : 0);
}

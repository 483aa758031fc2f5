#include "wire/stream.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"

#define PREFIX  4 /* bytes before a message */
#define FOREVER G_MAXINT64

void
wire_stream_put(GByteArray *out, const ProtobufCMessage *message)
{
  gsize length = protobuf_c_message_get_packed_size(message);
  guint32 prefix = GUINT32_TO_BE((guint32)length);
  guint at = out->len;
  g_byte_array_set_size(out, at + PREFIX + (guint)length);
  memcpy(out->data + at, &prefix, PREFIX);
  protobuf_c_message_pack(message, out->data + at + PREFIX);
}

static gboolean
check_length(gsize length, gsize most, GError **error)
{
  return (length > 0 && length <= most) ||
         doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "a message of %zu bytes came, where at most %zu are right", length, most);
}

int
wire_stream_take(GByteArray *in, gsize most, GBytes **message, GError **error)
{
  guint32 prefix;
  if (in->len < PREFIX)
    return 0;
  memcpy(&prefix, in->data, PREFIX);
  gsize length = GUINT32_FROM_BE(prefix);
  if (!check_length(length, most, error))
    return -1;
  if (in->len - PREFIX < length)
    return 0;
  *message = g_bytes_new(in->data + PREFIX, length);
  g_byte_array_remove_range(in, 0, PREFIX + (guint)length);
  return 1;
}

static gboolean
is_gone(GError **error)
{
  if (errno == EAGAIN || errno == EWOULDBLOCK)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the other end did nothing for too long");
  return doppel_error_set(error, DOPPEL_ERROR_GONE, "the other end has left: %s", g_strerror(errno));
}

/* FOREVER: how long is the socket's to say. */
static gboolean
await(int fd, short events, gint64 until, GError **error)
{
  for (;;) {
    gint64 left_ms = (until - g_get_monotonic_time()) / 1000;
    struct pollfd state = {.fd = fd, .events = events};
    if (until == FOREVER)
      return TRUE;
    if (left_ms <= 0)
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the other end took too long");
    int ready = poll(&state, 1, (int)MIN(left_ms, G_MAXINT));
    if (ready > 0)
      return TRUE;
    if (ready < 0 && errno != EINTR)
      return is_gone(error);
  }
}

static gboolean
send_all(int fd, const guint8 *data, gsize length, gint64 until, GError **error)
{
  int flags = until == FOREVER ? MSG_NOSIGNAL : MSG_NOSIGNAL | MSG_DONTWAIT;
  while (length > 0) {
    if (!await(fd, POLLOUT, until, error))
      return FALSE;
    gssize sent = send(fd, data, length, flags);
    if (sent < 0 && (errno == EINTR || (errno == EAGAIN && until != FOREVER)))
      continue;
    if (sent < 0)
      return is_gone(error);
    data += sent;
    length -= sent;
  }
  return TRUE;
}

gboolean
wire_stream_send(int fd, const ProtobufCMessage *message, GError **error)
{
  g_autoptr(GByteArray) out = g_byte_array_new();
  wire_stream_put(out, message);
  return send_all(fd, out->data, out->len, FOREVER, error);
}

static gboolean
send_packed(int fd, GBytes *message, gint64 until, GError **error)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(message, &length);
  guint32 prefix = GUINT32_TO_BE((guint32)length);
  return send_all(fd, (const guint8 *)&prefix, PREFIX, until, error) &&
         send_all(fd, data, length, until, error);
}

gboolean
wire_stream_send_packed(int fd, GBytes *message, GError **error)
{
  return send_packed(fd, message, FOREVER, error);
}

static gboolean
receive_all(int fd, guint8 *data, gsize length, gint64 until, GError **error)
{
  while (length > 0) {
    if (!await(fd, POLLIN, until, error))
      return FALSE;
    gssize got = recv(fd, data, length, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return is_gone(error);
    if (got == 0)
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the other end has left");
    data += got;
    length -= got;
  }
  return TRUE;
}

static GBytes *
receive_until(int fd, gsize most, gint64 until, GError **error)
{
  guint32 prefix;
  if (!receive_all(fd, (guint8 *)&prefix, PREFIX, until, error))
    return NULL;
  gsize length = GUINT32_FROM_BE(prefix);
  if (!check_length(length, most, error))
    return NULL;
  g_autofree guint8 *data = g_malloc(length);
  if (!receive_all(fd, data, length, until, error))
    return NULL;
  return g_bytes_new_take(g_steal_pointer(&data), length);
}

GBytes *
wire_stream_receive(int fd, gsize most, GError **error)
{
  return receive_until(fd, most, FOREVER, error);
}

GBytes *
wire_stream_exchange(int fd, GBytes *message, gsize most, gint64 until, GError **error)
{
  return send_packed(fd, message, until, error) ? receive_until(fd, most, until, error) : NULL;
}

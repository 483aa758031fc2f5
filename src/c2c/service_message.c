#include "c2c/service_message.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/error.h"
#include "wire/stream.h"

void
service_message_patience(int fd, guint seconds)
{
  struct timeval patience = {.tv_sec = seconds};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

gboolean
service_message_send(int fd, const ProtobufCMessage *message, GError **error)
{
  gsize length = protobuf_c_message_get_packed_size(message);
  g_return_val_if_fail(length > 0 && length <= SERVICE_MESSAGE_MAX, FALSE);
  return wire_stream_send(fd, message, error);
}

gpointer
service_message_unpack(const ServiceShape *shape, const void *data, gsize length, GError **error)
{
  ProtobufCMessage *message =
      length <= SERVICE_MESSAGE_MAX ? protobuf_c_message_unpack(shape->type, NULL, length, data) : NULL;
  if (message && shape->good(message))
    return message;
  if (message)
    protobuf_c_message_free_unpacked(message, NULL);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "%s is malformed", shape->about);
  return NULL;
}

gpointer
service_message_receive(int fd, const ServiceShape *shape, GError **error)
{
  g_autoptr(GBytes) message = wire_stream_receive(fd, SERVICE_MESSAGE_MAX, error);
  return message ? service_message_unpack(shape, g_bytes_get_data(message, NULL), g_bytes_get_size(message),
                                          error)
                 : NULL;
}

gboolean
service_message_hung_up(int fd)
{
  struct pollfd state = {.fd = fd, .events = POLLRDHUP};
  return poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

int
service_message_ended(const char *service, const GError *error)
{
  if (!error || g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE))
    return 0;
  fprintf(stderr, "%s: %s\n", service, error->message);
  return 1;
}

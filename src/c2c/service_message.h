/* Messages on a stream between two parties of a service: four bytes of length (big-endian), and so many of a
 * protobuf message. Reads and writes block, until a time that the stream was given. */
#pragma once

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

#define SERVICE_MESSAGE_MAX (320u << 10) /* bytes: room for a chunk */
#define SERVICE_CHUNK_MAX   (256u << 10)
#define SERVICE_CHUNK       (128u << 10) /* what is sent */
#define SERVICE_PATIENCE_S  120          /* as long as a read or a write may take, unless told otherwise */

/* How long each read and write on the socket may take. */
void service_message_patience(int fd, guint seconds);

/* FALSE with GONE where the other end has left, or does not read. Never a signal. */
gboolean service_message_send(int fd, const ProtobufCMessage *message, GError **error);

/* The messages of a service: their type, and what has to hold of one besides. */
typedef struct {
  const ProtobufCMessageDescriptor *type;
  gboolean (*good)(gconstpointer message);
  const char *about; /* "a message about ..." */
} ServiceShape;

/* The message in `data` (hostile); the caller's. NULL with HOSTILE. */
gpointer service_message_unpack(const ServiceShape *shape, const void *data, gsize length, GError **error);

/* The next one on a stream. NULL with GONE at the end of the stream, or when nothing came in time; HOSTILE
 * for what is none, or longer than SERVICE_MESSAGE_MAX. */
gpointer service_message_receive(int fd, const ServiceShape *shape, GError **error);

/* The exit status of a service whose conversation has ended with `error`: 0 where the other end has left, as
 * it should; else what is wrong is said. */
int service_message_ended(const char *service, const GError *error);

/* Whether the other end has closed the stream: nobody waits for an answer. */
gboolean service_message_hung_up(int fd);

/* Messages on a stream: four bytes of length (big-endian), and so many of a protobuf message. */
#pragma once

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

/* Adds the message's frame to `out`. */
void wire_stream_put(GByteArray *out, const ProtobufCMessage *message);

/* Takes the first message out of what has come: 1 with *message, the caller's; 0: more has to come; -1 with
 * HOSTILE: it is empty, or longer than `most`. */
int wire_stream_take(GByteArray *in, gsize most, GBytes **message, GError **error);

/* The same on a stream socket that blocks, for as long as SO_RCVTIMEO and SO_SNDTIMEO allow. GONE where the
 * other end has left, or did nothing for so long. Never a signal. */
gboolean wire_stream_send(int fd, const ProtobufCMessage *message, GError **error);
gboolean wire_stream_send_packed(int fd, GBytes *message, GError **error);
GBytes *wire_stream_receive(int fd, gsize most, GError **error);

/* Sends a message that is packed already and receives its answer, all of that before `until`
 * (g_get_monotonic_time()): however little the other end says or reads at a time. GONE as above. */
GBytes *wire_stream_exchange(int fd, GBytes *message, gsize most, gint64 until, GError **error);

/* The local socket's packets within a stream between a device's gateway and the clone host: four bytes of
 * length, big-endian, then the packet. A stream to one of these services of the own clone begins with one:
 *
 *   "control"     from the gateway: one LocalRequest; back: its LocalReplies
 *   "listen:X"    nothing: it is open as long as the device offers the service X
 *   "incoming:X"  to the gateway: a LocalPeer, who has opened a stream to X; then the stream itself */
#pragma once

#include "c2c/local_packet.h"
#include "c2c/mux.h"

#define LOCAL_FRAME_PREFIX 4u
#define LOCAL_CONTROL      "control"
#define LOCAL_LISTEN       "listen:"
#define LOCAL_INCOMING     "incoming:"

/* The length of the packet that begins with that prefix. FALSE with HOSTILE for none that may be. */
gboolean local_frame_length(const guint8 prefix[LOCAL_FRAME_PREFIX], gsize *length, GError **error);

/* Appends a message to what is to be sent. */
void local_frame_put(GByteArray *out, const ProtobufCMessage *message);

/* Reads from `stream` until one packet is in `in` after its prefix: 1; 0: not yet; -1: the end, or with
 * HOSTILE something else. Nothing beyond the packet is read; begin with an empty `in` again for the next. */
int local_frame_read(MuxStream *stream, GByteArray *in, GError **error);

/* Writes what the stream takes, and removes it from `out`. */
void local_frame_write(MuxStream *stream, GByteArray *out);

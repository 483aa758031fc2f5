/* Frames: how messages lie in a link's byte stream, inside TLS.
 *
 * A frame is 16 bytes of header and `length` bytes of payload. All integers are big-endian:
 *
 *   byte 0       kind
 *   bytes 1-3    length of the payload
 *   bytes 4-7    channel (of data; else 0)
 *   bytes 8-11   sequence: the low half of a data frame's number; for the others, of the last data frame
 * before it bytes 12-15  acknowledged: the low half of the number of the last data frame that has arrived
 *
 * Data frames are numbered from 1 per direction and session. Half a number is enough: a receiver knows what
 * it expects, and far fewer than 2^31 frames are ever on their way (wire_frame_expand()). */
#pragma once

#include <glib.h>

#define WIRE_FRAME_HEADER 16
#define WIRE_DATA_MAX     (4u << 20)                    /* bytes of payload of one data frame */
#define WIRE_PACKED_MAX   (WIRE_DATA_MAX + (64u << 10)) /* the same of what does not get smaller */
#define WIRE_GREETING_MAX 1024u                         /* bytes of payload of a hello or a welcome */

typedef enum {
  WIRE_DATA = 1,
  WIRE_ACK,  /* nothing but its header */
  WIRE_PING, /* asks for a WIRE_PONG */
  WIRE_PONG,
  WIRE_BYE,     /* the session is over, on purpose */
  WIRE_HELLO,   /* LinkHello; first from the dialler */
  WIRE_WELCOME, /* LinkWelcome; first from the accepting end */
  WIRE_PACKED,  /* as WIRE_DATA, compressed against the packed ones before it (wire/compress.h) */
} WireFrameKind;

typedef struct {
  WireFrameKind kind;
  guint32 length;
  guint32 channel;
  guint32 sequence;
  guint32 acknowledged;
} WireFrame;

void wire_frame_encode(guint8 header[WIRE_FRAME_HEADER], const WireFrame *frame);

/* Overwrites the acknowledgement of an encoded header. */
void wire_frame_acknowledge(guint8 header[WIRE_FRAME_HEADER], guint32 acknowledged);

/* Decodes a header and checks all that can be checked without knowing the session. FALSE: HOSTILE. */
gboolean wire_frame_decode(const guint8 header[WIRE_FRAME_HEADER], WireFrame *frame, GError **error);

/* The number nearest to `near` whose low half is `low`. */
guint64 wire_frame_expand(guint64 near, guint32 low);

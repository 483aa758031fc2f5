#include "wire/frame.h"

#include <string.h>

#include "base/error.h"

/* What the payload of each kind may measure, and whether it belongs to a channel. */
static const struct {
  guint32 shortest, longest;
  gboolean channel;
} kinds[] = {
    [WIRE_DATA] = {0, WIRE_DATA_MAX, TRUE},
    [WIRE_ACK] = {0, 0},
    [WIRE_PING] = {0, 0},
    [WIRE_PONG] = {0, 0},
    [WIRE_BYE] = {0, 0},
    [WIRE_HELLO] = {1, WIRE_GREETING_MAX},
    [WIRE_WELCOME] = {1, WIRE_GREETING_MAX},
    [WIRE_PACKED] = {4, WIRE_PACKED_MAX, TRUE},
};

static void
put_word(guint8 *at, guint32 value)
{
  guint32 big = GUINT32_TO_BE(value);
  memcpy(at, &big, sizeof big);
}

static guint32
get_word(const guint8 *at)
{
  guint32 big;
  memcpy(&big, at, sizeof big);
  return GUINT32_FROM_BE(big);
}

void
wire_frame_encode(guint8 header[WIRE_FRAME_HEADER], const WireFrame *frame)
{
  put_word(header, (guint32)frame->kind << 24 | frame->length);
  put_word(header + 4, frame->channel);
  put_word(header + 8, frame->sequence);
  put_word(header + 12, frame->acknowledged);
}

void
wire_frame_acknowledge(guint8 header[WIRE_FRAME_HEADER], guint32 acknowledged)
{
  put_word(header + 12, acknowledged);
}

gboolean
wire_frame_decode(const guint8 header[WIRE_FRAME_HEADER], WireFrame *frame, GError **error)
{
  guint32 first = get_word(header);
  *frame = (WireFrame){.kind = first >> 24,
                       .length = first & 0xffffff,
                       .channel = get_word(header + 4),
                       .sequence = get_word(header + 8),
                       .acknowledged = get_word(header + 12)};
  if (frame->kind < WIRE_DATA || frame->kind > WIRE_PACKED)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the peer sent a frame of unknown kind %u",
                            (guint)frame->kind);
  if (frame->length < kinds[frame->kind].shortest || frame->length > kinds[frame->kind].longest)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the peer sent a frame of kind %u with %u bytes, which cannot be",
                            (guint)frame->kind, frame->length);
  if (frame->channel != 0 && !kinds[frame->kind].channel)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the peer sent a frame of kind %u on channel %u, which cannot be",
                            (guint)frame->kind, frame->channel);
  return TRUE;
}

guint64
wire_frame_expand(guint64 near, guint32 low)
{
  return near + (gint32)(low - (guint32)near);
}

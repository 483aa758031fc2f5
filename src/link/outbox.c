#include "link/outbox.h"

#include <string.h>

static LinkFrame *
frame_new(WireFrameKind kind, guint32 channel, guint64 number, const struct iovec *pieces, guint count,
          gsize length)
{
  LinkFrame *frame = g_malloc(sizeof *frame + WIRE_FRAME_HEADER + length);
  frame->next = NULL;
  frame->number = number;
  frame->length = WIRE_FRAME_HEADER + length;
  WireFrame header = {.kind = kind, .length = length, .channel = channel, .sequence = (guint32)number};
  wire_frame_encode(frame->bytes, &header);
  guint8 *at = frame->bytes + WIRE_FRAME_HEADER;
  for (guint i = 0; i < count; i++)
    if (pieces[i].iov_len > 0)
      at = mempcpy(at, pieces[i].iov_base, pieces[i].iov_len);
  return frame;
}

void
link_outbox_add(LinkOutbox *outbox, WireFrameKind kind, guint32 channel, const struct iovec *pieces,
                guint count, gsize length)
{
  LinkFrame *frame = frame_new(kind, channel, ++outbox->number, pieces, count, length);
  outbox->bytes += sizeof *frame + frame->length;
  if (outbox->last)
    outbox->last->next = frame;
  else
    outbox->first = frame;
  outbox->last = frame;
  if (!outbox->cursor) {
    outbox->cursor = frame;
    outbox->offset = 0;
  }
}

gboolean
link_outbox_acknowledge(LinkOutbox *outbox, guint64 number)
{
  if (number < outbox->acknowledged || number > outbox->written)
    return FALSE;
  /* A frame that this connection has not wholly been given cannot have arrived over it. */
  if (outbox->cursor && number >= outbox->cursor->number)
    return FALSE;
  outbox->acknowledged = number;
  while (outbox->first && outbox->first->number <= number) {
    LinkFrame *frame = outbox->first;
    outbox->first = frame->next;
    outbox->bytes -= sizeof *frame + frame->length;
    g_free(frame);
  }
  if (!outbox->first)
    outbox->last = NULL;
  return TRUE;
}

gboolean
link_outbox_rewind(LinkOutbox *outbox, guint64 number)
{
  outbox->cursor = NULL;
  outbox->offset = 0;
  if (!link_outbox_acknowledge(outbox, number))
    return FALSE;
  outbox->cursor = outbox->first;
  return TRUE;
}

void
link_outbox_advance(LinkOutbox *outbox, gsize length)
{
  outbox->offset += length;
  outbox->written = MAX(outbox->written, outbox->cursor->number);
  if (outbox->offset == outbox->cursor->length) {
    outbox->cursor = outbox->cursor->next;
    outbox->offset = 0;
  }
}

void
link_outbox_clear(LinkOutbox *outbox)
{
  while (outbox->first) {
    LinkFrame *frame = outbox->first;
    outbox->first = frame->next;
    g_free(frame);
  }
  *outbox = (LinkOutbox){
      .number = outbox->number, .written = outbox->written, .acknowledged = outbox->acknowledged};
}

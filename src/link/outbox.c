#include "link/outbox.h"

#include <string.h>

#define SPARE_ROOM   (WIRE_FRAME_HEADER + (64u << 10)) /* of the frames that are used again */
#define SPARE_LEAST  (16u << 10)                       /* smaller ones are the heap's business */
#define SPARES_MAX   16u
#define SPARES_QUIET 2u

static LinkFrame *
frame_take(LinkOutbox *outbox, gsize length)
{
  gboolean kept = length >= SPARE_LEAST && length <= SPARE_ROOM;
  LinkFrame *frame = kept ? outbox->spare : NULL;
  if (frame) {
    outbox->spare = frame->next;
    outbox->spares--;
  } else {
    gsize room = kept ? SPARE_ROOM : length;
    frame = g_malloc(sizeof *frame + room);
    frame->room = room;
  }
  frame->next = NULL;
  frame->length = length;
  return frame;
}

static void
frame_give_back(LinkOutbox *outbox, LinkFrame *frame)
{
  if (frame->room != SPARE_ROOM || outbox->spares == SPARES_MAX) {
    g_free(frame);
    return;
  }
  frame->next = outbox->spare;
  outbox->spare = frame;
  outbox->spares++;
}

/* Nothing is under way: a link that has become quiet keeps little. */
static void
drop_spares(LinkOutbox *outbox)
{
  while (outbox->spares > SPARES_QUIET) {
    LinkFrame *frame = outbox->spare;
    outbox->spare = frame->next;
    outbox->spares--;
    g_free(frame);
  }
}

static void
free_all(LinkFrame *frame)
{
  while (frame) {
    LinkFrame *next = frame->next;
    g_free(frame);
    frame = next;
  }
}

static LinkFrame *
frame_new(LinkOutbox *outbox, WireFrameKind kind, guint32 channel, guint64 number, const struct iovec *pieces,
          guint count, gsize length)
{
  LinkFrame *frame = frame_take(outbox, WIRE_FRAME_HEADER + length);
  frame->number = number;
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
  LinkFrame *frame = frame_new(outbox, kind, channel, ++outbox->number, pieces, count, length);
  outbox->bytes += sizeof *frame + frame->room;
  outbox->unwritten += frame->length;
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
    outbox->bytes -= sizeof *frame + frame->room;
    frame_give_back(outbox, frame);
  }
  if (!outbox->first) {
    outbox->last = NULL;
    drop_spares(outbox);
  }
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
  outbox->unwritten = 0;
  for (const LinkFrame *frame = outbox->first; frame; frame = frame->next)
    outbox->unwritten += frame->length;
  return TRUE;
}

void
link_outbox_advance(LinkOutbox *outbox, gsize length)
{
  outbox->offset += length;
  outbox->unwritten -= length;
  outbox->written = MAX(outbox->written, outbox->cursor->number);
  if (outbox->offset == outbox->cursor->length) {
    outbox->cursor = outbox->cursor->next;
    outbox->offset = 0;
  }
}

void
link_outbox_clear(LinkOutbox *outbox)
{
  free_all(outbox->first);
  free_all(outbox->spare);
  *outbox = (LinkOutbox){
      .number = outbox->number, .written = outbox->written, .acknowledged = outbox->acknowledged};
}

/* Messages on their way out: framed, numbered, kept until the peer has acknowledged them, in order. */
#pragma once

#include <sys/uio.h>

#include "wire/frame.h"

typedef struct LinkFrame LinkFrame;
struct LinkFrame {
  LinkFrame *next;
  guint64 number;
  gsize length; /* of `bytes` */
  gsize room;
  guint8 bytes[]; /* header and payload */
};

typedef struct {
  LinkFrame *first, *last; /* not acknowledged, oldest first */
  LinkFrame *cursor;       /* the next to be written to this connection; NULL: all are */
  gsize offset;            /* bytes of it that were */
  guint64 number;          /* of the last message queued */
  guint64 written;         /* the last that was written, perhaps in part, to any connection */
  guint64 acknowledged;
  gsize bytes;      /* memory that the frames take */
  gsize unwritten;  /* bytes from the cursor on */
  LinkFrame *spare; /* to be used again: the heap would give their memory back each time, and get it anew */
  guint spares;
} LinkOutbox;

/* Frames a message (WIRE_DATA or WIRE_PACKED) of `length` bytes in `count` pieces. */
void link_outbox_add(LinkOutbox *outbox, WireFrameKind kind, guint32 channel, const struct iovec *pieces,
                     guint count, gsize length);

/* The peer has everything up to `number`. FALSE where it cannot: that was never sent, or less than it had
 * before. */
gboolean link_outbox_acknowledge(LinkOutbox *outbox, guint64 number);

/* A new connection, whose peer has everything up to `number`: write what follows. FALSE as above. */
gboolean link_outbox_rewind(LinkOutbox *outbox, guint64 number);

/* `length` more bytes of the cursor's frame were written. */
void link_outbox_advance(LinkOutbox *outbox, gsize length);

void link_outbox_clear(LinkOutbox *outbox);

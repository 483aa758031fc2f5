/* The state of a mux, shared by the files mux*.c and nobody else.
 *
 * How a stream ends. Either end says a last word about it: END (bytes before it are to be read), RESET, or
 * REFUSED in place of ACCEPTED. Who gets a RESET or a REFUSED without having said a last word answers RESET.
 * A stream is over at an end that has said its last word and heard the other's. An end that counts a stream
 * as over can still get a CREDIT or a RESET that crossed its own last word, and nothing else. Numbers are
 * used once, in order: which ones are over needs no memory. */
#pragma once

#include "c2c/mux.h"

#define MUX_MESSAGE                                                                                          \
  ((64u << 10) - 16)                /* bytes of data in one message: with its header, four full TLS records */
#define MUX_CONTROL_MAX (64u << 10) /* bytes of one control message */
#define MUX_NUMBER_MAX  0x40000000u /* of streams over one link */
#define MUX_KEPT_MAX    (32u << 20) /* bytes that the peer has not acknowledged: more data waits for it */

/* Bytes that came and were not read: a message as it came, or small ones in one piece. */
typedef struct MuxChunk MuxChunk;
struct MuxChunk {
  MuxChunk *next;
  LinkMessage *message; /* NULL: the bytes are below */
  gsize start, end, room;
  guint8 bytes[];
};

typedef enum {
  MUX_ASKED,   /* the peer wants it; its owner has not answered */
  MUX_OPENING, /* we want it; the peer has not answered */
  MUX_OPEN,
} MuxStage;

struct MuxStream {
  Mux *mux;
  guint32 number;
  MuxStage stage;
  const MuxStreamCallbacks *callbacks;
  void *data;
  gboolean owned;         /* somebody holds it: nobody has closed it, no last call was made */
  gboolean spoken, heard; /* the last words */
  gboolean buried;        /* in mux->grave */
  gboolean over;          /* both, and no number's place any more */
  gboolean peer_ended;    /* by END, of all last words */
  char *fate;             /* words of a reset whose call is due */

  guint32 credit;   /* bytes that may be sent */
  gboolean wanting; /* mux_write() took less than all */
  gsize turn;       /* what it may write in its turn, which it has now; 0: it has none */
  GList ready;      /* in mux->ready, while queued */
  gboolean queued;

  MuxChunk *first, *last;
  gsize held;       /* bytes in them */
  guint32 window;   /* granted + held + consumed */
  guint32 granted;  /* bytes that the peer may still send */
  guint32 consumed; /* bytes read that the peer was not told of */
  guint32 period;   /* bytes read since `period_at` */
  gint64 period_at; /* CLOCK_MONOTONIC ns */
  gboolean news;    /* readable() is due; in mux->news */
  GList place;      /* in mux->all */
};

struct Mux {
  Link *link;
  const MuxCallbacks *callbacks;
  void *data;
  GError *death;
  gboolean raised;     /* the death, to all streams */
  GHashTable *streams; /* number to stream: those that are not over */
  GQueue all;          /* of MuxStream, those that are over but owned, too */
  GQueue ready;        /* who waits for its turn to write */
  GQueue news;         /* whose readable(), or reset(), is due */
  GPtrArray *grave;    /* to be freed when no callback is under way */
  guint depth;         /* of callbacks */
  gboolean doomed;     /* mux_free() was called in one */
  guint32 next, due;   /* the number of the next stream of ours, and of the peer's */
  guint ours, theirs;  /* streams that are not over */
  guint pending;       /* of theirs that are MUX_ASKED */
  gsize growth;        /* of all windows beyond the first */
  Mux **watcher;       /* a source that drives it: cleared with the mux */
};

/* mux.c */

/* The link is of no more use. Takes `error`; the first one counts. Always FALSE. */
gboolean mux_fail(Mux *mux, GError *error);
gboolean mux_hostile(Mux *mux, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Something other than the link's descriptors makes mux_work() necessary. */
void mux_stream_has_news(MuxStream *stream);
void mux_stream_is_ready(MuxStream *stream);

/* Frees what became unreachable, where no callback is under way. */
void mux_bury(Mux *mux);

/* mux_control.c */

gboolean mux_send_control(Mux *mux, const Doppel__Wire__MuxControl *message);
void mux_send_credit(MuxStream *stream, guint32 bytes);
void mux_send_end(MuxStream *stream);
void mux_send_reset(MuxStream *stream, const char *words);

/* Handles one message of the control channel. */
void mux_take_control(Mux *mux, const guint8 *data, gsize length);

/* mux_stream.c */

MuxStream *mux_stream_new(Mux *mux, guint32 number, MuxStage stage);
void mux_stream_free(MuxStream *stream);

/* A message with its data has come. Takes it. */
void mux_stream_take(Mux *mux, guint32 number, LinkMessage *message);

/* A last word was said or heard, or the owner went: gives up the number's place, and the stream, where it
 * can. */
void mux_stream_settle(MuxStream *stream);

/* Nobody holds it any more: what came for it is dropped. */
void mux_stream_disown(MuxStream *stream);

/* Makes the last call, reset(), if it is owed. */
void mux_stream_perish(MuxStream *stream, const char *words);

/* Streams over one link: between two clones, or between a device and its own clone. Many at a time, each with
 * credit-based flow control, so that one that is not read holds up nobody else, and memory is bounded
 * whatever the peer does: what no correct peer sends ends the link (HOSTILE).
 *
 * Driven by its owner as a Link is: mux_prepare() and poll(), then mux_work(), which calls back; nothing else
 * does, but mux_free(). All belongs to one thread. A callback may call any function of this file, also
 * mux_free(): then mux_work() returns FALSE and touches the mux no more.
 *
 * Nothing is stored on its way out: mux_write() takes what the peer has given credit for while the link has
 * little to write (MUX_BACKLOG), and says writable(), in turn to those who got less, when it has room again.
 * So nothing that is sent waits behind more than that. */
#pragma once

#include "link/link.h"
#include "wire/c2c.pb-c.h"

#define C2C_CHANNEL      0x43320000u       /* control messages */
#define C2C_STREAM_BASE  (C2C_CHANNEL + 1) /* data of stream n: this + n */
#define MUX_STREAMS_MAX  1024u             /* at a time, of each end; more from the peer are hostile */
#define MUX_PENDING_MAX  64u               /* of the peer's that wait for an answer; more are refused: BUSY */
#define MUX_WINDOW_FIRST (256u << 10)      /* bytes on their way in one stream, at first */
#define MUX_WINDOW_MOST  (4u << 20)
#define MUX_GROWTH_MAX   (64u << 20) /* what the windows of all streams may have grown by */
#define MUX_BACKLOG      (192u << 10)
#define MUX_SERVICE_MAX  128u /* bytes of a service's name */
#define MUX_USER_MAX     256u
#define MUX_WORDS_MAX    200u /* bytes of the words of a refusal or a reset; more are cut off */

typedef struct Mux Mux;
typedef struct MuxStream MuxStream;

typedef struct {
  /* The peer opens a stream: answer with mux_accept() or mux_refuse(), now or later. */
  void (*open)(Mux *mux, MuxStream *stream, const char *user, const char *service, void *data);
  /* The peer's INTRODUCE (also when it comes again). FALSE with an error ends the link. */
  gboolean (*introduce)(Mux *mux, const Doppel__Wire__MuxIntroduce *message, void *data, GError **error);
} MuxCallbacks;

typedef struct {
  void (*accepted)(MuxStream *stream, void *data);
  /* The last call: the stream is no more. */
  void (*refused)(MuxStream *stream, Doppel__Wire__C2cRefusal why, const char *words, void *data);
  /* Bytes have come, or the end. Once for each arrival: it is not repeated for what was left unread. */
  void (*readable)(MuxStream *stream, void *data);
  /* After mux_write() took less than all: it takes some now. */
  void (*writable)(MuxStream *stream, void *data);
  /* The last call: the stream is no more. What was not read is lost. */
  void (*reset)(MuxStream *stream, const char *words, void *data);
} MuxStreamCallbacks; /* any may be NULL */

/* Takes `link`, which may still be connecting. `dialler`: whether this end made it. */
Mux *mux_new(Link *link, gboolean dialler, const MuxCallbacks *callbacks, void *data);

/* Resets what its owners have not closed, and frees the link. */
void mux_free(Mux *mux);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Mux, mux_free)

Link *mux_link(Mux *mux);

/* Why it has ended, in the callbacks that say so too; NULL: it has not, or was given up. */
const GError *mux_death(const Mux *mux);
guint mux_streams(const Mux *mux);

/* As link_prepare() and link_work(). FALSE when the link is dead, or the peer hostile: every stream was reset
 * but those that both ends had ended before, which can still be read. What was written since the last call
 * leaves with either. */
guint mux_prepare(Mux *mux, struct pollfd *fds, int *timeout_ms);
gboolean mux_work(Mux *mux, GError **error);

/* Sends our INTRODUCE. FALSE when the link is dead. */
gboolean mux_introduce(Mux *mux, const Doppel__Wire__MuxIntroduce *message, GError **error);

/* Opens a stream; bytes may be written at once, up to the first window. NULL with an error: GONE when the
 * link is dead, USAGE for a name that is too long or a stream too many. */
MuxStream *mux_open(Mux *mux, const char *user, const char *service, const MuxStreamCallbacks *callbacks,
                    void *data, GError **error);

/* Answers open(). Callbacks come from the next mux_work() on; for what has come already, too. */
void mux_accept(MuxStream *stream, const MuxStreamCallbacks *callbacks, void *data);
void mux_refuse(MuxStream *stream, Doppel__Wire__C2cRefusal why, const char *words);

/* Bytes that were taken; where that is less than all, writable() tells when to go on. 0 after mux_end(). */
gsize mux_write(MuxStream *stream, const void *data, gsize length);

/* Bytes that were read; 0 where there is nothing now; -1 at the end. What was read is credited to the peer.
 */
gssize mux_read(MuxStream *stream, void *data, gsize length);

/* The same without a copy: 1 with the bytes that come next in `*data` and `*length`, 0, or -1 at the end.
 * They stay until mux_consume() of so many, or of fewer. */
int mux_peek(MuxStream *stream, const guint8 **data, gsize *length);
void mux_consume(MuxStream *stream, gsize length);

/* Bytes that mux_write() would take now. Where that is 0 (and only then), writable() tells when it is more.
 */
gsize mux_room(MuxStream *stream);

/* The peer will send nothing more; what came before may still be unread. */
gboolean mux_peer_ended(const MuxStream *stream);

/* Sends no more. */
void mux_end(MuxStream *stream);

/* Is done with it, whatever is under way; nothing is called afterwards. Where both ends have ended that is no
 * reset. Who has ended itself and closes before the peer's end resets: of what it sent, the peer may lose
 * what it has not read. `words` may be NULL. */
void mux_close(MuxStream *stream, const char *words);

Mux *mux_stream_mux(MuxStream *stream);

/* Callbacks and data for whom a stream is handed on to; called as after mux_accept(). */
void mux_stream_take_over(MuxStream *stream, const MuxStreamCallbacks *callbacks, void *data);

/* A GSource that drives the mux in a GMainContext; `gone` is called once when the link is dead. */
typedef void (*MuxGone)(Mux *mux, const GError *error, void *data);
GSource *mux_source_new(Mux *mux, MuxGone gone, void *data);

/* Joins a stream and a connected stream socket, both ways, with half-close and back-pressure, until both are
 * over (then `done` is called once, and the splice is no more). Takes the stream, whose callbacks it
 * replaces, and `fd`. What breaks on one side resets the other. Lives in `context` (NULL: the default one),
 * which has to be the one that drives the mux. */
typedef struct MuxSplice MuxSplice;
MuxSplice *mux_splice(MuxStream *stream, int fd, GMainContext *context, void (*done)(void *data), void *data);

/* Gives up: resets the stream, closes `fd`; `done` is not called. */
void mux_splice_cancel(MuxSplice *splice, const char *words);

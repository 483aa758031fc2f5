/* Two ends of a mux in one process and one thread: over a socket pair, or over TLS through a proxy that can
 * be cut (tests/unit/link/world.h). */
#pragma once

#include "../link/world.h"
#include "c2c/mux.h"

/* One end of a stream as its owner sees it. */
typedef struct Talker Talker;
struct Talker {
  Talker *twin;      /* the other end's, once it was asked */
  MuxStream *stream; /* NULL once it is no more */
  gboolean accepted, ended;
  Doppel__Wire__C2cRefusal refusal;
  char *words; /* of its refusal or reset */
  gboolean reset;
  guint readables, writables;
  GByteArray *got;    /* what was read so far */
  gboolean hold;      /* it does not read */
  gsize left, filled; /* bytes to write (of the pattern), and written */
  gboolean end_after; /* mux_end() when all is written */
};

typedef struct {
  Mux *ends[2]; /* the dialler's, the other's */
  GError *errors[2];
  GPtrArray *talkers;   /* all */
  GPtrArray *asked;     /* of Talker: what `open` was called for, in order */
  char *user, *service; /* of the last */
  gboolean wait;        /* open() is not answered */
  gboolean lazy;        /* new talkers hold */
  guint introductions;
  gboolean refuse_introduction;
  World *world; /* TLS only */
  Proxy *proxy;
} MuxRig;

MuxRig *mux_rig_local(void);
MuxRig *mux_rig_tls(void);
MuxRig *mux_rig_slow(gsize rate); /* the same; so many bytes a second */
void mux_rig_free(MuxRig *rig);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MuxRig, mux_rig_free)

/* The dialler's end only, of a socket pair whose other end is a bare link: for peers that break rules. */
MuxRig *mux_rig_half(Link **other);

void mux_rig_step(MuxRig *rig, int timeout_ms);

/* Steps until nothing happens any more. */
void mux_rig_settle(MuxRig *rig);
void mux_rig_until(MuxRig *rig, gboolean (*done)(MuxRig *rig, void *data), void *data);

/* Opens a stream from `end`, to a user "alice.N". */
Talker *mux_rig_open(MuxRig *rig, int end, const char *service);

/* The peer's talker of the n-th stream that was opened. */
Talker *mux_rig_asked(MuxRig *rig, guint n);

/* Writes `length` bytes of the pattern, as there is room. */
void talker_write(Talker *talker, gsize length);
void talker_read(Talker *talker);
void talker_close(Talker *talker, const char *words);

/* What it got is `length` bytes of the pattern. */
void talker_check(const Talker *talker, gsize length);
extern const MuxStreamCallbacks talker_callbacks;

/* One side's half of a pair of twins: a frozen process, what it agreed on with the other side, and its delta.
 * The verbs are those of src/replica: capture, apply. */
#pragma once

#include "mirror/copies.h"
#include "mirror/delta.h"
#include "mirror/kept.h"
#include "mirror/late.h"
#include "mirror/pager.h"

/* What a mirror may have done since the twins agreed, as far as its owner knows. */
typedef enum {
  MIRROR_LIVELY,
  MIRROR_STILL,  /* no system call of it was notified, no signal delivered: see mirror_state_read() */
  MIRROR_SILENT, /* and it made no other either: see mirror_state_read_silent() */
} MirrorStillness;

/* What becomes of a changed page. */
typedef enum {
  MIRROR_SEND,
  MIRROR_LEND, /* primary: send it, and hear whether it was touched */
  MIRROR_KEEP, /* until it is asked for */
} MirrorChoice;

typedef struct {
  MirrorProcess *process;
  MirrorTracker *tracker;
  MirrorState *agreed;  /* what both sides have; NULL before the first delta */
  MirrorLayout *layout; /* the process's own at the last capture or apply */
  MirrorCopies *copies; /* of pages that both sides have so */
  gboolean primary;
  MirrorStillness still; /* mirror, the owner's */
  gboolean whole_pages;  /* the owner's: pages travel whole, whatever the other side knows of them */
  gboolean strays;   /* primary, the owner's: descriptors were made in it that the block may have closed */
  gboolean children; /* at the last capture the process had child processes */
  MirrorThreadCounts counts; /* which threads are the program's; NULL: all */
  void *user;
  /* Mirror: sees to it that the next thread gets this id (the mirror itself has not the right to choose). */
  gboolean (*next_thread)(pid_t own_tid, void *user, GError **error);
  void *next_user;
  MirrorPager
      *pager; /* mirror, the owner's: pages that come when they are touched; NULL: all come with a delta */
  MirrorLate *late; /* primary, the owner's: pages that stay behind in the clone; NULL: all come home */
  MirrorKept *kept; /* mirror, the owner's: the same, where they are; NULL: none stays */
  /* The owner's: NULL: every page is sent. */
  MirrorChoice (*choose)(guint64 address, void *user);
  void *choose_user;
  struct PageIndex *index; /* primary, the owner's: what the mirror's machine keeps; NULL: nothing is known */
  MirrorRanges *withheld;  /* primary: pages that the mirror has to ask for */
} MirrorTwin;

/* The process must be stopped, with its scratch made. `device`: see mirror_tracker_new(). */
MirrorTwin *mirror_twin_new(MirrorProcess *process, gboolean primary, MirrorTrack track, int device,
                            GError **error);
void mirror_twin_free(MirrorTwin *twin); /* not the process */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MirrorTwin, mirror_twin_free)

/* Begins a capture: the process is asked what only it knows, and answers while the owner looks at other
 * things, its files say, and while mirror_twin_capture() looks at its memory. Where no capture follows, or
 * one that fails, mirror_twin_answered() waits until it stands where it stood. */
gboolean mirror_twin_ask(MirrorTwin *twin, GError **error);
gboolean mirror_twin_answered(MirrorTwin *twin, GError **error);
/* What changed since the twins agreed; from now on they agree on what it says. UNSUPPORTED where the process
 * has what cannot be mirrored. All threads must be stopped. `files` may be NULL of a SILENT mirror. */
MirrorDelta *mirror_twin_capture(MirrorTwin *twin, const MirrorFiles *files, GError **error);

/* Makes the process what the delta says. On the primary nothing is changed unless all that can be foreseen to
 * fail has been done: an error with *begun FALSE left it as it was; with *begun TRUE it cannot go on.
 * Descriptors are applied too. Threads the process lacks are created (mirror) or must be there (primary,
 * reserved before); those it has too many end. */
gboolean mirror_twin_apply(MirrorTwin *twin, const MirrorDelta *delta, gboolean *begun, GError **error);

/* digest.c: of all that both twins must have alike, read anew from the process: memory and small state, a
 * hash for each part of it. For checks (`--check`); `files` are the process's now. */
GBytes *mirror_twin_digest(MirrorTwin *twin, const MirrorFiles *files, GError **error);
/* The parts in which two digests differ, in words; NULL: in none. `other` may be hostile. */
char *mirror_digest_differ(GBytes *own, GBytes *other);

/* Creates a thread in a stopped process; it stays stopped where it was born. */
MirrorThread *mirror_thread_create(MirrorProcess *process, GError **error);
/* Ends one thread of a stopped process without a trace in its memory. */
gboolean mirror_thread_end(MirrorThread *thread, GError **error);

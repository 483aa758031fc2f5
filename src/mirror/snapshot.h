/* The small state of a frozen process for a checkpoint (CloneCloud section 4), as it is kept and travels
 * (wire/checkpoint.proto): all but the contents of memory and of files. Unlike a delta (twin.h) it is not for
 * a twin that follows: whoever goes on from it has nothing of the process, and nobody to ask.
 *
 * What the messages hold is allocated so that protobuf-c can free it. */
#pragma once

#include "mirror/files.h"
#include "mirror/tracker.h"
#include "wire/checkpoint.pb-c.h"

/* Right after a freeze: calls that a stop breaks off with EINTR, although no signal came (signal(7)), are
 * made again. */
gboolean mirror_snapshot_froze(MirrorProcess *process, GError **error);

/* Pages that changed since the last call, as mirror_tracker_changed() tells them, without those that a mapped
 * file's content is. *layout is renewed. UNSUPPORTED where the process has memory that cannot be carried. All
 * threads must be stopped. */
gboolean mirror_snapshot_memory(MirrorProcess *process, MirrorTracker *tracker, MirrorLayout **layout,
                                GArray *runs, GError **error);

/* Registers, signals, timers, limits, mappings of a frozen process, into `state`. UNSUPPORTED, with the
 * reason, where it has what cannot be carried: children, timers of timer_create(2). */
gboolean mirror_snapshot_state(MirrorProcess *process, MirrorLayout *layout,
                               Doppel__Wire__CheckpointState *state, GError **error);

/* Files by their numbers in a run; what is the same file keeps its number. */
typedef struct {
  GHashTable *numbers; /* "DEV INO PATH" → number */
  guint32 last;
} MirrorSnapshotFiles;
MirrorSnapshotFiles *mirror_snapshot_files_new(void);
void mirror_snapshot_files_free(MirrorSnapshotFiles *files);

/* How the content of a file with the same place in state->file can be had. */
typedef struct {
  int descriptor;    /* a number in the process that has it open; -1: only mapped, by its path */
  gboolean appended; /* whoever can write to it here can only append */
  gboolean mapped;   /* it is mapped shared and writable: its times need not tell of changes */
  gint64 ctime_ns;
  guint64 device, inode;
} MirrorSnapshotSource;

/* Descriptors and mapped files, into `state`; appends a MirrorSnapshotSource for each file to `sources`. A
 * descriptor that is one of the calling process's standard ones, no regular file and no device that is
 * everywhere, becomes INPUT, OUTPUT or ERRORS. UNSUPPORTED, with its name, for one that cannot be carried. */
gboolean mirror_snapshot_descriptors(MirrorProcess *process, const MirrorLayout *layout,
                                     MirrorSnapshotFiles *files, Doppel__Wire__CheckpointState *state,
                                     GArray *sources, GError **error);

/* ---- going on from it ---- */

/* Gives a stopped process that was just started for this, with input, output and errors as its descriptors
 * 0, 1 and 2, the descriptors of the state and no others. `path_of` tells where a file is to be found. */
typedef const char *(*MirrorSnapshotPath)(guint32 file, gpointer user);
gboolean mirror_snapshot_place(MirrorProcess *process, const Doppel__Wire__CheckpointState *state,
                               MirrorSnapshotPath path_of, gpointer user, GError **error);
/* Last: the signals that waited, and interval timers. */
gboolean mirror_snapshot_wake(MirrorProcess *process, const Doppel__Wire__CheckpointState *state,
                              GError **error);

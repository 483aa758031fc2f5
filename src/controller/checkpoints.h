/* Checkpoints of the program (CloneCloud section 4) while it runs on the device: private to src/controller.
 *
 * One is taken in rounds. In each the program stands still for as long as it takes to ask the kernel which
 * pages changed; then it runs on while the courier (replicator/checkpoint_courier.h) reads them. When few
 * are left they are read at once, together with the small state and what changed of the files that it
 * writes: that is the moment of which the checkpoint is. */
#pragma once

#include "controller/controller.h"
#include "mirror/snapshot.h"
#include "replicator/checkpoint_courier.h"

typedef enum {
  CHECKPOINTS_IDLE,    /* until the next is due */
  CHECKPOINTS_READING, /* the courier reads, the program runs */
  CHECKPOINTS_SENDING, /* the courier has all of it */
} CheckpointsPhase;

/* A file's content as the last checkpoint has it. */
typedef struct {
  guint64 size, device, inode;
  gint64 mtime_ns, ctime_ns;
  gint64 read_ns; /* by the system's clock */
} CheckpointsFile;

typedef struct Checkpoints {
  CheckpointCourier *courier;
  CheckpointCourierSpec spec;
  char *features;    /* that the program may use */
  gboolean welcome;  /* the clone has answered once */
  char *stopped;     /* why there will be no more; NULL: there will */
  char *last_reason; /* why the last one was not taken, to be said once */
  CheckpointsPhase phase;
  gint64 due_ns;
  gboolean cancelled; /* what is being read is of no use any more */
  gboolean whole;     /* the clone has nothing of this image yet */
  gboolean stale;     /* what is being sent is of another image */
  guint64 number;     /* of the last one that was kept */
  /* the image: NULL until it is needed */
  MirrorTracker *tracker;
  MirrorLayout *layout;
  MirrorSnapshotFiles *files;
  Doppel__Wire__JobRequest *request;
  /* what the clone does not have yet, as far as the tracker has told */
  MirrorRanges *data, *holes;
  MirrorRanges *missed; /* in this round: what the courier could not read */
  GHashTable *known;    /* file's number → CheckpointsFile: kept */
  GHashTable *pending;  /* the same of the one that is being sent */
  guint round;
  gint64 began_ns;
  guint64 last_bytes, room; /* in the last round; what the last one took in its pause */
  /* what --stats says */
  GArray *pauses;  /* gint64, ns: each time that the program stood still */
  GArray *copying; /* gint64, ns: from the first round to the last */
  GArray *sizes;   /* guint64, bytes of those that were kept */
  guint64 failed;  /* that were not */
} Checkpoints;

/* ---- checkpoints_request.c ---- */
/* How the program was started; once for an image. */
gboolean checkpoints_know_request(Controller *controller, GError **error);

/* ---- checkpoints_moment.c ---- */
typedef struct {
  int file;
  guint8 *bytes;
  guint64 size, used;
  GArray *pieces; /* CourierPiece */
  GArray *files;  /* CourierFile */
} CheckpointsRoom;
/* So many bytes of it are there at once. */
gboolean checkpoints_room_open(CheckpointsRoom *room, guint64 size, GError **error);
void checkpoints_room_clear(CheckpointsRoom *room);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CheckpointsRoom, checkpoints_room_clear)
/* How much room there had better be, before anything stands still: so that its pages are there. */
guint64 checkpoints_guess_room(Controller *controller);
/* All that has to be of one moment, of a frozen program. */
gboolean checkpoints_moment(Controller *controller, CheckpointsRoom *room, const GArray *runs,
                            CheckpointState *state, GError **error);
/* Afterwards: the courier gets it. */
gboolean checkpoints_hand_over(Controller *controller, CheckpointsRoom *room, CheckpointState *state,
                               GError **error);

/* ---- checkpoints_take.c ---- */
/* These runs changed since the last checkpoint that was kept. */
void checkpoints_note(Checkpoints *checkpoints, const GArray *runs);
/* The next round. Sets the phase. FALSE where this checkpoint cannot be; the program runs on in any case,
 * unless it is gone. */
gboolean checkpoints_round(Controller *controller, GError **error);
void checkpoints_forget_image(Checkpoints *checkpoints);
/* The clone has it; or has it not, and everything else that is kept stays as it was. */
void checkpoints_kept(Checkpoints *checkpoints);
void checkpoints_not_kept(Checkpoints *checkpoints);

/* The courier: a process beside `doppel run` that takes its checkpoints to the clone, so that nobody who is
 * to let the program go on has to compress, hash, send or wait. The Controller hands it what is to be read
 * while the program runs, then what it read itself while the program stood still; the courier writes the
 * checkpoint into a file without a name and sends that, as often as it takes, until the clone has it. One
 * checkpoint at a time.
 *
 * It is nobody's child, and ends when the Controller does. */
#pragma once

#include "mirror/tracker.h"
#include "replicator/checkpoint_body.h"

typedef struct CheckpointCourier CheckpointCourier;

typedef struct {
  const char *clone; /* name of a paired one; NULL: the only one */
  char *const *argv; /* of the program */
  char *features;    /* of this processor */
  guint64 rate;      /* bytes a second; 0: as fast as it goes */
  int resume_ms;     /* how long a link that broke may take to come back before it is dialled anew */
  gboolean explain;  /* it may use standard error */
} CheckpointCourierSpec;

/* Starts it; it connects by itself. NULL with an error, NOT_FOUND for no such clone. */
CheckpointCourier *checkpoint_courier_start(const CheckpointCourierSpec *spec, GError **error);
/* Ends it where it was not told to end by itself. */
void checkpoint_courier_free(CheckpointCourier *courier);

/* To be polled for POLLIN: words have come. */
int checkpoint_courier_fd(const CheckpointCourier *courier);

typedef enum {
  COURIER_NOTHING,
  COURIER_WELCOME, /* the clone answers; `text`: what its processor offers */
  COURIER_READ,    /* all has been read but `failed` */
  COURIER_KEPT,    /* the clone has the checkpoint; `bytes` of it */
  COURIER_FAILED,  /* it has not, and will not get it: `text`; with `bytes` nor those before it */
  COURIER_REFUSED, /* nor any other of this run: `text` */
  COURIER_NOTE,    /* `text` */
  COURIER_ENDED,   /* the clone has been told that the program has ended */
  COURIER_GONE,    /* the courier has died */
} CourierWordKind;

typedef struct {
  CourierWordKind kind;
  guint64 bytes;
  char *text;
  GArray *failed; /* MirrorRange */
} CourierWord;
void courier_word_clear(CourierWord *word);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CourierWord, courier_word_clear)

/* The next one that has come; NOTHING where none has. */
void checkpoint_courier_hear(CheckpointCourier *courier, CourierWord *word);

/* The runs (MirrorRun) are to be read out of `memory`, a descriptor of /proc/PID/mem, for the checkpoint that
 * comes; READ is the answer. */
gboolean checkpoint_courier_read(CheckpointCourier *courier, int memory, const GArray *runs, GError **error);

/* What was read while the program stood still: a memory file, in whose beginning stands: */
typedef struct {
  guint64 pieces_at, files_at, state_at; /* in the file: CourierPiece[], CourierFile[], the packed state */
  guint64 state_length;
  guint32 pieces, files;
} CourierSeal;
typedef struct {
  guint64 start, length, offset; /* an address; its bytes in the file, 0: as the mapping began */
} CourierPiece;
typedef enum {
  COURIER_FILE_NAMED, /* as in the state */
  COURIER_FILE_SAME,  /* as in the last checkpoint that was kept */
  COURIER_FILE_FROM,  /* as in that one below `from`, then these bytes up to its size */
} CourierFileHow;
typedef struct {
  guint32 how;
  guint64 from, offset; /* `from`: whole COURIER_BLOCKs */
} CourierFile;          /* of the file with the same place in the state */
#define COURIER_BLOCK (64u << 10)

/* The checkpoint is complete: `sealed` (taken) is its rest. KEPT, FAILED or REFUSED is the answer. */
gboolean checkpoint_courier_seal(CheckpointCourier *courier, int sealed, GError **error);
/* It is not to be, after all. No answer. */
void checkpoint_courier_abandon(CheckpointCourier *courier);
/* The program has ended by itself: the clone needs nothing of it any more. ENDED is the answer. */
void checkpoint_courier_end(CheckpointCourier *courier);

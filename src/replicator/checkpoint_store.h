/* What a clone host keeps of the checkpoints of one clone's device: a directory below doppeld's state, named
 * after the clone, which ends with its pairing. Mode 0700; several processes may use it at once.
 *
 *   DIR/RUN/lock    locked (flock(2)) by who takes checkpoints of this run of a program from its device
 *           gate    locked while the chain is changed
 *           chain   which files count, in order, and what is known of the run: written beside, synced and
 *                   renamed, with a checksum
 *           N       one checkpoint (checkpoint_body.h), never changed; or the merging of several
 *           N.part  one that is coming in
 *
 * A file is synced, and read whole, before the chain names it. So whoever is killed, whatever disk is full,
 * the checkpoints that were kept before are there. When a chain has more than CHECKPOINT_CHAIN_MAX files, or
 * the newer ones are more than the base, it is merged into a new base. */
#pragma once

#include "replicator/checkpoint_message.h"
#include "replicator/job_message.h"

#define CHECKPOINT_CHAIN_MAX 12 /* files of a run */
#define CHECKPOINT_RUNS_MAX  64 /* runs of a clone; the oldest one that nobody feeds gives way */

/* A run's directory, held open. */
typedef struct {
  guint8 run[CHECKPOINT_RUN];
  int directory;
  int lock;               /* -1: not ours */
  CheckpointChain *chain; /* as it was read, or written, last */
} CheckpointKept;
void checkpoint_kept_free(CheckpointKept *kept);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckpointKept, checkpoint_kept_free)

/* All runs of the store in `directory`, of CheckpointKept, the one with the newest checkpoint last; a
 * directory that is not there has none. Damaged ones are left out. */
GPtrArray *checkpoint_store_list(const char *directory);

/* Finds a run; with NULL the one that has the newest checkpoint. NOT_FOUND. */
CheckpointKept *checkpoint_store_find(const char *directory, const guint8 *run, GError **error);

/* The run that a device tells of, made where it is missing, locked for the caller. NULL with an error, DENIED
 * where somebody has resumed it, or somebody else feeds it. */
CheckpointKept *checkpoint_store_feed(const char *directory, const Doppel__Wire__CheckpointRun *run,
                                      GError **error);

/* Whether somebody feeds it. */
gboolean checkpoint_kept_is_fed(const CheckpointKept *kept);

/* A file for a checkpoint that comes in; -1 with an error. */
int checkpoint_kept_begin(CheckpointKept *kept, GError **error);
/* It is there: `file`, of which the device says the hash. It is checked, synced and becomes the newest. */
gboolean checkpoint_kept_add(CheckpointKept *kept, int file, guint64 number, guint64 hash, GError **error);
/* It is not. */
void checkpoint_kept_abandon(CheckpointKept *kept);

/* Merges the chain where that is due, or with `all` whenever it has more than a base. */
gboolean checkpoint_kept_merge(CheckpointKept *kept, gboolean all, GError **error);

/* Notes who resumes it. DENIED where somebody has and not `again`, and where it is fed and not `force`. */
gboolean checkpoint_kept_take(CheckpointKept *kept, guint64 job, const char *device, gboolean force,
                              gboolean again, GError **error);

/* The files of the chain, of CheckpointBody, the base first. NULL with an error, NOT_FOUND where there are
 * none. */
GPtrArray *checkpoint_kept_bodies(const CheckpointKept *kept, GError **error);

/* How the program was started, as a job that goes on from the newest checkpoint. NULL with an error. */
JobRequest *checkpoint_kept_request(const CheckpointKept *kept, GError **error);

guint64 checkpoint_kept_bytes(const CheckpointKept *kept);

/* Removes a run with all that is in it. */
gboolean checkpoint_store_remove_run(const char *directory, const guint8 *run, GError **error);
/* Removes the store; nothing there is no error. */
gboolean checkpoint_store_remove(const char *directory, GError **error);

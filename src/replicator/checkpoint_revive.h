/* A program goes on from a checkpoint, in a sandbox (CloneCloud section 4): the same memory, registers,
 * thread ids, descriptors. When it runs it is an ordinary process there, traced by nobody.
 *
 * The calling process has entered the sandbox (augmenter/sandbox.h) in between: what is asked of the machine
 * outside comes before. */
#pragma once

#include "augmenter/sandbox.h"
#include "replicator/checkpoint_view.h"

typedef struct {
  GPtrArray *bodies;            /* of CheckpointBody, the base first; the caller's */
  const CheckpointState *state; /* the newest one's */
  /* Has a file that the program only read, and that is not here as it had it: into `file`. NULL: none is. */
  gboolean (*fetch)(const CheckpointFile *named, int file, gpointer user, GError **error);
  gpointer user;
  /* Its own. */
  const Sandbox *sandbox;
  GHashTable *places; /* number of a nameless file → where it is for a moment */
} CheckpointRevival;

CheckpointRevival *checkpoint_revival_new(GPtrArray *bodies);
void checkpoint_revival_free(CheckpointRevival *revival);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CheckpointRevival, checkpoint_revival_free)

/* Whether this machine's processor can go on with it. UNSUPPORTED with what it lacks. */
gboolean checkpoint_revival_fits(const CheckpointRevival *revival, GError **error);

/* Inside, before what the program changes begins to count: the files that it only reads are as it had them,
 * and the directories of those that it writes are there. */
gboolean checkpoint_revival_prepare(CheckpointRevival *revival, const Sandbox *sandbox, GError **error);

/* Inside, after that: the files that it writes are as they were, and the program runs, with this input,
 * output and errors. Its id as the caller sees it, who is to wait for it; -1 with an error. */
pid_t checkpoint_revival_start(CheckpointRevival *revival, Sandbox *sandbox, int input, int output,
                               int errors, GError **error);

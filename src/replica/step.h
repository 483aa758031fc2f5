/* One step of a transaction on the device's tree, and how to take it back.
 *
 * A step can be undone whether it was done, half done or not begun: each says by inode number what it put
 * where. Undoing goes backwards, so that every step finds the names as it left them. */
#pragma once

#include <glib.h>

#include "replica/facts.h"

typedef enum {
  REPLICA_STEP_STAGE, /* the directory `path` was made, to keep new files and old ones until the end; `other`
                         holds it */
  REPLICA_STEP_MOVE,  /* rename `path` to `other`, where nothing is */
  REPLICA_STEP_REPLACE, /* `other` takes the place of `path`; what was there is then at `other`, or at `aside`
                         */
  REPLICA_STEP_LINK,    /* `path`, where nothing is, becomes one more name of `other` */
  REPLICA_STEP_CONTENT, /* bytes of `path` in place */
  REPLICA_STEP_SET,     /* metadata of `path` */
  REPLICA_STEP_HOST,    /* `path` holds a staging directory: its metadata once that is removed; does nothing
                           before */
} ReplicaStepKind;

typedef struct {
  guint64 offset, length;
  guint64 at; /* in the file of old bytes, or of new ones */
  gboolean zeros;
} ReplicaSaved;

typedef struct {
  ReplicaStepKind kind;
  char *path, *other, *aside;
  guint64 dev, ino;                  /* of the inode that is moved, put in place, linked, or changed */
  guint64 old_ino;                   /* REPLACE: of what was there */
  ReplicaFacts old_facts, new_facts; /* SET; sizes for CONTENT; STAGE: of `other` */
  guint set, undo;                   /* SET: which facts to set, which to set back */
  GArray *saved;                     /* CONTENT: of ReplicaSaved, the old bytes */
  GArray *redo;                      /* CONTENT: of ReplicaSaved, the new bytes; not kept in the journal */
} ReplicaStep;

ReplicaStep *replica_step_new(ReplicaStepKind kind, const char *path);
void replica_step_free(ReplicaStep *step);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaStep, replica_step_free)

/* Does it. `data` holds the new bytes of CONTENT. FALSE with an error; MISMATCH where something else is at
 * the path than what was planned for. */
gboolean replica_step_run(int root, const ReplicaStep *step, int data, GError **error);

/* Takes it back. `undo` holds the old bytes. FALSE with an error where that failed: the journal must be kept.
 */
gboolean replica_step_undo(int root, const ReplicaStep *step, int undo, GError **error);

/* After the commit: STAGE removes its directory with all that is in it, HOST then sets the metadata of the
 * one that held it. Nothing for others. */
gboolean replica_step_sweep(int root, const ReplicaStep *step, GError **error);

/* Copies `saved` pieces between a file and a file of pieces: in `restore`, from the pieces to the file. FALSE
 * with errno. */
gboolean replica_saved_copy(int file, int pieces, const GArray *saved, gboolean restore);

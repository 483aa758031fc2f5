/* The journal of one transaction on the device's tree: what was done so far, and what undoes it.
 *
 * Files NAME.journal, NAME.undo (old bytes) and NAME.data (new bytes of files that change in place) in a
 * directory of doppel's own. A step is written down before it is done, with how far things are in one word at
 * the head, so that a process killed at any instruction leaves a tree that replica_recover() makes what it
 * was before (or, once committed, sweeps). The journal is locked while its process lives. */
#pragma once

#include <glib.h>

#include "base/io.h"
#include "replica/step.h"

typedef struct {
  int state;  /* the directory */
  char *name; /* random; also in the names of staging directories */
  Fd fd, undo, data;
  guint64 undo_size, data_size;
  GPtrArray *steps; /* of ReplicaStep */
  guint begun;      /* steps that may have been done */
} ReplicaJournal;

/* Starts one. NULL with an error. */
ReplicaJournal *replica_journal_new(int state, GError **error);

/* Closes it; the files stay unless replica_journal_remove() was called. */
void replica_journal_free(ReplicaJournal *journal);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaJournal, replica_journal_free)

/* Writes steps down (takes them), without doing them. */
gboolean replica_journal_add(ReplicaJournal *journal, ReplicaStep *step, GError **error);

/* Does the steps that were written down and not yet done. FALSE at the first that fails. */
gboolean replica_journal_run(ReplicaJournal *journal, int root, GError **error);

/* Undoes everything, backwards, and removes the journal. FALSE where something could not be undone: the
 * journal stays. */
gboolean replica_journal_undo(ReplicaJournal *journal, int root, GError **error);

/* From here on the transaction stands: sweeps what is left over, and removes the journal. What cannot be
 * swept is left to replica_recover(), with a warning. */
void replica_journal_commit(ReplicaJournal *journal, int root);

/* Whether the transaction stands whose journal `fd` is open on. A further name of a journal's file (link(2))
 * outlives its removal, and so tells for good what has become of the transaction. */
gboolean replica_journal_stands(int fd);

/* Everything written down so far reaches the disk. */
gboolean replica_journal_sync(ReplicaJournal *journal, GError **error);

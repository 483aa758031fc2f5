/* Makes a block's changes to files on the device: all of them or none (docs/decisions/0003-file-delta.md).
 *
 * While the delta arrives, every path is checked to be what the block saw, and all new content is written to
 * temporary places, so that a full disk or a missing permission is found while nothing has changed. The
 * commit is renames, writes in place, and metadata, each with its undoing in a journal. */
#pragma once

#include <glib.h>

#include "replica/seen.h"

typedef struct ReplicaApply ReplicaApply;

typedef struct {
  const ReplicaSeen
      *seen; /* what the device told in this block, or NULL: then what the delta says was there must hold */
  gboolean durable; /* survive a power cut too, not just the death of the process: syncs the journal and new
                       files */
} ReplicaApplyOptions;

/* `root` is the tree, `state` a directory of the caller's own (0700) for the journal, outside of what is
 * replicated. Takes copies of both. */
ReplicaApply *replica_apply_new(int root, int state, const ReplicaApplyOptions *options, GError **error);

/* Undoes what was staged, unless it was committed. */
void replica_apply_free(ReplicaApply *apply);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaApply, replica_apply_free)

/* Takes the next message of the delta's stream. FALSE with an error: HOSTILE; MISMATCH where the device's
 * files are no longer what the block saw (replica_apply_conflicts() says which); FAILED where the system
 * refuses. Nothing has changed then. */
gboolean replica_apply_push(ReplicaApply *apply, const guint8 *data, gsize length, GError **error);

/* The last message has come and everything is staged. */
gboolean replica_apply_ready(const ReplicaApply *apply);

/* Commits. FALSE with an error: everything is as it was before (or, where even that failed, as the error
 * says, and replica_recover() will try again). */
gboolean replica_apply_commit(ReplicaApply *apply, GError **error);

/* The same for several trees, all or none: those that were made are taken back where a later one fails. (A
 * process that is killed on the way leaves each tree whole, but some may have been changed and others not.)
 */
gboolean replica_apply_commit_all(ReplicaApply *const *applies, guint count, GError **error);

/* Paths (strings) that stood in the way, owned by `apply`. */
GPtrArray *replica_apply_conflicts(const ReplicaApply *apply);

/* All of the above for a source that hands out one message after the other: NULL at the end, and NULL with an
 * error. `conflicts` (of strings, or NULL) is appended to. */
typedef GBytes *(*ReplicaMessageFunc)(gpointer user_data, GError **error);
gboolean replica_apply(int root, int state, ReplicaMessageFunc next, gpointer user_data,
                       const ReplicaApplyOptions *options, GPtrArray *conflicts, GError **error);

/* Undoes or sweeps what transactions left behind whose processes are gone. `root` is the tree they worked on.
 * FALSE where something could not be; the rest has been done. */
gboolean replica_recover(int root, int state, GError **error);

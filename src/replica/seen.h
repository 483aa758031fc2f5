/* What the device told the clone about paths, within one block: what the block has built upon.
 *
 * The device checks it again before it applies the block's changes. Its own memory is better than what the
 * clone sends back: it holds inode numbers and ctimes too. */
#pragma once

#include <glib.h>

#include "replica/facts.h"

typedef struct ReplicaSeen ReplicaSeen;

ReplicaSeen *replica_seen_new(void);
void replica_seen_free(ReplicaSeen *seen);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaSeen, replica_seen_free)

/* Remembers `facts` (copied; of type REPLICA_ABSENT for nothing there) for `path`. The first telling stays:
 * it is what the block saw first. */
void replica_seen_add(ReplicaSeen *seen, const char *path, const ReplicaFacts *facts);

/* NULL where nothing was told. */
const ReplicaFacts *replica_seen_find(const ReplicaSeen *seen, const char *path);

/* A block has begun or ended: nothing was told. */
void replica_seen_reset(ReplicaSeen *seen);

/* Appends to `conflicts` (of strings) the paths below `root` that are no longer what was told. */
void replica_seen_check(const ReplicaSeen *seen, int root, GPtrArray *conflicts);

/* Whether `now` is still what a block saw as `then`, as far as a block can depend on it: of a directory not
 * its times. `own`: both were read on this machine, so inode and ctime count too. */
gboolean replica_seen_holds(const ReplicaFacts *then, const ReplicaFacts *now, gboolean own);

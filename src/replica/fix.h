/* Makes the clone's copy of a path equal to the device's, by ordinary operations in the merged view: what
 * they change lands in the upper layer, and is noted in the baseline, so that it is no change of the block's.
 */
#pragma once

#include <glib.h>

#include "replica/baseline.h"
#include "replica/check.h"

/* Asks the device for the facts of a directory that the clone lacks. FALSE with an error. */
typedef gboolean (*ReplicaAskFunc)(gpointer user_data, const char *path, ReplicaFacts *facts, GError **error);

typedef struct {
  const ReplicaLayer *layer;
  ReplicaBaseline *baseline;
  ReplicaAskFunc ask;
  gpointer user_data;
} ReplicaCopy;

/* Carries out CREATE (directory, symbolic link, empty file), FIX_METADATA and REMOVE; the others are errors.
 * Directories on the way are made as the device has them. MISMATCH where the block itself changed the path,
 * or replaced a directory on the way. */
gboolean replica_fix(const ReplicaCopy *copy, const char *path, ReplicaVerdict verdict,
                     const ReplicaFacts *device, GError **error);

/* The pieces of it, for replica_pull(): */
typedef struct ReplicaFix ReplicaFix;

/* Makes the directories on the way, remembers their times. */
ReplicaFix *replica_fix_begin(const ReplicaCopy *copy, const char *path, GError **error);
void replica_fix_free(ReplicaFix *fix);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaFix, replica_fix_free)

int replica_fix_parent(const ReplicaFix *fix);            /* the directory that holds the path */
const char *replica_fix_name(const ReplicaFix *fix);      /* its name in there */
const char *replica_fix_temporary(const ReplicaFix *fix); /* a name for what shall take its place; removed by
                                                             replica_fix_free() if still there */

/* Gives the temporary file `facts`' metadata and puts it in its place. */
gboolean replica_fix_place(ReplicaFix *fix, const ReplicaFacts *facts, GError **error);

/* Sets the directories' times back and notes the path in the baseline. */
gboolean replica_fix_end(ReplicaFix *fix, GError **error);

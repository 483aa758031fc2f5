/* Two pictures of an upper layer over one lower layer, seen as the programs saw them: what was and what is at
 * each path. */
#pragma once

#include <glib.h>

#include "replica/baseline.h"

/* What one side shows at a path. */
typedef struct {
  ReplicaNode *node;   /* where the upper layer has it; not owned */
  gboolean below;      /* it is the lower layer's */
  ReplicaFacts *facts; /* NULL: nothing is there; not owned */
  GBytes *inode;       /* the same for one inode on both sides; NULL: unknown, and of directories */
} ReplicaView;

typedef struct {
  char *path;
  ReplicaView before, after;
  ReplicaFacts lower; /* what the lower layer has there, where it was asked */
} ReplicaRow;
void replica_row_free(ReplicaRow *row);

/* The paths at which the two may differ (not those where both show the lower layer, or share a node), of
 * ReplicaRow, in ascending order. NULL with an error. */
GPtrArray *replica_rows_read(const ReplicaLayer *layer, const ReplicaNode *before, const ReplicaNode *after,
                             GError **error);

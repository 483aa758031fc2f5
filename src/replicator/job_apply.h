/* Makes on the device what a job did to files below one mount point: whatever the device's own files allow,
 * in one transaction (replica/apply.h); the rest beside them (job_beside.h). */
#pragma once

#include "replica/apply.h"
#include "replicator/job_parcel.h"

typedef struct {
  const JobParcel *parcel;
  JobClient *client;
  const JobState *state;
  int changes;  /* all of them, as a file */
  guint number; /* of the mount point */
  int root;     /* the device's tree there */
  int tree;     /* directory of its journals */
} JobTree;

/* Puts aside what the device's files do not allow, and prepares the rest, to be committed. NULL with an
 * error: none of the device's own files has changed. */
ReplicaApply *job_apply_prepare(const JobTree *tree, GError **error);

/* What a device keeps of a job whose result it is about to take over, so that it takes it over once, whatever
 * is killed or cut in between: a directory below the user's doppel state, named after the clone and the job.
 *
 *   lock         locked while somebody works on it
 *   hash         of the changes that this is about: a job of the same number may be another one
 *   changes      of files, as far as they have come (job_changes.h)
 *   tree-N/      for each mount point the journals of the change below it (replica/journal.h), and
 *     receipt    a second name of the last: it tells for good whether the change has been made
 *   report-N     what could not be put upon the device's own files, and where it is now
 *
 * It is removed when the clone's host has written down that the device has the result. */
#pragma once

#include "replicator/job_client.h"

typedef struct {
  guint64 job;
  int above, directory, lock;
  char *name; /* of the directory, in `above` */
} JobParcel;

/* Where a clone's are. */
char *job_parcel_directory(const PairedClone *clone);

/* Opens or makes it. NULL with an error, or without one where somebody else works on it and `wait` is FALSE.
 */
JobParcel *job_parcel_open(const PairedClone *clone, const JobSummary *summary, gboolean wait,
                           GError **error);
void job_parcel_free(JobParcel *parcel);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobParcel, job_parcel_free)

/* Fetches what has not come yet. A descriptor of all of the changes, or -1 with an error; HOSTILE where they
 * are not those that the clone named. */
int job_parcel_fetch(const JobParcel *parcel, JobClient *client, const JobState *state, GError **error);

/* The directory of a tree's journals, made where it is missing. -1 with an error. */
int job_parcel_tree(const JobParcel *parcel, guint number, GError **error);

/* What became of the change of the tree at `root`: settles what a killed process left, and says in *made
 * whether it stands. FALSE with an error. */
gboolean job_parcel_settle(int tree, int root, gboolean *made, GError **error);

/* To be called when the change is prepared, before it is made: from now on job_parcel_settle() can tell. */
gboolean job_parcel_expect(int tree, GError **error);

/* Nothing of it is needed any more. */
gboolean job_parcel_remove(JobParcel *parcel, GError **error);

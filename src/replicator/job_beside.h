/* What a job made of a file that the device has changed meanwhile: it is put beside the device's own, under
 * the name NAME.doppel-conflict-JOB. Where a directory on the way is gone or something else by now, it is the
 * directory that gets such a name.
 *
 * Each name is written to the report before it is used, so that who is killed uses it again, and the user
 * hears of it. */
#pragma once

#include "replica/delta.h"
#include "replicator/job_parcel.h"

typedef struct JobBeside JobBeside;

typedef enum {
  JOB_BESIDE_PUT,      /* the job's version is at the second path */
  JOB_BESIDE_KEPT,     /* the job removed it; it stays, as it has changed here */
  JOB_BESIDE_METADATA, /* the job changed its owner, mode, times or attributes; they stay as they are here */
} JobBesideKind;

/* For the tree number `number` of the job, which is at `root` and called `mountpoint` (absolute). Takes over
 * what an earlier attempt reported. NULL with an error. */
JobBeside *job_beside_open(const JobParcel *parcel, guint number, int root, const char *mountpoint,
                           GError **error);
void job_beside_free(JobBeside *beside);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobBeside, job_beside_free)

/* Puts what the entry makes beside what is at its path. `content` is a file with its content, -1 for what is
 * none. */
gboolean job_beside_put(JobBeside *beside, const ReplicaEntry *entry, int content, GError **error);

/* Notes that something stays as it is. */
gboolean job_beside_note(JobBeside *beside, JobBesideKind kind, const char *path, GError **error);

/* Tells all of the tree's report; paths are absolute, `where` NULL but for PUT. */
typedef void (*JobBesideFunc)(JobBesideKind kind, const char *path, const char *where, gpointer user);
void job_beside_tell(const JobParcel *parcel, guint number, JobBesideFunc tell, gpointer user);

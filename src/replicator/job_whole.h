/* Files as a job left them, whole: for the device, where its own file is no longer what the job saw, so that
 * what the job changed of it is of no use. */
#pragma once

#include "replica/delta.h"
#include "replicator/job_store.h"

/* In the job's directory: files called M-E, of the entry number E below the mount point number M. */
#define JOB_WHOLE_FOLDER "whole"

/* Keeps those files of `delta` that were there before, or got another name: their changes do not hold all of
 * them. They are further names of those in `upper`, where that is on the same disk, else copies. FALSE with
 * an error. */
gboolean job_whole_keep(const Job *job, int upper, guint mountpoint, const ReplicaDelta *delta,
                        GError **error);

/* Opens one of those. -1 with NOT_FOUND. */
int job_whole_open(const Job *job, guint mountpoint, guint entry, GError **error);

/* Puts a file together that the job has made, in the empty file `file`, from a file of changes below so many
 * mount points. FALSE with an error; NOT_FOUND where the changes do not hold all of it. */
gboolean job_whole_build(int changes, guint mountpoints, guint mountpoint, guint entry, int file,
                         GError **error);

/* The place that a job runs in: a sandbox over the clone's files, and what the job has changed there. The
 * calling process turns itself into one that can do nothing else (augmenter/sandbox.h). */
#pragma once

#include "augmenter/sandbox.h"
#include "replica/baseline.h"
#include "replicator/job_log.h"
#include "replicator/job_runner.h"

typedef struct {
  char *mountpoint; /* as the job sees it, absolute */
  ReplicaLayer *layer;
  ReplicaBaseline *baseline; /* as the job found it */
} JobLayer;
void job_layer_free(JobLayer *layer);

/* Enters. NULL with an error: the process must exit then. `work` is a directory for the sandbox's files. */
Sandbox *job_place_enter(const JobPlace *place, const JobRequest *request, const char *work, GError **error);

/* What the job will write to, of JobLayer. NULL with an error. */
GPtrArray *job_place_layers(const Sandbox *sandbox, GError **error);

/* Starts the program, which writes to `output`. Its id, or -1 with an error. */
pid_t job_place_start(Sandbox *sandbox, const JobRequest *request, const int output[JOB_STREAMS],
                      GError **error);

/* Kills everything in the sandbox and waits until it is gone; *status is that of `program`, if it had not
 * been waited for (0: it had). */
void job_place_empty(Sandbox *sandbox, pid_t program, int *status);

/* Writes what was done to files to `changes` (a file), and into the state from which mount points it counts,
 * and what is left out. Files that were there before, of which that says only what is new, are kept whole
 * besides (job_whole.h). FALSE with an error. */
gboolean job_place_capture(GPtrArray *layers, const Job *job, int changes, JobState *state, GError **error);

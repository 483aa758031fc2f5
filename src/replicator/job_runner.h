/* The process that runs one job in the clone (CloneCloud's background augmentation): it is nobody's child,
 * and neither the device, nor the link, nor doppeld is needed while it runs.
 *
 * It enters a sandbox of its own over the clone's root, starts the program with nothing on its standard input
 * and pipes as its standard output and standard error, and keeps what comes out of them in the job's log.
 * When the program has ended, whatever else runs in the sandbox is killed, what was done to files is written
 * down (job_changes.h), and last how the job ended.
 *
 * A program that takes more of the disk than it may (job_bounds.h) is killed, and the job's state says why.
 *
 * SIGTERM, sent with job_signal(), is passed on to the program; SIGINT kills everything in the sandbox. */
#pragma once

#include "replicator/job_bounds.h"
#include "replicator/job_store.h"

/* Where jobs run. */
typedef struct {
  const char *root;   /* the clone's files, an absolute path; never written to */
  const char *hidden; /* not to be seen in there, an absolute path without links; NULL: nothing */
  guint64 generation; /* of the files at `root`; 0: they are none */
  const JobBounds *bounds;
  int lease; /* a descriptor that keeps them there, for as long as a job has it open, too; -1: none */
  const char *checkpoints; /* where a job that goes on from a checkpoint finds it (checkpoint_store.h); NULL:
                              none does */
  int patience_ms; /* how long a job may take to begin; 0: a minute, and more for a large checkpoint */
  void (*meanwhile)(gpointer user); /* called now and then while that is waited for; NULL: nothing is */
  gpointer user;
} JobPlace;

/* Starts the job, which waits, in a process of its own, and waits until it runs. Takes `lock`, which
 * job_store_add() took. FALSE with why it does not run, which its state says, too: then it will not run any
 * more either. */
gboolean job_runner_start(const Job *job, int lock, const JobPlace *place, GError **error);

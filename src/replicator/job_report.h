/* What is said through a pipe when a job is started: by its runner (job_runner.h), and by who makes that, to
 * who waits for it. */
#pragma once

#include <sys/types.h>

#include "replicator/job_store.h"

typedef enum {
  JOB_REPORT_END,    /* the last word: it runs, or why it does not */
  JOB_REPORT_RUNNER, /* which process is to run it */
  JOB_REPORT_INIT    /* which process has all of it in its PID namespace; before its program begins */
} JobReportKind;

/* Tells of a process, in the PID namespace of who hears. */
gboolean job_report_process(int pipe, JobReportKind kind, pid_t process);

/* Tells the last word, NULL: it runs; and closes the pipe. */
void job_report_end(int *pipe, const GError *error);

/* Waits for the last word, up to `patience_ms`, and calls `meanwhile` (NULL: nothing) now and then. FALSE
 * with why the job does not run. Where nothing is said in time its processes are killed, and their end is
 * waited for: it does not run later either. */
gboolean job_report_hear(int pipe, const Job *job, int patience_ms, void (*meanwhile)(gpointer),
                         gpointer user, GError **error);

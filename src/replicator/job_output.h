/* The two pipes that a job writes to, and in which order it did.
 *
 * Two pipes do not say which of them was written to first. Each write is told by a signal of its own, though,
 * which are delivered in the order of the writes (fcntl(2), F_SETSIG with a real-time signal: "the signals
 * are queued"), and in packet mode (pipe(2), O_DIRECT) what comes out of a pipe is what one write put in, up
 * to a page. So the order of one process's writes is kept exactly, unless it is ahead by more than the pipe
 * holds (256 writes, where more are not granted) and is made to wait, or by more signals than the machine
 * allows to wait: then bytes of one stream may come somewhat too early or too late among those of the other,
 * until it is caught up with; and what a write of several pages has in common with one that follows at once
 * is found out by its pages being full. Within a stream nothing is ever out of order or lost. */
#pragma once

#include <poll.h>
#include <signal.h>

#include "replicator/job_log.h"

typedef struct JobOutput JobOutput;

/* Both have to be blocked in the calling process, which gets them: the first for each write, the second where
 * there are too many of the first. */
#define JOB_OUTPUT_SIGNAL   (SIGRTMIN + 1)
#define JOB_OUTPUT_OVERFLOW SIGIO

/* Makes the pipes; ends[JobStream] is what the program gets, the caller's. NULL with errno. */
JobOutput *job_output_new(int ends[JOB_STREAMS]);
void job_output_free(JobOutput *output);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JobOutput, job_output_free)

/* Descriptors to poll, and how long at most: *timeout_ms is made less (-1: no limit). */
enum { JOB_OUTPUT_POLL = JOB_STREAMS };
void job_output_prepare(const JobOutput *output, struct pollfd fds[JOB_OUTPUT_POLL], int *timeout_ms);

/* In this order: reads what the pipes have, a bounded part of it; takes a signal's descriptor (siginfo_t's
 * si_fd), for each signal that came; hands out what can be put into order. */
void job_output_look(JobOutput *output);
void job_output_signal(JobOutput *output, int fd);
typedef void (*JobOutputTake)(JobStream stream, const guint8 *bytes, gsize length, gpointer user);
void job_output_sort(JobOutput *output, JobOutputTake take, gpointer user);

/* Whether the last look found the end of what there was in both pipes. */
gboolean job_output_drained(const JobOutput *output);
/* Hands out all that was read: nobody writes any more. */
void job_output_flush(JobOutput *output, JobOutputTake take, gpointer user);

/* A program in a sandbox, from its beginning to its end: what it writes, how long it may take, how much of
 * the disk it may fill, and what it took. */
#pragma once

#include "augmenter/sandbox.h"
#include "profiler/message.h"
#include "replicator/job_bounds.h"
#include "replicator/job_log.h"

typedef struct {
  int socket;     /* whom it is told to; when that is gone all ends */
  gboolean show;  /* tell what it writes */
  gboolean dumps; /* it is asked to end before it is killed: it has something to write down then */
  Sandbox *sandbox;
  pid_t program;
  int process;             /* pidfd */
  int output[JOB_STREAMS]; /* ends of pipes to read from */
  GString *said;           /* the end of its standard error */
  JobBoundsWatch bounds;
  GArray *trees; /* int, the layers' descriptors */
  gint64 began_ns, deadline_ns;
  gboolean told; /* it was asked to end */
  /* Afterwards: */
  gboolean gone; /* nobody wants to know any more */
  gboolean cut;  /* its time was over */
  char *reason;  /* why it was ended else; NULL: it was not */
  int status;    /* as of waitpid(2) */
  guint64 wall_ns, cpu_ns;
} ProfilerWatch;

/* Tells a message, waiting while it does not fit; `fd` goes along (-1: none). FALSE where nobody hears it. */
gboolean profiler_watch_tell(int socket, const ProfilerMessage *message, int fd);
void profiler_watch_tell_refusal(int socket, const GError *why);

/* `watch` gets nothing to watch yet. */
void profiler_watch_init(ProfilerWatch *watch, int socket);

/* Makes the pipes that the program writes to; *output and *error are the caller's to hand on and close. */
gboolean profiler_watch_pipes(ProfilerWatch *watch, int *output, int *error_output, GError **error);

/* `program`, a child of the caller in the sandbox, is what is watched. */
gboolean profiler_watch_program(ProfilerWatch *watch, Sandbox *sandbox, pid_t program, GError **error);

/* It begins now, or is let go. */
void profiler_watch_begin(ProfilerWatch *watch, guint seconds, const JobBounds *bounds);

/* Until it has ended, and everything in the sandbox and every child of the caller with it. */
void profiler_watch_run(ProfilerWatch *watch);

#include "replicator/job_report.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"

enum { SLICE_MS = 500, END_MS = 10000, LOOKS = 400, LOOK_US = 5000 };

/* In whatever order, but whole, since PIPE_BUF bytes are one piece. */
typedef struct {
  guint32 kind; /* JobReportKind */
  gint32 process;
  guint32 code; /* 0: it runs; else a DoppelErrorCode plus 1 */
  char reason[1012];
} Report;
G_STATIC_ASSERT(sizeof(Report) <= PIPE_BUF);

gboolean
job_report_process(int pipe, JobReportKind kind, pid_t process)
{
  Report said = {.kind = kind, .process = process};
  return process > 0 && io_write_all(pipe, &said, sizeof said);
}

void
job_report_end(int *pipe, const GError *error)
{
  Report said = {.kind = JOB_REPORT_END, .code = error ? (guint32)error->code + 1 : 0};
  g_strlcpy(said.reason, error ? error->message : "", sizeof said.reason);
  io_write_all(*pipe, &said, sizeof said);
  io_close(pipe);
}

/* ---- who hears it ---- */

typedef struct {
  int pipe;
  Fd runner, init; /* pidfds */
} Start;

static int
open_process(pid_t process)
{
  return process > 1 ? (int)syscall(SYS_pidfd_open, process, 0) : -1;
}

/* TRUE with the last word; FALSE with an error where there is none, or where it is still to come. */
static gboolean
hear_one(Start *start, Report *said, gboolean *last, GError **error)
{
  if (io_read_all(start->pipe, said, sizeof *said) != sizeof *said)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the job's process died before its program began");
  *last = said->kind == JOB_REPORT_END;
  int *process = said->kind == JOB_REPORT_RUNNER ? &start->runner : &start->init;
  if (*last)
    said->reason[sizeof said->reason - 1] = '\0';
  else if (*process < 0)
    *process = open_process(said->process);
  return TRUE;
}

static gboolean
has_ended(int process, int timeout_ms)
{
  struct pollfd wait = {.fd = process, .events = POLLIN};
  int ready;
  while ((ready = poll(&wait, 1, timeout_ms)) < 0 && errno == EINTR)
    ;
  return ready > 0;
}

/* Nothing of it may run when it is said that it does not. The pipe's other end is open, so the runner has
 * lived since it said its number, and its init, which only it can reap, has one still. Once the signal is on
 * its way the runner begins nothing more; a program that it has begun ends before its init does. */
static gboolean
put_down(const Start *start)
{
  gboolean ended = TRUE;
  const int processes[] = {start->runner, start->init};
  for (guint i = 0; i < G_N_ELEMENTS(processes); i++)
    if (processes[i] >= 0)
      syscall(SYS_pidfd_send_signal, processes[i], SIGKILL, NULL, 0);
  for (guint i = 0; i < G_N_ELEMENTS(processes); i++)
    if (processes[i] >= 0)
      ended = has_ended(processes[i], END_MS) && ended;
  return ended && start->runner >= 0;
}

/* Its process was killed, and could not say so. A child of it that was on its way to be something else may
 * hold what it had for a moment more; whoever looks at the job later than that finds out by himself. */
static void
note_failure(const Job *job, const GError *error)
{
  g_autoptr(JobState) state = job_state_read(job, NULL);
  for (guint i = 0; state && !job_state_is_over(state) && i < LOOKS; i++) {
    g_usleep(LOOK_US);
    job_state_free(state);
    state = job_state_read(job, NULL);
  }
  if (!state || !job_state_is_over(state))
    return;
  job_state_explain(state, error->message);
  state->phase = DOPPEL__WIRE__JOB_STATE__PHASE__FAILED;
  job_state_write(job, state, NULL);
}

static gboolean
give_up(const Start *start, const Job *job, int patience_ms, GError **error)
{
  g_autoptr(GError) problem = NULL;
  gboolean ended = put_down(start);
  doppel_error_set(&problem, DOPPEL_ERROR_FAILED, "it did not begin within %.3g seconds, %s",
                   patience_ms / 1000.0,
                   ended ? "and was killed" : "and does not end either, though it was killed");
  if (ended)
    note_failure(job, problem);
  g_propagate_error(error, g_steal_pointer(&problem));
  return FALSE;
}

static gboolean
hear(Start *start, const Job *job, int patience_ms, void (*meanwhile)(gpointer), gpointer user,
     GError **error)
{
  Report said;
  gint64 limit = clock_now_ns() + (gint64)patience_ms * 1000000;
  for (gboolean last = FALSE; !last;) {
    struct pollfd wait = {.fd = start->pipe, .events = POLLIN};
    int left = clock_left_ms(limit), ready = poll(&wait, 1, MIN(left, SLICE_MS));
    if (ready > 0 && !hear_one(start, &said, &last, error))
      return FALSE;
    if (ready <= 0 && clock_now_ns() >= limit)
      return give_up(start, job, patience_ms, error);
    if (ready <= 0 && meanwhile)
      meanwhile(user);
  }
  return !said.code || doppel_error_set(error, (DoppelErrorCode)(said.code - 1), "%s", said.reason);
}

gboolean
job_report_hear(int pipe, const Job *job, int patience_ms, void (*meanwhile)(gpointer), gpointer user,
                GError **error)
{
  Start start = {pipe, -1, -1};
  gboolean begun = hear(&start, job, patience_ms, meanwhile, user, error);
  io_close(&start.runner);
  io_close(&start.init);
  return begun;
}

#include "replicator/job_runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "replica/generation_trash.h"
#include "replicator/checkpoint_revive.h"
#include "replicator/checkpoint_store.h"
#include "replicator/job_log.h"
#include "replicator/job_output.h"
#include "replicator/job_place.h"
#include "replicator/job_report.h"
#include "replicator/job_whole.h"

enum { SIGNALS = 64, DRAINS_MAX = 10000 };

/* How long it may take to begin; of a checkpoint's memory and files so many bytes a second are read, checked
 * and put where they belong, on a slow machine. */
enum { BEGIN_MS = 60000, REVIVED_BYTES = 20000000, BEGIN_MAX_MS = 3600000 };

typedef struct {
  const Job *job;
  JobRequest *request;
  JobState state;
  Sandbox *sandbox;
  GPtrArray *layers; /* of JobLayer */
  pid_t program;
  int report;  /* told once when it runs, or why it does not */
  int signals; /* signalfd */
  JobOutput *output;
  JobLog log;
  JobBoundsWatch bounds;
  GArray *trees;   /* int, the layers' descriptors: what the job has written */
  gboolean excess; /* its changes of files are not kept */
  gint64 deadline; /* CLOCK_MONOTONIC ns at which it is killed */
  int status;      /* of the program, once it has ended */
  gboolean ended;
} Runner;

/* ---- how it is ---- */

static void
write_state(Runner *runner, Doppel__Wire__JobState__Phase phase)
{
  g_autoptr(GError) error = NULL;
  runner->state.phase = phase;
  if (!job_state_write(runner->job, &runner->state, &error))
    g_debug("%s", error->message);
}

static void
fail(Runner *runner, const GError *error)
{
  job_state_explain(&runner->state, error->message);
  runner->state.ended_us = job_now_us();
  write_state(runner, DOPPEL__WIRE__JOB_STATE__PHASE__FAILED);
}

/* ---- while it runs ---- */

/* Takes what the program wrote. What there is no room for is counted. */
static void
keep_output(JobStream stream, const guint8 *bytes, gsize length, gpointer user)
{
  Runner *runner = user;
  gsize kept = job_log_append(&runner->log, stream, bytes, length, job_bounds_output(&runner->bounds));
  runner->state.log_lost += length - kept;
}

static void
stop(Runner *runner, const char *reason)
{
  if (!*runner->state.reason)
    job_state_explain(&runner->state, reason);
  kill(runner->program, SIGKILL);
}

static void
keep_bounds(Runner *runner)
{
  g_autofree char *excess = job_bounds_look(&runner->bounds, runner->trees, "/proc", runner->job->directory);
  if (excess) {
    runner->excess = TRUE;
    stop(runner, excess);
  }
  if (runner->log.over) {
    g_autofree char *reason = job_bounds_output_reason(&runner->bounds);
    stop(runner, reason);
  }
}

static void
reap(Runner *runner)
{
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
    if (pid == runner->program) {
      runner->ended = TRUE;
      runner->status = status;
    }
    if (pid == runner->sandbox->init) { /* everything inside is dead */
      runner->sandbox->init = 0;
      runner->ended = TRUE;
    }
  }
}

static void
hear_signals(Runner *runner)
{
  struct signalfd_siginfo info[SIGNALS];
  ssize_t got;
  while ((got = read(runner->signals, info, sizeof info)) > 0)
    for (gsize i = 0; i < (gsize)got / sizeof *info; i++) {
      if (info[i].ssi_signo == SIGTERM)
        kill(runner->program, SIGTERM);
      if (info[i].ssi_signo == SIGINT)
        kill(runner->program, SIGKILL);
      if ((int)info[i].ssi_signo == JOB_OUTPUT_SIGNAL)
        job_output_signal(runner->output, info[i].ssi_fd);
    }
}

/* What the program has written, and what has happened to it. */
static void
look(Runner *runner)
{
  job_output_look(runner->output);
  hear_signals(runner);
  job_output_sort(runner->output, keep_output, runner);
  reap(runner);
}

static void
run_to_the_end(Runner *runner)
{
  while (!runner->ended) {
    struct pollfd fds[1 + JOB_OUTPUT_POLL] = {{.fd = runner->signals, .events = POLLIN}};
    gint64 due = MIN(runner->deadline, runner->bounds.look_ns);
    int timeout = clock_left_ms(due);
    job_output_prepare(runner->output, fds + 1, &timeout);
    if (poll(fds, G_N_ELEMENTS(fds), timeout) < 0 && errno != EINTR)
      return;
    look(runner);
    keep_bounds(runner);
    if (clock_now_ns() >= runner->deadline) {
      stop(runner, "it was killed when the time that it was given was over");
      runner->deadline = G_MAXINT64;
    }
  }
}

/* ---- the result ---- */

static gboolean
write_changes(Runner *runner, GError **error)
{
  g_auto(Fd) changes =
      openat(runner->job->directory, "changes", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (changes < 0)
    return doppel_error_errno(error, "cannot write down what the job did to files");
  if (!job_place_capture(runner->layers, runner->job, changes, &runner->state, error))
    return FALSE;
  guint8 hash[REPLICA_HASH_SIZE];
  off_t length = lseek(changes, 0, SEEK_END);
  if (length < 0 || fsync(changes) < 0 || !replica_hash_fd(changes, hash))
    return doppel_error_errno(error, "cannot write down what the job did to files");
  runner->state.changes_bytes = (guint64)length;
  runner->state.changes_hash.data = malloc(sizeof hash);
  runner->state.changes_hash.len = sizeof hash;
  memcpy(runner->state.changes_hash.data, hash, sizeof hash);
  return TRUE;
}

static void
forget_changes(Runner *runner)
{
  unlinkat(runner->job->directory, "changes", 0);
  generation_trash_remove(runner->job->directory, JOB_WHOLE_FOLDER);
  runner->state.changes_bytes = 0;
}

/* Its files first: where they cannot be kept, the job has failed, whatever its program thinks. */
static void
finish(Runner *runner)
{
  g_autoptr(GError) error = NULL;
  int status;
  job_place_empty(runner->sandbox, runner->program, &status);
  if (status)
    runner->status = status;
  for (guint i = 0; i < DRAINS_MAX && (i == 0 || !job_output_drained(runner->output)); i++)
    look(runner);
  job_output_flush(runner->output, keep_output, runner);
  job_log_end(&runner->log);
  runner->state.ended_us = job_now_us();
  runner->state.status = WIFEXITED(runner->status) ? WEXITSTATUS(runner->status) : 0;
  runner->state.signal = WIFSIGNALED(runner->status) ? WTERMSIG(runner->status) : 0;
  gboolean kept = runner->excess ? doppel_error_set(&error, DOPPEL_ERROR_FAILED, "%s", runner->state.reason)
                                 : write_changes(runner, &error);
  if (!kept || !runner->state.changes_bytes)
    forget_changes(runner);
  if (!kept && !runner->excess)
    g_prefix_error(&error, "what it did to files is lost: ");
  if (kept)
    write_state(runner, DOPPEL__WIRE__JOB_STATE__PHASE__ENDED);
  else
    fail(runner, error);
}

static void
take_notes(Runner *runner)
{
  const GPtrArray *notes = runner->sandbox->notes;
  if (!notes->len)
    return;
  runner->state.note = malloc(notes->len * sizeof *runner->state.note);
  for (guint i = 0; runner->state.note && i < notes->len; i++)
    runner->state.note[runner->state.n_note++] = strdup(notes->pdata[i]);
}

/* ---- coming about ---- */

/* A job that goes on from a checkpoint: while the machine's files are in reach still. TRUE without bodies
 * where it does not. */
static gboolean
find_checkpoint(Runner *runner, const JobPlace *place, GPtrArray **bodies, GError **error)
{
  const ProtobufCBinaryData *run = &runner->request->checkpoint;
  if (!run->len)
    return TRUE;
  if (!place->checkpoints)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there are no checkpoints to go on from");
  g_autoptr(CheckpointKept) kept = checkpoint_store_find(place->checkpoints, run->data, error);
  *bodies = kept ? checkpoint_kept_bodies(kept, error) : NULL;
  return *bodies != NULL;
}

/* In the sandbox: the program begins, or goes on. */
static gboolean
start_program(Runner *runner, GPtrArray *bodies, const int ends[JOB_STREAMS], GError **error)
{
  g_autoptr(CheckpointRevival) revival = bodies ? checkpoint_revival_new(bodies) : NULL;
  if (revival && (!checkpoint_revival_fits(revival, error) ||
                  !checkpoint_revival_prepare(revival, runner->sandbox, error)))
    return FALSE;
  runner->layers = job_place_layers(runner->sandbox, error);
  if (!runner->layers)
    return FALSE;
  for (guint i = 0; i < runner->layers->len; i++)
    g_array_append_val(runner->trees, ((const JobLayer *)runner->layers->pdata[i])->layer->upper);
  if (!revival) {
    runner->program = job_place_start(runner->sandbox, runner->request, ends, error);
    return runner->program >= 0;
  }
  g_auto(Fd) null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0)
    return doppel_error_errno(error, "cannot open /dev/null in the clone");
  runner->program =
      checkpoint_revival_start(revival, runner->sandbox, null, ends[JOB_STDOUT], ends[JOB_STDERR], error);
  return runner->program >= 0;
}

static gboolean
begin(Runner *runner, const JobPlace *place, GError **error)
{
  g_autoptr(GPtrArray) bodies = NULL;
  runner->request = job_request_read(runner->job, error);
  if (!runner->request || !find_checkpoint(runner, place, &bodies, error))
    return FALSE;
  g_autofree char *work = g_build_filename(runner->job->path, "work", NULL);
  int ends[JOB_STREAMS];
  runner->output = job_output_new(ends);
  g_auto(Fd) out = runner->output ? ends[JOB_STDOUT] : -1, err = runner->output ? ends[JOB_STDERR] : -1;
  if (!runner->output)
    return doppel_error_errno(error, "cannot keep the job's output");
  if (!job_log_begin(&runner->log, runner->job->directory, error))
    return FALSE;
  runner->sandbox = job_place_enter(place, runner->request, work, error);
  if (!runner->sandbox)
    return FALSE;
  job_report_process(runner->report, JOB_REPORT_INIT, runner->sandbox->init);
  if (!start_program(runner, bodies, ends, error))
    return FALSE;
  job_bounds_begin(&runner->bounds, place->bounds, runner->request->output_bytes,
                   runner->request->changes_bytes);
  guint64 seconds = runner->request->seconds;
  if (seconds && seconds < G_MAXINT64 / 2000000000)
    runner->deadline = clock_now_ns() + (gint64)seconds * 1000000000;
  take_notes(runner);
  return TRUE;
}

/* Nothing of the process that it was forked from stays but what it was made for. */
static void
leave_home(Runner *runner, int lock, int lease)
{
  sigset_t mask;
  setsid();
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; fd++)
    dup2(null, fd);
  int kept[] = {runner->job->directory, runner->report, lock, lease < 0 ? lock : lease};
  for (guint i = 1; i < G_N_ELEMENTS(kept); i++)
    for (guint j = i; j > 0 && kept[j - 1] > kept[j]; j--) {
      int swapped = kept[j];
      kept[j] = kept[j - 1];
      kept[j - 1] = swapped;
    }
  unsigned from = 3;
  for (guint i = 0; i < G_N_ELEMENTS(kept); i++) {
    if ((unsigned)kept[i] > from)
      close_range(from, (unsigned)kept[i] - 1, 0);
    from = MAX(from, (unsigned)kept[i] + 1);
  }
  close_range(from, ~0u, 0);
  for (int number = 1; number < NSIG; number++)
    signal(number, SIG_DFL);
  signal(SIGPIPE, SIG_IGN);
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigaddset(&mask, SIGTERM);
  sigaddset(&mask, SIGINT);
  sigaddset(&mask, JOB_OUTPUT_SIGNAL);
  sigaddset(&mask, JOB_OUTPUT_OVERFLOW);
  sigprocmask(SIG_SETMASK, &mask, NULL);
  runner->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  prctl(PR_SET_NAME, "doppel-job");
}

G_NORETURN
static void
be_runner(const Job *job, int lock, int report_fd, const JobPlace *place)
{
  Runner runner = {.job = job, .report = report_fd, .log = JOB_LOG_INIT, .deadline = G_MAXINT64};
  g_autoptr(GError) error = NULL;
  runner.trees = g_array_new(FALSE, FALSE, sizeof(int));
  leave_home(&runner, lock, place->lease);
  JobState empty = DOPPEL__WIRE__JOB_STATE__INIT;
  g_autoptr(JobState) asked = job_lock_sign(job, lock) ? job_state_read(job, &error) : NULL;
  runner.state = asked ? *asked : empty;
  runner.state.generation = place->generation;
  if (asked && begin(&runner, place, &error)) {
    runner.state.began_us = job_now_us();
    write_state(&runner, DOPPEL__WIRE__JOB_STATE__PHASE__RUNNING);
    job_report_end(&runner.report, NULL);
    run_to_the_end(&runner);
    finish(&runner);
  } else {
    if (!error)
      doppel_error_errno(&error,
                         errno == ECANCELED ? "it was ended before it began" : "cannot sign its lock");
    fail(&runner, error);
    job_report_end(&runner.report, error);
  }
  if (runner.sandbox)
    sandbox_free(runner.sandbox);
  unlinkat(job->directory, "work/lock", 0);
  unlinkat(job->directory, "work", AT_REMOVEDIR);
  unlinkat(job->directory, "ballast", 0);
  _exit(0);
}

static int
patience(const Job *job, const JobPlace *place)
{
  if (place->patience_ms)
    return place->patience_ms;
  g_autoptr(JobRequest) request = place->checkpoints ? job_request_read(job, NULL) : NULL;
  g_autoptr(CheckpointKept) kept =
      request && request->checkpoint.len
          ? checkpoint_store_find(place->checkpoints, request->checkpoint.data, NULL)
          : NULL;
  guint64 seconds = kept ? checkpoint_kept_bytes(kept) / REVIVED_BYTES : 0;
  return (int)MIN(BEGIN_MS + seconds * 1000, BEGIN_MAX_MS);
}

gboolean
job_runner_start(const Job *job, int lock, const JobPlace *place, GError **error)
{
  g_auto(Fd) lock_fd = lock;
  int ends[2], patience_ms = patience(job, place);
  if (pipe2(ends, O_CLOEXEC) < 0)
    return doppel_error_errno(error, "cannot start a job");
  pid_t between = fork();
  if (between == 0) {
    /* Of its own, so that who waits for its children never sees it. */
    pid_t runner = fork();
    if (runner == 0)
      be_runner(job, lock_fd, ends[1], place);
    job_report_process(ends[1], JOB_REPORT_RUNNER, runner);
    _exit(0);
  }
  close(ends[1]);
  g_auto(Fd) end = ends[0];
  if (between < 0)
    return doppel_error_errno(error, "cannot start a job");
  while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
    ;
  io_close(&lock_fd);
  return job_report_hear(end, job, patience_ms, place->meanwhile, place->user, error);
}

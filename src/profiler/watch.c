#include "profiler/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "link/pass.h"
#include "replicator/job_place.h"

#define NS_PER_S G_GINT64_CONSTANT(1000000000)

/* How long a program that is asked to end may take to write down what it knows; how often it is looked
 * whether the disk fills; how much of standard error is kept. */
enum { DUMP_S = 20, LOOK_MS = 500, SAID_BYTES = 2000, SEND_MS = 60000 };

/* ---- telling ---- */

gboolean
profiler_watch_tell(int socket, const ProfilerMessage *message, int fd)
{
  g_autoptr(GBytes) packed = profiler_message_pack(message);
  gsize length;
  const void *data = g_bytes_get_data(packed, &length);
  for (;;) {
    if (length <= LINK_PASS_MAX && link_pass_send_with(socket, fd, data, length, NULL))
      return TRUE;
    struct pollfd wait = {.fd = socket, .events = POLLOUT};
    if (length > LINK_PASS_MAX || (errno != EAGAIN && errno != EINTR) || poll(&wait, 1, SEND_MS) == 0)
      return FALSE;
  }
}

void
profiler_watch_tell_refusal(int socket, const GError *why)
{
  Doppel__Wire__ProfilerRefusal refusal = DOPPEL__WIRE__PROFILER_REFUSAL__INIT;
  g_autofree char *text = g_utf8_make_valid(why->message, -1);
  refusal.code = (guint32)why->code;
  refusal.reason = text;
  profiler_watch_tell(socket, PROFILER_MESSAGE(REFUSAL, refusal, &refusal), -1);
}

/* ---- what it writes ---- */

static void
keep_said(ProfilerWatch *watch, const char *bytes, gsize length, gsize most)
{
  g_string_append_len(watch->said, bytes, (gssize)length);
  if (watch->said->len > most)
    g_string_erase(watch->said, 0, (gssize)(watch->said->len - SAID_BYTES));
}

/* Whether there was something. */
static gboolean
read_output(ProfilerWatch *watch, JobStream stream)
{
  char bytes[PROFILER_PIECE];
  ssize_t got = watch->output[stream] < 0 ? -1 : read(watch->output[stream], bytes, sizeof bytes);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return FALSE;
  if (got <= 0) {
    io_close(&watch->output[stream]);
    return FALSE;
  }
  if (stream == JOB_STDERR)
    keep_said(watch, bytes, (gsize)got, 2 * SAID_BYTES);
  if (!watch->show)
    return TRUE;
  Doppel__Wire__ProfilerOutput output = DOPPEL__WIRE__PROFILER_OUTPUT__INIT;
  output.stream = stream == JOB_STDERR ? 2 : 1;
  output.bytes = (ProtobufCBinaryData){(gsize)got, (guint8 *)bytes};
  watch->gone |= !profiler_watch_tell(watch->socket, PROFILER_MESSAGE(OUTPUT, output, &output), -1);
  return TRUE;
}

/* ---- coming about ---- */

void
profiler_watch_init(ProfilerWatch *watch, int socket)
{
  *watch = (ProfilerWatch){.socket = socket, .process = -1, .output = {-1, -1}, .deadline_ns = G_MAXINT64};
  watch->said = g_string_new(NULL);
  watch->trees = g_array_new(FALSE, FALSE, sizeof(int));
}

gboolean
profiler_watch_pipes(ProfilerWatch *watch, int *output, int *error_output, GError **error)
{
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) < 0)
    return doppel_error_errno(error, "making a pipe");
  watch->output[JOB_STDOUT] = out[0];
  *output = out[1];
  if (pipe2(err, O_CLOEXEC) < 0)
    return doppel_error_errno(error, "making a pipe");
  watch->output[JOB_STDERR] = err[0];
  *error_output = err[1];
  return (fcntl(out[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(err[0], F_SETFL, O_NONBLOCK) == 0) ||
         doppel_error_errno(error, "making a pipe");
}

gboolean
profiler_watch_program(ProfilerWatch *watch, Sandbox *sandbox, pid_t program, GError **error)
{
  watch->sandbox = sandbox;
  watch->program = program;
  watch->process = (int)syscall(SYS_pidfd_open, program, 0);
  if (watch->process < 0)
    return doppel_error_errno(error, "cannot watch the program");
  for (guint i = 0; i < sandbox->layers->len; i++)
    g_array_append_val(watch->trees, ((const SandboxLayer *)sandbox->layers->pdata[i])->upper_fd);
  return TRUE;
}

void
profiler_watch_begin(ProfilerWatch *watch, guint seconds, const JobBounds *bounds)
{
  watch->began_ns = clock_now_ns();
  watch->deadline_ns = watch->began_ns + seconds * NS_PER_S;
  job_bounds_begin(&watch->bounds, bounds, 0, 0);
}

/* ---- while it runs ---- */

static void
stop(ProfilerWatch *watch, int signal)
{
  syscall(SYS_pidfd_send_signal, watch->process, signal, NULL, 0);
}

static void
keep_time(ProfilerWatch *watch)
{
  if (clock_now_ns() < watch->deadline_ns)
    return;
  gboolean ask = watch->dumps && !watch->told;
  watch->cut = TRUE;
  watch->told = TRUE;
  watch->deadline_ns = ask ? clock_now_ns() + DUMP_S * NS_PER_S : G_MAXINT64;
  stop(watch, ask ? SIGTERM : SIGKILL);
}

static void
keep_bounds(ProfilerWatch *watch)
{
  if (!watch->trees->len || watch->reason)
    return;
  int directory = g_array_index(watch->trees, int, 0);
  watch->reason = job_bounds_look(&watch->bounds, watch->trees, "/proc", directory);
  if (watch->reason)
    stop(watch, SIGKILL);
}

/* Until the program has ended or nobody wants to know. */
static void
wait_for_end(ProfilerWatch *watch)
{
  for (;;) {
    struct pollfd fds[] = {{.fd = watch->process, .events = POLLIN},
                           {.fd = watch->socket, .events = POLLIN},
                           {.fd = watch->output[JOB_STDOUT], .events = POLLIN},
                           {.fd = watch->output[JOB_STDERR], .events = POLLIN}};
    if (poll(fds, G_N_ELEMENTS(fds), MIN(clock_left_ms(watch->deadline_ns), LOOK_MS)) < 0 && errno != EINTR)
      return;
    watch->gone |= (fds[1].revents & (POLLHUP | POLLERR)) != 0;
    if (fds[2].revents)
      read_output(watch, JOB_STDOUT);
    if (fds[3].revents)
      read_output(watch, JOB_STDERR);
    if (watch->gone || fds[0].revents)
      return;
    keep_time(watch);
    keep_bounds(watch);
  }
}

void
profiler_watch_run(ProfilerWatch *watch)
{
  int unused;
  struct rusage used = {0};
  wait_for_end(watch);
  while (!watch->gone && wait4(watch->program, &watch->status, __WALL, &used) < 0 && errno == EINTR)
    ;
  watch->wall_ns = (guint64)MAX(clock_now_ns() - watch->began_ns, 0);
  watch->cpu_ns = (guint64)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * NS_PER_S +
                  (guint64)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000;
  job_place_empty(watch->sandbox, watch->program, &unused);
  for (JobStream stream = JOB_STDOUT; stream < JOB_STREAMS && !watch->gone; stream++)
    while (read_output(watch, stream) && !watch->gone)
      ;
  keep_said(watch, "", 0, SAID_BYTES);
}

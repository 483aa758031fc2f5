#include "profiler/service.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "link/pass.h"
#include "plan/speed.h"
#include "profiler/message.h"
#include "profiler/observe.h"
#include "profiler/run.h"
#include "profiler/valgrind.h"

#define NS_PER_MS G_GINT64_CONSTANT(1000000)
#define NS_PER_S  G_GINT64_CONSTANT(1000000000)

/* A short program is run alone some times: the quickest is the one that was disturbed least. */
enum {
  PROGRESS_MS = 1000,
  WAITING_MAX = 4 << 20,
  END_MS = 15000,
  ALONE_RUNS = 3,
  ALONE_NS = 300000000,
  WORK_RUNS = 3
};

typedef struct {
  Link *link;
  const AugmenterSession *session;
  const ProfilerHost *host;
  int control;
  ProfilerMessage *asked; /* the last start; NULL: none */
} Service;

/* One run that goes on, or has ended. */
typedef struct {
  pid_t pid;
  int socket;
  ProfilerRunKind kind;
  guint function; /* that is observed */
  gint64 began_ns, said_ns;
  ProfilerMessage *ran; /* its end, or a refusal; NULL: not yet */
  int profile;          /* -1: none */
} Run;

static void
run_clear(Run *run)
{
  io_close(&run->socket);
  io_close(&run->profile);
  g_clear_pointer(&run->ran, profiler_message_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Run, run_clear)

static gboolean
say_refusal(Service *service, const GError *why, GError **error)
{
  Doppel__Wire__ProfilerRefusal refusal = DOPPEL__WIRE__PROFILER_REFUSAL__INIT;
  g_autofree char *text = g_utf8_make_valid(why->message, -1);
  refusal.code = (guint32)why->code;
  refusal.reason = text;
  return profiler_message_send(service->link, PROFILER_MESSAGE(REFUSAL, refusal, &refusal), error);
}

static gboolean
is_local(const Service *service)
{
  static const guint8 none[16];
  return memcmp(service->session->clone, none, sizeof none) == 0;
}

/* ---- while a run goes on ---- */

static gboolean
say_progress(Service *service, Run *run, GError **error)
{
  gint64 now = clock_now_ns();
  if (now - run->said_ns < PROGRESS_MS * NS_PER_MS)
    return TRUE;
  run->said_ns = now;
  Doppel__Wire__ProfilerProgress progress = DOPPEL__WIRE__PROFILER_PROGRESS__INIT;
  progress.run = run->kind;
  progress.function = run->function;
  progress.elapsed_ms = (guint64)((now - run->began_ns) / NS_PER_MS);
  return profiler_message_send(service->link, PROFILER_MESSAGE(PROGRESS, progress, &progress), error);
}

static gboolean
is_last(const ProfilerMessage *message)
{
  return message->kind_case == DOPPEL__WIRE__PROFILER_MESSAGE__KIND_RAN ||
         message->kind_case == DOPPEL__WIRE__PROFILER_MESSAGE__KIND_SEEN ||
         message->kind_case == DOPPEL__WIRE__PROFILER_MESSAGE__KIND_REFUSAL;
}

/* What the run's process has said: its last word is kept, all else passed on. FALSE with an error. */
static gboolean
hear_run(Service *service, Run *run, GError **error)
{
  guint8 packet[LINK_PASS_MAX];
  gsize length;
  int fd, got;
  while (!run->ran && (got = link_pass_receive_with(run->socket, &fd, packet, sizeof packet, &length)) != 0) {
    g_autoptr(ProfilerMessage) message = got > 0 ? profiler_message_unpack(packet, length, error) : NULL;
    if (got < 0)
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the process that ran the program in the clone died");
    if (!message || is_last(message)) {
      run->profile = fd;
      run->ran = g_steal_pointer(&message);
      return run->ran != NULL;
    }
    struct iovec piece = {packet, length};
    if (!link_send(service->link, PROFILER_CHANNEL, &piece, 1, error))
      return FALSE;
  }
  return TRUE;
}

/* One turn of the session's conversation, and where there is a run, of its. */
static gboolean
turn(Service *service, Run *run, GError **error)
{
  gboolean full = link_backlog(service->link).unwritten > WAITING_MAX;
  struct pollfd fds[2 + LINK_POLL_MAX] = {{.fd = service->control, .events = POLLIN},
                                          {.fd = run && !full ? run->socket : -1, .events = POLLIN}};
  int timeout = run ? PROGRESS_MS : -1;
  guint count = 2 + link_prepare(service->link, fds + 2, &timeout);
  if (poll(fds, count, timeout) < 0 && errno != EINTR)
    return doppel_error_errno(error, "waiting for the device");
  int fd, got = 0;
  while (fds[0].revents && (got = session_receive_socket(service->session, &fd)) > 0)
    link_resume(service->link, fd, NULL);
  if (got < 0)
    service->control = -1;
  if (!link_work(service->link, error))
    return FALSE;
  return !run || ((full || hear_run(service, run, error)) && say_progress(service, run, error));
}

/* Its socket is closed: it ends everything and cleans up. */
static void
await_end(pid_t pid)
{
  gint64 deadline = clock_now_ns() + END_MS * NS_PER_MS;
  int status;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    if (clock_now_ns() > deadline)
      kill(pid, SIGKILL);
    g_usleep(5000);
  }
}

/* A run in this session's place. */
static ProfilerRun
run_of(const Service *service, ProfilerRunKind kind, gboolean output)
{
  const AugmenterSession *session = service->session;
  return (ProfilerRun){.place = {.local = is_local(service),
                                 .root = session->root,
                                 .tmp = session->tmp,
                                 .hidden = session->hidden},
                       .bounds = &service->host->bounds,
                       .start = service->asked->start,
                       .kind = kind,
                       .output = output};
}

/* From when it was started to its end. FALSE with an error: the conversation is over. */
static gboolean
see_through(Service *service, Run *run, GError **error)
{
  run->began_ns = run->said_ns = clock_now_ns();
  gboolean going = TRUE;
  while (going && !run->ran)
    going = turn(service, run, error);
  io_close(&run->socket);
  await_end(run->pid);
  return going;
}

static gboolean
run_once(Service *service, ProfilerRunKind kind, gboolean output, Run *run, GError **error)
{
  const ProfilerRun wanted = run_of(service, kind, output);
  *run = (Run){.kind = kind, .socket = -1, .profile = -1};
  run->pid = profiler_run_start(&wanted, &run->socket, error);
  return run->pid > 0 && see_through(service, run, error);
}

/* ---- a profile ---- */

static gboolean
has_run(const Run *run)
{
  return run->ran->kind_case == DOPPEL__WIRE__PROFILER_MESSAGE__KIND_RAN;
}

/* The fixed work's time passes for whatever else this machine does, too: the least is what it can. */
static double
measure_work(void)
{
  double least = plan_speed_measure();
  for (guint i = 1; i < WORK_RUNS; i++)
    least = MIN(least, plan_speed_measure());
  return least;
}

static gboolean
run_alone(Service *service, GError **error)
{
  g_autoptr(ProfilerMessage) best = NULL;
  gint64 began = clock_now_ns();
  for (guint i = 0; i < ALONE_RUNS && clock_now_ns() - began < ALONE_NS * ALONE_RUNS; i++) {
    g_auto(Run) run = {.socket = -1, .profile = -1};
    if (!run_once(service, PROFILER_ALONE, FALSE, &run, error))
      return FALSE;
    if (!has_run(&run) || !best || run.ran->ran->cpu_ns < best->ran->cpu_ns) {
      g_clear_pointer(&best, profiler_message_free);
      best = g_steal_pointer(&run.ran);
    }
    if (best->kind_case != DOPPEL__WIRE__PROFILER_MESSAGE__KIND_RAN || best->ran->wall_ns > ALONE_NS)
      break;
  }
  if (best->kind_case == DOPPEL__WIRE__PROFILER_MESSAGE__KIND_RAN && !is_local(service))
    best->ran->work_ns = measure_work();
  if (!profiler_message_send(service->link, best, error))
    return FALSE;
  if (best->kind_case == DOPPEL__WIRE__PROFILER_MESSAGE__KIND_RAN)
    return TRUE;
  g_clear_pointer(&service->asked, profiler_message_free);
  return TRUE;
}

static gboolean
send_profile(Service *service, int profile, GError **error)
{
  g_autofree guint8 *piece = g_malloc(PROFILER_PIECE);
  guint64 offset = 0;
  for (gboolean last = FALSE; !last;) {
    ssize_t got = pread(profile, piece, PROFILER_PIECE, (off_t)offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return doppel_error_errno(error, "cannot read the profile");
    Doppel__Wire__ProfilerBytes bytes = DOPPEL__WIRE__PROFILER_BYTES__INIT;
    offset += (guint64)got;
    bytes.bytes = (ProtobufCBinaryData){(gsize)got, piece};
    bytes.last = last = got == 0 || offset >= PROFILER_FILE_MAX;
    if (!profiler_message_send(service->link, PROFILER_MESSAGE(BYTES, bytes, &bytes), error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
run_profiled(Service *service, GError **error)
{
  g_auto(Run) run = {.socket = -1, .profile = -1};
  if (!run_once(service, PROFILER_VALGRIND, service->asked->start->output, &run, error) ||
      !profiler_message_send(service->link, run.ran, error))
    return FALSE;
  return run.profile < 0 || !has_run(&run) || send_profile(service, run.profile, error);
}

/* What is wrong is found before the program has run for nothing. */
static gboolean
check(Service *service, GError **error)
{
  if (service->host->rootless)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "%s", service->host->rootless);
  g_autoptr(ProfilerValgrind) valgrind = profiler_valgrind_open(is_local(service), error);
  return valgrind != NULL;
}

static gboolean
profile(Service *service, GError **error)
{
  g_autoptr(GError) problem = NULL;
  if (!check(service, &problem))
    return say_refusal(service, problem, error);
  if (!run_alone(service, error))
    return FALSE;
  return !service->asked || run_profiled(service, error);
}

/* ---- what the engine sees ---- */

/* What the engine wrote of a run, into the message about it. */
static void
take_stats(const Run *run)
{
  Doppel__Wire__ProfilerSeen *seen = run->ran->seen;
  struct stat facts;
  if (run->profile < 0 || fstat(run->profile, &facts) < 0 || facts.st_size > PROFILER_STATS_MAX)
    return;
  guint8 *data = malloc((gsize)facts.st_size + 1);
  gssize length = data ? pread(run->profile, data, (gsize)facts.st_size, 0) : -1;
  if (length > 0)
    seen->stats = (ProtobufCBinaryData){(gsize)length, data};
  else
    free(data);
}

/* What kept a function's run from coming about keeps no other one's. */
static gboolean
say_reason(Service *service, guint function, const char *reason, GError **error)
{
  Doppel__Wire__ProfilerSeen seen = DOPPEL__WIRE__PROFILER_SEEN__INIT;
  seen.function = function;
  seen.reason = (char *)reason;
  return profiler_message_send(service->link, PROFILER_MESSAGE(SEEN, seen, &seen), error);
}

static gboolean
observe_one(Service *service, const Doppel__Wire__ProfilerObserve *wanted, guint function, GError **error)
{
  const ProfilerRun observed = run_of(service, PROFILER_OBSERVED, FALSE);
  const ProtobufCBinaryData *bytes = &wanted->function[function];
  g_autofree char *text = g_strndup((const char *)bytes->data, bytes->len);
  g_auto(Run) run = {.kind = PROFILER_OBSERVED, .function = function, .socket = -1, .profile = -1};
  run.pid = profiler_observe_start(&observed, text, function, wanted->seconds, &run.socket, error);
  if (run.pid < 0)
    return FALSE;
  if (!see_through(service, &run, error))
    return error && g_error_matches(*error, DOPPEL_ERROR, DOPPEL_ERROR_GONE) &&
           link_state(service->link) != LINK_DEAD && (g_clear_error(error), TRUE) &&
           say_reason(service, function, "its process died", error);
  if (run.ran->kind_case == DOPPEL__WIRE__PROFILER_MESSAGE__KIND_REFUSAL)
    return say_reason(service, function, run.ran->refusal->reason, error);
  if (run.ran->kind_case != DOPPEL__WIRE__PROFILER_MESSAGE__KIND_SEEN)
    return say_reason(service, function, "its process said something else", error);
  take_stats(&run);
  return profiler_message_send(service->link, run.ran, error);
}

static gboolean
observe(Service *service, const Doppel__Wire__ProfilerObserve *wanted, GError **error)
{
  g_autoptr(GError) problem = NULL;
  if (!service->asked)
    doppel_error_set(&problem, DOPPEL_ERROR_USAGE, "nothing was profiled in this session");
  if (problem)
    return say_refusal(service, problem, error);
  for (guint i = 0; i < wanted->n_function; i++)
    if (!observe_one(service, wanted, i, error))
      return FALSE;
  return TRUE;
}

/* ---- the session ---- */

static gboolean
answer(Service *service, ProfilerMessage *taken, GError **error)
{
  g_autoptr(ProfilerMessage) message = taken;
  switch (message->kind_case) {
  case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_START:
    g_clear_pointer(&service->asked, profiler_message_free);
    service->asked = g_steal_pointer(&message);
    return profile(service, error);
  case DOPPEL__WIRE__PROFILER_MESSAGE__KIND_OBSERVE:
    return observe(service, message->observe, error);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device asks what no device asks");
  }
}

static gboolean
hear(Service *service, GError **error)
{
  for (;;) {
    GError *bad = NULL;
    ProfilerMessage *message = profiler_message_take(service->link, &bad);
    if (bad)
      g_propagate_error(error, bad);
    if (!message)
      return !bad;
    if (!answer(service, message, error))
      return FALSE;
  }
}

int
profiler_service(Link *link, const AugmenterSession *session, const ProfilerHost *host)
{
  g_autoptr(GError) error = NULL;
  Service service = {.link = link, .session = session, .host = host, .control = session->control_fd};
  /* What came with the handshake is there already: nothing would wake us for it. */
  gboolean going = hear(&service, &error);
  while (going)
    going = turn(&service, NULL, &error) && hear(&service, &error);
  g_clear_pointer(&service.asked, profiler_message_free);
  if (link_state(link) == LINK_DEAD)
    return 0;
  fprintf(stderr, "doppeld: clone %s: %s\n", session->clone_name, error->message);
  return 1;
}

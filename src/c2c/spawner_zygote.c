/* The zygote: forks a process for each conversation, watches its time, and says how it ended. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "c2c/spawner_private.h"
#include "link/pass.h"
#include "wire/c2c_control.pb-c.h"

#define NS_PER_SECOND  G_GINT64_CONSTANT(1000000000)
#define CHORE_GOOD_NS  (60 * NS_PER_SECOND) /* a task that lasted so long was none that fails at once */
#define CHORE_PATIENCE 6                    /* doublings of a second's wait */

typedef struct {
  guint64 id;
  pid_t pid; /* also of its process group */
  gint64 deadline;
  gboolean overtime;
} Child;

typedef struct {
  int control_fd, signals;
  const Service *services;
  const ServiceTask *tasks;
  const ServicePlace *place;
  GArray *children; /* of Child */
  GArray *chores;   /* of Chore: the tasks, once they are to run */
} Zygote;

typedef struct {
  const ServiceTask *task;
  pid_t pid; /* 0: it does not run */
  gint64 began_at, due;
  guint failures;
} Chore;

typedef Doppel__Wire__SpawnRequest Request;

static void
report(const Zygote *zygote, const Doppel__Wire__SpawnExit *message)
{
  guint8 bytes[SPAWNER_MESSAGE_MAX];
  gsize length = doppel__wire__spawn_exit__pack(message, bytes);
  /* Waits: the node reads these whatever else it does, and must not miss one. */
  while (send(zygote->control_fd, bytes, length, MSG_NOSIGNAL) < 0 && (errno == EINTR || errno == EAGAIN)) {
    struct pollfd fd = {.fd = zygote->control_fd, .events = POLLOUT};
    poll(&fd, 1, -1);
  }
}

static void
limit(int resource, rlim_t most)
{
  struct rlimit limits = {most, most};
  setrlimit(resource, &limits);
}

static void
set_limits(const Request *request)
{
#ifndef __SANITIZE_ADDRESS__ /* which reserves more addresses than there is memory */
  limit(RLIMIT_AS, request->memory);
#endif
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, SPAWNER_FILES);
  if (request->cpu_seconds)
    limit(RLIMIT_CPU, request->cpu_seconds);
}

/* In the child. */
static void
leave_zygote(const Zygote *zygote, pid_t parent, const char *name)
{
  sigset_t none;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(1);
  setpgid(0, 0);
  signal(SIGPIPE, SIG_IGN);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  close(zygote->control_fd);
  close(zygote->signals);
  prctl(PR_SET_NAME, name);
}

static void
serve(const Zygote *zygote, int fd, const Request *request, pid_t parent)
{
  leave_zygote(zygote, parent, "doppeld-service");
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  set_limits(request);
  ServicePeer peer = {.name = request->name, .owner = request->owner, .limits = request->limits};
  memcpy(peer.origin.bytes, request->origin.data, sizeof peer.origin.bytes);
  memcpy(peer.clone_key.bytes, request->clone_key.data, sizeof peer.clone_key.bytes);
  const Service *service = spawner_find(zygote->services, request->service);
  _exit(service->run(fd, request->service, &peer, zygote->place));
}

static void
take_chores(Zygote *zygote)
{
  if (zygote->chores->len > 0 || !zygote->tasks)
    return;
  for (const ServiceTask *task = zygote->tasks; task->name; task++)
    g_array_append_val(zygote->chores, (Chore){.task = task});
}

static gint64
begin_chores(Zygote *zygote)
{
  gint64 now = clock_now_ns(), due = G_MAXINT64;
  for (guint i = 0; i < zygote->chores->len; i++) {
    Chore *chore = &g_array_index(zygote->chores, Chore, i);
    if (chore->pid == 0 && now >= chore->due) {
      pid_t parent = getpid(), pid = fork();
      chore->pid = MAX(pid, 0);
      if (pid == 0) {
        leave_zygote(zygote, parent, "doppeld-task");
        limit(RLIMIT_CORE, 0);
        _exit(chore->task->run(zygote->place));
      }
      chore->began_at = now;
      chore->due = now + NS_PER_SECOND;
    }
    if (chore->pid == 0)
      due = MIN(due, chore->due);
  }
  return due;
}

static gboolean
end_chore(Zygote *zygote, pid_t pid)
{
  for (guint i = 0; i < zygote->chores->len; i++) {
    Chore *chore = &g_array_index(zygote->chores, Chore, i);
    if (chore->pid != pid)
      continue;
    gint64 now = clock_now_ns();
    chore->pid = 0;
    chore->failures = now - chore->began_at > CHORE_GOOD_NS ? 0 : MIN(chore->failures + 1, CHORE_PATIENCE);
    chore->due = now + (NS_PER_SECOND << chore->failures);
    return TRUE;
  }
  return FALSE;
}

static gboolean
begin(Zygote *zygote, int fd, const Request *request)
{
  if (fd < 0 || request->origin.len != IDENTITY_PUBLIC_LENGTH ||
      request->clone_key.len != IDENTITY_PUBLIC_LENGTH || !spawner_find(zygote->services, request->service))
    return FALSE;
  pid_t parent = getpid(), pid = fork();
  if (pid == 0)
    serve(zygote, fd, request, parent);
  if (pid < 0)
    return FALSE;
  setpgid(pid, pid); /* here, too: it may have to be ended at once */
  Child child = {request->id, pid, clock_now_ns() + request->seconds * NS_PER_SECOND, FALSE};
  g_array_append_val(zygote->children, child);
  return TRUE;
}

static void
stop(Zygote *zygote, guint64 id)
{
  for (guint i = 0; i < zygote->children->len; i++) {
    Child *child = &g_array_index(zygote->children, Child, i);
    if (child->id == id)
      kill(-child->pid, SIGKILL);
  }
}

/* FALSE when the node is gone. */
static gboolean
take_requests(Zygote *zygote)
{
  guint8 bytes[SPAWNER_MESSAGE_MAX];
  gsize length;
  int fd, got;
  while ((got = link_pass_receive_with(zygote->control_fd, &fd, bytes, sizeof bytes, &length)) > 0) {
    g_auto(Fd) socket_fd = fd;
    Request *request = doppel__wire__spawn_request__unpack(NULL, length, bytes);
    if (request && !*request->service && request->id == SPAWNER_TASKS) {
      take_chores(zygote);
    } else if (request && !*request->service) {
      stop(zygote, request->id);
    } else if (request && !begin(zygote, socket_fd, request)) {
      Doppel__Wire__SpawnExit message = DOPPEL__WIRE__SPAWN_EXIT__INIT;
      message.id = request->id;
      message.refused = TRUE;
      report(zygote, &message);
    }
    if (request)
      doppel__wire__spawn_request__free_unpacked(request, NULL);
  }
  return got == 0;
}

static void
report_end(const Zygote *zygote, const Child *child, int status)
{
  Doppel__Wire__SpawnExit message = DOPPEL__WIRE__SPAWN_EXIT__INIT;
  message.id = child->id;
  message.overtime = child->overtime;
  message.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  message.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  report(zygote, &message);
}

/* What a service began goes with it: before it is reaped, so that its group's number is still its own. What
 * left that group, and what became an orphan, is adopted here. */
static void
reap(Zygote *zygote)
{
  siginfo_t info = {0};
  while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
    pid_t pid = info.si_pid;
    int status = 0;
    kill(-pid, SIGKILL);
    waitpid(pid, &status, 0);
    info.si_pid = 0;
    if (end_chore(zygote, pid))
      continue;
    for (guint i = 0; i < zygote->children->len; i++) {
      Child child = g_array_index(zygote->children, Child, i);
      if (child.pid != pid)
        continue;
      g_array_remove_index_fast(zygote->children, i);
      report_end(zygote, &child, status);
      break;
    }
  }
}

static int
end_overtime(Zygote *zygote)
{
  gint64 due = begin_chores(zygote), now = clock_now_ns();
  for (guint i = 0; i < zygote->children->len; i++) {
    Child *child = &g_array_index(zygote->children, Child, i);
    if (now >= child->deadline && !child->overtime) {
      child->overtime = TRUE;
      kill(-child->pid, SIGTERM);
      child->deadline = now + SPAWNER_FAREWELL_MS * G_GINT64_CONSTANT(1000000);
    } else if (now >= child->deadline) {
      kill(-child->pid, SIGKILL);
      child->deadline = G_MAXINT64;
    }
    due = MIN(due, child->deadline);
  }
  return due == G_MAXINT64 ? -1 : (int)CLAMP((due - now) / 1000000 + 1, 0, G_MAXINT32);
}

static int
watch_children(void)
{
  sigset_t mask;
  signal(SIGTERM, SIG_DFL);
  signal(SIGINT, SIG_IGN);
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigprocmask(SIG_SETMASK, &mask, NULL);
  return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

void
spawner_zygote(int control_fd, const Service *services, const ServiceTask *tasks, const ServicePlace *place)
{
  Zygote zygote = {.control_fd = control_fd,
                   .signals = watch_children(),
                   .services = services,
                   .tasks = tasks,
                   .place = place,
                   .children = g_array_new(FALSE, FALSE, sizeof(Child)),
                   .chores = g_array_new(FALSE, FALSE, sizeof(Chore))};
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  for (gboolean alive = zygote.signals >= 0; alive;) {
    struct pollfd fds[] = {{.fd = control_fd, .events = POLLIN}, {.fd = zygote.signals, .events = POLLIN}};
    poll(fds, G_N_ELEMENTS(fds), end_overtime(&zygote));
    struct signalfd_siginfo info;
    while (read(zygote.signals, &info, sizeof info) == sizeof info)
      ;
    reap(&zygote);
    alive = take_requests(&zygote);
  }
  for (guint i = 0; i < zygote.children->len; i++)
    kill(-g_array_index(zygote.children, Child, i).pid, SIGKILL);
  for (guint i = 0; i < zygote.chores->len; i++)
    if (g_array_index(zygote.chores, Chore, i).pid > 0)
      kill(-g_array_index(zygote.chores, Chore, i).pid, SIGKILL);
  _exit(0);
}

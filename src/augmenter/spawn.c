/* sandbox_spawn(): a process inside with a given id, and the steps by which it gives up its rights. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "augmenter/init.h"
#include "augmenter/sandbox_private.h"
#include "base/error.h"
#include "base/io.h"

/* What root inside keeps: power over its own files, users and processes. Not: mounting, tracing, devices, the
 * network, clocks, namespaces, modules. With these a mirror could reach files below the layers, its own init,
 * or code of the kernel that only root may call. */
static const int kept_capabilities[] = {
    CAP_CHOWN,      CAP_DAC_OVERRIDE, CAP_FOWNER,   CAP_FSETID,    CAP_KILL,
    CAP_SETGID,     CAP_SETUID,       CAP_SETPCAP,  CAP_SETFCAP,   CAP_NET_BIND_SERVICE,
    CAP_SYS_CHROOT, CAP_LEASE,        CAP_IPC_LOCK, CAP_IPC_OWNER,
};

typedef enum {
  STEP_WAITING, /* no failure: it can be traced and released */
  STEP_READY,   /* no failure: execve() is next */
  STEP_DESCRIPTORS,
  STEP_GROUP,
  STEP_LIMITS,
  STEP_DIRECTORY,
  STEP_CAPABILITIES,
  STEP_USER,
  STEP_PERSONALITY,
  STEP_EXEC,
} Step;

typedef struct {
  Step step;
  int errno_value;
} Report;

static const char *const step_texts[] = {
    [STEP_DESCRIPTORS] = "cannot set up its descriptors",
    [STEP_GROUP] = "cannot join its control group",
    [STEP_LIMITS] = "cannot set its resource limits",
    [STEP_DIRECTORY] = "cannot enter its working directory",
    [STEP_CAPABILITIES] = "cannot give up capabilities",
    [STEP_USER] = "cannot become its user and groups",
    [STEP_PERSONALITY] = "cannot set its personality",
    [STEP_EXEC] = "cannot execute it",
};

G_NORETURN
static void
fail(int fd, Step step)
{
  Report report = {.step = step, .errno_value = errno};
  io_write_all(fd, &report, sizeof report);
  _exit(127);
}

static void
reset_signals(const SandboxSpawn *spawn)
{
  for (int number = 1; number < NSIG; number++)
    signal(number, spawn->ignored_signals >> (number - 1) & 1 ? SIG_IGN : SIG_DFL);
}

static void
set_signal_mask(guint64 blocked)
{
  sigset_t mask;
  sigemptyset(&mask);
  for (int number = 1; number < NSIG; number++)
    if (blocked >> (number - 1) & 1)
      sigaddset(&mask, number);
  sigprocmask(SIG_SETMASK, &mask, NULL);
}

static int
compare_ints(const void *a, const void *b)
{
  int left = *(const int *)a, right = *(const int *)b;
  return (left > right) - (left < right);
}

/* Closes all below `end` that is not a `to`. */
static gboolean
close_gaps(const SandboxSpawn *spawn, int end)
{
  g_autofree int *wanted = g_new(int, spawn->fd_count + 1);
  for (gsize i = 0; i < spawn->fd_count; i++)
    wanted[i] = spawn->fds[i].to;
  wanted[spawn->fd_count] = end;
  qsort(wanted, spawn->fd_count, sizeof *wanted, compare_ints);
  for (gsize i = 0, next = 0; i <= spawn->fd_count; i++) {
    if ((gsize)wanted[i] > next && close_range((unsigned)next, (unsigned)wanted[i] - 1, 0) != 0)
      return FALSE;
    next = (gsize)wanted[i] + 1;
  }
  return TRUE;
}

/* First all sources move above every target, as a source may sit where another's target is. *own moves too.
 */
static gboolean
place_descriptors(const SandboxSpawn *spawn, int *own)
{
  int above = 0;
  for (gsize i = 0; i < spawn->fd_count; i++)
    above = MAX(above, spawn->fds[i].to + 1);
  g_autofree int *moved = g_new(int, spawn->fd_count + 1);
  for (gsize i = 0; i < spawn->fd_count; i++)
    if ((moved[i] = fcntl(spawn->fds[i].from, F_DUPFD_CLOEXEC, above)) < 0)
      return FALSE;
  if ((*own = fcntl(*own, F_DUPFD_CLOEXEC, above)) < 0)
    return FALSE;
  for (gsize i = 0; i < spawn->fd_count; i++)
    if (dup2(moved[i], spawn->fds[i].to) < 0)
      return FALSE;
  if (*own > above && close_range((unsigned)above, (unsigned)*own - 1, 0) != 0)
    return FALSE;
  return close_gaps(spawn, above) && close_range((unsigned)*own + 1, ~0u, 0) == 0;
}

static guint64
kept_mask(uid_t uid)
{
  guint64 mask = 0;
  for (gsize i = 0; i < G_N_ELEMENTS(kept_capabilities) && uid == 0; i++)
    mask |= 1ull << kept_capabilities[i];
  return mask;
}

/* The bounding set is what an exec as root cannot get back. */
static gboolean
limit_capabilities(void)
{
  guint64 kept = kept_mask(0);
  for (int i = 0; i < 64; i++)
    if (!(kept >> i & 1) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0 && errno != EINVAL)
      return FALSE;
  return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
         prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

static gboolean
drop_capabilities(uid_t uid)
{
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  guint64 kept = kept_mask(uid);
  struct __user_cap_data_struct data[2] = {
      {.permitted = (guint32)kept, .effective = (guint32)kept},
      {.permitted = (guint32)(kept >> 32), .effective = (guint32)(kept >> 32)},
  };
  return syscall(SYS_capset, &header, data) == 0;
}

static gboolean
become_user(const Sandbox *sandbox, const SandboxSpawn *spawn)
{
  if (!sandbox->one_id && setgroups(spawn->group_count, spawn->groups) != 0)
    return FALSE;
  return setresgid(spawn->gid, spawn->gid, spawn->gid) == 0 &&
         setresuid(spawn->uid, spawn->uid, spawn->uid) == 0;
}

static gboolean
set_limits(const SandboxRlimit *limits, gsize count)
{
  for (gsize i = 0; i < count; i++)
    if (setrlimit(limits[i].resource, &limits[i].limit) != 0)
      return FALSE;
  return TRUE;
}

/* It holds a copy of the Augmenter's memory until the exec, which nothing inside may read. While it waits it
 * has every right of the Augmenter, so nobody inside has rights enough to trace it; it is dumpable, so the
 * Augmenter can. Before it gives the rights up it stops being dumpable; the exec makes it so again, with new
 * memory. */
G_NORETURN
static void
child_main(const Sandbox *sandbox, const SandboxSpawn *spawn, const SandboxRlimit *rlimits, int own)
{
  char go;
  reset_signals(spawn);
  setsid(); /* no terminal, and kill(0, ...) inside does not reach the Augmenter */
  if (!limits_join(&sandbox->private->limits))
    fail(own, STEP_GROUP);
  int before = own;
  if (!place_descriptors(spawn, &own))
    fail(own < 0 ? before : own, STEP_DESCRIPTORS);
  umask(spawn->umask);
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  Report waiting = {.step = STEP_WAITING};
  io_write_all(own, &waiting, sizeof waiting);
  if (io_read_all(own, &go, 1) != 1)
    _exit(127);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  SandboxRlimit files = {RLIMIT_NOFILE, sandbox->private->files};
  if (!set_limits(&files, 1) || !set_limits(rlimits, spawn->rlimit_count))
    fail(own, STEP_LIMITS);
  if (chdir(spawn->cwd ? spawn->cwd : "/") != 0)
    fail(own, STEP_DIRECTORY);
  if (!limit_capabilities())
    fail(own, STEP_CAPABILITIES);
  if (!become_user(sandbox, spawn))
    fail(own, STEP_USER);
  if (!drop_capabilities(spawn->uid))
    fail(own, STEP_CAPABILITIES);
  if (personality(spawn->personality) < 0)
    fail(own, STEP_PERSONALITY);
  Report ready = {.step = STEP_READY};
  io_write_all(own, &ready, sizeof ready);
  set_signal_mask(spawn->blocked_signals);
  execve(spawn->path, spawn->argv, spawn->envp);
  fail(own, STEP_EXEC);
}

gboolean
sandbox_give_up_rights(const Sandbox *sandbox, const SandboxSpawn *spawn)
{
  SandboxRlimit files = {RLIMIT_NOFILE, sandbox->private->files};
  umask(spawn->umask);
  return limits_join(&sandbox->private->limits) && set_limits(&files, 1) &&
         set_limits(spawn->rlimits, spawn->rlimit_count) && chdir(spawn->cwd ? spawn->cwd : "/") == 0 &&
         limit_capabilities() && become_user(sandbox, spawn) && drop_capabilities(spawn->uid) &&
         prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

static SandboxRlimit *
clip_limits(Sandbox *sandbox, const SandboxSpawn *spawn)
{
  SandboxRlimit *limits = g_memdup2(spawn->rlimits, spawn->rlimit_count * sizeof *limits);
  for (gsize i = 0; i < spawn->rlimit_count; i++)
    if (!limits_clip(limits[i].resource, &limits[i].limit))
      g_ptr_array_add(sandbox->notes,
                      g_strdup_printf("resource limit %d is %" G_GUINT64_FORMAT " (at most %" G_GUINT64_FORMAT
                                      ") in the clone: this machine grants no more",
                                      limits[i].resource, (guint64)limits[i].limit.rlim_cur,
                                      (guint64)limits[i].limit.rlim_max));
  return limits;
}

static gboolean
explain_clone(const Sandbox *sandbox, pid_t wanted, GError **error)
{
  if (wanted && errno == EEXIST)
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "process id %d is taken in the clone", (int)wanted);
  if (wanted && errno == EINVAL)
    return doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "process id %d of the device cannot exist in the clone, whose ids end at %d; run sysctl "
        "kernel.pid_max=4194304 on the clone's machine",
        (int)wanted, (int)sandbox->pid_max - 1);
  if (errno == EAGAIN)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                            "cannot start a process in the clone: its limit of processes is reached");
  return doppel_error_errno(error, "cannot start a process in the clone");
}

static pid_t
clone_child(const Sandbox *sandbox, const SandboxSpawn *spawn, const SandboxRlimit *rlimits, int own)
{
  struct clone_args arguments = {.exit_signal = SIGCHLD};
  if (spawn->wanted_pid) {
    arguments.set_tid = (guint64)(gsize)&spawn->wanted_pid;
    arguments.set_tid_size = 1;
  }
  sigset_t all, before;
  sigfillset(&all);
  /* No handler of the Augmenter's runs in the child. */
  sigprocmask(SIG_SETMASK, &all, &before);
  pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0)
    child_main(sandbox, spawn, rlimits, own);
  int saved = errno;
  sigprocmask(SIG_SETMASK, &before, NULL);
  errno = saved;
  return pid;
}

static gboolean
explain_report(const Report *report, GError **error)
{
  errno = report->errno_value;
  DoppelErrorCode code = errno == ENOENT || errno == ENOTDIR ? DOPPEL_ERROR_NOT_FOUND : DOPPEL_ERROR_FAILED;
  const char *text = report->step < G_N_ELEMENTS(step_texts) ? step_texts[report->step] : NULL;
  return doppel_error_set(error, code, "the program did not start in the clone: %s: %s",
                          text ? text : "out of step", g_strerror(errno));
}

static gboolean
wait_until_waiting(pid_t pid, int fd, GError **error)
{
  Report report;
  if (io_read_all(fd, &report, sizeof report) != sizeof report)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "process %d died before it was started in the clone",
                            (int)pid);
  return report.step == STEP_WAITING || explain_report(&report, error);
}

pid_t
sandbox_spawn(Sandbox *sandbox, const SandboxSpawn *spawn, GError **error)
{
  int ends[2];
  if (spawn->wanted_pid < 0 || spawn->wanted_pid == 1 ||
      (sandbox->pid_max && spawn->wanted_pid >= sandbox->pid_max)) {
    errno = EINVAL;
    explain_clone(sandbox, spawn->wanted_pid, error);
    return -1;
  }
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    doppel_error_errno(error, "cannot start a process in the clone");
    return -1;
  }
  g_autofree SandboxRlimit *rlimits = clip_limits(sandbox, spawn);
  g_auto(Fd) ours = ends[0], theirs = ends[1];
  pid_t pid = clone_child(sandbox, spawn, rlimits, theirs);
  io_close(&theirs);
  if (pid < 0) {
    explain_clone(sandbox, spawn->wanted_pid, error);
    return -1;
  }
  if (!wait_until_waiting(pid, ours, error)) {
    waitpid(pid, NULL, 0);
    return -1;
  }
  SandboxPending pending = {.pid = pid, .fd = io_steal_fd(&ours)};
  g_array_append_val(sandbox->private->pending, pending);
  return pid;
}

static int
take_pending(Sandbox *sandbox, pid_t pid)
{
  GArray *pending = sandbox->private->pending;
  for (guint i = 0; i < pending->len; i++)
    if (g_array_index(pending, SandboxPending, i).pid == pid) {
      int fd = g_array_index(pending, SandboxPending, i).fd;
      g_array_remove_index_fast(pending, i);
      return fd;
    }
  return -1;
}

gboolean
sandbox_release(Sandbox *sandbox, pid_t pid, GError **error)
{
  g_auto(Fd) fd = take_pending(sandbox, pid);
  if (fd < 0)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "process %d does not wait to be started in the clone",
                            (int)pid);
  Report report;
  /* A child that has failed already is not there to be told, but has left its report. */
  send(fd, "", 1, MSG_NOSIGNAL);
  if (io_read_all(fd, &report, sizeof report) != sizeof report)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "process %d died before it was started in the clone",
                            (int)pid);
  if (report.step == STEP_READY && io_read_all(fd, &report, sizeof report) != sizeof report)
    return TRUE; /* closed by the exec */
  return explain_report(&report, error);
}

gboolean
sandbox_next_pid(Sandbox *sandbox, pid_t pid, GError **error)
{
  if (init_next_pid(sandbox->private->life_fd, pid))
    return TRUE;
  if (errno == ENOSYS)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "cannot choose the next process id in the clone: this kernel is built without "
                            "CONFIG_CHECKPOINT_RESTORE");
  return doppel_error_errno(error, "cannot choose the next process id in the clone");
}

/* Making the mirror: the sandbox, the program stopped before its first instruction, the filter of its system
 * calls. */
#include <errno.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "augmenter/augmenter.h"
#include "augmenter/paths.h"
#include "base/error.h"
#include "base/io.h"
#include "mirror/syscall_filter.h"

/* Until the program's own descriptors are there, which is before its first instruction. */
enum { DEVICE_IN_MIRROR = 3 };
enum { WITHOUT_KNOWN = 4, WITHOUT_CHANGES = 8 }; /* of Start.without */

static gint64
clock_ns(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (gint64)now.tv_sec * 1000000000 + now.tv_nsec;
}

static gboolean
enter(Augmenter *augmenter, const Doppel__Engine__Prepare *prepare, GError **error)
{
  SandboxSpec spec = {
      .local = augmenter_is_local(augmenter),
      .root = augmenter->session->root,
      .tmp = augmenter->session->tmp,
      .hidden = augmenter->session->hidden,
      .limits = augmenter->session->limits,
      .upper = augmenter->session->changes_bytes ? SANDBOX_UPPER_MEMORY : SANDBOX_UPPER_AUTO,
      .upper_bytes = augmenter->session->changes_bytes,
      .hostname = prepare->host_name,
      .monotonic_ns = prepare->monotonic_ns - clock_ns(CLOCK_MONOTONIC),
      .boottime_ns = prepare->boottime_ns - clock_ns(CLOCK_BOOTTIME),
      .own_id_as = TRUE,
      .uid = prepare->uid,
      .gid = prepare->gid,
  };
  /* The local clone shares its machine's clocks. */
  if (spec.local)
    spec.monotonic_ns = spec.boottime_ns = 0;
  augmenter->device = demand_device();
  augmenter->sandbox = sandbox_enter(&spec, error);
  return augmenter->sandbox != NULL;
}

static char **
strings(gsize count, const ProtobufCBinaryData *from)
{
  char **list = g_new0(char *, count + 1);
  for (gsize i = 0; i < count; i++)
    list[i] = g_strndup((const char *)from[i].data, from[i].len);
  return list;
}

/* Of the device's limits only those that shape the program's memory are the clone's as well: the rest are
 * there to protect the device. */
static gboolean
shapes_memory(int resource)
{
  return resource == RLIMIT_STACK || resource == RLIMIT_NOFILE || resource == RLIMIT_CORE ||
         resource == RLIMIT_FSIZE;
}

static pid_t
spawn(Augmenter *augmenter, const Doppel__Engine__Start *start, GError **error)
{
  g_auto(GStrv) arguments = strings(start->n_argument, start->argument);
  g_auto(GStrv) environment = strings(start->n_environment, start->environment);
  g_autofree char *directory = g_strndup((const char *)start->directory.data, start->directory.len);
  g_autofree gid_t *groups = g_new(gid_t, start->n_group + 1);
  g_autofree SandboxRlimit *limits = g_new0(SandboxRlimit, start->n_limit + 1);
  gsize limit_count = 0;
  for (gsize i = 0; i < start->n_group; i++)
    groups[i] = start->group[i];
  for (gsize i = 0; i < start->n_limit; i++)
    if (shapes_memory(start->limit[i]->resource))
      limits[limit_count++] =
          (SandboxRlimit){start->limit[i]->resource, {start->limit[i]->soft, start->limit[i]->hard}};
  SandboxSpawn spec = {
      .path = start->path,
      .argv = arguments,
      .envp = environment,
      .cwd = directory,
      .wanted_pid = start->pid,
      .uid = start->uid,
      .gid = start->gid,
      .groups = groups,
      .group_count = start->n_group,
      .umask = start->umask,
      .personality = ADDR_NO_RANDOMIZE,
      .rlimits = limits,
      .rlimit_count = limit_count,
      .ignored_signals = start->signals_ignored,
      .blocked_signals = start->signals_blocked,
  };
  const SandboxFd device = {augmenter->device, DEVICE_IN_MIRROR};
  if (augmenter->device >= 0) {
    spec.fds = &device;
    spec.fd_count = 1;
  }
  return sandbox_spawn(augmenter->sandbox, &spec, error);
}

/* Seizes it where it waits, lets it execute the program, and finds it before the program's first instruction.
 */
static gboolean
seize(Augmenter *augmenter, pid_t pid, GError **error)
{
  long options = PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                 PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD;
  if (ptrace(PTRACE_SEIZE, pid, 0, options) < 0)
    return doppel_error_errno(error, "tracing the mirror");
  if (!sandbox_release(augmenter->sandbox, pid, error))
    return FALSE;
  for (;;) {
    int status;
    pid_t got = waitpid(pid, &status, __WALL);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 || !WIFSTOPPED(status))
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the mirror died while it started");
    if (status >> 16 == PTRACE_EVENT_EXEC)
      return TRUE;
    ptrace(PTRACE_CONT, pid, 0, status >> 16 ? 0 : WSTOPSIG(status));
  }
}

static gboolean
call(Augmenter *augmenter, const char *what, gint64 nr, guint64 a, guint64 b, guint64 c, guint64 d, guint64 e,
     gint64 *result, GError **error)
{
  const guint64 arguments[6] = {a, b, c, d, e};
  if (!mirror_inject_one(mirror_thread_leader(augmenter->process), nr, arguments, result, error))
    return FALSE;
  if (*result >= 0)
    return TRUE;
  errno = -*result;
  return doppel_error_errno(error, "%s in the mirror", what);
}

/* Puts the filter in and fetches its listener; the program never sees the descriptor. */
static gboolean
install_filter(Augmenter *augmenter, GError **error)
{
  MirrorProcess *process = augmenter->process;
  guint64 scratch = process->scratch, room = mirror_scratch_bytes(process);
  g_autoptr(GArray) program = syscall_filter_build(scratch, scratch + MIRROR_SCRATCH_CODE, error);
  if (!program)
    return FALSE;
  struct sock_fprog head = {.len = program->len, .filter = (void *)(guintptr)(room + sizeof head)};
  gint64 listener, result;
  if (!mirror_memory_write(process, room, &head, sizeof head, error) ||
      !mirror_memory_write(process, room + sizeof head, program->data,
                           program->len * sizeof(struct sock_filter), error) ||
      !call(augmenter, "no_new_privs", SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, &result, error))
    return FALSE;
  guint64 flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
  guint64 killable = 1 << 5; /* SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19 */
  if (!call(augmenter, "filtering system calls", SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | killable, room,
            0, 0, &listener, error))
    return FALSE;
  g_auto(Fd) pidfd = syscall(SYS_pidfd_open, process->pid, 0);
  augmenter->listener = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, (int)listener, 0);
  if (augmenter->listener < 0)
    return doppel_error_errno(error, "fetching the listener of system calls");
  /* Where the kernel has it (6.6): the one who is answered is woken on this processor, at once. */
  (void)ioctl(augmenter->listener, SECCOMP_IOW(4, guint64), 1ul);
  return call(augmenter, "closing the listener", SYS_close, listener, 0, 0, 0, 0, &result, error);
}

static gboolean
make_twin(Augmenter *augmenter, MirrorTrack track, GError **error)
{
  gint64 result;
  gboolean device = augmenter->device >= 0;
  augmenter->twin = mirror_twin_new(augmenter->process, FALSE, track, device ? DEVICE_IN_MIRROR : -1, error);
  if (!augmenter->twin)
    return FALSE;
  demand_begin(augmenter);
  return !device || call(augmenter, "closing the device of userfaultfds", SYS_close, DEVICE_IN_MIRROR, 0, 0,
                         0, 0, &result, error);
}

static gboolean
next_thread(pid_t own_tid, void *user, GError **error)
{
  return sandbox_next_pid(((Augmenter *)user)->sandbox, own_tid, error);
}

gboolean
augmenter_prepare(Augmenter *augmenter, const Doppel__Engine__Prepare *prepare, GError **error)
{
  if (augmenter->sandbox)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a second place in one session");
  /* Within what is left of the range they can be subtracted from each other. */
  if (prepare->monotonic_ns < 0 || prepare->boottime_ns < 0)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "clocks that show a time before they began");
  augmenter->uid = prepare->uid;
  augmenter->gid = prepare->gid;
  return enter(augmenter, prepare, error);
}

gboolean
augmenter_start_mirror(Augmenter *augmenter, const Doppel__Engine__Start *start, GError **error)
{
  MirrorTrack track;
  if (augmenter->process || !augmenter->sandbox)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "a second program in one session, or no place for it");
  if (start->uid != augmenter->uid || start->gid != augmenter->gid)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a program of another user than its place is for");
  g_array_append_vals(augmenter->processors, start->processor, start->n_processor);
  if (!mirror_track_parse(start->track, &track))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "an unknown way to track pages");
  if (*start->path != '/' || memchr(start->directory.data, 0, start->directory.len) || start->pid <= 1)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a program that cannot be started");
  g_autofree char *directory = g_strndup((const char *)start->directory.data, start->directory.len);
  if (start->without & WITHOUT_KNOWN)
    g_clear_pointer(&augmenter->store, page_store_close);
  augmenter->paths = paths_new(augmenter, start, error);
  if (!augmenter->paths || !augmenter_tell_started(augmenter, error) ||
      !paths_prepare_program(augmenter->paths, start->path, directory, error))
    return FALSE;
  pid_t pid = spawn(augmenter, start, error);
  if (pid < 0)
    return FALSE;
  if (!seize(augmenter, pid, error))
    return FALSE;
  augmenter->process = mirror_process_new(pid, augmenter->sandbox->proc_fd, error);
  if (!augmenter->process || !mirror_scratch_make(augmenter->process, error))
    return FALSE;
  if (!make_twin(augmenter, track, error) || !install_filter(augmenter, error))
    return FALSE;
  augmenter->twin->next_thread = next_thread;
  augmenter->twin->next_user = augmenter;
  augmenter->next_child_id = MAX(augmenter->sandbox->pid_max / 4 * 3, 300);
  augmenter->check = start->check;
  augmenter->twin->whole_pages = (start->without & WITHOUT_CHANGES) != 0;
  if (start->lazy_return)
    stay_begin(augmenter);
  augmenter->phase = MIRROR_READY;
  return TRUE;
}

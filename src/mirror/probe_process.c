/* Trials of what one process may do to another. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "mirror/arch/arch.h"
#include "mirror/probe_trials.h"

/* In <linux/sched.h>, which does not go together with <sched.h>. */
typedef struct {
  guint64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
      cgroup;
} CloneArguments;

static void
wait_for_ever(void *data)
{
  for (;;)
    pause();
}

/* Seizes and stops a child. */
static gboolean
seize(pid_t child)
{
  int status;
  return ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_EXITKILL) == 0 &&
         ptrace(PTRACE_INTERRUPT, child, 0, 0) == 0 && waitpid(child, &status, __WALL) == child &&
         WIFSTOPPED(status);
}

gboolean
probe_ptrace(ProbeNote *note)
{
  pid_t child = probe_fork(wait_for_ever, NULL);
  ArchRegisters registers;
  gboolean good = child > 0 && seize(child) && arch_registers_read(child, &registers, NULL);
  probe_end(child);
  g_autofree char *scope = io_read_file_at(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", 16);
  if (scope && good)
    probe_note(note, "kernel.yama.ptrace_scope is %s", g_strstrip(scope));
  return good;
}

gboolean
probe_freeze_layout(ProbeNote *note)
{
  return personality(ADDR_NO_RANDOMIZE) != -1 && (personality(0xffffffff) & ADDR_NO_RANDOMIZE);
}

gboolean
probe_proc_mem(ProbeNote *note)
{
  guint8 *page = mmap(NULL, getpagesize(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED)
    return FALSE;
  pid_t child = probe_fork(wait_for_ever, NULL);
  g_autofree char *path = g_strdup_printf("/proc/%d/mem", child);
  g_auto(Fd) fd = -1;
  char back = 0;
  gboolean good = child > 0 && seize(child) && (fd = open(path, O_RDWR | O_CLOEXEC)) >= 0 &&
                  pwrite(fd, "d", 1, (gsize)page) == 1 && pread(fd, &back, 1, (gsize)page) == 1 &&
                  back == 'd';
  probe_end(child);
  return good;
}

static volatile int breakpoint_calls;
static __attribute__((noinline)) void
breakpoint_target(void)
{
  breakpoint_calls++;
}

static void
call_target(void *data)
{
  raise(SIGSTOP);
  for (;;)
    breakpoint_target();
}

gboolean
probe_breakpoint(ProbeNote *note)
{
  pid_t child = probe_fork(call_target, NULL);
  int status;
  if (child < 0)
    return FALSE;
  g_autoptr(GError) error = NULL;
  ArchRegisters registers = {0};
  guint64 target = (gsize)breakpoint_target;
  gboolean good = FALSE;
  if (ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_EXITKILL) == 0 &&
      waitpid(child, &status, __WALL | WUNTRACED) == child && WIFSTOPPED(status)) {
    if (!arch_breakpoint_set(child, 0, target, &error))
      probe_note(note, "%s", error->message);
    else if (kill(child, SIGCONT) == 0 && ptrace(PTRACE_CONT, child, 0, 0) == 0) {
      /* What comes first may be the stop's own reports. */
      while (waitpid(child, &status, __WALL) == child && WIFSTOPPED(status) &&
             (WSTOPSIG(status) != SIGTRAP || status >> 16))
        ptrace(PTRACE_CONT, child, 0, WSTOPSIG(status) == SIGSTOP || status >> 16 ? 0 : WSTOPSIG(status));
      good =
          WIFSTOPPED(status) && arch_registers_read(child, &registers, NULL) && arch_pc(&registers) == target;
    }
  }
  if (good)
    probe_note(note, "%u per thread", arch_breakpoint_slots());
  probe_end(child);
  return good;
}

gboolean
probe_pidfd_getfd(ProbeNote *note)
{
  int ends[2];
  if (pipe(ends) != 0)
    return FALSE;
  pid_t child = probe_fork(wait_for_ever, NULL);
  /* The child's copy is what is left. */
  int theirs = ends[1];
  close(ends[1]);
  g_auto(Fd) pidfd = child > 0 ? syscall(SYS_pidfd_open, child, 0) : -1;
  g_auto(Fd) taken = pidfd >= 0 ? syscall(SYS_pidfd_getfd, pidfd, theirs, 0) : -1;
  char got = 0;
  gboolean good = taken >= 0 && write(taken, "x", 1) == 1 && read(ends[0], &got, 1) == 1 && got == 'x';
  probe_end(child);
  return good;
}

static void
choose_tid(void *data)
{
  const pid_t wanted = 314;
  CloneArguments arguments = {.exit_signal = SIGCHLD, .set_tid = (gsize)&wanted, .set_tid_size = 1};
  int pid = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0)
    _exit(syscall(SYS_getpid) == wanted ? 0 : 1);
  int status;
  if (pid < 0)
    _exit(errno);
  _exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EINVAL);
}

gboolean
probe_set_tid(ProbeNote *note)
{
  gboolean in_user;
  if (!probe_unshare(CLONE_NEWPID, &in_user))
    return FALSE;
  pid_t child = probe_fork(choose_tid, NULL);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child)
    return FALSE;
  errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINVAL;
  return errno == 0;
}

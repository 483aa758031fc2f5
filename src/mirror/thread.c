/* Making and ending threads of a stopped process. */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/error.h"
#include "mirror/twin.h"

/* Waits until the new thread stands in its first stop; it has run no instruction. */
static MirrorThread *
adopt(MirrorProcess *process, pid_t tid, GError **error)
{
  int status;
  pid_t got;
  do
    got = waitpid(tid, &status, __WALL);
  while (got < 0 && errno == EINTR);
  if (got != tid || !WIFSTOPPED(status)) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "a new thread of process %d died at once", process->pid);
    return NULL;
  }
  MirrorThread *thread = mirror_thread_add(process, tid);
  if (!thread) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "a new thread of process %d died at once", process->pid);
    return NULL;
  }
  thread->stopped = TRUE;
  return mirror_breakpoints_arm(thread, error) ? thread : NULL;
}

MirrorThread *
mirror_thread_create(MirrorProcess *process, GError **error)
{
  guint64 room = mirror_scratch_bytes(process);
  struct clone_args image = {.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                                      CLONE_SYSVSEM};
  const guint64 arguments[6] = {room, sizeof image};
  gint64 result;
  process->born = 0;
  if (!mirror_memory_write(process, room, &image, sizeof image, error) ||
      !mirror_inject_one(mirror_thread_leader(process), SYS_clone3, arguments, &result, error))
    return NULL;
  if (result < 0) {
    errno = -result;
    doppel_error_errno(error, "creating a thread of process %d", process->pid);
    return NULL;
  }
  if (!process->born) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "a new thread of process %d was not reported", process->pid);
    return NULL;
  }
  return adopt(process, process->born, error);
}

gboolean
mirror_thread_end(MirrorThread *thread, GError **error)
{
  MirrorProcess *process = thread->process;
  /* Its memory is no longer its own: no word is to be cleared, no lock given up, when it goes. */
  MirrorCall quiet[] = {{SYS_set_tid_address, {0}}, {SYS_set_robust_list, {0, 24}}};
  if (!mirror_inject(thread, quiet, G_N_ELEMENTS(quiet), error))
    return FALSE;
  const guint64 arguments[6] = {0};
  const guint64 all = G_MAXUINT64;
  ArchRegisters *registers = mirror_thread_registers(thread, error);
  if (!registers)
    return FALSE;
  /* A signal sent to the process is for the others to take. */
  if (ptrace(PTRACE_SETSIGMASK, thread->tid, sizeof all, &all) < 0)
    return doppel_error_errno(error, "holding the signals of thread %d", thread->tid);
  arch_set_call(registers, process->scratch + arch_stub()->call_at, SYS_exit, arguments);
  thread->registers_changed = TRUE;
  thread->stop_signal = 0;
  if (!mirror_thread_resume(thread, PTRACE_CONT, error))
    return FALSE;
  for (;;) {
    int status;
    pid_t got = waitpid(thread->tid, &status, __WALL);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 || !WIFSTOPPED(status))
      break;
    if (ptrace(PTRACE_CONT, thread->tid, 0, 0) < 0)
      break;
  }
  mirror_thread_remove(thread);
  return TRUE;
}

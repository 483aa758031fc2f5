/* What a thread's stop means, and how it runs on. */
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "base/error.h"
#include "mirror/process_private.h"

static MirrorStopKind
trap_kind(MirrorThread *thread, MirrorStop *stop)
{
  MirrorProcess *process = thread->process;
  ArchRegisters *registers = mirror_thread_registers(thread, NULL);
  if (!registers)
    return MIRROR_STOP_NONE;
  guint64 pc = arch_pc(registers);
  stop->pc = pc;
  if (process->scratch && thread->in_call &&
      pc == process->scratch + arch_stub()->call_at + arch_stub()->call_trap_at)
    return MIRROR_STOP_CALL_DONE;
  MirrorBreakpoint *hardware = mirror_breakpoint_find(process, pc);
  if (hardware && hardware->slot >= 0)
    return MIRROR_STOP_BREAKPOINT;
  MirrorBreakpoint *trap = mirror_breakpoint_find(process, arch_trap_pc(pc));
  if (trap && trap->slot < 0) {
    stop->pc = trap->address;
    arch_set_pc(registers, trap->address);
    thread->registers_changed = TRUE;
    return MIRROR_STOP_BREAKPOINT;
  }
  return MIRROR_STOP_STEP;
}

static MirrorStopKind
signal_kind(MirrorThread *thread, int signal, MirrorStop *stop)
{
  if (ptrace(PTRACE_GETSIGINFO, thread->tid, 0, &thread->stop_info) < 0)
    return MIRROR_STOP_NONE;
  /* A trap that the program did not send itself is ours: breakpoint, step or stub. */
  if (signal == SIGTRAP && thread->stop_info.si_code > 0) {
    MirrorStopKind kind = trap_kind(thread, stop);
    if (kind != MIRROR_STOP_STEP || thread->stop_info.si_code == 2 /* TRAP_TRACE */ ||
        thread->stop_info.si_code == 4 /* TRAP_HWBKPT */)
      return kind;
  }
  thread->stop_signal = signal;
  return MIRROR_STOP_SIGNAL;
}

MirrorStop
mirror_stop_read(MirrorProcess *process, pid_t tid, int status)
{
  MirrorThread *thread = mirror_thread_find(process, tid);
  MirrorStop stop = {.kind = MIRROR_STOP_NONE, .thread = thread, .status = status};
  if (!WIFSTOPPED(status)) {
    stop.kind = MIRROR_STOP_GONE;
    return stop;
  }
  if (!thread)
    stop.thread = thread = process_thread_new(process, tid);
  thread->stopped = TRUE;
  thread->registers_read = FALSE;
  thread->stop_signal = 0;
  int signal = WSTOPSIG(status), event = status >> 16;
  unsigned long message = 0;
  switch (event) {
  case 0:
    stop.kind = signal == (SIGTRAP | 0x80) ? MIRROR_STOP_SYSCALL : signal_kind(thread, signal, &stop);
    break;
  case PTRACE_EVENT_STOP:
    if (signal == SIGTRAP) {
      thread->interrupting = FALSE;
      break;
    }
    stop.kind = MIRROR_STOP_GROUP;
    thread->stop_signal = 0;
    break;
  case PTRACE_EVENT_CLONE:
  case PTRACE_EVENT_FORK:
  case PTRACE_EVENT_VFORK:
    ptrace(PTRACE_GETEVENTMSG, tid, 0, &message);
    stop.child = message;
    stop.kind = event == PTRACE_EVENT_CLONE ? MIRROR_STOP_NEW_THREAD : MIRROR_STOP_FORK;
    break;
  case PTRACE_EVENT_EXEC:
    ptrace(PTRACE_GETEVENTMSG, tid, 0, &message);
    stop.child = message;
    stop.kind = MIRROR_STOP_EXEC;
    break;
  case PTRACE_EVENT_EXIT:
    stop.kind = MIRROR_STOP_EXITING;
    break;
  }
  return stop;
}

static gboolean
registers_flush(MirrorThread *thread, GError **error)
{
  if (!thread->registers_changed)
    return TRUE;
  thread->registers_changed = FALSE;
  return arch_registers_write(thread->tid, &thread->registers, error);
}

gboolean
mirror_thread_resume(MirrorThread *thread, int request, GError **error)
{
  /* A thread that was killed in its stop is no error here: its end is reported next. */
  gboolean flushed = registers_flush(thread, NULL);
  if ((!flushed || ptrace(request, thread->tid, 0, (long)thread->stop_signal) < 0) && errno != ESRCH)
    return doppel_error_errno(error, "resuming thread %d", thread->tid);
  thread->stopped = thread->registers_read = FALSE;
  thread->stop_signal = 0;
  return TRUE;
}

ArchRegisters *
mirror_thread_registers(MirrorThread *thread, GError **error)
{
  if (!thread->registers_read && !thread->registers_changed) {
    if (!arch_registers_read(thread->tid, &thread->registers, error))
      return NULL;
    thread->registers_read = TRUE;
  }
  return &thread->registers;
}

#include <sys/ptrace.h>

#include "base/error.h"
#include "mirror/process_private.h"

MirrorBreakpoint *
mirror_breakpoint_find(MirrorProcess *process, guint64 address)
{
  for (guint i = 0; i < process->breakpoint_count; i++)
    if (process->breakpoints[i].address == address)
      return &process->breakpoints[i];
  return NULL;
}

static int
free_slot(MirrorProcess *process)
{
  guint used = 0;
  for (guint i = 0; i < process->breakpoint_count; i++)
    if (process->breakpoints[i].slot >= 0)
      used |= 1u << process->breakpoints[i].slot;
  for (guint slot = 0; slot < arch_breakpoint_slots(); slot++)
    if (!(used >> slot & 1))
      return slot;
  return -1;
}

gboolean
mirror_breakpoint_add(MirrorProcess *process, guint64 address, gboolean hardware_if_free, GError **error)
{
  if (mirror_breakpoint_find(process, address))
    return TRUE;
  if (process->breakpoint_count == MIRROR_BREAKPOINTS_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "more than %d functions at once are not supported", MIRROR_BREAKPOINTS_MAX);
  MirrorBreakpoint *breakpoint = &process->breakpoints[process->breakpoint_count];
  *breakpoint = (MirrorBreakpoint){.address = address, .slot = hardware_if_free ? free_slot(process) : -1};
  if (breakpoint->slot >= 0) {
    gboolean set = TRUE;
    guint done = 0;
    for (; done < process->threads->len && set; done++) {
      MirrorThread *thread = process->threads->pdata[done];
      set = arch_breakpoint_set(thread->tid, breakpoint->slot, address, NULL);
    }
    if (!set) { /* a virtual machine without debug registers, or a thread that runs */
      while (done-- > 0)
        arch_breakpoint_clear(((MirrorThread *)process->threads->pdata[done])->tid, breakpoint->slot, NULL);
      breakpoint->slot = -1;
    }
  }
  if (breakpoint->slot < 0 &&
      (!process_read_raw(process, address, breakpoint->original, arch_trap_length, error) ||
       !process_write_raw(process, address, arch_trap, arch_trap_length, error)))
    return FALSE;
  process->breakpoint_count++;
  return TRUE;
}

gboolean
mirror_breakpoint_remove(MirrorProcess *process, guint64 address, GError **error)
{
  MirrorBreakpoint *breakpoint = mirror_breakpoint_find(process, address);
  if (!breakpoint)
    return TRUE;
  if (breakpoint->slot < 0) {
    if (!process_write_raw(process, address, breakpoint->original, arch_trap_length, error))
      return FALSE;
  } else {
    for (guint i = 0; i < process->threads->len; i++)
      arch_breakpoint_clear(((MirrorThread *)process->threads->pdata[i])->tid, breakpoint->slot, NULL);
  }
  *breakpoint = process->breakpoints[--process->breakpoint_count];
  return TRUE;
}

gboolean
mirror_breakpoints_arm(MirrorThread *thread, GError **error)
{
  MirrorProcess *process = thread->process;
  thread->armed = TRUE;
  for (guint i = 0; i < process->breakpoint_count; i++)
    if (process->breakpoints[i].slot >= 0 && !arch_breakpoint_set(thread->tid, process->breakpoints[i].slot,
                                                                  process->breakpoints[i].address, error))
      return FALSE;
  return TRUE;
}

/* One instruction and nothing else: signals wait meanwhile, and one that was to be delivered is to be
 * delivered still, with what it carries. */
static gboolean
step_once(MirrorThread *thread, GError **error)
{
  guint64 mask, all = ~(1ull << (SIGTRAP - 1));
  int signal = thread->stop_signal;
  siginfo_t info = thread->stop_info;
  MirrorStop stop = {.kind = MIRROR_STOP_NONE};
  if (ptrace(PTRACE_GETSIGMASK, thread->tid, sizeof mask, &mask) < 0 ||
      ptrace(PTRACE_SETSIGMASK, thread->tid, sizeof all, &all) < 0)
    return doppel_error_errno(error, "holding the signals of thread %d", thread->tid);
  while (stop.kind != MIRROR_STOP_STEP && stop.kind != MIRROR_STOP_BREAKPOINT) {
    /* The stop of an interrupt can come first, or one that cannot be held: that is delivered afterwards. */
    if (thread->stop_signal) {
      signal = thread->stop_signal;
      info = thread->stop_info;
    }
    thread->stop_signal = 0;
    if (!mirror_thread_resume(thread, PTRACE_SINGLESTEP, error) || !process_wait(thread, &stop, error))
      return FALSE;
    if (stop.kind == MIRROR_STOP_GONE || stop.kind == MIRROR_STOP_EXITING)
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "thread %d died", thread->tid);
    if (thread->stop_signal && thread->stop_signal != SIGSTOP)
      break; /* the instruction's own fault */
  }
  if (ptrace(PTRACE_SETSIGMASK, thread->tid, sizeof mask, &mask) < 0)
    return doppel_error_errno(error, "letting the signals of thread %d go", thread->tid);
  if (!thread->stop_signal && signal) {
    thread->stop_signal = signal;
    thread->stop_info = info;
    ptrace(PTRACE_SETSIGINFO, thread->tid, 0, &info);
  }
  return TRUE;
}

gboolean
mirror_breakpoint_step_over(MirrorThread *thread, GError **error)
{
  ArchRegisters *registers = mirror_thread_registers(thread, error);
  if (!registers)
    return FALSE;
  guint64 address = arch_pc(registers);
  MirrorBreakpoint *breakpoint = mirror_breakpoint_find(thread->process, address);
  if (!breakpoint)
    return mirror_thread_resume(thread, PTRACE_CONT, error);
  if (breakpoint->slot >= 0 && arch_breakpoint_pass(registers)) {
    thread->registers_changed = TRUE;
    return mirror_thread_resume(thread, PTRACE_CONT, error);
  }
  /* Other threads may pass here unseen while the trap is away for one instruction: they lose an offer,
   * nothing else. */
  MirrorBreakpoint saved = *breakpoint;
  return mirror_breakpoint_remove(thread->process, address, error) && step_once(thread, error) &&
         mirror_breakpoint_add(thread->process, saved.address, saved.slot >= 0, error) &&
         mirror_thread_resume(thread, PTRACE_CONT, error);
}

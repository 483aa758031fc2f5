/* All threads stand. */
#include <sys/ptrace.h>

#include "base/error.h"
#include "mirror/process_private.h"

/* Lets a thread that was stopped inside a system call come out of it, and no further. */
static gboolean
leave_call(MirrorThread *thread, GError **error)
{
  if (ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) == 0)
    thread->interrupting = TRUE;
  return mirror_thread_resume(thread, PTRACE_CONT, error);
}

/* An interrupt can overtake a breakpoint that has just fired: its trap waits as a signal. */
gboolean
mirror_trap_waits(MirrorThread *thread)
{
  siginfo_t infos[16];
  struct __ptrace_peeksiginfo_args arguments = {.nr = G_N_ELEMENTS(infos)};
  for (int count; (count = ptrace(PTRACE_PEEKSIGINFO, thread->tid, &arguments, infos)) > 0;
       arguments.off += count)
    for (int i = 0; i < count; i++)
      if (infos[i].si_signo == SIGTRAP && infos[i].si_code > 0)
        return TRUE;
  return FALSE;
}

/* What a thread that is to be frozen reports. FALSE: it cannot be. */
static gboolean
freeze_stop(MirrorProcess *process, const MirrorStop *stop, MirrorStopSeen seen, void *user, GError **error)
{
  MirrorThread *thread = stop->thread;
  /* One that was born just now fires at breakpoints like the others when it runs on. */
  if (!thread->armed)
    mirror_breakpoints_arm(thread, NULL);
  switch (stop->kind) {
  case MIRROR_STOP_BREAKPOINT:
    arch_breakpoint_again(mirror_thread_registers(thread, NULL));
    thread->registers_changed = TRUE;
    return TRUE;
  case MIRROR_STOP_NEW_THREAD:
    mirror_thread_add(process, stop->child);
    return leave_call(thread, error);
  case MIRROR_STOP_FORK:
    return leave_call(thread, error);
  case MIRROR_STOP_NONE:
    return !mirror_trap_waits(thread) || mirror_thread_resume(thread, PTRACE_CONT, error);
  default:
    if (seen)
      seen(stop, user);
    return TRUE;
  }
}

/* FALSE: it has ended. */
static gboolean
freeze_thread(MirrorThread *thread, MirrorStopSeen seen, void *user, gboolean *gone, GError **error)
{
  MirrorProcess *process = thread->process;
  MirrorStop stop;
  while (!thread->stopped) {
    g_autoptr(GError) why = NULL;
    gboolean leader = thread == mirror_thread_leader(process);
    if (!process_wait(thread, &stop, &why)) {
      *gone = !leader; /* someone else was told of its end */
      if (leader)
        g_propagate_error(error, g_steal_pointer(&why));
      return FALSE;
    }
    if (stop.kind == MIRROR_STOP_GONE) {
      if (seen)
        seen(&stop, user);
      *gone = !leader;
      return leader ? doppel_error_set(error, DOPPEL_ERROR_GONE, "process %d died", process->pid) : FALSE;
    }
    if (!freeze_stop(process, &stop, seen, user, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
mirror_process_freeze(MirrorProcess *process, MirrorStopSeen seen, void *user, GError **error)
{
  for (guint i = 0; i < process->threads->len; i++) {
    MirrorThread *thread = process->threads->pdata[i];
    if (!thread->stopped && ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) == 0)
      thread->interrupting = TRUE;
  }
  for (guint i = 0; i < process->threads->len; i++) {
    gboolean gone = FALSE;
    if (freeze_thread(process->threads->pdata[i], seen, user, &gone, error))
      continue;
    if (!gone)
      return FALSE;
    mirror_thread_remove(process->threads->pdata[i--]);
  }
  return TRUE;
}

gboolean
mirror_process_stands(MirrorProcess *process, GError **error)
{
  for (guint i = 0; i < process->threads->len; i++) {
    const MirrorThread *thread = process->threads->pdata[i];
    unsigned long message;
    if (thread->stopped && ptrace(PTRACE_GETEVENTMSG, thread->tid, 0, &message) < 0)
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "process %d was killed while it was looked at",
                              process->pid);
  }
  return TRUE;
}

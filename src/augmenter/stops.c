/* What ptrace reports of the mirror: the end of the block, threads that come and go, signals. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "augmenter/augmenter.h"
#include "base/error.h"
#include "base/io.h"

/* ---- signals ---- */

gboolean
augmenter_signal(Augmenter *augmenter, const Doppel__Engine__Signal *signal, GError **error)
{
  QueuedSignal queued = {.own_tid = signal->thread};
  if (signal->info.len != sizeof queued.info)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a signal of a wrong length");
  memcpy(&queued.info, signal->info.data, sizeof queued.info);
  if (queued.info.si_signo < 1 || queued.info.si_signo > 64)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a signal %d", queued.info.si_signo);
  if (signal->block == augmenter->block + 1)
    g_array_append_val(augmenter->early, queued);
  /* One that comes too late for its block stays with the device, which is told how many did not. */
  if (signal->block != augmenter->block || augmenter->phase != MIRROR_RUNNING)
    return TRUE;
  augmenter->signals_seen++;
  if (!ENGINE_SEND(augmenter->link, SIGNAL, signal, (Doppel__Engine__Signal *)signal, error))
    return FALSE; /* back as it came: it is here */
  g_array_append_val(augmenter->signals, queued);
  MirrorThread *thread = queued.own_tid ? mirror_thread_find_own(augmenter->process, queued.own_tid) : NULL;
  if (thread)
    syscall(SYS_tgkill, augmenter->process->pid, thread->tid, queued.info.si_signo);
  else
    kill(augmenter->process->pid, queued.info.si_signo);
  /* Calls that wait on the device are broken off there, so that the signal finds the program here. */
  for (guint i = 0; i < augmenter->held->len; i++) {
    HeldCall *call = augmenter->held->pdata[i];
    if (call->row && call->row->flags & SYSCALL_BLOCKS && !augmenter_cancel(augmenter, call, error))
      return FALSE;
  }
  return TRUE;
}

/* The program is to see who sent the signal, and that was not the Augmenter. */
static void
restore_info(Augmenter *augmenter, MirrorThread *thread)
{
  for (guint i = 0; i < augmenter->signals->len; i++) {
    QueuedSignal *queued = &g_array_index(augmenter->signals, QueuedSignal, i);
    if (queued->info.si_signo != thread->stop_signal)
      continue;
    thread->stop_info = queued->info;
    ptrace(PTRACE_SETSIGINFO, thread->tid, 0, &queued->info);
    g_array_remove_index(augmenter->signals, i);
    return;
  }
}

static guint64
status_mask(MirrorProcess *process, const char *field)
{
  g_autofree char *status = io_read_file_at(process->directory, "status", 1 << 16);
  const char *line = status ? strstr(status, field) : NULL;
  return line ? g_ascii_strtoull(line + strlen(field), NULL, 16) : 0;
}

typedef enum { EFFECT_NONE, EFFECT_HANDLER, EFFECT_DEATH, EFFECT_STOP } SignalEffect;

static SignalEffect
signal_effect(MirrorProcess *process, int signal)
{
  guint64 bit = 1ull << (signal - 1);
  if (status_mask(process, "\nSigCgt:") & bit)
    return EFFECT_HANDLER;
  if (status_mask(process, "\nSigIgn:") & bit)
    return EFFECT_NONE;
  switch (signal) {
  case SIGCHLD:
  case SIGURG:
  case SIGWINCH:
  case SIGCONT:
    return EFFECT_NONE;
  case SIGSTOP:
  case SIGTSTP:
  case SIGTTIN:
  case SIGTTOU:
    return EFFECT_STOP;
  default:
    return EFFECT_DEATH;
  }
}

/* A fault of the program's own instruction happens again on the device when that instruction is executed
 * there. */
static gboolean
is_fault(const siginfo_t *info)
{
  switch (info->si_signo) {
  case SIGSEGV:
  case SIGBUS:
  case SIGFPE:
  case SIGILL:
  case SIGTRAP:
    return info->si_code > 0;
  default:
    return FALSE;
  }
}

void
augmenter_keep_signal(Augmenter *augmenter, MirrorThread *thread)
{
  restore_info(augmenter, thread);
  QueuedSignal queued = {.own_tid = thread->own_tid, .info = thread->stop_info};
  if (!is_fault(&thread->stop_info))
    g_array_append_val(augmenter->end_signals, queued);
  thread->stop_signal = 0;
}

static gboolean
on_signal(Augmenter *augmenter, MirrorThread *thread, GError **error)
{
  restore_info(augmenter, thread);
  SignalEffect effect = signal_effect(augmenter->process, thread->stop_signal);
  if (effect == EFFECT_NONE || effect == EFFECT_HANDLER) {
    ArchRegisters *registers = mirror_thread_registers(thread, NULL);
    thread->registers_changed |= registers && augmenter_call_again(augmenter, thread->tid, registers);
    return mirror_thread_resume(thread, PTRACE_CONT, error);
  }
  /* It would die or stop: that is to happen to the primary, with all that the block did until now. */
  g_autofree char *reason =
      g_strdup_printf("signal %d (%s)", thread->stop_signal, strsignal(thread->stop_signal));
  if (!is_fault(&thread->stop_info)) {
    QueuedSignal queued = {.own_tid = thread->own_tid, .info = thread->stop_info};
    g_array_append_val(augmenter->end_signals, queued);
  }
  thread->stop_signal = 0;
  return augmenter_block_end(augmenter, DOPPEL__ENGINE__HOW__CUT, 0, reason, error);
}

/* ---- threads ---- */

static gboolean
on_new_thread(Augmenter *augmenter, const MirrorStop *stop, GError **error)
{
  MirrorThread *born = mirror_thread_add(augmenter->process, stop->child);
  augmenter_creation_over(augmenter, stop->thread->tid, TRUE);
  if (born && born->own_tid != augmenter->creating_id)
    return augmenter_block_end(augmenter, DOPPEL__ENGINE__HOW__ABORTED, 0,
                               "a new thread could not get the id that the device keeps for it", error);
  return mirror_thread_resume(stop->thread, PTRACE_CONT, error) && augmenter_retry_held(augmenter, error);
}

static gboolean
on_fork(Augmenter *augmenter, const MirrorStop *stop, GError **error)
{
  augmenter_creation_over(augmenter, stop->thread->tid, TRUE);
  return mirror_thread_resume(stop->thread, PTRACE_CONT, error) && augmenter_retry_held(augmenter, error);
}

/* Whether a task that the kernel attached for us is a thread of the mirror, and not a child. */
static gboolean
is_own_thread(Augmenter *augmenter, pid_t tid)
{
  char path[64];
  struct stat facts;
  snprintf(path, sizeof path, "task/%d", tid);
  return fstatat(augmenter->process->directory, path, &facts, 0) == 0;
}

static gboolean
on_breakpoint(Augmenter *augmenter, MirrorThread *thread, GError **error)
{
  ArchRegisters *registers = mirror_thread_registers(thread, error);
  if (!registers)
    return FALSE;
  if (thread->own_tid == augmenter->block_thread && arch_frame_left(augmenter->entry_sp, arch_sp(registers)))
    return augmenter_block_end(augmenter, DOPPEL__ENGINE__HOW__RETURNED, 0, NULL, error);
  augmenter->called = TRUE;                          /* from here on nobody sees it */
  return mirror_breakpoint_step_over(thread, error); /* a deeper call of a recursion, or another thread */
}

static gboolean
on_gone(Augmenter *augmenter, MirrorThread *thread, pid_t tid, int status, GError **error)
{
  if (tid == augmenter->process->pid)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the mirror was killed (wait status 0x%x)", status);
  mirror_thread_remove(thread);
  return TRUE;
}

static gboolean
on_stop(Augmenter *augmenter, const MirrorStop *stop, GError **error)
{
  MirrorThread *thread = stop->thread;
  gboolean makes = stop->kind == MIRROR_STOP_NEW_THREAD || stop->kind == MIRROR_STOP_FORK;
  if (augmenter->phase != MIRROR_RUNNING) {
    /* The block is over: it stays where it stopped, unless that is inside a call that made a thread. A signal
     * is the device's to deliver. */
    if (makes) {
      ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0);
      return mirror_thread_resume(thread, PTRACE_CONT, error);
    }
    if (stop->kind == MIRROR_STOP_SIGNAL)
      augmenter_keep_signal(augmenter, thread);
    return TRUE;
  }
  if (!makes && augmenter_creation_over(augmenter, thread->tid, FALSE) &&
      !augmenter_retry_held(augmenter, error))
    return FALSE;
  switch (stop->kind) {
  case MIRROR_STOP_BREAKPOINT:
    return on_breakpoint(augmenter, thread, error);
  case MIRROR_STOP_NEW_THREAD:
    return on_new_thread(augmenter, stop, error);
  case MIRROR_STOP_FORK:
    return on_fork(augmenter, stop, error);
  case MIRROR_STOP_SIGNAL:
    return on_signal(augmenter, thread, error);
  case MIRROR_STOP_GROUP:
    return mirror_thread_resume(thread, PTRACE_LISTEN, error);
  default:
    return mirror_thread_resume(thread, PTRACE_CONT, error);
  }
}

gboolean
augmenter_reap(Augmenter *augmenter, GError **error)
{
  struct signalfd_siginfo drained[8];
  while (read(augmenter->children, drained, sizeof drained) == sizeof drained)
    ;
  for (;;) {
    int status;
    pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);
    if (tid <= 0)
      return TRUE;
    if (tid == augmenter->sandbox->init)
      return doppel_error_set(error, DOPPEL_ERROR_GONE, "the sandbox's init was killed");
    MirrorThread *known = mirror_thread_find(augmenter->process, tid);
    if (!known && !(WIFSTOPPED(status) && is_own_thread(augmenter, tid))) {
      if (!augmenter_child(augmenter, tid, status, error))
        return FALSE;
      continue;
    }
    if (!WIFSTOPPED(status)) {
      if (!on_gone(augmenter, known, tid, status, error))
        return FALSE;
      continue;
    }
    /* A thread's first stop can come before the word of its birth. */
    MirrorStop stop = mirror_stop_read(augmenter->process, tid, status);
    augmenter->called |= stop.kind != MIRROR_STOP_BREAKPOINT;
    augmenter->noticed |= stop.kind != MIRROR_STOP_BREAKPOINT && stop.kind != MIRROR_STOP_NONE &&
                          stop.kind != MIRROR_STOP_SYSCALL;
    if (!stop.thread->armed)
      mirror_breakpoints_arm(stop.thread, NULL);
    if (!on_stop(augmenter, &stop, error))
      return FALSE;
  }
}

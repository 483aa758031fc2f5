/* Signals and notified system calls (seccomp_unotify(2)).
 *
 * Until the Augmenter has received a notification, a signal sends its caller back with ERESTARTSYS, which a
 * handler without SA_RESTART turns into EINTR: fork(2), open(2) or read(2) of a plain file would fail as they
 * never do. Such a call was not begun, so it is made again once the handler has run, as if the signal had
 * come just before it.
 *
 * Once it is received, signals wait until it is answered (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV). One that
 * comes from inside the clone, as a child's end does, breaks off what the device makes for that thread. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "augmenter/augmenter.h"
#include "base/io.h"

/* ---- calls that were not begun ---- */

static gboolean
is_plain(Augmenter *augmenter, pid_t tid, int fd)
{
  char name[64];
  struct stat facts;
  snprintf(name, sizeof name, "%d/fd/%d", tid, fd);
  return fstatat(augmenter->sandbox->proc_fd, name, &facts, 0) == 0 &&
         (S_ISREG(facts.st_mode) || S_ISDIR(facts.st_mode));
}

static gboolean
waits_for_lock(const SyscallRow *row, const ArchRegisters *registers)
{
  int command = (int)arch_argument(registers, 1);
  return row->nr == SYS_flock || (row->nr == SYS_fcntl && (command == F_SETLKW || command == F_OFD_SETLKW));
}

/* Whether a call that ended with ERESTARTSYS can have been interrupted while it waited in the clone, which is
 * for the program to see. The other calls that wait (poll and its kin) end with other codes then. */
static gboolean
may_have_waited(Augmenter *augmenter, pid_t tid, const SyscallRow *row, const ArchRegisters *registers)
{
  gint32 pin;
  int fd = (int)arch_argument(registers, 0);
  if (!(row->flags & SYSCALL_BLOCKS))
    return FALSE;
  if (row->class == SYSCALL_SPECIAL)
    return row->handler == SYSCALL_HANDLER_WAIT;
  if (row->class != SYSCALL_FD || augmenter_pin_of(augmenter, tid, fd, &pin))
    return FALSE;
  return waits_for_lock(row, registers) ||
         (row->nr != SYS_fcntl && row->nr != SYS_ioctl && !is_plain(augmenter, tid, fd));
}

gboolean
augmenter_call_again(Augmenter *augmenter, pid_t tid, ArchRegisters *registers)
{
  gint64 number = arch_call_number(tid, registers);
  if (number < 0 || arch_result(registers) != MIRROR_CALL_INTERRUPTED)
    return FALSE;
  if (g_hash_table_remove(augmenter->sent_back, GINT_TO_POINTER(tid)))
    return FALSE; /* it waited on the device */
  const SyscallRow *row = syscall_row(number);
  return row && row->class != SYSCALL_NATIVE && !may_have_waited(augmenter, tid, row, registers) &&
         arch_rewind_call(registers);
}

/* ---- calls that are on the device ---- */

static guint64
status_mask(const char *status, const char *field)
{
  const char *line = strstr(status, field);
  return line ? g_ascii_strtoull(line + strlen(field), NULL, 16) : 0;
}

/* A signal waits that the task has a handler for. */
static gboolean
has_signal(Augmenter *augmenter, pid_t tid)
{
  char name[64];
  snprintf(name, sizeof name, "%d/status", tid);
  g_autofree char *status = io_read_file_at(augmenter->sandbox->proc_fd, name, 1 << 16);
  if (!status)
    return FALSE;
  guint64 waiting = status_mask(status, "\nSigPnd:") | status_mask(status, "\nShdPnd:");
  return (waiting & ~status_mask(status, "\nSigBlk:") & status_mask(status, "\nSigCgt:")) != 0;
}

gboolean
augmenter_cancel(Augmenter *augmenter, HeldCall *call, GError **error)
{
  if (call->state != CALL_FORWARDED || call->cancelled)
    return TRUE;
  Doppel__Engine__CancelForward cancel = DOPPEL__ENGINE__CANCEL_FORWARD__INIT;
  cancel.id = call->id;
  call->cancelled = TRUE;
  return ENGINE_SEND(augmenter->link, CANCEL_FORWARD, cancel_forward, &cancel, error);
}

static gboolean
let_signals_in(Augmenter *augmenter, GError **error)
{
  for (guint i = 0; i < augmenter->held->len; i++) {
    HeldCall *call = augmenter->held->pdata[i];
    if (call->state == CALL_FORWARDED && call->row->flags & SYSCALL_BLOCKS &&
        has_signal(augmenter, call->tid) && !augmenter_cancel(augmenter, call, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- children ---- */

/* Children run by themselves: the filter that they inherit routes their calls. They are traced for their
 * signals alone. */
gboolean
augmenter_child(Augmenter *augmenter, pid_t tid, int status, GError **error)
{
  if (!WIFSTOPPED(status))
    return let_signals_in(augmenter, error); /* its parent hears of it now */
  int event = status >> 16, signal = WSTOPSIG(status);
  ArchRegisters registers;
  if (event == PTRACE_EVENT_STOP && signal != SIGTRAP) {
    ptrace(PTRACE_LISTEN, tid, 0, 0);
    return TRUE;
  }
  if (!event && arch_registers_read(tid, &registers, NULL) &&
      augmenter_call_again(augmenter, tid, &registers))
    arch_registers_write(tid, &registers, NULL);
  ptrace(PTRACE_CONT, tid, 0, event ? 0l : (long)signal);
  return TRUE;
}

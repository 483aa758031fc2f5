/* After an abort the primary runs the block itself; what was already done on pins is answered from the log,
 * not done again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "controller/rerun.h"

static gboolean
memory_read(void *user, guint64 address, void *to, gsize length)
{
  return mirror_memory_read(((Controller *)user)->process, address, to, length, NULL);
}

static gboolean
memory_write(void *user, guint64 address, const void *from, gsize length)
{
  return mirror_memory_write(((Controller *)user)->process, address, from, length, NULL);
}

/* Who makes a call: the program itself, or a child that it has made again. */
typedef struct {
  Controller *controller;
  pid_t tid;
} Caller;

/* The pin that has this name: the one of this number, if it does, for several may. */
static gint64
pin_named(GHashTable *pins, int fd, const char *link)
{
  const char *name = g_hash_table_lookup(pins, GINT_TO_POINTER(fd));
  if (name && strcmp(name, link) == 0)
    return fd;
  GHashTableIter iterator;
  gpointer key, value;
  g_hash_table_iter_init(&iterator, pins);
  while (g_hash_table_iter_next(&iterator, &key, &value))
    if (strcmp(value, link) == 0)
      return GPOINTER_TO_INT(key);
  return PIN_NONE;
}

/* A descriptor of the re-run is the pin that is the same thing: it may have been duplicated since. */
static gint64
pin_of_fd(void *user, int fd)
{
  const Caller *caller = user;
  char path[32], link[4096];
  snprintf(path, sizeof path, "%d/fd/%d", caller->tid, fd);
  ssize_t length = readlinkat(caller->controller->proc_fd, path, link, sizeof link - 1);
  if (length < 0)
    return PIN_NONE;
  link[length] = '\0';
  gint64 pin = pin_named(caller->controller->pins, fd, link);
  return pin == PIN_NONE ? pin_named(caller->controller->let_go, fd, link) : pin;
}

static int
fd_of_pin(void *user, guint32 pin)
{
  return (int)pin;
}

int
rerun_request(Controller *controller)
{
  if (controller->rerunning && pinlog_empty(controller->log)) {
    controller->rerunning = FALSE;
    rerun_children_release(controller);
  }
  return controller->rerunning ? PTRACE_SYSCALL : PTRACE_CONT;
}

/* The rest of a plain write can be written by itself; of others the program sees a short count. */
static void
answer_partly(ArchRegisters *registers, gint64 number, const guint64 arguments[SYSCALL_ARGS],
              RerunAnswer *answer)
{
  if (number != SYS_write && number != SYS_sendto) {
    answer->skipped = TRUE;
    arch_skip_call(registers);
    return;
  }
  answer->add = TRUE;
  arch_set_argument(registers, 1, arguments[1] + answer->value);
  arch_set_argument(registers, 2, arguments[2] - answer->value);
}

gboolean
rerun_enter(Controller *controller, pid_t tid, const MirrorMemoryOps *memory, ArchRegisters *registers,
            gint64 number, RerunAnswer *answer)
{
  const SyscallRow *row = syscall_row(number);
  guint64 arguments[SYSCALL_ARGS];
  gboolean child = !mirror_thread_find(controller->process, tid);
  Caller caller = {controller, tid};
  PinLogProcess process = {memory, pin_of_fd, fd_of_pin, &caller};
  *answer = (RerunAnswer){0};
  for (guint i = 0; i < SYSCALL_ARGS; i++)
    arguments[i] = arch_argument(registers, i);
  if (!row || row->class == SYSCALL_NATIVE || row->class == SYSCALL_CUT)
    return FALSE;
  PinLogAnswer found = pinlog_answer(controller->log, row, arguments, &process, &answer->value);
  /* What a child had opened was held by the program: it opens the same again for itself. */
  if (found == PINLOG_NOT_IN_LOG || (child && row->flags & SYSCALL_RETURNS_FD))
    return FALSE;
  if (found == PINLOG_PARTLY) {
    answer_partly(registers, number, arguments, answer);
  } else {
    answer->skipped = TRUE;
    arch_skip_call(registers);
  }
  return TRUE;
}

gboolean
rerun_leave(ArchRegisters *registers, const RerunAnswer *answer)
{
  if (answer->skipped)
    arch_set_result(registers, answer->value);
  else if (answer->add && arch_result(registers) >= 0)
    arch_set_result(registers, arch_result(registers) + answer->value);
  else if (answer->add)
    arch_set_result(registers, answer->value);
  return answer->skipped || answer->add;
}

/* Entry and exit alternate; which one it is follows from what the kernel says of the stop
 * (PTRACE_GET_SYSCALL_INFO). */
gboolean
rerun_stop(Controller *controller, const MirrorStop *stop, GError **error)
{
  MirrorThread *thread = stop->thread;
  ArchRegisters *registers = mirror_thread_registers(thread, error);
  struct __ptrace_syscall_info info = {0};
  if (!registers || ptrace(PTRACE_GET_SYSCALL_INFO, thread->tid, sizeof info, &info) < 0)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the program died");
  if (!thread->answer)
    thread->answer = g_new0(RerunAnswer, 1);
  RerunAnswer *answer = thread->answer;
  MirrorMemoryOps memory = {memory_read, memory_write, controller};
  gboolean entered = FALSE;
  if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
    entered = rerun_enter(controller, thread->tid, &memory, registers, info.entry.nr, answer);
  thread->registers_changed |= entered;
  if (info.op == PTRACE_SYSCALL_INFO_EXIT)
    thread->registers_changed |= rerun_leave(registers, answer);
  return mirror_thread_resume(thread, entered ? PTRACE_SYSCALL : rerun_request(controller), error);
}

void
rerun_begin(Controller *controller)
{
  controller->rerunning = !pinlog_empty(controller->log);
  if (controller->rerunning)
    rerun_children_begin(controller);
}

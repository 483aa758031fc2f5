/* After an abort the primary runs the block itself; what was already done on pins is answered from the log,
 * not done again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "controller/controller.h"

/* What a stopped call is to return, once it has been kept from the kernel, or what is to be added to what it
 * returns. */
typedef struct {
  gboolean skipped, add;
  gint64 value;
} CallAnswer;

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

/* A descriptor of the re-run is the pin that is the same thing: it may have been duplicated since. */
static gint64
pin_of_fd(void *user, int fd)
{
  Controller *controller = user;
  char path[32], link[4096];
  snprintf(path, sizeof path, "fd/%d", fd);
  ssize_t length = readlinkat(controller->process->directory, path, link, sizeof link - 1);
  if (length < 0)
    return PIN_NONE;
  link[length] = '\0';
  const char *name = g_hash_table_lookup(controller->pins, GINT_TO_POINTER(fd));
  if (name && strcmp(name, link) == 0)
    return fd;
  GHashTableIter iterator;
  gpointer key, value;
  g_hash_table_iter_init(&iterator, controller->pins);
  while (g_hash_table_iter_next(&iterator, &key, &value))
    if (strcmp(value, link) == 0)
      return GPOINTER_TO_INT(key);
  return PIN_NONE;
}

static int
fd_of_pin(void *user, guint32 pin)
{
  return (int)pin;
}

int
rerun_request(Controller *controller)
{
  if (controller->rerunning && pinlog_empty(controller->log))
    controller->rerunning = FALSE;
  return controller->rerunning ? PTRACE_SYSCALL : PTRACE_CONT;
}

static void
enter(Controller *controller, MirrorThread *thread, ArchRegisters *registers, gint64 number,
      CallAnswer *answer)
{
  const SyscallRow *row = syscall_row(number);
  guint64 arguments[SYSCALL_ARGS];
  MirrorMemoryOps memory = {memory_read, memory_write, controller};
  PinLogProcess process = {&memory, pin_of_fd, fd_of_pin, controller};
  *answer = (CallAnswer){0};
  for (guint i = 0; i < SYSCALL_ARGS; i++)
    arguments[i] = arch_argument(registers, i);
  if (!row || row->class == SYSCALL_NATIVE || row->class == SYSCALL_CUT)
    return;
  switch (pinlog_answer(controller->log, row, arguments, &process, &answer->value)) {
  case PINLOG_ANSWERED:
    answer->skipped = TRUE;
    arch_skip_call(registers);
    thread->registers_changed = TRUE;
    break;
  case PINLOG_PARTLY:
    /* The rest of a plain write can be written by itself; of others the program sees a short count. */
    if (number == SYS_write || number == SYS_sendto) {
      answer->add = TRUE;
      arch_set_argument(registers, 1, arguments[1] + answer->value);
      arch_set_argument(registers, 2, arguments[2] - answer->value);
    } else {
      answer->skipped = TRUE;
      arch_skip_call(registers);
    }
    thread->registers_changed = TRUE;
    break;
  case PINLOG_NOT_IN_LOG:
    break;
  }
}

static void
leave(MirrorThread *thread, ArchRegisters *registers, const CallAnswer *answer)
{
  if (answer->skipped)
    arch_set_result(registers, answer->value);
  else if (answer->add && arch_result(registers) >= 0)
    arch_set_result(registers, arch_result(registers) + answer->value);
  else if (answer->add)
    arch_set_result(registers, answer->value);
  thread->registers_changed |= answer->skipped || answer->add;
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
    thread->answer = g_new0(CallAnswer, 1);
  CallAnswer *answer = thread->answer;
  if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
    enter(controller, thread, registers, info.entry.nr, answer);
  else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
    leave(thread, registers, answer);
  gboolean entered = info.op == PTRACE_SYSCALL_INFO_ENTRY && (answer->skipped || answer->add);
  return mirror_thread_resume(thread, entered ? PTRACE_SYSCALL : rerun_request(controller), error);
}

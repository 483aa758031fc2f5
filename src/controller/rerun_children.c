/* Children of a program that runs a block again. Each is let go as soon as nothing is left to be answered. */
#include "controller/rerun.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/task_memory.h"

enum { PATIENCE_NS = 1000000000 };

static gboolean
memory_read(void *user, guint64 address, void *to, gsize length)
{
  return task_memory_read(*(pid_t *)user, address, to, length);
}

static gboolean
memory_write(void *user, guint64 address, const void *from, gsize length)
{
  return task_memory_write(*(pid_t *)user, address, from, length);
}

void
rerun_children_begin(Controller *controller)
{
  const long options = CONTROLLER_TRACE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
  for (guint i = 0; i < controller->process->threads->len; i++) {
    const MirrorThread *thread = controller->process->threads->pdata[i];
    ptrace(PTRACE_SETOPTIONS, thread->tid, 0, options);
  }
  if (!controller->children)
    controller->children = g_hash_table_new_full(NULL, NULL, NULL, g_free);
}

/* A thread's first stop can come before the word of its birth. */
static gboolean
is_own_thread(const Controller *controller, pid_t tid)
{
  char path[32];
  struct stat there;
  snprintf(path, sizeof path, "task/%d", tid);
  return mirror_thread_find(controller->process, tid) ||
         fstatat(controller->process->directory, path, &there, 0) == 0;
}

/* Whether its call was answered: then it is to stop once more. */
static gboolean
on_call(Controller *controller, pid_t tid, RerunAnswer *answer)
{
  MirrorMemoryOps memory = {memory_read, memory_write, &tid};
  struct __ptrace_syscall_info info = {0};
  ArchRegisters registers;
  gboolean entered = FALSE;
  if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) < 0 ||
      !arch_registers_read(tid, &registers, NULL))
    return FALSE;
  if (info.op == PTRACE_SYSCALL_INFO_ENTRY && controller->rerunning) {
    entered = rerun_enter(controller, tid, &memory, &registers, info.entry.nr, answer);
    if (entered)
      arch_registers_write(tid, &registers, NULL);
  } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
    if (rerun_leave(&registers, answer))
      arch_registers_write(tid, &registers, NULL);
    *answer = (RerunAnswer){0};
  }
  return entered;
}

static void
on_stop(Controller *controller, pid_t tid, int status, RerunAnswer *answer)
{
  int signal = WSTOPSIG(status), event = status >> 16;
  gboolean group = event == PTRACE_EVENT_STOP && signal != SIGTRAP;
  gboolean call = event == 0 && signal == (SIGTRAP | 0x80);
  gboolean answered = call ? on_call(controller, tid, answer) : answer->skipped || answer->add;
  long deliver = event || call ? 0 : signal;
  if (controller->rerunning && pinlog_empty(controller->log))
    rerun_request(controller);
  if (!controller->rerunning && !answered) { /* one that job control stopped stays so */
    ptrace(PTRACE_DETACH, tid, 0, deliver);
    g_hash_table_remove(controller->children, GINT_TO_POINTER(tid));
  } else {
    ptrace(group ? PTRACE_LISTEN : PTRACE_SYSCALL, tid, 0, deliver);
  }
}

gboolean
rerun_child_stop(Controller *controller, pid_t tid, int status)
{
  gpointer key = GINT_TO_POINTER(tid);
  if (!controller->children || tid == controller->augmenter || is_own_thread(controller, tid))
    return FALSE;
  RerunAnswer *answer = g_hash_table_lookup(controller->children, key);
  if (!WIFSTOPPED(status)) {
    g_hash_table_remove(controller->children, key);
    return answer != NULL;
  }
  if (!answer) {
    answer = g_new0(RerunAnswer, 1);
    g_hash_table_insert(controller->children, key, answer);
  }
  on_stop(controller, tid, status, answer);
  return TRUE;
}

void
rerun_children_release(Controller *controller)
{
  GHashTableIter iterator;
  gpointer tid;
  if (!controller->children)
    return;
  g_hash_table_iter_init(&iterator, controller->children);
  while (g_hash_table_iter_next(&iterator, &tid, NULL))
    ptrace(PTRACE_INTERRUPT, GPOINTER_TO_INT(tid), 0, 0);
}

void
rerun_children_free(Controller *controller)
{
  if (!controller->children)
    return;
  controller->rerunning = FALSE;
  rerun_children_release(controller);
  for (gint64 limit = clock_now_ns() + PATIENCE_NS; g_hash_table_size(controller->children);) {
    int status;
    pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);
    if (tid > 0)
      rerun_child_stop(controller, tid, status);
    else if (tid < 0 || clock_now_ns() > limit)
      break;
    else
      g_usleep(100);
  }
  g_clear_pointer(&controller->children, g_hash_table_unref);
}

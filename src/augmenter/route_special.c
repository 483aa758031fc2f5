/* System calls of which no class says what becomes of them. */
#include <linux/close_range.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "augmenter/route_private.h"

enum { RESERVE_COUNT = 8 };

static gboolean
need_threads(Augmenter *augmenter, GError **error)
{
  if (augmenter->asked_threads)
    return TRUE;
  augmenter->asked_threads = TRUE;
  Doppel__Engine__NeedThreads message = DOPPEL__ENGINE__NEED_THREADS__INIT;
  message.count = RESERVE_COUNT;
  return ENGINE_SEND(augmenter->link, NEED_THREADS, need_threads, &message, error);
}

static guint64
clone_flags(HeldCall *held)
{
  guint64 flags = 0;
  switch (held->row->nr) {
  case SYS_clone:
    return held->arguments[0];
  case SYS_clone3:
    augmenter_memory_read(held->augmenter, held->tid, held->arguments[0], &flags, sizeof flags);
    return flags;
  default:
    return 0;
  }
}

/* A thread takes an id that the device keeps for it; a child one that no thread will want. One at a time,
 * since the id is the namespace's next. */
static gboolean
route_fork(Augmenter *augmenter, HeldCall *held, GError **error)
{
  if (!demand_before_call(augmenter, held, error))
    return FALSE;
  gboolean thread = (clone_flags(held) & CLONE_THREAD) != 0;
  if (augmenter->creator) {
    held->state = CALL_HELD;
    /* Should its call have failed, this is how we hear of it; it goes on otherwise. */
    ptrace(PTRACE_INTERRUPT, augmenter->creator, 0, 0);
    return TRUE;
  }
  if (thread && !held->child && !augmenter->reserved->len) {
    held->state = CALL_HELD;
    return need_threads(augmenter, error);
  }
  pid_t id = augmenter->next_child_id;
  if (thread && !held->child) {
    id = g_array_index(augmenter->reserved, pid_t, 0);
    g_array_remove_index(augmenter->reserved, 0);
  } else if (++augmenter->next_child_id >= augmenter->sandbox->pid_max)
    augmenter->next_child_id = augmenter->sandbox->pid_max / 4 * 3;
  if (!sandbox_next_pid(augmenter->sandbox, id, error))
    return FALSE;
  augmenter->creating_id = id;
  augmenter->creating_thread = thread;
  augmenter->creator = held->child ? 0 : held->tid;
  return route_go_on(augmenter, held);
}

/* A signal that comes while the kernel makes the task sends the caller back to call again. */
gboolean
augmenter_creation_over(Augmenter *augmenter, pid_t tid, gboolean born)
{
  if (!augmenter->creator || augmenter->creator != tid)
    return FALSE;
  if (!born && augmenter->creating_thread)
    g_array_prepend_val(augmenter->reserved, augmenter->creating_id);
  augmenter->creator = 0;
  return TRUE;
}

static gboolean
route_exit(Augmenter *augmenter, HeldCall *held, GError **error)
{
  if (held->child)
    return route_go_on(augmenter, held);
  if (held->row->nr == SYS_exit_group || augmenter->process->threads->len == 1)
    return augmenter_block_end(augmenter, DOPPEL__ENGINE__HOW__EXITED, (gint32)held->arguments[0], NULL,
                               error);
  if (held->tid == augmenter->process->pid)
    return route_cut(augmenter, held, "the first thread ends before the others", error);
  return demand_before_exit(augmenter, held->tid, error) && route_go_on(augmenter, held);
}

static gboolean
is_inside(Augmenter *augmenter, pid_t target)
{
  return target == augmenter->process->own_pid || mirror_thread_find_own(augmenter->process, target) ||
         target >= augmenter->sandbox->pid_max / 4 * 3;
}

static gboolean
route_signal(Augmenter *augmenter, HeldCall *held, GError **error)
{
  pid_t target = (pid_t)held->arguments[0];
  if (is_inside(augmenter, target))
    return route_go_on(augmenter, held);
  if (target > 0 && (held->row->flags & SYSCALL_MAY_FORWARD))
    return route_forward(augmenter, held, NULL, error);
  return route_cut(augmenter, held, NULL, error);
}

static gboolean
route_map(Augmenter *augmenter, HeldCall *held, GError **error)
{
  gint32 pin;
  if ((int)held->arguments[4] >= 0 && augmenter_pin_of(augmenter, held->tid, (int)held->arguments[4], &pin))
    return route_cut(augmenter, held, "of a thing of the device", error);
  return route_go_on(augmenter, held);
}

static gboolean
route_prctl(Augmenter *augmenter, HeldCall *held, GError **error)
{
  switch (syscall_prctl_class(held->row, held->arguments)) {
  case SYSCALL_NATIVE:
    return route_go_on(augmenter, held);
  case SYSCALL_FORWARD:
    return route_forward(augmenter, held, NULL, error);
  default:
    return route_cut(augmenter, held, NULL, error);
  }
}

static gboolean
knows_limit(Augmenter *augmenter, HeldCall *held)
{
  gboolean other = held->row->nr == SYS_prlimit64;
  GBytes *limits =
      augmenter->twin->agreed ? mirror_state_get(augmenter->twin->agreed, MIRROR_SECTION_LIMITS, 0) : NULL;
  pid_t of = other ? (pid_t)held->arguments[0] : 0;
  return limits && (of == 0 || of == augmenter->process->own_pid) &&
         mirror_state_has_limit(augmenter->process, limits, (int)held->arguments[other ? 1 : 0]);
}

/* Questions for the program's own limits are answered with the device's; changes are the device's to make. */
static gboolean
route_limit(Augmenter *augmenter, HeldCall *held, GError **error)
{
  gboolean asks = held->row->nr != SYS_prlimit64 || held->arguments[2] == 0;
#ifdef SYS_setrlimit
  asks = asks && held->row->nr != SYS_setrlimit;
#endif
  if (held->child || (asks && knows_limit(augmenter, held)))
    return route_go_on(augmenter, held);
  return asks && held->row->flags & SYSCALL_MAY_FORWARD ? route_forward(augmenter, held, NULL, error)
                                                        : route_cut(augmenter, held, NULL, error);
}

static gboolean
may_forward(Augmenter *augmenter, HeldCall *held, gboolean native_in_child, GError **error)
{
  if (held->child && native_in_child)
    return route_go_on(augmenter, held);
  if (held->row->flags & SYSCALL_MAY_FORWARD)
    return route_forward(augmenter, held, NULL, error);
  return route_cut(augmenter, held, NULL, error);
}

/* What has no name is made on the device, so that it can outlive the block; but for pipes, which mostly join
 * the block with a child in the clone, memory files, signalfds (signals go where the program is), and what
 * children make for themselves. */
static gboolean
route_local(Augmenter *augmenter, HeldCall *held, GError **error)
{
  gboolean native = held->child || held->row->nr == SYS_pipe2 || held->row->nr == SYS_memfd_create ||
                    held->row->nr == SYS_signalfd4;
#ifdef SYS_signalfd
  native = native || held->row->nr == SYS_signalfd;
#endif
#ifdef SYS_pipe
  native = native || held->row->nr == SYS_pipe;
#endif
  return native || !(held->row->flags & SYSCALL_MAY_FORWARD) ? route_go_on(augmenter, held)
                                                             : route_forward(augmenter, held, NULL, error);
}

static gboolean
route_processor(Augmenter *augmenter, HeldCall *held, ProcessorAnswer how, GError **error)
{
  switch (how) {
  case PROCESSOR_NATIVE:
    return route_go_on(augmenter, held);
  case PROCESSOR_DONE:
    return route_answer(augmenter, held, 0);
  default:
    return route_forward(augmenter, held, NULL, error);
  }
}

gboolean
route_special(Augmenter *augmenter, HeldCall *held, GError **error)
{
  switch ((SyscallHandler)held->row->handler) {
  case SYSCALL_HANDLER_FORK:
    return route_fork(augmenter, held, error);
  case SYSCALL_HANDLER_EXEC:
    return held->child ? route_path(augmenter, held, error) : route_cut(augmenter, held, NULL, error);
  case SYSCALL_HANDLER_EXIT:
    return route_exit(augmenter, held, error);
  case SYSCALL_HANDLER_WAIT:
    if (held->child || !augmenter->primary_has_children)
      return route_go_on(augmenter, held);
    return route_forward(augmenter, held, NULL, error);
  case SYSCALL_HANDLER_SIGNAL:
    return route_signal(augmenter, held, error);
  case SYSCALL_HANDLER_MAP:
    return route_map(augmenter, held, error);
  case SYSCALL_HANDLER_POLL:
  case SYSCALL_HANDLER_EPOLL:
    return held->row->flags & SYSCALL_RETURNS_FD ? route_local(augmenter, held, error)
                                                 : route_set(augmenter, held, error);
  case SYSCALL_HANDLER_CWD:
    return held->row->paths[0].use ? route_path(augmenter, held, error)
                                   : route_descriptor(augmenter, held, error);
  case SYSCALL_HANDLER_LIMIT:
    return route_limit(augmenter, held, error);
  case SYSCALL_HANDLER_CLOSE_RANGE:
    return held->arguments[2] & CLOSE_RANGE_UNSHARE ? route_cut(augmenter, held, NULL, error)
                                                    : route_go_on(augmenter, held);
  case SYSCALL_HANDLER_PRCTL:
    if (held->child)
      return route_go_on(augmenter, held);
    return route_prctl(augmenter, held, error);
  case SYSCALL_HANDLER_PERSONALITY:
    return (guint32)held->arguments[0] == 0xffffffff ? route_answer(augmenter, held, 0)
                                                     : route_cut(augmenter, held, NULL, error);
  case SYSCALL_HANDLER_MEMBARRIER:
    return held->arguments[0] &
                   (MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
                    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE |
                    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ)
               ? route_cut(augmenter, held, NULL, error)
               : route_go_on(augmenter, held);
  case SYSCALL_HANDLER_LOCAL:
    return route_local(augmenter, held, error);
  case SYSCALL_HANDLER_PIDFD:
  case SYSCALL_HANDLER_GROUP:
    return may_forward(augmenter, held, TRUE, error);
  case SYSCALL_HANDLER_SIGACTION:
  case SYSCALL_HANDLER_SIGWAIT:
  case SYSCALL_HANDLER_UMASK:
    return route_go_on(augmenter, held);
  case SYSCALL_HANDLER_MEMORY:
    return demand_before_call(augmenter, held, error) && route_go_on(augmenter, held);
  case SYSCALL_HANDLER_CPU_TIME:
    return route_processor(augmenter, held, processor_time(augmenter, held), error);
  case SYSCALL_HANDLER_CPU:
    return route_processor(augmenter, held, processor_number(augmenter, held), error);
  default:
    return route_cut(augmenter, held, NULL, error);
  }
}

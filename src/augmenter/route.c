/* What becomes of a system call of the mirror: natively, on the device, or the end of the block. */
#include <errno.h>
#include <linux/close_range.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "augmenter/augmenter.h"
#include "augmenter/paths.h"
#include "base/error.h"
#include "mirror/syscall_filter.h"

enum { RESERVE_COUNT = 8 };

/* ---- memory and descriptors of who calls ---- */

static gboolean
read_memory(void *user, guint64 address, void *to, gsize length)
{
  HeldCall *call = user;
  return augmenter_memory_read(call->augmenter, call->tid, address, to, length);
}

static gboolean
write_memory(void *user, guint64 address, const void *from, gsize length)
{
  HeldCall *call = user;
  return augmenter_memory_write(call->augmenter, call->tid, address, from, length);
}

typedef struct {
  Augmenter *augmenter;
  HeldCall *call;
  guint pins, others;
  gboolean ignore_others;
} Descriptors;

static gint64
pin_of_fd(void *user, int fd)
{
  Descriptors *descriptors = user;
  gint32 pin;
  if (augmenter_pin_of(descriptors->augmenter, descriptors->call->tid, fd, &pin)) {
    descriptors->pins++;
    return pin;
  }
  descriptors->others++;
  return descriptors->ignore_others ? PIN_IGNORED : PIN_NONE;
}

static int
fd_of_pin(void *user, guint32 pin)
{
  Descriptors *descriptors = user;
  return augmenter_add_placeholder(descriptors->augmenter, descriptors->call, pin);
}

/* ---- ends ---- */

static gboolean
cut(Augmenter *augmenter, HeldCall *call, const char *why, GError **error)
{
  const char *name = call->row ? call->row->name : "an unknown system call";
  g_autofree char *reason = g_strdup_printf("%s%s%s", name, why ? ": " : "", why ? why : "");
  if (!call->child)
    return augmenter_block_end(augmenter, DOPPEL__ENGINE__HOW__CUT, 0, reason, error);
  g_autofree char *whose = g_strdup_printf("a child process calls %s", reason);
  return augmenter_block_end(augmenter, DOPPEL__ENGINE__HOW__ABORTED, 0, whose, error);
}

static gboolean
go_on(Augmenter *augmenter, HeldCall *call)
{
  augmenter_continue(augmenter, call);
  return TRUE;
}

static gboolean
answer(Augmenter *augmenter, HeldCall *call, gint64 value)
{
  augmenter_answer(augmenter, call, value);
  return TRUE;
}

/* ---- forwarding ---- */

static gboolean
is_bufferable(Augmenter *augmenter, const PinCall *call)
{
  if (!pincall_may_be_buffered(call))
    return FALSE;
  for (guint i = 0; i < augmenter->bufferable->len; i++)
    if (g_array_index(augmenter->bufferable, gint32, i) == (gint32)call->args[0])
      return TRUE;
  return FALSE;
}

/* Takes all of a long write, piece by piece: the program finds it done. */
static gboolean
buffer_output(Augmenter *augmenter, HeldCall *held, const MirrorMemoryOps *memory, Descriptors *descriptors,
              GError **error)
{
  guint64 done = 0, asked = held->call->asked ? held->call->asked : pincall_payload(held->call);
  for (;;) {
    int unused = -1;
    guint64 now = pincall_payload(held->call);
    augmenter_output_add(augmenter, held->call);
    if (augmenter_output_due(augmenter, &unused) && !augmenter_output_flush(augmenter, error))
      return FALSE;
    done += now;
    if (done >= asked || !now)
      return answer(augmenter, held, done);
    g_autoptr(PinCall) next =
        pincall_gather(held->row, held->arguments, memory, pin_of_fd, descriptors, done, NULL);
    if (!next)
      return answer(augmenter, held, done);
    pincall_free(held->call);
    held->call = g_steal_pointer(&next);
  }
}

static gboolean
forward(Augmenter *augmenter, HeldCall *held, const char *path, gboolean ignore_others, GError **error)
{
  MirrorMemoryOps memory = {read_memory, write_memory, held};
  Descriptors descriptors = {augmenter, held, .ignore_others = ignore_others};
  g_autoptr(GError) why = NULL;
  /* Names are looked up through such sockets (nscd, systemd), which mostly reach nobody. */
  if (held->child && held->row->nr == SYS_socket && (int)held->arguments[0] == AF_UNIX)
    return go_on(augmenter, held);
  /* It would be the primary's: after an abort its child, made anew, could not be given it. What has a name
   * can be opened again. */
  if (held->child && held->row->flags & SYSCALL_RETURNS_FD && held->row->class != SYSCALL_PATH)
    return cut(augmenter, held, "it would be the device's", error);
  held->call = pincall_gather(held->row, held->arguments, &memory, pin_of_fd, &descriptors, 0, &why);
  if (!held->call)
    return cut(augmenter, held, why->message, error);
  if (path)
    pincall_set_path(held->call, 0, path);
  if (is_bufferable(augmenter, held->call))
    return buffer_output(augmenter, held, &memory, &descriptors, error);
  if (!augmenter_output_flush(augmenter, error) ||
      ((held->row->flags & SYSCALL_BLOCKS) && !augmenter_pins_sync(augmenter, error)))
    return FALSE;
  MirrorThread *thread = held->child ? NULL : mirror_thread_find(augmenter->process, held->tid);
  g_autoptr(GByteArray) packed = pincall_pack(held->call);
  Doppel__Engine__Forward message = DOPPEL__ENGINE__FORWARD__INIT;
  held->state = CALL_FORWARDED;
  message.id = held->id = ++augmenter->next_forward;
  message.thread = thread ? thread->own_tid : 0;
  message.call.data = packed->data;
  message.call.len = packed->len;
  return ENGINE_SEND(augmenter->link, FORWARD, forward, &message, error);
}

void
augmenter_forwarded(Augmenter *augmenter, const Doppel__Engine__Forwarded *message)
{
  for (guint i = 0; i < augmenter->held->len; i++) {
    HeldCall *held = augmenter->held->pdata[i];
    if (held->state != CALL_FORWARDED || held->id != message->id)
      continue;
    MirrorMemoryOps memory = {read_memory, write_memory, held};
    Descriptors descriptors = {augmenter, held};
    gint64 value = -EFAULT;
    g_autoptr(GError) error = NULL;
    g_autoptr(PinResult) result =
        pinresult_unpack(held->call, message->result.data, message->result.len, &error);
    if (!result)
      g_warning("%s: %s", held->row->name, error->message);
    else if (!pincall_scatter(held->call, result, &memory, fd_of_pin, &descriptors, &value, &error))
      g_warning("%s: %s", held->row->name, error->message);
    /* A broken pipe kills who writes to it, unless it asked otherwise; the device spared the primary. */
    if (value == -EPIPE && (held->row->flags & SYSCALL_OUTPUT))
      syscall(SYS_tgkill, held->child ? held->tid : augmenter->process->pid, held->tid, SIGPIPE);
    if (value >= 0 && held->row->class == SYSCALL_SPECIAL && held->row->handler == SYSCALL_HANDLER_CPU_TIME)
      processor_time_told(augmenter, held);
    if (value >= 0)
      paths_note_forwarded(augmenter->paths, held->tid, held->row, held->arguments);
    augmenter_answer(augmenter, held, value);
    return;
  }
}

/* ---- classes ---- */

/* Whether any, or all, of the descriptors that the call names are pins. */
static guint
count_pins(Augmenter *augmenter, HeldCall *held, guint *others)
{
  guint pins = 0;
  *others = 0;
  for (guint i = 0; i < SYSCALL_ARGS; i++) {
    SyscallArg argument = syscall_argument(held->row, held->arguments, i);
    gint32 pin;
    if (argument.kind != SYSCALL_ARG_FD || (int)held->arguments[i] < 0)
      continue;
    if (augmenter_pin_of(augmenter, held->tid, (int)held->arguments[i], &pin))
      pins++;
    else
      ++*others;
  }
  return pins;
}

/* Sockets have names in the file system. `own`: it is the clone's. */
static gboolean
route_socket(Augmenter *augmenter, HeldCall *held, gboolean own, GError **error)
{
  g_autofree char *reason = NULL;
  switch ((own ? paths_judge_own_socket : paths_judge_socket)(augmenter->paths, held->tid, held->row,
                                                              held->arguments, &reason)) {
  case PATHS_NATIVE:
    return own ? go_on(augmenter, held) : forward(augmenter, held, NULL, FALSE, error);
  case PATHS_WAIT:
    held->state = CALL_HELD;
    return TRUE;
  default:
    return cut(augmenter, held, reason, error);
  }
}

static gboolean
route_descriptor(Augmenter *augmenter, HeldCall *held, GError **error)
{
  guint others, pins = count_pins(augmenter, held, &others);
  if (!pins || syscall_stays_on_placeholder(held->row, held->arguments)) {
    switch (paths_judge_descriptor(augmenter->paths, held->tid, held->row, held->arguments)) {
    case PATHS_DONE:
      return answer(augmenter, held, 0);
    case PATHS_WAIT:
      held->state = CALL_HELD;
      return TRUE;
    default:
      return held->child ? route_socket(augmenter, held, TRUE, error) : go_on(augmenter, held);
    }
  }
  if (!others)
    return route_socket(augmenter, held, FALSE, error);
  /* Between a thing of the device and one of the clone: these calls may always say that they cannot, and
   * their callers then read and write. */
  if (held->row->nr == SYS_copy_file_range ||
      (held->child && (held->row->nr == SYS_sendfile || held->row->nr == SYS_splice)))
    return answer(augmenter, held, -EINVAL);
  return cut(augmenter, held, "between a thing of the device and one of the clone", error);
}

/* A path may be empty and a descriptor meant: then the call is about what that is. */
static gboolean
means_pin(Augmenter *augmenter, HeldCall *held)
{
  const SyscallPath *row = &held->row->paths[0];
  char first = 'x';
  gint32 pin;
  if (!(row->empty || row->optional) || row->dirfd == SYSCALL_AT_CWD)
    return FALSE;
  guint64 address = held->arguments[row->path];
  if (address && (!read_memory(held, address, &first, 1) || first))
    return FALSE;
  return augmenter_pin_of(augmenter, held->tid, (int)held->arguments[row->dirfd], &pin);
}

static gboolean
route_path(Augmenter *augmenter, HeldCall *held, GError **error)
{
  g_autofree char *path = NULL, *reason = NULL;
  if (means_pin(augmenter, held))
    return forward(augmenter, held, NULL, FALSE, error);
  switch (paths_judge(augmenter->paths, held->tid, held->row, held->arguments, &path, &reason)) {
  case PATHS_NATIVE:
    return go_on(augmenter, held);
  case PATHS_DONE:
    return answer(augmenter, held, 0);
  case PATHS_WAIT:
    held->state = CALL_HELD;
    return TRUE;
  case PATHS_FORWARD:
    if (held->row->flags & SYSCALL_MAY_FORWARD)
      return forward(augmenter, held, path, FALSE, error);
    return cut(augmenter, held, reason ? reason : path, error);
  case PATHS_CUT:
  default:
    return cut(augmenter, held, reason, error);
  }
}

/* ---- special calls ---- */

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
    read_memory(held, held->arguments[0], &flags, sizeof flags);
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
  return go_on(augmenter, held);
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
    return go_on(augmenter, held);
  if (held->row->nr == SYS_exit_group || augmenter->process->threads->len == 1)
    return augmenter_block_end(augmenter, DOPPEL__ENGINE__HOW__EXITED, (gint32)held->arguments[0], NULL,
                               error);
  if (held->tid == augmenter->process->pid)
    return cut(augmenter, held, "the first thread ends before the others", error);
  return demand_before_exit(augmenter, held->tid, error) && go_on(augmenter, held);
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
    return go_on(augmenter, held);
  if (target > 0 && (held->row->flags & SYSCALL_MAY_FORWARD))
    return forward(augmenter, held, NULL, FALSE, error);
  return cut(augmenter, held, NULL, error);
}

static gboolean
route_map(Augmenter *augmenter, HeldCall *held, GError **error)
{
  gint32 pin;
  if ((int)held->arguments[4] >= 0 && augmenter_pin_of(augmenter, held->tid, (int)held->arguments[4], &pin))
    return cut(augmenter, held, "of a thing of the device", error);
  return go_on(augmenter, held);
}

/* Finds out by gathering which descriptors the call is about. */
static gboolean
route_set(Augmenter *augmenter, HeldCall *held, GError **error)
{
  MirrorMemoryOps memory = {read_memory, write_memory, held};
  Descriptors descriptors = {augmenter, held, .ignore_others = TRUE};
  g_autoptr(PinCall) call =
      pincall_gather(held->row, held->arguments, &memory, pin_of_fd, &descriptors, 0, NULL);
  if (!descriptors.pins)
    return go_on(augmenter, held);
  if (!call || descriptors.others)
    return cut(augmenter, held, "on things of the device and of the clone together", error);
  return forward(augmenter, held, NULL, FALSE, error);
}

static gboolean
route_prctl(Augmenter *augmenter, HeldCall *held, GError **error)
{
  switch (syscall_prctl_class(held->row, held->arguments)) {
  case SYSCALL_NATIVE:
    return go_on(augmenter, held);
  case SYSCALL_FORWARD:
    return forward(augmenter, held, NULL, FALSE, error);
  default:
    return cut(augmenter, held, NULL, error);
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
    return go_on(augmenter, held);
  return asks && held->row->flags & SYSCALL_MAY_FORWARD ? forward(augmenter, held, NULL, FALSE, error)
                                                        : cut(augmenter, held, NULL, error);
}

static gboolean
may_forward(Augmenter *augmenter, HeldCall *held, gboolean native_in_child, GError **error)
{
  if (held->child && native_in_child)
    return go_on(augmenter, held);
  if (held->row->flags & SYSCALL_MAY_FORWARD)
    return forward(augmenter, held, NULL, FALSE, error);
  return cut(augmenter, held, NULL, error);
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
  return native || !(held->row->flags & SYSCALL_MAY_FORWARD) ? go_on(augmenter, held)
                                                             : forward(augmenter, held, NULL, FALSE, error);
}

static gboolean
route_processor(Augmenter *augmenter, HeldCall *held, ProcessorAnswer how, GError **error)
{
  switch (how) {
  case PROCESSOR_NATIVE:
    return go_on(augmenter, held);
  case PROCESSOR_DONE:
    return answer(augmenter, held, 0);
  default:
    return forward(augmenter, held, NULL, FALSE, error);
  }
}

static gboolean
route_special(Augmenter *augmenter, HeldCall *held, GError **error)
{
  switch ((SyscallHandler)held->row->handler) {
  case SYSCALL_HANDLER_FORK:
    return route_fork(augmenter, held, error);
  case SYSCALL_HANDLER_EXEC:
    return held->child ? route_path(augmenter, held, error) : cut(augmenter, held, NULL, error);
  case SYSCALL_HANDLER_EXIT:
    return route_exit(augmenter, held, error);
  case SYSCALL_HANDLER_WAIT:
    if (held->child || !augmenter->primary_has_children)
      return go_on(augmenter, held);
    return forward(augmenter, held, NULL, FALSE, error);
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
    return held->arguments[2] & CLOSE_RANGE_UNSHARE ? cut(augmenter, held, NULL, error)
                                                    : go_on(augmenter, held);
  case SYSCALL_HANDLER_PRCTL:
    if (held->child)
      return go_on(augmenter, held);
    return route_prctl(augmenter, held, error);
  case SYSCALL_HANDLER_PERSONALITY:
    return (guint32)held->arguments[0] == 0xffffffff ? answer(augmenter, held, 0)
                                                     : cut(augmenter, held, NULL, error);
  case SYSCALL_HANDLER_MEMBARRIER:
    return held->arguments[0] &
                   (MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
                    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE |
                    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ)
               ? cut(augmenter, held, NULL, error)
               : go_on(augmenter, held);
  case SYSCALL_HANDLER_LOCAL:
    return route_local(augmenter, held, error);
  case SYSCALL_HANDLER_PIDFD:
  case SYSCALL_HANDLER_GROUP:
    return may_forward(augmenter, held, TRUE, error);
  case SYSCALL_HANDLER_SIGACTION:
  case SYSCALL_HANDLER_SIGWAIT:
  case SYSCALL_HANDLER_UMASK:
    return go_on(augmenter, held);
  case SYSCALL_HANDLER_MEMORY:
    return demand_before_call(augmenter, held, error) && go_on(augmenter, held);
  case SYSCALL_HANDLER_CPU_TIME:
    return route_processor(augmenter, held, processor_time(augmenter, held), error);
  case SYSCALL_HANDLER_CPU:
    return route_processor(augmenter, held, processor_number(augmenter, held), error);
  default:
    return cut(augmenter, held, NULL, error);
  }
}

/* A child lives and dies in the clone: what it makes of itself goes nowhere. */
static gboolean
is_private_to_child(const HeldCall *held)
{
  static const char *const calls[] = {"setuid",    "setgid",        "setreuid",  "setregid",  "setresuid",
                                      "setresgid", "setgroups",     "setfsuid",  "setfsgid",  "capset",
                                      "setsid",    "setpgid",       "setrlimit", "prlimit64", "chroot",
                                      "nice",      "sched_setattr", "ioprio_set"};
  for (gsize i = 0; held->child && i < G_N_ELEMENTS(calls); i++)
    if (strcmp(held->row->name, calls[i]) == 0)
      return TRUE;
  return FALSE;
}

gboolean
augmenter_route(Augmenter *augmenter, HeldCall *held, GError **error)
{
  if (!held->row)
    return cut(augmenter, held, NULL, error);
  switch ((SyscallClass)held->row->class) {
  case SYSCALL_NATIVE:
    return go_on(augmenter, held);
  case SYSCALL_FD:
    return route_descriptor(augmenter, held, error);
  case SYSCALL_PATH:
    return route_path(augmenter, held, error);
  case SYSCALL_FORWARD:
    return forward(augmenter, held, NULL, FALSE, error);
  case SYSCALL_SPECIAL:
    return route_special(augmenter, held, error);
  case SYSCALL_CUT:
  default:
    return is_private_to_child(held) ? go_on(augmenter, held) : cut(augmenter, held, NULL, error);
  }
}

gboolean
augmenter_notified(Augmenter *augmenter, GError **error)
{
  struct seccomp_notif notification = {0};
  if (ioctl(augmenter->listener, SECCOMP_IOCTL_NOTIF_RECV, &notification) < 0)
    return errno == ENOENT || errno == EINTR || errno == EAGAIN
               ? TRUE
               : doppel_error_errno(error, "receiving a system call of the mirror");
  HeldCall *held = g_new0(HeldCall, 1);
  augmenter->noticed = TRUE;
  g_hash_table_remove(augmenter->sent_back, GINT_TO_POINTER((pid_t)notification.pid));
  held->augmenter = augmenter;
  held->notification = notification.id;
  held->tid = notification.pid;
  held->child = !mirror_thread_find(augmenter->process, notification.pid);
  held->row = syscall_filter_row(&notification.data);
  memcpy(held->arguments, notification.data.args, sizeof held->arguments);
  held->state = CALL_HELD;
  g_ptr_array_add(augmenter->held, held);
  /* The block is over: who is still on the way waits as if it had not called yet. */
  if (augmenter->phase != MIRROR_RUNNING)
    return held->child ? augmenter_route(augmenter, held, error) : TRUE;
  gboolean failed = augmenter_creation_over(augmenter, held->tid, FALSE);
  return augmenter_route(augmenter, held, error) && (!failed || augmenter_retry_held(augmenter, error));
}

gboolean
augmenter_retry_held(Augmenter *augmenter, GError **error)
{
  g_autoptr(GPtrArray) waiting = g_ptr_array_new();
  for (guint i = 0; i < augmenter->held->len; i++)
    if (((HeldCall *)augmenter->held->pdata[i])->state == CALL_HELD)
      g_ptr_array_add(waiting, augmenter->held->pdata[i]);
  for (guint i = 0; i < waiting->len && augmenter->phase == MIRROR_RUNNING; i++)
    if (!augmenter_route(augmenter, waiting->pdata[i], error))
      return FALSE;
  return TRUE;
}

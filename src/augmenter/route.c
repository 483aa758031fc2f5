/* What becomes of a system call of the mirror: natively, on the device, or the end of the block. */
#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "augmenter/paths.h"
#include "augmenter/route_private.h"
#include "base/error.h"
#include "mirror/syscall_filter.h"

/* ---- ends ---- */

gboolean
route_cut(Augmenter *augmenter, HeldCall *call, const char *why, GError **error)
{
  const char *name = call->row ? call->row->name : "an unknown system call";
  g_autofree char *reason = g_strdup_printf("%s%s%s", name, why ? ": " : "", why ? why : "");
  if (!call->child)
    return augmenter_block_end(augmenter, DOPPEL__ENGINE__HOW__CUT, 0, reason, error);
  g_autofree char *whose = g_strdup_printf("a child process calls %s", reason);
  return augmenter_block_end(augmenter, DOPPEL__ENGINE__HOW__ABORTED, 0, whose, error);
}

gboolean
route_go_on(Augmenter *augmenter, HeldCall *call)
{
  augmenter_continue(augmenter, call);
  return TRUE;
}

gboolean
route_answer(Augmenter *augmenter, HeldCall *call, gint64 value)
{
  augmenter_answer(augmenter, call, value);
  return TRUE;
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
    return own ? route_go_on(augmenter, held) : route_forward(augmenter, held, NULL, error);
  case PATHS_WAIT:
    held->state = CALL_HELD;
    return TRUE;
  default:
    return route_cut(augmenter, held, reason, error);
  }
}

gboolean
route_descriptor(Augmenter *augmenter, HeldCall *held, GError **error)
{
  guint others, pins = count_pins(augmenter, held, &others);
  if (!pins || syscall_stays_on_placeholder(held->row, held->arguments)) {
    switch (paths_judge_descriptor(augmenter->paths, held->tid, held->row, held->arguments)) {
    case PATHS_DONE:
      return route_answer(augmenter, held, 0);
    case PATHS_WAIT:
      held->state = CALL_HELD;
      return TRUE;
    default:
      return held->child ? route_socket(augmenter, held, TRUE, error) : route_go_on(augmenter, held);
    }
  }
  if (!others)
    return route_socket(augmenter, held, FALSE, error);
  /* Between a thing of the device and one of the clone: these calls may always say that they cannot, and
   * their callers then read and write. */
  if (held->row->nr == SYS_copy_file_range ||
      (held->child && (held->row->nr == SYS_sendfile || held->row->nr == SYS_splice)))
    return route_answer(augmenter, held, -EINVAL);
  return route_cut(augmenter, held, "between a thing of the device and one of the clone", error);
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
  if (address && (!augmenter_memory_read(augmenter, held->tid, address, &first, 1) || first))
    return FALSE;
  return augmenter_pin_of(augmenter, held->tid, (int)held->arguments[row->dirfd], &pin);
}

gboolean
route_path(Augmenter *augmenter, HeldCall *held, GError **error)
{
  g_autofree char *path = NULL, *reason = NULL;
  if (means_pin(augmenter, held))
    return route_forward(augmenter, held, NULL, error);
  switch (paths_judge(augmenter->paths, held->tid, held->row, held->arguments, &path, &reason)) {
  case PATHS_NATIVE:
    return route_go_on(augmenter, held);
  case PATHS_DONE:
    return route_answer(augmenter, held, 0);
  case PATHS_WAIT:
    held->state = CALL_HELD;
    return TRUE;
  case PATHS_FORWARD:
    if (held->row->flags & SYSCALL_MAY_FORWARD)
      return route_forward(augmenter, held, path, error);
    return route_cut(augmenter, held, reason ? reason : path, error);
  case PATHS_CUT:
  default:
    return route_cut(augmenter, held, reason, error);
  }
}

/* ---- all of them ---- */

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
    return route_cut(augmenter, held, NULL, error);
  switch ((SyscallClass)held->row->class) {
  case SYSCALL_NATIVE:
    return route_go_on(augmenter, held);
  case SYSCALL_FD:
    return route_descriptor(augmenter, held, error);
  case SYSCALL_PATH:
    return route_path(augmenter, held, error);
  case SYSCALL_FORWARD:
    return route_forward(augmenter, held, NULL, error);
  case SYSCALL_SPECIAL:
    return route_special(augmenter, held, error);
  case SYSCALL_CUT:
  default:
    return is_private_to_child(held) ? route_go_on(augmenter, held) : route_cut(augmenter, held, NULL, error);
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

/* Trials of seccomp's user notification: a task whose getppid(2) is answered by another (seccomp_unotify(2)).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "mirror/probe_trials.h"

/* Linux 6.6, not in older headers. */
#define SET_FLAGS_IOCTL _IOW('!', 4, guint64)
#define SYNC_WAKE_UP    1

#define ANSWER 12345

typedef struct {
  int ready[2], done[2]; /* pipes: the number of the listener or -errno; the call's result */
  guint flags;
} Caller;

static int
install_filter(guint flags)
{
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {G_N_ELEMENTS(code), code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return -1;
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, &program);
}

static int
be_caller(void *data)
{
  Caller *caller = data;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int listener = install_filter(caller->flags);
  if (listener < 0)
    listener = -errno;
  io_write_all(caller->ready[1], &listener, sizeof listener);
  if (listener >= 0) {
    long result = syscall(SYS_getppid);
    if (result < 0)
      result = -errno;
    io_write_all(caller->done[1], &result, sizeof result);
  }
  return 0;
}

/* The listener of a task that is about to make the call. It shares this one's descriptors, so its number will
 * do. */
static int
start_caller(Caller *caller)
{
  static guint8 stack[65536] __attribute__((aligned(16)));
  int listener;
  if (pipe(caller->ready) != 0 || pipe(caller->done) != 0 ||
      clone(be_caller, stack + sizeof stack, CLONE_FILES | SIGCHLD, caller) < 0 ||
      io_read_all(caller->ready[0], &listener, sizeof listener) != sizeof listener)
    return -1;
  if (listener < 0) {
    errno = -listener;
    return -1;
  }
  return listener;
}

static gboolean
receive(int listener, guint64 *id)
{
  struct seccomp_notif_sizes sizes;
  if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0)
    return FALSE;
  g_autofree struct seccomp_notif *notification =
      g_malloc0(MAX(sizes.seccomp_notif, sizeof(struct seccomp_notif)));
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, notification) != 0)
    return FALSE;
  *id = notification->id;
  return notification->data.nr == SYS_getppid;
}

static gboolean
caller_saw(const Caller *caller, long wanted)
{
  long result;
  return io_read_all(caller->done[0], &result, sizeof result) == sizeof result && result == wanted;
}

static gboolean
answer_call(guint filter_flags, guint64 listener_flags)
{
  Caller caller = {.flags = filter_flags};
  int listener = start_caller(&caller);
  guint64 id;
  if (listener < 0 || (listener_flags && ioctl(listener, SET_FLAGS_IOCTL, listener_flags) != 0) ||
      !receive(listener, &id))
    return FALSE;
  struct seccomp_notif_resp response = {.id = id, .val = ANSWER};
  return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0 && caller_saw(&caller, ANSWER);
}

gboolean
probe_seccomp_notify(ProbeNote *note)
{
  return answer_call(0, 0);
}

gboolean
probe_seccomp_killable(ProbeNote *note)
{
  return answer_call(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 0);
}

gboolean
probe_seccomp_sync_wake(ProbeNote *note)
{
  return answer_call(0, SYNC_WAKE_UP);
}

gboolean
probe_seccomp_addfd(ProbeNote *note)
{
  Caller caller = {0};
  int listener = start_caller(&caller);
  guint64 id;
  if (listener < 0 || !receive(listener, &id))
    return FALSE;
  struct seccomp_notif_addfd add = {.id = id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = listener};
  int number = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
  return number >= 0 && caller_saw(&caller, number);
}

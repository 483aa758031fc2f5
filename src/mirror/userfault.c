#include "mirror/userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

/* Not in the headers of the oldest kernel we build on (include/uapi/linux/userfaultfd.h). */
enum { FEATURE_WP_UNPOPULATED = 1 << 13, FEATURE_WP_ASYNC = 1 << 15, USER_MODE_ONLY = 1 };

gboolean
mirror_userfault_make(MirrorProcess *process, int device, gboolean by_right, gint64 *made, GError **error)
{
  MirrorThread *leader = mirror_thread_leader(process);
  const guint64 opening[6] = {device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK};
  const guint64 flags[6] = {O_CLOEXEC | O_NONBLOCK};
  *made = -EPERM;
  if (device >= 0 && !mirror_inject_one(leader, SYS_ioctl, opening, made, error))
    return FALSE;
  return *made >= 0 || !by_right || mirror_inject_one(leader, SYS_userfaultfd, flags, made, error);
}

gboolean
mirror_userfault_make_lesser(MirrorProcess *process, gint64 *made, GError **error)
{
  const guint64 flags[6] = {O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY};
  return mirror_inject_one(mirror_thread_leader(process), SYS_userfaultfd, flags, made, error);
}

int
mirror_userfault_fetch(MirrorProcess *process, gint64 made, GError **error)
{
  g_auto(Fd) pidfd = syscall(SYS_pidfd_open, process->pid, 0);
  int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, (int)made, 0);
  if (fd < 0)
    doppel_error_errno(error, "fetching the userfaultfd of process %d", process->pid);
  const guint64 closing[6] = {made};
  gint64 closed;
  if (!mirror_inject_one(mirror_thread_leader(process), SYS_close, closing, &closed, fd < 0 ? NULL : error))
    io_close(&fd);
  return fd;
}

gboolean
mirror_userfault_begin(int fd, guint64 features)
{
  struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED | features};
  return ioctl(fd, UFFDIO_API, &api) == 0;
}

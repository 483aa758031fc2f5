#include "augmenter/rootfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "augmenter/overlay.h"
#include "base/error.h"
#include "base/io.h"

/* Without controlling terminal /dev/tty opens nothing, so the real node is a placeholder that looks right. */
static const char *const device_nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};

static const struct {
  const char *name, *target;
} device_links[] = {
    {"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"},
};

static int
open_root(const char *root_path)
{
  return open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static gboolean
mount_pts(int root_fd)
{
  /* Group 5 is tty's everywhere in Debian; it may have no place in the map. */
  unsigned long flags = MS_NOSUID | MS_NOEXEC;
  return overlay_mount_inside(root_fd, "/dev/pts", "devpts", "devpts", flags,
                              "newinstance,ptmxmode=0666,mode=0620,gid=5", FALSE) ||
         overlay_mount_inside(root_fd, "/dev/pts", "devpts", "devpts", flags,
                              "newinstance,ptmxmode=0666,mode=0620", FALSE);
}

static gboolean
make_links(const char *root_path)
{
  g_autofree char *path = g_strconcat(root_path, "/dev", NULL);
  g_auto(Fd) dev = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (dev < 0)
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS(device_links); i++)
    if (symlinkat(device_links[i].target, dev, device_links[i].name) != 0)
      return FALSE;
  return TRUE;
}

static gboolean
mount_dev(const char *root_path, GError **error)
{
  g_auto(Fd) before = open_root(root_path);
  if (before < 0 || !overlay_mount_inside(before, "/dev", "doppel", "tmpfs", MS_NOSUID | MS_NOEXEC,
                                          "mode=0755,size=64k", FALSE))
    return doppel_error_errno(error, "cannot mount the clone's /dev");
  for (gsize i = 0; i < G_N_ELEMENTS(device_nodes); i++) {
    g_autofree char *path = g_strconcat("/dev/", device_nodes[i], NULL);
    /* Binding the host's nodes: nobody can make device nodes in a user namespace, and these give nothing
     * away. */
    if (!overlay_mount_inside(before, path, path, NULL, MS_BIND, NULL, TRUE))
      return doppel_error_errno(error, "cannot bind %s into the clone", path);
  }
  if (!make_links(root_path) || !mount_pts(before) ||
      !overlay_mount_inside(before, "/dev/shm", "doppel", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777", FALSE))
    return doppel_error_errno(error, "cannot fill the clone's /dev");
  if (!overlay_mount_inside(before, "/dev", NULL, NULL,
                            MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL, FALSE))
    return doppel_error_errno(error, "cannot make the clone's /dev read-only");
  return TRUE;
}

gboolean
rootfs_mount_devices(const char *root_path, GPtrArray *notes, GError **error)
{
  if (!mount_dev(root_path, error))
    return FALSE;
  g_auto(Fd) root = open_root(root_path);
  /* Safe: a new sysfs shows the sandbox's own network devices only, and writing needs a mount that is
   * writable. */
  if (!overlay_mount_inside(root, "/sys", "sysfs", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
                            NULL, FALSE))
    g_ptr_array_add(notes, g_strdup_printf("/sys is empty in the clone: %s", g_strerror(errno)));
  return TRUE;
}

gboolean
rootfs_cover(const char *root_path, const char *path, GError **error)
{
  g_auto(Fd) root = open_root(root_path);
  if (root < 0 ||
      !overlay_mount_inside(root, path, "doppel", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
                            "mode=0,size=4k", FALSE))
    return doppel_error_errno(error, "cannot hide %s from the clone", path);
  return TRUE;
}

static gboolean
is_number(const char *name)
{
  return name[strspn(name, "0123456789")] == '\0';
}

/* The mirror's root is the kernel's root user where a privileged caller started it: what /proc guards by the
 * owner's permission only (sys/kernel/core_pattern, sysrq-trigger, mtrr, ...) is open to it. Capabilities
 * guard the rest, and it has none outside. So no entry stays that its permissions alone protect: directories
 * and writable files become read-only, what others may not read is hidden. */
static gboolean
seal_entry(int proc, const char *name)
{
  struct stat status;
  if (fstatat(proc, name, &status, AT_SYMLINK_NOFOLLOW) != 0 || S_ISLNK(status.st_mode))
    return TRUE;
  gboolean hidden = S_ISREG(status.st_mode) && !(status.st_mode & 0004);
  if (hidden)
    return overlay_mount_inside(proc, name, "/dev/null", NULL, MS_BIND, NULL, TRUE);
  if (!S_ISDIR(status.st_mode) && !(status.st_mode & 0222))
    return TRUE;
  g_auto(Fd) entry = openat(proc, name, O_PATH | O_CLOEXEC);
  char source[32];
  g_snprintf(source, sizeof source, "/proc/self/fd/%d", entry);
  return overlay_mount_inside(proc, name, source, NULL, MS_BIND, NULL, TRUE) &&
         overlay_freeze_inside(proc, name);
}

static gboolean
seal_entries(int proc)
{
  int fd = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *stream = fd < 0 ? NULL : fdopendir(fd);
  if (!stream) {
    io_close(&fd);
    return FALSE;
  }
  gboolean sealed = TRUE;
  struct dirent *entry;
  while (sealed && (entry = readdir(stream)))
    if (entry->d_name[0] != '.' && !is_number(entry->d_name))
      sealed = seal_entry(proc, entry->d_name);
  int saved = errno;
  closedir(stream);
  errno = saved;
  return sealed;
}

gboolean
rootfs_mount_proc(const char *root_path, GError **error)
{
  g_auto(Fd) root = open_root(root_path);
  if (root >= 0 &&
      overlay_mount_inside(root, "/proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, FALSE))
    return TRUE;
  if (errno != EPERM)
    return doppel_error_errno(error, "cannot mount the clone's /proc");
  return doppel_error_set(
      error, DOPPEL_ERROR_UNSUPPORTED,
      "cannot mount the clone's /proc: parts of this machine's own /proc are hidden, which the "
      "kernel does not undo in a sandbox. In a container: run it with "
      "--security-opt systempaths=unconfined.");
}

gboolean
rootfs_seal_proc(const char *root_path, GError **error)
{
  g_autofree char *path = g_strconcat(root_path, "/proc", NULL);
  g_auto(Fd) proc = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (proc < 0 || !seal_entries(proc))
    return doppel_error_errno(error, "cannot seal the clone's /proc");
  return TRUE;
}

gboolean
rootfs_pivot(const char *root_path, GError **error)
{
  /* The second "." is the old root, mounted over the new one: detaching what is at "." uncovers the new
   * (pivot_root(2), "."). */
  if (chdir(root_path) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 ||
      chdir("/") != 0)
    return doppel_error_errno(error, "cannot make %s the root", root_path);
  return TRUE;
}

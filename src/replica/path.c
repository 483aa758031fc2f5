#include "replica/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"

#define RACE_TRIES 16 /* openat2() says EAGAIN when a rename elsewhere raced with it */

static char self_in_procfs[32] = "/proc/self";

gboolean
replica_path_valid(const char *path, gsize length)
{
  return replica_path_valid_within(path, length, REPLICA_PATH_MAX);
}

gboolean
replica_path_valid_within(const char *path, gsize length, gsize limit)
{
  if (length == 0 || length >= limit || memchr(path, '\0', length))
    return FALSE;
  for (const char *at = path, *end = path + length; at <= end;) {
    const char *slash = memchr(at, '/', end - at);
    gsize part = (slash ? slash : end) - at;
    if (part == 0 || part > REPLICA_NAME_MAX)
      return FALSE;
    if (at[0] == '.' && (part == 1 || (part == 2 && at[1] == '.')))
      return FALSE;
    at += part + 1;
  }
  return TRUE;
}

static int
open_beneath(int root, const char *path, int flags, guint64 resolve)
{
  struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve};
  for (guint tries = 0;; tries++) {
    int fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || tries == RACE_TRIES)
      return fd;
  }
}

int
replica_path_open_parent(int root, const char *path, gboolean follow, const char **name)
{
  if (!*path) {
    *name = ".";
    return openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  }
  if (!replica_path_valid(path, strlen(path))) {
    errno = strlen(path) >= REPLICA_PATH_MAX ? ENAMETOOLONG : EINVAL;
    return -1;
  }
  const char *slash = strrchr(path, '/');
  *name = slash ? slash + 1 : path;
  if (!slash)
    return openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  char directory[REPLICA_PATH_MAX];
  memcpy(directory, path, slash - path);
  directory[slash - path] = '\0';
  return open_beneath(root, directory, O_PATH | O_DIRECTORY,
                      follow ? RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
                             : RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

int
replica_path_open_child(int directory, const char *name, int flags)
{
  return open_beneath(directory, name, flags | O_NOFOLLOW,
                      RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

int
replica_path_open(int root, const char *path, int flags)
{
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(root, path, FALSE, &name);
  if (parent < 0)
    return -1;
  return openat(parent, name, flags | O_NOFOLLOW | O_CLOEXEC);
}

void
replica_path_proc(char proc[static REPLICA_PROC_MAX], int dirfd, const char *name)
{
  g_snprintf(proc, REPLICA_PROC_MAX, "%s/fd/%d/%s", self_in_procfs, dirfd, name);
}

void
replica_path_proc_fd(char proc[static REPLICA_PROC_MAX], int fd)
{
  g_snprintf(proc, REPLICA_PROC_MAX, "%s/fd/%d", self_in_procfs, fd);
}

void
replica_path_set_self(const char *self)
{
  g_strlcpy(self_in_procfs, self, sizeof self_in_procfs);
}

char *
replica_path_parent(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? g_strndup(path, slash - path) : g_strdup("");
}

char *
replica_path_join(const char *directory, const char *name)
{
  return *directory && *name ? g_strconcat(directory, "/", name, NULL)
                             : g_strdup(*directory ? directory : name);
}

#include "augmenter/session_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "augmenter/limits.h"
#include "base/error.h"

#define PREFIX "session-"

/* Only a directory of doppel's own: session directories are covered in the clone by hiding all of TMP, and
 * nobody else may plant one of these names in it. */
static gboolean
check_tmp(int fd, const char *tmp, GError **error)
{
  struct stat status;
  if (fstat(fd, &status) != 0)
    return doppel_error_errno(error, "cannot look at %s", tmp);
  if (status.st_uid != geteuid() || (status.st_mode & 022))
    return doppel_error_set(
        error, DOPPEL_ERROR_DENIED,
        "%s must belong to the user with id %u and be writable to nobody else; it is used for the "
        "files of running sessions. Choose another directory or run chmod 700 on it.",
        tmp, (unsigned)geteuid());
  return TRUE;
}

static int
lock_open(int dirfd, const char *name, int flags)
{
  return openat(dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
}

static gboolean
make_session(SessionDir *dir, GError **error)
{
  g_auto(Fd) gate = lock_open(dir->tmp_fd, "lock", O_CREAT);
  if (gate < 0 || flock(gate, LOCK_EX) != 0)
    return doppel_error_errno(error, "cannot lock %s/lock", dir->tmp);
  g_autofree char *path = g_strdup_printf("%s/" PREFIX "XXXXXX", dir->tmp);
  if (!mkdtemp(path))
    return doppel_error_errno(error, "cannot make a session's directory in %s", dir->tmp);
  dir->path = g_steal_pointer(&path);
  g_autofree char *lock = g_strconcat(dir->path, "/lock", NULL);
  dir->lock_fd = lock_open(AT_FDCWD, lock, O_CREAT);
  if (dir->lock_fd < 0 || flock(dir->lock_fd, LOCK_EX) != 0)
    return doppel_error_errno(error, "cannot lock %s", lock);
  return TRUE;
}

gboolean
session_dir_make(SessionDir *dir, const char *tmp, GError **error)
{
  *dir = (SessionDir){.tmp_fd = -1, .lock_fd = -1};
  if (g_mkdir_with_parents(tmp, 0700) != 0)
    return doppel_error_errno(error, "cannot make the directory %s for the files of running sessions", tmp);
  g_autofree char *canonical = realpath(tmp, NULL);
  if (!canonical)
    return doppel_error_errno(error, "cannot reach %s", tmp);
  dir->tmp = g_steal_pointer(&canonical);
  dir->tmp_fd = open(dir->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir->tmp_fd < 0)
    return doppel_error_errno(error, "cannot open %s", tmp);
  return check_tmp(dir->tmp_fd, tmp, error) && make_session(dir, error);
}

/* A program in the clone may have nested directories deeper than descriptors and stack reach; what is deeper
 * than this is moved up to the session's directory first. */
#define REMOVE_DEPTH 64

typedef struct {
  int top;     /* the session's directory */
  guint moved; /* so many trees were moved up to it */
} Removal;

static gboolean remove_tree(Removal *removal, int parent, const char *name, guint depth);

static gboolean
remove_entries(Removal *removal, DIR *stream, guint depth)
{
  gboolean all = TRUE;
  struct dirent *entry;
  while ((entry = readdir(stream)))
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      all &= remove_tree(removal, dirfd(stream), entry->d_name, depth);
  return all;
}

static int
open_below(int parent, const char *name)
{
  struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                         .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, parent, name, &how, sizeof how);
}

/* Never crosses into another mount, not even one of the same file system: copies of the real root are mounted
 * below a living session's directory, and in the view of its Augmenter they stay there. overlayfs keeps its
 * work directory at mode 000; changing the mode by name is safe, as the name was just refused with EACCES and
 * not as a link or a mount, and the programs that could exchange it are dead. */
static int
open_directory(int parent, const char *name)
{
  int fd = open_below(parent, name);
  if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, 0) == 0)
    fd = open_below(parent, name);
  return fd;
}

static gboolean
move_up(Removal *removal, int parent, const char *name)
{
  g_autofree char *target = g_strdup_printf("deep-%u", removal->moved++);
  g_auto(Fd) fd = open_directory(parent, name);
  return fd >= 0 && fchmod(fd, 0700) == 0 && renameat(parent, name, removal->top, target) == 0;
}

/* Never enters a link: the tree was written by programs that are not trusted. */
static gboolean
remove_tree(Removal *removal, int parent, const char *name, guint depth)
{
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
    return TRUE;
  if (errno != EISDIR && errno != EPERM)
    return FALSE;
  if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
    return TRUE;
  if (depth > REMOVE_DEPTH)
    return move_up(removal, parent, name);
  int fd = open_directory(parent, name);
  DIR *stream = fd < 0 ? NULL : fdopendir(fd);
  if (!stream) {
    io_close(&fd);
    return FALSE;
  }
  fchmod(fd, 0700);
  gboolean all = remove_entries(removal, stream, depth + 1);
  closedir(stream);
  return all && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

static gboolean
remove_session(int tmp_fd, const char *name)
{
  g_auto(Fd) top = open_directory(tmp_fd, name);
  if (top < 0)
    return errno == ENOENT;
  Removal removal = {.top = top};
  guint moved;
  do {
    moved = removal.moved;
    if (remove_tree(&removal, tmp_fd, name, 0))
      return TRUE;
  } while (removal.moved > moved);
  return FALSE;
}

/* Takes the lock of a dead session, so that no two sweep it at once. */
static gboolean
is_stale(int tmp_fd, const char *name, int *lock_fd)
{
  g_autofree char *lock = g_strconcat(name, "/lock", NULL);
  *lock_fd = lock_open(tmp_fd, lock, 0);
  if (*lock_fd < 0)
    return errno == ENOENT;
  if (flock(*lock_fd, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  io_close(lock_fd);
  return FALSE;
}

void
session_dir_sweep(const SessionDir *dir)
{
  g_auto(Fd) gate = lock_open(dir->tmp_fd, "lock", O_CREAT);
  if (gate < 0 || flock(gate, LOCK_EX | LOCK_NB) != 0)
    return;
  int fd = openat(dir->tmp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *stream = fd < 0 ? NULL : fdopendir(fd);
  if (!stream) {
    io_close(&fd);
    return;
  }
  const char *own = strrchr(dir->path, '/') + 1;
  struct dirent *entry;
  while ((entry = readdir(stream))) {
    g_auto(Fd) lock = -1;
    if (g_str_has_prefix(entry->d_name, PREFIX) && strcmp(entry->d_name, own) != 0 &&
        is_stale(dir->tmp_fd, entry->d_name, &lock)) {
      limits_remove_stale(entry->d_name);
      remove_session(dir->tmp_fd, entry->d_name);
    }
  }
  closedir(stream);
}

gboolean
session_dir_remove(const SessionDir *dir, GError **error)
{
  if (!remove_session(dir->tmp_fd, strrchr(dir->path, '/') + 1))
    return doppel_error_errno(error, "cannot remove all of %s; the next session tries again", dir->path);
  return TRUE;
}

void
session_dir_clear(SessionDir *dir)
{
  if (!dir->tmp)
    return;
  io_close(&dir->lock_fd);
  io_close(&dir->tmp_fd);
  g_clear_pointer(&dir->path, g_free);
  g_clear_pointer(&dir->tmp, g_free);
}

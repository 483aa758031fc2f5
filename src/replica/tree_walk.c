#include "replica/tree_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/path.h"

#define RACE_TRIES 16 /* openat2() says EAGAIN when a rename elsewhere raced with it */

static void
clear_entry(TreeEntry *entry)
{
  g_free(entry->name);
}

static int
compare_entries(gconstpointer a, gconstpointer b)
{
  return strcmp(((const TreeEntry *)a)->name, ((const TreeEntry *)b)->name);
}

static gboolean
add_entry(GArray *entries, int directory, const char *name)
{
  TreeEntry entry;
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return TRUE;
  if (fstatat(directory, name, &entry.status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
    return errno == ENOENT;
  entry.name = g_strdup(name);
  g_array_append_val(entries, entry);
  return TRUE;
}

GArray *
tree_walk_list(int directory)
{
  int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *stream = fd < 0 ? NULL : fdopendir(fd);
  if (!stream) {
    io_close(&fd);
    return NULL;
  }
  GArray *entries = g_array_new(FALSE, FALSE, sizeof(TreeEntry));
  g_array_set_clear_func(entries, (GDestroyNotify)clear_entry);
  errno = 0;
  for (const struct dirent *dirent; (dirent = readdir(stream));) {
    if (!add_entry(entries, directory, dirent->d_name))
      break;
    errno = 0;
  }
  int failure = errno;
  closedir(stream);
  g_array_sort(entries, compare_entries);
  if (!failure)
    return entries;
  g_array_unref(entries);
  errno = failure;
  return NULL;
}

static int
open_beneath(int directory, const char *path, int flags)
{
  struct open_how how = {.flags = flags | O_DIRECTORY | O_CLOEXEC,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
  for (guint tries = 0;; tries++) {
    int fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || tries == RACE_TRIES)
      return fd;
  }
}

/* The kernel takes paths of less than PATH_MAX: longer ones are cut at slashes. */
int
tree_walk_open(int root, const char *path, gboolean list)
{
  int flags = list ? O_RDONLY : O_PATH;
  g_auto(Fd) at = open_beneath(root, ".", O_PATH);
  while (at >= 0 && strlen(path) >= REPLICA_PATH_MAX) {
    const char *cut = memrchr(path, '/', REPLICA_PATH_MAX - 1);
    g_autofree char *part = cut ? g_strndup(path, cut - path) : NULL;
    int next = part ? open_beneath(at, part, O_PATH) : -1;
    io_close(&at);
    at = next;
    path = cut ? cut + 1 : path;
  }
  return at < 0 ? -1 : open_beneath(at, *path ? path : ".", flags);
}

void
tree_near_clear(TreeNear *near)
{
  if (near->path)
    io_close(&near->fd);
  g_clear_pointer(&near->path, g_free);
}

int
tree_near_parent(TreeNear *near, const char *path, const char **name)
{
  const char *slash = strrchr(path, '/');
  gsize length = slash ? slash - path : 0;
  *name = !*path ? "." : slash ? slash + 1 : path;
  if (near->path && strncmp(near->path, path, length) == 0 && !near->path[length])
    return near->fd;
  g_autofree char *parent = g_strndup(path, length);
  tree_near_clear(near);
  near->fd = tree_walk_open(near->root, parent, FALSE);
  if (near->fd < 0)
    return -1;
  near->path = g_steal_pointer(&parent);
  return near->fd;
}

int
tree_near_facts(TreeNear *near, const char *path, ReplicaFacts *facts)
{
  const char *name;
  *facts = (ReplicaFacts){0};
  int directory = tree_near_parent(near, path, &name);
  return directory < 0 ? errno : replica_facts_read_at(directory, name, REPLICA_READ_ALL, NULL, facts);
}

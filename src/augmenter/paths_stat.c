/* What overlayfs says otherwise than the file system below: the number of links of a directory, which it
 * always gives as 1. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "augmenter/paths_private.h"

typedef enum { STAT_NOT, STAT_PLAIN, STAT_EXTENDED } StatKind;

static const struct {
  int number;
  StatKind kind;
  guint result, mask, flags; /* argument indexes */
} calls[] = {
#ifdef SYS_stat
    {SYS_stat, STAT_PLAIN, 1},
    {SYS_lstat, STAT_PLAIN, 1},
#endif
    {SYS_newfstatat, STAT_PLAIN, 2},
    {SYS_statx, STAT_EXTENDED, 4, 3, 2},
};

static gboolean
write_bytes(pid_t tid, guint64 address, const void *from, gsize length)
{
  struct iovec here = {(void *)from, length}, there = {(void *)(guintptr)address, length};
  return process_vm_writev(tid, &here, 1, &there, 1, 0) == (ssize_t)length;
}

static gboolean
may_search(const Paths *paths, const ReplicaFacts *facts)
{
  if (paths->uid == 0)
    return TRUE;
  if (facts->uid == paths->uid)
    return facts->mode & 0100;
  for (guint i = 0; i < paths->groups->len; i++)
    if (g_array_index(paths->groups, guint32, i) == facts->gid)
      return facts->mode & 0010;
  return facts->mode & 0001;
}

/* Whether the program may get there, beyond doubt: the kernel is not asked. */
static gboolean
may_reach(const Paths *paths, const char *path)
{
  for (const char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
    g_autofree char *directory = g_strndup(path, at - path);
    const KnownPath *known = known_find(paths, directory);
    if (!known || known->failure || known->odd_owner || known->facts.xattrs ||
        !may_search(paths, &known->facts))
      return FALSE;
  }
  return TRUE;
}

/* Of a directory in which the block made or removed names: two, and one for each directory in it, where the
 * device counts so. */
static nlink_t
count_links(const Paths *paths, const char *path)
{
  int fd = openat(paths->root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  nlink_t links = 0;
  if (!listing) {
    io_close(&fd);
    return 0;
  }
  for (struct dirent *entry; (entry = readdir(listing));) /* with "." and ".." */
    links += entry->d_type == DT_DIR;
  closedir(listing);
  return links;
}

static nlink_t
links_of(const Paths *paths, const PathsPlace *place, const KnownPath *known)
{
  const char *rest;
  const PathsLayer *layer = layer_of(paths, place->path, &rest);
  if (!layer || !layer_touched(layer, rest))
    return layer ? known->facts.nlink : 0;
  gboolean counts = place->own.st_nlink == 1 && known->facts.nlink > 1;
  gboolean complete = known->listed || augmenter_is_local(paths->augmenter);
  return counts && complete ? count_links(paths, place->path[1] ? place->path + 1 : ".") : 0;
}

gboolean
stat_answer(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS],
            const PathsPlace *place)
{
  const KnownPath *known =
      place->there && !place->special && S_ISDIR(place->own.st_mode) ? known_find(paths, place->path) : NULL;
  if (!known || known->failure || known->facts.type != REPLICA_DIRECTORY || !may_reach(paths, place->path))
    return FALSE;
  nlink_t links = links_of(paths, place, known);
  if (!links || links == place->own.st_nlink)
    return FALSE;
  const char *path = place->path[1] ? place->path + 1 : ".";
  for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
    if (calls[i].number != row->nr)
      continue;
    struct stat plain = place->own;
    struct statx extended;
    guint flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    plain.st_nlink = links;
    if (calls[i].kind == STAT_PLAIN)
      return write_bytes(tid, arguments[calls[i].result], &plain, sizeof plain);
    if (statx(paths->root, path, flags, arguments[calls[i].mask], &extended) != 0)
      return FALSE;
    extended.stx_nlink = links;
    return write_bytes(tid, arguments[calls[i].result], &extended, sizeof extended);
  }
  return FALSE;
}

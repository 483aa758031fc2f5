/* What the clone's stat(2) says otherwise than the device's: overlayfs gives every directory one link, and
 * ids that do not exist in the sandbox show as the overflow id. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
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
  guint result, mask; /* argument indexes */
} calls[] = {
#ifdef SYS_stat
    {SYS_stat, STAT_PLAIN, 1},  {SYS_lstat, STAT_PLAIN, 1},
#endif
    {SYS_fstat, STAT_PLAIN, 1}, {SYS_newfstatat, STAT_PLAIN, 2}, {SYS_statx, STAT_EXTENDED, 4, 3},
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
    if (!known || known->failure || known->facts.xattrs || !may_search(paths, &known->facts))
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
  if (!layer || known->facts.type != REPLICA_DIRECTORY)
    return place->own.st_nlink;
  if (!layer_touched(layer, rest))
    return known->facts.nlink;
  gboolean counts = place->own.st_nlink == 1 && known->facts.nlink > 1;
  gboolean complete = known->listed || augmenter_is_local(paths->augmenter);
  return counts && complete ? count_links(paths, place->path[1] ? place->path + 1 : ".")
                            : place->own.st_nlink;
}

/* What is to be said instead. */
typedef struct {
  nlink_t links;
  uid_t uid;
  gid_t gid;
} Corrected;

static void
correct_owner(const KnownPath *known, Corrected *corrected)
{
  enum { OVERFLOW_ID = 65534 };
  if (known->odd_owner && corrected->uid == OVERFLOW_ID)
    corrected->uid = known->facts.uid;
  if (known->odd_owner && corrected->gid == OVERFLOW_ID)
    corrected->gid = known->facts.gid;
}

static gboolean
is_as(const Corrected *corrected, const struct stat *own)
{
  return corrected->links == own->st_nlink && corrected->uid == own->st_uid && corrected->gid == own->st_gid;
}

/* `directory` and `name`: where the Augmenter itself finds the thing. */
static gboolean
write_answer(pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS], int directory,
             const char *name, int flags, const struct stat *own, const Corrected *corrected)
{
  for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
    if (calls[i].number != row->nr)
      continue;
    struct stat plain = *own;
    struct statx extended;
    plain.st_nlink = corrected->links;
    plain.st_uid = corrected->uid;
    plain.st_gid = corrected->gid;
    if (calls[i].kind == STAT_PLAIN)
      return write_bytes(tid, arguments[calls[i].result], &plain, sizeof plain);
    if (statx(directory, name, flags, arguments[calls[i].mask], &extended) != 0)
      return FALSE;
    extended.stx_nlink = corrected->links;
    extended.stx_uid = corrected->uid;
    extended.stx_gid = corrected->gid;
    return write_bytes(tid, arguments[calls[i].result], &extended, sizeof extended);
  }
  return FALSE;
}

gboolean
stat_answer(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS],
            const PathsPlace *place)
{
  const KnownPath *known = place->there && !place->special ? known_find(paths, place->path) : NULL;
  if (!known || known->failure || (!S_ISDIR(place->own.st_mode) && !known->odd_owner) ||
      !may_reach(paths, place->path))
    return FALSE;
  const char *path = place->path[1] ? place->path + 1 : ".";
  Corrected corrected = {links_of(paths, place, known), place->own.st_uid, place->own.st_gid};
  correct_owner(known, &corrected);
  return !is_as(&corrected, &place->own) &&
         write_answer(tid, row, arguments, paths->root, path, AT_SYMLINK_NOFOLLOW, &place->own, &corrected);
}

gboolean
stat_answer_descriptor(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS],
                       int fd)
{
  char name[64], path[PATH_MAX];
  struct stat own;
  int proc = paths->augmenter->sandbox->proc_fd;
  if (!paths->augmenter->sandbox->one_id)
    return FALSE;
  snprintf(name, sizeof name, "%d/fd/%d", tid, fd);
  ssize_t length = readlinkat(proc, name, path, sizeof path - 1);
  path[MAX(length, 0)] = '\0';
  const KnownPath *known = length > 0 ? known_find(paths, path) : NULL;
  if (!known || known->failure || !known->odd_owner || fstatat(proc, name, &own, 0) != 0)
    return FALSE;
  Corrected corrected = {own.st_nlink, own.st_uid, own.st_gid};
  correct_owner(known, &corrected);
  return !is_as(&corrected, &own) && write_answer(tid, row, arguments, proc, name, 0, &own, &corrected);
}

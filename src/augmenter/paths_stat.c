/* What the clone's stat(2) says otherwise than the device's: the files' numbers, times of change and room are
 * its own, overlayfs gives every directory one link, and ids that do not exist in the sandbox show as the
 * overflow id. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
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
may_search(const Paths *paths, const struct stat *own)
{
  if (own->st_uid == paths->uid)
    return own->st_mode & 0100;
  for (guint i = 0; i < paths->groups->len; i++)
    if (g_array_index(paths->groups, guint32, i) == own->st_gid)
      return own->st_mode & 0010;
  return own->st_mode & 0001;
}

/* Whether the program may get there, beyond doubt: the kernel is not asked. */
static gboolean
may_reach(const Paths *paths, const char *path)
{
  for (const char *at = strchr(path + 1, '/'); at && paths->uid != 0; at = strchr(at + 1, '/')) {
    g_autofree char *directory = g_strndup(path, at - path);
    const KnownPath *known = known_find(paths, directory);
    struct stat own;
    if ((known && known->facts.xattrs) || !layers_look(paths, directory, &own))
      return FALSE;
    if (known && known->odd_owner) {
      own.st_uid = known->facts.uid;
      own.st_gid = known->facts.gid;
    }
    if (!may_search(paths, &own))
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
  /* A file's other names need not be in the clone, and none of them goes there. */
  if (layer && known->facts.type == REPLICA_FILE && S_ISREG(place->own.st_mode) &&
      !layer_touched(layer, rest))
    return MAX(place->own.st_nlink, known->facts.nlink);
  if (!layer || known->facts.type != REPLICA_DIRECTORY)
    return place->own.st_nlink;
  if (!layer_touched(layer, rest))
    return known->facts.nlink;
  gboolean counts = place->own.st_nlink == 1 && known->facts.nlink > 1;
  gboolean complete = known->listed || augmenter_is_local(paths->augmenter);
  return counts && complete ? count_links(paths, place->path[1] ? place->path + 1 : ".")
                            : place->own.st_nlink;
}

static void
correct_owner(const KnownPath *known, struct stat *said)
{
  enum { OVERFLOW_ID = 65534 };
  if (known->odd_owner && said->st_uid == OVERFLOW_ID)
    said->st_uid = known->facts.uid;
  if (known->odd_owner && said->st_gid == OVERFLOW_ID)
    said->st_gid = known->facts.gid;
}

static void
say_extended(const struct stat *said, struct statx *extended)
{
  extended->stx_nlink = said->st_nlink;
  extended->stx_uid = said->st_uid;
  extended->stx_gid = said->st_gid;
  extended->stx_ino = said->st_ino;
  extended->stx_dev_major = major(said->st_dev);
  extended->stx_dev_minor = minor(said->st_dev);
  extended->stx_blocks = said->st_blocks;
  extended->stx_size = said->st_size;
  extended->stx_ctime.tv_sec = said->st_ctim.tv_sec;
  extended->stx_ctime.tv_nsec = said->st_ctim.tv_nsec;
}

static gboolean
is_stat(const SyscallRow *row)
{
  for (gsize i = 0; i < G_N_ELEMENTS(calls); i++)
    if (calls[i].number == row->nr)
      return TRUE;
  return FALSE;
}

/* `directory` and `name`: where the Augmenter itself finds the thing. */
static gboolean
write_answer(const Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS],
             int directory, const char *name, int flags, const struct stat *said)
{
  for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
    struct statx extended;
    if (calls[i].number != row->nr)
      continue;
    if (calls[i].kind == STAT_PLAIN)
      return augmenter_memory_write(paths->augmenter, tid, arguments[calls[i].result], said, sizeof *said);
    if (statx(directory, name, flags, arguments[calls[i].mask], &extended) != 0)
      return FALSE;
    say_extended(said, &extended);
    return augmenter_memory_write(paths->augmenter, tid, arguments[calls[i].result], &extended,
                                  sizeof extended);
  }
  return FALSE;
}

gboolean
stat_answer(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS],
            const PathsPlace *place)
{
  PathsIdentity identity;
  if (!is_stat(row) || !place->reached || place->special || !may_reach(paths, place->path))
    return FALSE;
  const char *path = place->path[1] ? place->path + 1 : ".";
  const KnownPath *known = known_find(paths, place->path);
  struct stat said = place->own;
  gboolean differs = identity_of(paths, place->path, &place->own, &identity);
  if (differs)
    identity_answer(&identity, known, &said);
  if (known && !known->failure) {
    said.st_nlink = links_of(paths, place, known);
    correct_owner(known, &said);
    differs |= said.st_nlink != place->own.st_nlink || said.st_uid != place->own.st_uid ||
               said.st_gid != place->own.st_gid;
  }
  return differs && write_answer(paths, tid, row, arguments, paths->root, path, AT_SYMLINK_NOFOLLOW, &said);
}

/* The path that leads to what is open. FALSE for what has none, or another thing has it now. */
static gboolean
path_of_descriptor(const Paths *paths, const char *link, const struct stat *own, char path[PATH_MAX])
{
  struct stat there;
  ssize_t length = readlinkat(paths->augmenter->sandbox->proc_fd, link, path, PATH_MAX - 1);
  path[MAX(length, 0)] = '\0';
  return *path == '/' && special_kind(paths, path, TRUE) == SPECIAL_NOT && layers_look(paths, path, &there) &&
         (there.st_mode & S_IFMT) == (own->st_mode & S_IFMT);
}

PathsVerdict
stat_answer_descriptor(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS],
                       int fd)
{
  char link[64], path[PATH_MAX];
  struct stat own;
  PathsIdentity identity;
  int proc = paths->augmenter->sandbox->proc_fd;
  snprintf(link, sizeof link, "%d/fd/%d", tid, fd);
  if (!is_stat(row) || fstatat(proc, link, &own, 0) != 0 || !path_of_descriptor(paths, link, &own, path))
    return PATHS_NATIVE;
  const char *rest;
  const KnownPath *known = known_find(paths, path);
  const PathsLayer *layer = layer_of(paths, path, &rest);
  struct stat said = own;
  gboolean differs = identity_of(paths, path, &own, &identity);
  /* A block before this one made it, and nobody has asked what the device made of it. */
  if (!differs && !known && layer && !(paths->dirty && layer_touched(layer, rest))) {
    g_autofree char *reason = NULL;
    PathsAsk ask = {path, FALSE, FALSE};
    return question_path(paths, path, &ask, &reason) == PATHS_WAIT ? PATHS_WAIT : PATHS_NATIVE;
  }
  if (differs)
    identity_answer(&identity, known, &said);
  if (known && !known->failure) {
    correct_owner(known, &said);
    differs |= said.st_uid != own.st_uid || said.st_gid != own.st_gid;
  }
  return differs && write_answer(paths, tid, row, arguments, proc, link, 0, &said) ? PATHS_DONE
                                                                                   : PATHS_NATIVE;
}

#include "replica/generation_trash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/path.h"

typedef struct {
  int base;
  guint64 last; /* number of a name in `base` */
  GPtrArray *waiting;
} Trash;

static DIR *
open_listing(int directory, const char *name)
{
  Fd fd = replica_path_open_child(directory, name, O_RDONLY | O_DIRECTORY);
  if (fd < 0 && errno == EACCES && fchmodat(directory, name, 0700, 0) == 0)
    fd = replica_path_open_child(directory, name, O_RDONLY | O_DIRECTORY);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing)
    io_close(&fd);
  return listing;
}

/* Names of an earlier, killed run may be in the way. */
static int
move_up(Trash *trash, int directory, const char *name)
{
  /* Who is not root must be able to write to a directory that gets another parent, and to what is in it. */
  if (geteuid() != 0 && fchmodat(directory, name, 0700, 0) < 0)
    return errno;
  for (;;) {
    g_autofree char *up = g_strdup_printf(GENERATION_TRASH "%" G_GUINT64_FORMAT, ++trash->last);
    struct stat status;
    if (fstatat(trash->base, up, &status, AT_SYMLINK_NOFOLLOW) == 0)
      continue;
    if (renameat(directory, name, trash->base, up) < 0)
      return errno;
    g_ptr_array_add(trash->waiting, g_steal_pointer(&up));
    return 0;
  }
}

static int
remove_one(Trash *trash, int directory, const char *name)
{
  struct stat status;
  if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT ? 0 : errno;
  if (S_ISDIR(status.st_mode) && unlinkat(directory, name, AT_REMOVEDIR) < 0)
    return errno == ENOTEMPTY || errno == EEXIST ? move_up(trash, directory, name) : errno;
  if (!S_ISDIR(status.st_mode) && unlinkat(directory, name, 0) < 0)
    return errno;
  return 0;
}

static int
empty(Trash *trash, const char *name)
{
  DIR *listing = open_listing(trash->base, name);
  if (!listing)
    return errno == ENOENT ? 0 : errno;
  fchmod(dirfd(listing), 0700);
  int failure = 0;
  for (struct dirent *entry; !failure && (entry = readdir(listing));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      failure = remove_one(trash, dirfd(listing), entry->d_name);
  closedir(listing);
  if (!failure && unlinkat(trash->base, name, AT_REMOVEDIR) < 0)
    failure = errno;
  return failure;
}

int
generation_trash_remove(int base, const char *name)
{
  g_autoptr(GPtrArray) waiting = g_ptr_array_new_with_free_func(g_free);
  Trash trash = {.base = base, .waiting = waiting};
  int failure = remove_one(&trash, base, name);
  while (!failure && waiting->len > 0) {
    g_autofree char *next = g_ptr_array_steal_index_fast(waiting, waiting->len - 1);
    failure = empty(&trash, next);
  }
  return failure;
}

int
generation_trash_sweep(int base)
{
  g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
  DIR *listing = open_listing(base, ".");
  if (!listing)
    return errno;
  for (struct dirent *entry; (entry = readdir(listing));)
    if (g_str_has_prefix(entry->d_name, GENERATION_TRASH))
      g_ptr_array_add(names, g_strdup(entry->d_name));
  closedir(listing);
  int failure = 0;
  for (guint i = 0; !failure && i < names->len; i++)
    failure = generation_trash_remove(base, names->pdata[i]);
  return failure;
}

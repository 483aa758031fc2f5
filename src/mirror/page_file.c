#include "mirror/page_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"

enum { LOCK_TRIES = 100 }; /* of a millisecond */

typedef struct {
  char magic[8];
  guint32 version, length;
  guint64 seal[2]; /* XXH3-128 of this head without it, and of what follows */
} Head;

static void
seal_file(const Head *head, const guint8 *bytes, guint64 seal[static 2])
{
  XXH64_hash_t begin = XXH3_64bits(head, G_STRUCT_OFFSET(Head, seal));
  XXH128_hash_t hash = XXH3_128bits_withSeed(bytes, head->length, begin);
  seal[0] = hash.low64;
  seal[1] = hash.high64;
}

static gboolean
is_head(const Head *head, const PageFileKind *kind)
{
  return memcmp(head->magic, kind->magic, sizeof kind->magic) == 0 && head->version == kind->version &&
         head->length <= kind->bytes_max;
}

GBytes *
page_file_load(const char *path, const PageFileKind *kind)
{
  Head head;
  struct stat status;
  guint64 seal[2];
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
    return NULL;
  if (io_read_all(fd, &head, sizeof head) != sizeof head || !is_head(&head, kind) ||
      status.st_size != (gint64)sizeof head + head.length)
    return NULL;
  g_autofree guint8 *bytes = g_malloc(head.length + 1);
  if (io_read_all(fd, bytes, head.length) != head.length)
    return NULL;
  seal_file(&head, bytes, seal);
  if (memcmp(seal, head.seal, sizeof seal) != 0)
    return NULL;
  return g_bytes_new_take(g_steal_pointer(&bytes), head.length);
}

/* To write beyond the limit would be a deadly signal. */
static gboolean
is_within_limit(gsize length)
{
  struct rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) < 0 || length <= limit.rlim_cur;
}

/* A file system that is careful writes a file out before it takes the place of another, and who waits for
 * that is the program's end. An exchange of names does without; a file that a crash leaves without its bytes
 * is one that was damaged. */
static gboolean
put_in_place(const char *draft, const char *path)
{
  if (renameat2(AT_FDCWD, draft, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
    return unlink(draft) == 0;
  return rename(draft, path) == 0;
}

gboolean
page_file_save(const char *path, const PageFileKind *kind, const guint8 *bytes, gsize length, GError **error)
{
  Head head = {.version = kind->version, .length = length};
  memcpy(head.magic, kind->magic, sizeof head.magic);
  seal_file(&head, bytes, head.seal);
  if (length > kind->bytes_max || !is_within_limit(sizeof head + length))
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "%s would be too large a file", path);
  g_autofree char *temporary = g_strconcat(path, ".new", NULL);
  unlink(temporary);
  g_auto(Fd) fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return doppel_error_errno(error, "cannot make %s", temporary);
  if (io_write_all(fd, &head, sizeof head) && io_write_all(fd, bytes, length) &&
      put_in_place(temporary, path))
    return TRUE;
  doppel_error_errno(error, "cannot write %s", path);
  unlink(temporary);
  return FALSE;
}

int
page_file_lock(const char *path, GError **error)
{
  g_autofree char *directory = g_path_get_dirname(path);
  if (g_mkdir_with_parents(directory, 0700) < 0)
    return doppel_error_errno(error, "cannot make the directory %s", directory), -1;
  g_auto(Fd) fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return doppel_error_errno(error, "cannot open the directory %s", directory), -1;
  for (guint tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
    if ((errno != EWOULDBLOCK && errno != EINTR) || tries == LOCK_TRIES)
      return doppel_error_errno(error, "cannot lock the directory %s", directory), -1;
    g_usleep(1000);
  }
  return io_steal_fd(&fd);
}

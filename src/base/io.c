#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

gboolean
io_write_all(int fd, const void *data, gsize length)
{
  const guint8 *at = data;
  while (length > 0) {
    ssize_t done = write(fd, at, length);
    if (done < 0) {
      if (errno == EINTR)
        continue;
      return FALSE;
    }
    at += done;
    length -= done;
  }
  return TRUE;
}

gssize
io_read_all(int fd, void *data, gsize length)
{
  gsize have = 0;
  while (have < length) {
    ssize_t got = read(fd, (guint8 *)data + have, length - have);
    if (got < 0) {
      if (errno == EINTR)
        continue;
      return -1;
    }
    if (got == 0)
      break;
    have += got;
  }
  return have;
}

char *
io_read_file_at(int dirfd, const char *path, gsize limit)
{
  g_auto(Fd) fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return NULL;
  gsize room = 4096, have = 0;
  g_autofree char *text = g_malloc(room);
  for (;;) {
    gssize got = io_read_all(fd, text + have, room - have - 1);
    if (got < 0)
      return NULL;
    have += got;
    if (have < room - 1)
      break;
    if (room >= limit) {
      errno = EFBIG;
      return NULL;
    }
    room = MIN(room * 2, limit);
    text = g_realloc(text, room);
  }
  text[have] = '\0';
  return g_steal_pointer(&text);
}

void
io_close(int *fd)
{
  if (*fd >= 0) {
    int saved = errno;
    close(*fd);
    errno = saved;
    *fd = -1;
  }
}

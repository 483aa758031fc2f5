/* Whole reads and writes on descriptors, and descriptors that close themselves. */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* Writes all `length` bytes, through short writes and EINTR. FALSE with errno set when the system refuses. */
gboolean io_write_all(int fd, const void *data, gsize length);

/* Reads until `length` bytes are there or the end comes. Bytes read, or -1 with errno set. */
gssize io_read_all(int fd, void *data, gsize length);

/* The whole of a small file (procfs too, whose sizes are 0) as a NUL-terminated string, at most `limit`
 * bytes. NULL with errno set. */
char *io_read_file_at(int dirfd, const char *path, gsize limit);

/* g_auto(Fd): a descriptor closed at the end of its scope; -1 is none. */
typedef int Fd;
static inline int
io_steal_fd(int *fd)
{
  int stolen = *fd;
  *fd = -1;
  return stolen;
}
void io_close(int *fd);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fd, io_close)

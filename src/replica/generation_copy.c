#include "replica/generation_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/generation_facts.h"

#define PIECE (256u << 10) /* bytes copied at once */

static int
write_at(int fd, const guint8 *bytes, gsize length, guint64 offset)
{
  while (length > 0) {
    ssize_t put = pwrite(fd, bytes, length, offset);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return errno;
    bytes += put;
    length -= put;
    offset += put;
  }
  return 0;
}

/* Where, within [offset, end), the hole that begins there ends; `offset` itself for none. */
static guint64
hole_end(int fd, guint64 offset, guint64 end)
{
  off_t data = lseek(fd, offset, SEEK_DATA);
  if (data < 0)
    return errno == ENXIO ? end : offset;
  return MIN((guint64)data, end);
}

static guint64
data_end(int fd, guint64 offset, guint64 end)
{
  off_t hole = lseek(fd, offset, SEEK_HOLE);
  return hole < 0 || (guint64)hole <= offset ? end : MIN((guint64)hole, end);
}

static int
copy_data(int from, guint64 offset, int to, guint64 at, guint64 length, guint8 *buffer,
          GenerationCopied copied, gpointer user_data)
{
  while (length > 0) {
    ssize_t got = pread(from, buffer, MIN(length, PIECE), offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got < 0 ? errno : ENODATA;
    int failure = write_at(to, buffer, got, at);
    if (failure)
      return failure;
    if (copied)
      copied(buffer, got, user_data);
    offset += got;
    at += got;
    length -= got;
  }
  return 0;
}

int
generation_copy_range(int from, guint64 from_offset, int to, guint64 to_offset, guint64 length,
                      GenerationCopied copied, gpointer user_data)
{
  struct stat status;
  if (fstat(from, &status) < 0)
    return errno;
  if ((guint64)status.st_size < from_offset || (guint64)status.st_size - from_offset < length)
    return ENODATA;
  g_autofree guint8 *buffer = g_malloc(PIECE);
  guint64 end = from_offset + length;
  int failure = 0;
  while (!failure && from_offset < end) {
    guint64 hole = hole_end(from, from_offset, end) - from_offset;
    if (hole > 0 && copied)
      copied(NULL, hole, user_data);
    from_offset += hole;
    to_offset += hole;
    guint64 data = from_offset < end ? data_end(from, from_offset, end) - from_offset : 0;
    failure = copy_data(from, from_offset, to, to_offset, data, buffer, copied, user_data);
    from_offset += data;
    to_offset += data;
  }
  return failure;
}

static int
copy_file(int from, int to)
{
  struct stat status;
  if (ioctl(to, FICLONE, from) == 0)
    return 0;
  if (fstat(from, &status) < 0 || ftruncate(to, status.st_size) < 0)
    return errno;
  return generation_copy_range(from, 0, to, 0, status.st_size, NULL, NULL);
}

int
generation_copy_node(int directory, const char *name, const ReplicaFacts *facts, int to, const char *fresh)
{
  gboolean stands_in;
  unlinkat(to, fresh, 0);
  if (facts->type != REPLICA_FILE)
    return generation_node_make(to, fresh, facts, &stands_in);
  g_auto(Fd) source = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (source < 0)
    return errno;
  g_auto(Fd) copy = openat(to, fresh, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
  return copy < 0 ? errno : copy_file(source, copy);
}

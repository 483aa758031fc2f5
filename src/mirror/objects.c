/* Descriptors without a name that a block made and leaves open: they go home as what they are and what they
 * hold. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/files.h"

#define CONTENT_MAX (256u << 20) /* bytes of a file without a name */

gboolean
mirror_object_is_pipe(const MirrorFile *file)
{
  return file->path && g_str_has_prefix(file->path, "pipe:[");
}

static gboolean
is_file(const MirrorFile *file)
{
  return file->path && *file->path == '/' && g_str_has_suffix(file->path, " (deleted)");
}

/* ---- out of the mirror ---- */

static GBytes *
read_pipe(int fd)
{
  int waiting = 0;
  if (ioctl(fd, FIONREAD, &waiting) < 0)
    return NULL;
  g_autofree guint8 *bytes = g_malloc(waiting + 1);
  gssize got = waiting ? io_read_all(fd, bytes, waiting) : 0;
  return got < 0 ? NULL : g_bytes_new(bytes, got);
}

static GBytes *
read_file(int fd)
{
  struct stat facts;
  if (fstat(fd, &facts) < 0 || !S_ISREG(facts.st_mode) || facts.st_size > CONTENT_MAX) {
    errno = EFBIG;
    return NULL;
  }
  g_autofree guint8 *bytes = g_malloc(facts.st_size + 1);
  gsize have = 0;
  while (have < (gsize)facts.st_size) {
    ssize_t got = pread(fd, bytes + have, facts.st_size - have, have);
    if (got <= 0)
      return NULL;
    have += got;
  }
  return g_bytes_new_take(g_steal_pointer(&bytes), have);
}

/* Of a pipe the reading end holds the bytes; the writing end has none to carry. */
static gboolean
fetch_one(int pidfd, MirrorFile *file, GError **error)
{
  g_auto(Fd) fd = syscall(SYS_pidfd_getfd, pidfd, file->number, 0);
  if (fd < 0)
    return doppel_error_errno(error, "reading descriptor %d of the mirror", file->number);
  if (is_file(file))
    file->content = read_file(fd);
  else if (mirror_object_is_pipe(file) && (file->flags & O_ACCMODE) == O_WRONLY)
    return TRUE;
  else if (mirror_object_is_pipe(file))
    file->content = read_pipe(fd);
  else
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "the block leaves descriptor %d (%s) open",
                            file->number, file->path);
  return file->content ||
         doppel_error_errno(error, "reading what descriptor %d (%s) holds", file->number, file->path);
}

gboolean
mirror_files_fetch(MirrorProcess *process, MirrorFiles *files, GError **error)
{
  g_auto(Fd) pidfd = -1;
  for (guint i = 0; i < files->len; i++) {
    MirrorFile *file = files->pdata[i];
    if (file->kind != MIRROR_FILE_LOCAL || file->shares >= 0)
      continue;
    if (pidfd < 0 && (pidfd = syscall(SYS_pidfd_open, process->pid, 0)) < 0)
      return doppel_error_errno(error, "opening the mirror");
    if (!fetch_one(pidfd, file, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- into the primary ---- */

static gboolean
call(MirrorProcess *process, const char *what, gint64 nr, guint64 a, guint64 b, guint64 c, guint64 d,
     gint64 *result, GError **error)
{
  const guint64 arguments[6] = {a, b, c, d};
  if (!mirror_inject_one(mirror_thread_leader(process), nr, arguments, result, error))
    return FALSE;
  if (*result >= 0)
    return TRUE;
  errno = -*result;
  return doppel_error_errno(error, "%s", what);
}

/* Through the room for batches, which injected single calls leave alone. */
static gboolean
write_content(MirrorProcess *process, gint64 fd, const MirrorFile *file, GError **error)
{
  gsize length = 0, piece = MIRROR_SCRATCH_BATCH / 4;
  const guint8 *bytes = file->content ? g_bytes_get_data(file->content, &length) : NULL;
  guint64 room = mirror_scratch_bytes(process);
  for (gsize at = 0; at < length;) {
    gsize now = MIN(piece, length - at);
    gint64 done;
    if (!mirror_memory_write(process, room, bytes + at, now, error) ||
        !call(process, "filling a descriptor", SYS_write, fd, room, now, 0, &done, error))
      return FALSE;
    if (done == 0)
      return doppel_error_set(error, DOPPEL_ERROR_FAILED, "filling a descriptor: nothing was taken");
    at += done;
  }
  return TRUE;
}

static gboolean
make_pipe(MirrorProcess *process, const MirrorFile *file, gint64 *made, gint64 *other, GError **error)
{
  guint64 room = mirror_scratch_bytes(process);
  gint32 ends[2];
  gint64 result;
  gsize waiting = file->content ? g_bytes_get_size(file->content) : 0;
  gboolean reads = (file->flags & O_ACCMODE) == O_RDONLY;
  if (!call(process, "making a pipe", SYS_pipe2, room, O_CLOEXEC, 0, 0, &result, error) ||
      !mirror_memory_read(process, room, ends, sizeof ends, error))
    return FALSE;
  if (waiting > 65536 &&
      !call(process, "widening a pipe", SYS_fcntl, ends[1], F_SETPIPE_SZ, waiting, 0, &result, error))
    return FALSE;
  if (!write_content(process, ends[1], file, error))
    return FALSE;
  *made = ends[reads ? 0 : 1];
  *other = ends[reads ? 1 : 0];
  return TRUE;
}

/* In the directory where it was, so that it is on the same file system; a memfd where there was none. */
static gboolean
make_file(MirrorProcess *process, const MirrorFile *file, gint64 *made, GError **error)
{
  guint64 room = mirror_scratch_bytes(process);
  gboolean memory = g_str_has_prefix(file->path, "/memfd:");
  g_autofree char *name = g_strndup(file->path, strlen(file->path) - strlen(" (deleted)"));
  g_autofree char *place = memory ? g_strdup(name + strlen("/memfd:")) : g_path_get_dirname(name);
  gint64 result;
  if (!mirror_memory_write(process, room, place, strlen(place) + 1, error))
    return FALSE;
  if (!(memory ? call(process, "making a memfd", SYS_memfd_create, room, MFD_CLOEXEC | MFD_ALLOW_SEALING, 0,
                      0, made, error)
               : call(process, "making a file without a name", SYS_openat, (guint64)AT_FDCWD, room,
                      O_TMPFILE | O_RDWR | O_CLOEXEC, 0600, made, error)))
    return FALSE;
  return write_content(process, *made, file, error) &&
         call(process, "positioning", SYS_lseek, *made, file->offset, SEEK_SET, 0, &result, error);
}

gboolean
mirror_object_make(MirrorProcess *process, const MirrorFile *file, gint64 *made, gint64 *other,
                   GError **error)
{
  gint64 result;
  *other = -1;
  if (!(mirror_object_is_pipe(file) ? make_pipe(process, file, made, other, error)
        : is_file(file)             ? make_file(process, file, made, error)
                                    : doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                                                       "a descriptor %d that cannot be carried", file->number)))
    return FALSE;
  guint32 kept = file->flags & (O_NONBLOCK | O_APPEND);
  return !kept || call(process, "setting flags", SYS_fcntl, *made, F_SETFL, kept, 0, &result, error);
}

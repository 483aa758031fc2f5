#include "replicator/job_whole.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/pack.h"
#include "replica/path.h"
#include "replicator/job_changes.h"

/* ---- keeping ---- */

static gboolean
is_to_be_kept(const ReplicaEntry *entry)
{
  if (entry->after.type != REPLICA_FILE)
    return FALSE;
  return entry->change == REPLICA_MOVE || entry->change == REPLICA_LINK ||
         (entry->change == REPLICA_KEEP && (entry->set & REPLICA_FACT_SIZE));
}

static gboolean
copy_all(int from, int to)
{
  g_autofree guint8 *piece = g_malloc(1 << 20);
  for (;;) {
    ssize_t got = read(from, piece, 1 << 20);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got == 0;
    if (!io_write_all(to, piece, got))
      return FALSE;
  }
}

/* FALSE with errno. */
static gboolean
keep_one(int folder, int upper, const char *path, const char *name)
{
  const char *last;
  g_auto(Fd) parent = replica_path_open_parent(upper, path, FALSE, &last);
  if (parent >= 0 && linkat(parent, last, folder, name, 0) == 0)
    return TRUE;
  g_auto(Fd) from = parent < 0 ? -1 : replica_path_open_child(parent, last, O_RDONLY | O_NONBLOCK);
  g_auto(Fd) to = from < 0 ? -1 : openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  return to >= 0 && copy_all(from, to);
}

/* By the mount that the upper layer is in, as a file gets no second name on another mount; or, where the
 * layer is not below the job's directory, by the job's own. */
static int
open_folder(const Job *job, int upper)
{
  struct stat own, above;
  if (mkdirat(job->directory, JOB_WHOLE_FOLDER, 0700) < 0 && errno != EEXIST)
    return -1;
  g_auto(Fd) same = openat(upper, "../../..", O_PATH | O_DIRECTORY | O_CLOEXEC);
  gboolean inside = same >= 0 && fstat(same, &above) == 0 && fstat(job->directory, &own) == 0 &&
                    own.st_dev == above.st_dev && own.st_ino == above.st_ino;
  return openat(inside ? same : job->directory, JOB_WHOLE_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

gboolean
job_whole_keep(const Job *job, int upper, guint mountpoint, const ReplicaDelta *delta, GError **error)
{
  g_auto(Fd) folder = open_folder(job, upper);
  for (guint i = 0; folder >= 0 && i < delta->entries->len; i++) {
    const ReplicaEntry *entry = delta->entries->pdata[i];
    g_autofree char *name = g_strdup_printf("%u-%u", mountpoint, i);
    if (is_to_be_kept(entry) && !keep_one(folder, upper, entry->path, name))
      return doppel_error_errno(error, "cannot keep %s", entry->path);
  }
  return folder >= 0 || doppel_error_errno(error, "cannot make the directory " JOB_WHOLE_FOLDER);
}

int
job_whole_open(const Job *job, guint mountpoint, guint entry, GError **error)
{
  g_autofree char *name = g_strdup_printf(JOB_WHOLE_FOLDER "/%u-%u", mountpoint, entry);
  int fd = openat(job->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "the job has changed no such file");
  return fd;
}

/* ---- building ---- */

typedef struct {
  guint mountpoint, wanted;
  ReplicaUnpacker *unpacker;
  int file;
} Whole;

/* What is not written is a hole, which has zeros. */
static gboolean
take_piece(const ReplicaPiece *piece, gpointer user, GError **error)
{
  const Whole *whole = user;
  if (piece->entry != whole->wanted || !piece->bytes)
    return TRUE;
  for (gsize done = 0; done < piece->length;) {
    ssize_t put =
        pwrite(whole->file, piece->bytes + done, piece->length - done, (off_t)(piece->offset + done));
    if (put < 0 && errno != EINTR)
      return doppel_error_errno(error, "cannot put a file of a job's together");
    done += MAX(put, 0);
  }
  return TRUE;
}

static gboolean
take_message(guint mountpoint, const guint8 *data, gsize length, gpointer user, GError **error)
{
  const Whole *whole = user;
  return mountpoint != whole->mountpoint || replica_unpacker_push(whole->unpacker, data, length, error);
}

static gboolean
finish(const Whole *whole, GError **error)
{
  const GPtrArray *entries = replica_unpacker_entries(whole->unpacker);
  const ReplicaEntry *entry = whole->wanted < entries->len ? entries->pdata[whole->wanted] : NULL;
  if (!entry || entry->change != REPLICA_MAKE || entry->after.type != REPLICA_FILE)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "the job has made no such file");
  return ftruncate(whole->file, (off_t)entry->after.size) == 0 ||
         doppel_error_errno(error, "cannot put a file of a job's together");
}

gboolean
job_whole_build(int changes, guint mountpoints, guint mountpoint, guint entry, int file, GError **error)
{
  Whole whole = {.mountpoint = mountpoint, .wanted = entry, .file = file};
  whole.unpacker = replica_unpacker_new(take_piece, &whole);
  gboolean done =
      job_changes_read(changes, mountpoints, take_message, &whole, error) && finish(&whole, error);
  replica_unpacker_free(whole.unpacker);
  return done;
}

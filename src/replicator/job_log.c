#include "replicator/job_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

enum { RUN_BYTES = 8, RESERVED = 4096 };

static int
make(int directory, const char *name)
{
  return openat(directory, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

gboolean
job_log_begin(JobLog *log, int directory, GError **error)
{
  *log = (JobLog)JOB_LOG_INIT;
  log->log = make(directory, JOB_LOG);
  log->streams = make(directory, JOB_LOG_STREAMS);
  if (log->log < 0 || log->streams < 0)
    return doppel_error_errno(error, "cannot keep the job's output");
  /* A job that fills the disk at once has room for some words about it. */
  if (fallocate(log->log, FALLOC_FL_KEEP_SIZE, 0, RESERVED) < 0 ||
      fallocate(log->streams, FALLOC_FL_KEEP_SIZE, 0, RESERVED) < 0)
    g_debug("no room is kept for a job's output: %s", g_strerror(errno));
  return TRUE;
}

/* FALSE where there is no room for it: then the file is as it was. */
static gboolean
begin_run(JobLog *log, JobStream stream)
{
  guint64 run = GUINT64_TO_LE(log->bytes << 1 | stream);
  if (write(log->streams, &run, RUN_BYTES) != RUN_BYTES) {
    if (ftruncate(log->streams, (off_t)(log->runs * RUN_BYTES)) < 0)
      g_debug("a half run stays: %s", g_strerror(errno));
    return FALSE;
  }
  log->runs++;
  log->stream = stream;
  return TRUE;
}

static gsize
room(const JobLog *log, guint64 most)
{
  guint64 used = log->bytes + log->runs * RUN_BYTES;
  return used < most ? MIN(most - used, G_MAXSSIZE) : 0;
}

gsize
job_log_append(JobLog *log, JobStream stream, const guint8 *bytes, gsize length, guint64 most)
{
  gboolean other = !log->runs || log->stream != stream;
  gsize left = room(log, most), needed = other ? RUN_BYTES : 0;
  log->over = log->over || left < needed + length;
  if (left <= needed || (other && !begin_run(log, stream)))
    return 0;
  gsize done = 0, wanted = MIN(length, left - needed);
  while (done < wanted) {
    ssize_t put = write(log->log, bytes + done, wanted - done);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      break;
    done += put;
  }
  log->bytes += done;
  return done;
}

void
job_log_end(JobLog *log)
{
  int *files[] = {&log->log, &log->streams};
  for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
    if (*files[i] >= 0)
      fsync(*files[i]);
    io_close(files[i]);
  }
}

/* ---- looking ---- */

/* Where a run begins, its stream in *stream; what cannot be read is nowhere. */
static guint64
read_run(int streams, guint64 number, JobStream *stream)
{
  guint64 run;
  if (pread(streams, &run, RUN_BYTES, (off_t)(number * RUN_BYTES)) != RUN_BYTES)
    return G_MAXUINT64;
  run = GUINT64_FROM_LE(run);
  *stream = run & 1 ? JOB_STDERR : JOB_STDOUT;
  return run >> 1;
}

/* Several runs may begin at one place, where nothing came of the earlier ones: the last counts. */
JobStream
job_log_look(int streams, guint64 offset, guint64 *end)
{
  struct stat status;
  JobStream stream = JOB_STDOUT, next;
  guint64 first = 0; /* run that begins behind `offset` */
  *end = G_MAXUINT64;
  guint64 runs = streams >= 0 && fstat(streams, &status) == 0 ? (guint64)status.st_size / RUN_BYTES : 0;
  for (guint64 last = runs; first < last;) {
    guint64 middle = first + (last - first) / 2;
    if (read_run(streams, middle, &next) <= offset)
      first = middle + 1;
    else
      last = middle;
  }
  if (first > 0)
    read_run(streams, first - 1, &stream);
  if (first < runs)
    *end = MAX(read_run(streams, first, &next), offset + 1);
  return stream;
}

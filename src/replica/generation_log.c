#include "replica/generation_log.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation.h"
#include "replica/path.h"

static const char magic[8] = "doppelG1";

typedef struct {
  char magic[8];
  guint64 salt, first;
} Begin;

typedef struct __attribute__((packed)) {
  guint32 length;
  guint64 checksum;
} Frame;

struct GenerationLog {
  Fd file;
  guint64 salt, first;
  guint64 records; /* good ones, the head among them */
  guint64 end;     /* of the last good one, in the file */
  guint64 synced_records, synced_end;
  gint64 unsynced_since; /* monotonic microseconds; of synced_end < end */
  gboolean reading, broken;
  GBytes *head;
};

void
generation_log_free(GenerationLog *log)
{
  if (!log)
    return;
  io_close(&log->file);
  g_clear_pointer(&log->head, g_bytes_unref);
  g_free(log);
}

static guint64
checksum(const GenerationLog *log, const void *data, gsize length)
{
  return XXH3_64bits_withSeed(data, length, log->salt + log->records);
}

static gboolean
write_record(GenerationLog *log, GBytes *content)
{
  gsize length;
  const void *data = g_bytes_get_data(content, &length);
  Frame frame = {.length = GUINT32_TO_LE(length), .checksum = GUINT64_TO_LE(checksum(log, data, length))};
  struct iovec parts[] = {{&frame, sizeof frame}, {(void *)data, length}};
  gsize whole = sizeof frame + length;
  ssize_t put = pwritev(log->file, parts, G_N_ELEMENTS(parts), log->end);
  if (put != (ssize_t)whole) { /* regular files are written short only when the disk is full */
    int failure = put < 0 ? errno : ENOSPC;
    if (ftruncate(log->file, log->end) < 0)
      log->broken = TRUE;
    errno = failure;
    return FALSE;
  }
  log->records++;
  log->end += whole;
  return TRUE;
}

static gboolean
begin(GenerationLog *log, GBytes *head)
{
  Begin begin = {.salt = GUINT64_TO_LE(log->salt), .first = GUINT64_TO_LE(log->first)};
  memcpy(begin.magic, magic, sizeof magic);
  log->end = sizeof begin;
  if (!io_write_all(log->file, &begin, sizeof begin) || !write_record(log, head) || fsync(log->file) < 0)
    return FALSE;
  log->synced_end = log->end;
  log->synced_records = log->records;
  return TRUE;
}

GenerationLog *
generation_log_new(int directory, const char *name, guint64 first, GBytes *head, GError **error)
{
  g_autoptr(GenerationLog) log = g_new0(GenerationLog, 1);
  g_autofree char *fresh = g_strconcat(name, ".new", NULL);
  randombytes_buf(&log->salt, sizeof log->salt);
  log->first = first;
  log->head = g_bytes_ref(head);
  unlinkat(directory, fresh, 0);
  log->file = openat(directory, fresh, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (log->file < 0 || !begin(log, head) || renameat(directory, fresh, directory, name) < 0 ||
      fsync(directory) < 0) {
    doppel_error_errno(error, "cannot begin the log of a synchronisation");
    return NULL;
  }
  return g_steal_pointer(&log);
}

static gboolean
read_at(int fd, void *data, gsize length, guint64 offset)
{
  for (gsize done = 0; done < length;) {
    ssize_t got = pread(fd, (guint8 *)data + done, length - done, offset + done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got == 0)
      errno = 0;
    if (got <= 0)
      return FALSE;
    done += got;
  }
  return TRUE;
}

/* NULL with errno 0 where no good record begins. */
static GBytes *
read_record(GenerationLog *log)
{
  Frame frame;
  if (!read_at(log->file, &frame, sizeof frame, log->end))
    return NULL;
  guint32 length = GUINT32_FROM_LE(frame.length);
  errno = 0;
  if (length > GENERATION_MESSAGE_MAX)
    return NULL;
  g_autofree guint8 *data = g_malloc(MAX(length, 1));
  if (!read_at(log->file, data, length, log->end + sizeof frame))
    return NULL;
  errno = 0;
  if (checksum(log, data, length) != GUINT64_FROM_LE(frame.checksum))
    return NULL;
  log->records++;
  log->end += sizeof frame + length;
  return g_bytes_new_take(g_steal_pointer(&data), length);
}

static gboolean
read_begin(GenerationLog *log, GError **error)
{
  Begin begin;
  struct stat status;
  gboolean read = fstat(log->file, &status) == 0 && S_ISREG(status.st_mode) &&
                  read_at(log->file, &begin, sizeof begin, 0) &&
                  memcmp(begin.magic, magic, sizeof magic) == 0;
  log->salt = read ? GUINT64_FROM_LE(begin.salt) : 0;
  log->first = read ? GUINT64_FROM_LE(begin.first) : 0;
  log->end = sizeof begin;
  if (read && log->first > 0 && log->first < G_MAXINT64 && (log->head = read_record(log)))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the log of a synchronisation is damaged");
}

GenerationLog *
generation_log_open(int directory, const char *name, GError **error)
{
  g_autoptr(GenerationLog) log = g_new0(GenerationLog, 1);
  log->reading = TRUE;
  log->file = replica_path_open_child(directory, name, O_RDWR | O_NONBLOCK);
  if (log->file < 0 && errno == ENOENT) {
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "no synchronisation has begun");
    return NULL;
  }
  if (log->file < 0) {
    doppel_error_errno(error, "cannot open the log of a synchronisation");
    return NULL;
  }
  return read_begin(log, error) ? g_steal_pointer(&log) : NULL;
}

GBytes *
generation_log_head(const GenerationLog *log)
{
  return log->head;
}

/* What is after the last good record goes, and what is before it is made to stay. */
static gboolean
end_reading(GenerationLog *log, GError **error)
{
  if (ftruncate(log->file, log->end) < 0 || fsync(log->file) < 0)
    return doppel_error_errno(error, "cannot cut off what was left of the log of a synchronisation");
  log->synced_end = log->end;
  log->synced_records = log->records;
  log->reading = FALSE;
  return TRUE;
}

GBytes *
generation_log_next(GenerationLog *log, GError **error)
{
  if (!log->reading)
    return NULL;
  GBytes *message = read_record(log);
  if (!message && errno)
    doppel_error_errno(error, "cannot read the log of a synchronisation");
  else if (!message)
    end_reading(log, error);
  return message;
}

gboolean
generation_log_append(GenerationLog *log, GBytes *message, GError **error)
{
  g_assert(!log->reading && g_bytes_get_size(message) <= GENERATION_MESSAGE_MAX);
  if (log->broken)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "the log of a synchronisation has to be opened anew");
  if (log->synced_end == log->end)
    log->unsynced_since = g_get_monotonic_time();
  if (!write_record(log, message))
    return doppel_error_errno(error, "cannot write the log of a synchronisation");
  gboolean due = log->end - log->synced_end >= GENERATION_LOG_SYNC_BYTES || generation_log_due_us(log) == 0;
  return !due || generation_log_sync(log, error);
}

gboolean
generation_log_sync(GenerationLog *log, GError **error)
{
  if (log->broken || fdatasync(log->file) < 0) {
    log->broken = TRUE; /* the kernel may have dropped what it could not write: nothing can be told of it */
    return doppel_error_errno(error, "cannot bring the log of a synchronisation to the disk");
  }
  log->synced_end = log->end;
  log->synced_records = log->records;
  return TRUE;
}

guint64
generation_log_last(const GenerationLog *log)
{
  return log->first + log->records - 2; /* without the head */
}

guint64
generation_log_durable(const GenerationLog *log)
{
  return log->first + log->synced_records - 2;
}

guint64
generation_log_size(const GenerationLog *log)
{
  return log->end;
}

gint64
generation_log_due_us(const GenerationLog *log)
{
  if (log->synced_end == log->end)
    return -1;
  gint64 left = log->unsynced_since + GENERATION_LOG_SYNC_US - g_get_monotonic_time();
  return MAX(left, 0);
}

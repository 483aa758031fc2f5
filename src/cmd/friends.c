#include "cmd/friends.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "c2c/api.h"
#include "c2c/send_name.h"
#include "c2c/service_message.h"
#include "c2c/service_node.h"
#include "replica/hashes.h"

#define SHOW_US (G_USEC_PER_SEC / 4)
#define NAMES   10000u

int
friends_dial(const char *user, const char *service, GError **error)
{
  static const ServicePlace device = {0};
  c2c_set_program("/proc/self/exe");
  int fd = service_node->dial(&device, user, service, error);
  if (fd >= 0)
    service_message_patience(fd, SERVICE_PATIENCE_S);
  return fd;
}

/* ---- progress ---- */

void
friends_progress_begin(FriendsProgress *progress, const char *what, gboolean wanted)
{
  *progress = (FriendsProgress){.what = what, .wanted = wanted && isatty(STDERR_FILENO)};
  progress->begun_us = progress->shown_us = g_get_monotonic_time();
}

gboolean
friends_progress_tell(guint64 done, guint64 size, gpointer data)
{
  FriendsProgress *progress = data;
  gint64 now = g_get_monotonic_time(), passed = now - progress->begun_us;
  if (!progress->from)
    progress->from = done;
  if (!progress->wanted || passed < G_USEC_PER_SEC || now - progress->shown_us < SHOW_US)
    return TRUE;
  progress->shown_us = now;
  progress->shown = TRUE;
  g_autofree char *rate = g_format_size((done - progress->from) * G_USEC_PER_SEC / passed);
  fprintf(stderr, "\r%s: %u %%, %s/s\033[K", progress->what, size ? (guint)(done * 100.0 / size) : 100, rate);
  return TRUE;
}

void
friends_progress_end(FriendsProgress *progress)
{
  if (progress->shown)
    fputs("\r\033[K", stderr);
  progress->shown = FALSE;
}

/* ---- a file that comes ---- */

gboolean
friends_file_begin(FriendsFile *file, const char *directory, const char *tag, guint64 most, GError **error)
{
  struct stat status;
  file->file = -1;
  file->part = g_strconcat(".doppel-", tag, ".part", NULL);
  file->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file->directory < 0)
    return doppel_error_errno(error, "cannot open the directory %s", directory);
  file->file = openat(file->directory, file->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file->file < 0 || fstat(file->file, &status) < 0)
    return doppel_error_errno(error, "cannot make a file in %s", directory);
  if (flock(file->file, LOCK_EX | LOCK_NB) < 0)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "another process is getting it into %s already",
                            directory);
  file->offset = MIN((guint64)status.st_size, most);
  return ftruncate(file->file, file->offset) == 0 ||
         doppel_error_errno(error, "cannot write to %s", directory);
}

gboolean
friends_file_write(FriendsFile *file, const void *data, gsize length, GError **error)
{
  for (gsize done = 0; done < length;) {
    gssize written = pwrite(file->file, (const char *)data + done, length - done, file->offset);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return doppel_error_errno(error, "cannot write the file");
    done += written;
    file->offset += written;
  }
  return TRUE;
}

static gboolean
give_name(FriendsFile *file, const char *name, gboolean exact, gboolean force, char **as, GError **error)
{
  for (guint n = 1; n <= (exact ? 1 : NAMES); n++) {
    g_autofree char *numbered = exact ? g_strdup(name) : send_name_numbered(name, n);
    if (renameat2(file->directory, file->part, file->directory, numbered, force ? 0 : RENAME_NOREPLACE) ==
        0) {
      *as = g_steal_pointer(&numbered);
      return fsync(file->directory) == 0 || doppel_error_errno(error, "cannot write the file");
    }
    if (errno != EEXIST)
      break;
  }
  if (errno == EEXIST)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s is there already%s", name,
                            exact ? ": --force replaces it" : "");
  return doppel_error_errno(error, "cannot name the file %s", name);
}

gboolean
friends_file_finish(FriendsFile *file, const guint8 hash[32], guint32 mode, gint64 mtime_ns, const char *name,
                    gboolean exact, gboolean force, char **as, GError **error)
{
  guint8 found[REPLICA_HASH_SIZE];
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                              {.tv_sec = mtime_ns / 1000000000, .tv_nsec = mtime_ns % 1000000000}};
  mode_t mask = umask(0);
  umask(mask);
  if (times[1].tv_nsec < 0) {
    times[1].tv_sec--;
    times[1].tv_nsec += 1000000000;
  }
  if (!replica_hash_fd(file->file, found))
    return doppel_error_errno(error, "cannot read what came");
  if (memcmp(found, hash, sizeof found) != 0) {
    unlinkat(file->directory, file->part, 0);
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                            "what came is not what was sent, and was removed: try again");
  }
  /* What comes from others does not come as a program. */
  if (fchmod(file->file, mode & 0666 & ~mask) < 0 || futimens(file->file, times) < 0 || fsync(file->file) < 0)
    return doppel_error_errno(error, "cannot write the file");
  return give_name(file, name, exact, force, as, error);
}

void
friends_file_clear(FriendsFile *file)
{
  struct stat status;
  /* Nothing to go on with. */
  if (file->file > 0 && file->part && fstat(file->file, &status) == 0 && status.st_size == 0 &&
      status.st_nlink > 0)
    unlinkat(file->directory, file->part, 0);
  if (file->part) {
    io_close(&file->file);
    io_close(&file->directory);
  }
  g_clear_pointer(&file->part, g_free);
}

gboolean
friends_parse_id(const char *word, guint64 *id, GError **error)
{
  return g_ascii_string_to_unsigned(word, 10, 1, G_MAXINT64, id, NULL) ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%.60s\" is no number of an item", word);
}

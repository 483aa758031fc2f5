#include "replicator/job_bounds.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "replicator/job_nameless.h"

#define LOOK_NS        (1000 * G_GINT64_CONSTANT(1000000))
#define LOOK_SHARE     20                            /* of the time, at most, one part is looking */
#define RESERVE_MAX    (G_GUINT64_CONSTANT(1) << 30) /* of what stays free without being asked */
#define RESERVE_SHARE  20
#define INNOCENT_BYTES (G_GUINT64_CONSTANT(16) << 20) /* who has written less did not fill the disk */
#define DEPTH_MAX      4096                           /* directories in each other */

/* ---- amounts ---- */

static const char units[] = "KMG";

gboolean
job_bounds_parse(const char *text, guint64 most, guint64 *amount)
{
  char *end = NULL;
  *amount = g_ascii_isdigit(*text) ? g_ascii_strtoull(text, &end, 10) : 0;
  const char *unit = *amount && *end ? strchr(units, g_ascii_toupper(*end)) : NULL;
  guint shift = unit ? 10 * (guint)(unit - units + 1) : 0;
  if (!*amount || end[unit != NULL] || *amount > most >> shift)
    return FALSE;
  *amount <<= shift;
  return TRUE;
}

char *
job_bounds_text(guint64 amount)
{
  int unit = -1;
  while (unit < (int)strlen(units) - 1 && amount && amount % 1024 == 0) {
    amount /= 1024;
    unit++;
  }
  return unit < 0 ? g_strdup_printf("%" G_GUINT64_FORMAT " bytes", amount)
                  : g_strdup_printf("%" G_GUINT64_FORMAT " %ciB", amount, units[unit]);
}

/* ---- measuring ---- */

/* Whether there is nothing there any more: what is made anew meanwhile is another look's. */
static gboolean
is_gone(int failure)
{
  return failure == ENOENT || failure == ENOTDIR || failure == ELOOP;
}

static guint64 measure(int directory, guint64 most, guint depth);

static guint64
measure_entry(int directory, const char *name, guint64 most, guint depth)
{
  struct stat status;
  if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
    return is_gone(errno) ? 0 : JOB_BOUNDS_NONE;
  guint64 own = (guint64)status.st_blocks * 512;
  if (!S_ISDIR(status.st_mode))
    return own / MAX(status.st_nlink, 1); /* names, which share it */
  int inner = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (inner < 0)
    return is_gone(errno) ? own : JOB_BOUNDS_NONE;
  guint64 below = measure(inner, most - MIN(own, most), depth + 1);
  return own + MIN(below, JOB_BOUNDS_NONE - own);
}

/* What cannot be looked at is too much: else it would be the place to hide in. */
static guint64
measure(int directory, guint64 most, guint depth)
{
  guint64 sum = 0;
  DIR *listing = depth < DEPTH_MAX ? fdopendir(directory) : NULL;
  if (!listing) {
    close(directory);
    return JOB_BOUNDS_NONE;
  }
  for (;;) {
    errno = 0;
    struct dirent *entry = sum <= most ? readdir(listing) : NULL;
    if (!entry)
      break;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    guint64 part = measure_entry(dirfd(listing), entry->d_name, most - sum, depth);
    sum += MIN(part, JOB_BOUNDS_NONE - sum);
  }
  if (errno && !is_gone(errno))
    sum = JOB_BOUNDS_NONE;
  closedir(listing);
  return sum;
}

guint64
job_bounds_measure(int directory, guint64 most)
{
  int own = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return own < 0 ? JOB_BOUNDS_NONE : measure(own, most, 0);
}

static guint64
measure_all(const GArray *trees, const char *proc, guint64 most, gboolean *unseen)
{
  guint64 sum = 0;
  *unseen = FALSE;
  for (guint i = 0; i < trees->len && sum <= most; i++) {
    guint64 part = job_bounds_measure(g_array_index(trees, int, i), most - sum);
    sum += MIN(part, JOB_BOUNDS_NONE - sum);
  }
  if (sum > most || !proc)
    return sum;
  guint64 nameless = job_nameless_measure(proc, trees, most - sum, unseen);
  return sum + MIN(nameless, JOB_BOUNDS_NONE - sum);
}

/* ---- a job ---- */

void
job_bounds_begin(JobBoundsWatch *watch, const JobBounds *host, guint64 output_bytes, guint64 changes_bytes)
{
  *watch = (JobBoundsWatch){*host, output_bytes, changes_bytes, clock_now_ns() + LOOK_NS};
}

/* What counts of the two; `asked` is 0 for nothing. */
static guint64
bound(guint64 host, guint64 asked)
{
  return asked ? MIN(host, asked) : host;
}

guint64
job_bounds_output(const JobBoundsWatch *watch)
{
  return bound(watch->host.output_bytes, watch->output_bytes);
}

static char *
exceeds(const char *what, guint64 host, guint64 asked)
{
  g_autofree char *amount = job_bounds_text(bound(host, asked));
  return g_strdup_printf("stopped: %s %s, %s", what, amount,
                         asked && asked <= host ? "which is what it was given (--limit)"
                                                : "the most that its host allows");
}

char *
job_bounds_output_reason(const JobBoundsWatch *watch)
{
  return exceeds("its output exceeds", watch->host.output_bytes, watch->output_bytes);
}

/* Not all programs that hide what they have open do that to fill disks (those that keep keys do): it takes a
 * disk that is full to hold it against them. */
static gboolean
is_innocent(const GArray *trees, const char *proc)
{
  gboolean unseen;
  return measure_all(trees, proc, INNOCENT_BYTES, &unseen) <= INNOCENT_BYTES && !unseen;
}

/* NULL where the disk has enough room, or it is not this job that has taken it. */
static char *
look_at_disk(const JobBoundsWatch *watch, const GArray *trees, const char *proc, int directory)
{
  struct statvfs disk;
  if (!watch->host.reserve_bytes || fstatvfs(directory, &disk) < 0)
    return NULL;
  guint64 whole = (guint64)disk.f_blocks * disk.f_frsize, left = (guint64)disk.f_bavail * disk.f_frsize;
  guint64 reserve = watch->host.reserve_bytes;
  if (reserve == JOB_BOUNDS_NONE)
    reserve = MIN(whole / RESERVE_SHARE, RESERVE_MAX);
  if (left >= reserve || is_innocent(trees, proc))
    return NULL;
  g_autofree char *room = job_bounds_text(left >> 20 << 20), *wanted = job_bounds_text(reserve >> 20 << 20);
  return g_strdup_printf("stopped: its changes of files have left %s of its host's disk, where %s are to "
                         "stay free",
                         room, wanted);
}

char *
job_bounds_look(JobBoundsWatch *watch, const GArray *trees, const char *proc, int directory)
{
  gint64 began = clock_now_ns();
  if (began < watch->look_ns)
    return NULL;
  guint64 most = bound(watch->host.changes_bytes, watch->changes_bytes);
  char *reason = NULL;
  gboolean unseen;
  if (most < JOB_BOUNDS_NONE && measure_all(trees, proc, most, &unseen) > most)
    reason = exceeds("its changes of files exceed", watch->host.changes_bytes, watch->changes_bytes);
  if (!reason)
    reason = look_at_disk(watch, trees, proc, directory);
  gint64 now = clock_now_ns();
  watch->look_ns = now + MAX(LOOK_NS, LOOK_SHARE * (now - began));
  return reason;
}

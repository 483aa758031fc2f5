#include "replicator/job_nameless.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/io.h"
#include "replicator/job_bounds.h"

typedef struct {
  guint64 dev, ino;
} FileId;

typedef struct {
  const GArray *trees;
  GHashTable *seen; /* set of FileId */
  guint64 most, sum;
  gboolean unseen; /* there is a process that nobody may look into */
} Count;

static guint
hash_id(gconstpointer id)
{
  return g_int64_hash(&((const FileId *)id)->ino);
}

static gboolean
is_same_id(gconstpointer a, gconstpointer b)
{
  return memcmp(a, b, sizeof(FileId)) == 0;
}

/* Processes, threads and descriptors come and go while they are looked at. */
static void
note_failure(Count *count)
{
  if (errno == EACCES || errno == EPERM)
    count->unseen = TRUE;
  else if (errno != ENOENT && errno != ESRCH)
    count->sum = JOB_BOUNDS_NONE;
}

/* The overlay's files have a device of its own, or of one of its layers, by what these are on. */
static gboolean
is_on_disk(const Count *count, const struct stat *status, int file)
{
  struct statfs fs;
  if (fstatfs(file, &fs) == 0 && (guint32)fs.f_type == OVERLAYFS_SUPER_MAGIC)
    return TRUE;
  for (guint i = 0; i < count->trees->len; i++) {
    struct stat tree;
    if (fstat(g_array_index(count->trees, int, i), &tree) == 0 && tree.st_dev == status->st_dev)
      return TRUE;
  }
  return FALSE;
}

static void
count_descriptor(Count *count, int directory, const char *name)
{
  struct stat status;
  if (fstatat(directory, name, &status, 0) < 0) {
    note_failure(count);
    return;
  }
  if (!S_ISREG(status.st_mode) || status.st_nlink > 0)
    return;
  g_auto(Fd) file = openat(directory, name, O_PATH | O_CLOEXEC);
  if (file < 0 || fstat(file, &status) < 0) {
    note_failure(count);
    return;
  }
  const FileId id = {status.st_dev, status.st_ino};
  if (!S_ISREG(status.st_mode) || status.st_nlink > 0 || !is_on_disk(count, &status, file) ||
      !g_hash_table_add(count->seen, g_memdup2(&id, sizeof id)))
    return;
  guint64 bytes = (guint64)status.st_blocks * 512;
  count->sum += MIN(bytes, JOB_BOUNDS_NONE - count->sum);
}

typedef void Visit(Count *count, int directory, const char *name);

/* Each entry that is a number. */
static void
visit_numbers(Count *count, int directory, const char *name, Visit *visit)
{
  int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing) {
    note_failure(count);
    io_close(&fd);
    return;
  }
  for (;;) {
    errno = 0;
    struct dirent *entry = count->sum <= count->most ? readdir(listing) : NULL;
    if (!entry)
      break;
    if (g_ascii_isdigit(*entry->d_name))
      visit(count, dirfd(listing), entry->d_name);
  }
  if (errno)
    note_failure(count);
  closedir(listing);
}

/* Each thread: it may have descriptors of its own (CLONE_FILES). */
static void
count_thread(Count *count, int directory, const char *name)
{
  g_autofree char *descriptors = g_strconcat(name, "/fd", NULL);
  visit_numbers(count, directory, descriptors, count_descriptor);
}

static void
count_process(Count *count, int directory, const char *name)
{
  g_autofree char *threads = g_strconcat(name, "/task", NULL);
  if (strcmp(name, "1") != 0) /* which nobody in there may look into */
    visit_numbers(count, directory, threads, count_thread);
}

guint64
job_nameless_measure(const char *proc, const GArray *trees, guint64 most, gboolean *unseen)
{
  g_autoptr(GHashTable) seen = g_hash_table_new_full(hash_id, is_same_id, g_free, NULL);
  Count count = {.trees = trees, .seen = seen, .most = most};
  g_auto(Fd) all = open(proc, O_PATH | O_DIRECTORY | O_CLOEXEC);
  *unseen = FALSE;
  if (all < 0)
    return JOB_BOUNDS_NONE;
  visit_numbers(&count, all, ".", count_process);
  *unseen = count.unseen;
  return count.sum;
}

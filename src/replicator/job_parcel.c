#include "replicator/job_parcel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "identity/base32.h"
#include "replica/apply.h"
#include "replica/generation_trash.h"
#include "replica/hashes.h"
#include "replica/journal.h"

#define RECEIPT        "receipt"
#define JOURNAL_SUFFIX ".journal"

void
job_parcel_free(JobParcel *parcel)
{
  io_close(&parcel->lock);
  io_close(&parcel->directory);
  io_close(&parcel->above);
  g_free(parcel->name);
  g_free(parcel);
}

char *
job_parcel_directory(const PairedClone *clone)
{
  g_autofree char *state = identity_directory(), *id = base32_encode(clone->id, sizeof clone->id);
  return g_build_filename(state, "jobs", id, NULL);
}

static int
open_above(const PairedClone *clone)
{
  g_autofree char *path = job_parcel_directory(clone);
  return g_mkdir_with_parents(path, 0700) < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The lock is beside the directory, which may be removed and made again. FALSE with errno. */
static gboolean
lock(JobParcel *parcel, gboolean wait)
{
  g_autofree char *name = g_strconcat("lock-", parcel->name, NULL);
  parcel->lock = openat(parcel->above, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  return parcel->lock >= 0 && flock(parcel->lock, LOCK_EX | (wait ? 0 : LOCK_NB)) == 0;
}

static gboolean
is_about(int directory, const ProtobufCBinaryData *hash)
{
  guint8 known[REPLICA_HASH_SIZE];
  g_auto(Fd) fd = openat(directory, "hash", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  return fd >= 0 && hash->len == sizeof known && io_read_all(fd, known, sizeof known) == sizeof known &&
         memcmp(known, hash->data, sizeof known) == 0;
}

static gboolean
write_hash(int directory, const ProtobufCBinaryData *hash)
{
  g_auto(Fd) fd = openat(directory, "hash", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  return fd >= 0 && io_write_all(fd, hash->data, hash->len) && fsync(fd) == 0 && fsync(directory) == 0;
}

/* What is there about another job of this number was applied or never begun: its clone does not know it. */
static gboolean
enter(JobParcel *parcel, const ProtobufCBinaryData *hash)
{
  parcel->directory = openat(parcel->above, parcel->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (parcel->directory >= 0 && is_about(parcel->directory, hash))
    return TRUE;
  io_close(&parcel->directory);
  int failure = generation_trash_remove(parcel->above, parcel->name);
  if (failure) {
    errno = failure;
    return FALSE;
  }
  if (mkdirat(parcel->above, parcel->name, 0700) < 0)
    return FALSE;
  parcel->directory = openat(parcel->above, parcel->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  return parcel->directory >= 0 && write_hash(parcel->directory, hash) && fsync(parcel->above) == 0;
}

JobParcel *
job_parcel_open(const PairedClone *clone, const JobSummary *summary, gboolean wait, GError **error)
{
  g_autoptr(JobParcel) parcel = g_new0(JobParcel, 1);
  parcel->job = summary->job;
  parcel->directory = parcel->lock = -1;
  parcel->above = open_above(clone);
  parcel->name = g_strdup_printf("%" G_GUINT64_FORMAT, summary->job);
  if (parcel->above >= 0 && !lock(parcel, wait) && errno == EWOULDBLOCK)
    return NULL;
  if (parcel->lock >= 0 && enter(parcel, &summary->state->changes_hash))
    return g_steal_pointer(&parcel);
  doppel_error_errno(error, "cannot keep what job %" G_GUINT64_FORMAT " did to files", summary->job);
  return NULL;
}

/* ---- fetching ---- */

static gboolean
append(guint64 offset, const guint8 *bytes, gsize length, gpointer user, GError **error)
{
  int fd = *(int *)user;
  return io_write_all(fd, bytes, length) || doppel_error_errno(error, "cannot keep what a job did to files");
}

/* Whether they are the changes that the clone named. */
static gboolean
is_right(int fd, const JobState *state)
{
  guint8 hash[REPLICA_HASH_SIZE];
  struct stat status;
  return fstat(fd, &status) == 0 && (guint64)status.st_size == state->changes_bytes &&
         replica_hash_fd(fd, hash) && state->changes_hash.len == sizeof hash &&
         memcmp(hash, state->changes_hash.data, sizeof hash) == 0;
}

int
job_parcel_fetch(const JobParcel *parcel, JobClient *client, const JobState *state, GError **error)
{
  g_auto(Fd) fd =
      openat(parcel->directory, "changes", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) < 0) {
    doppel_error_errno(error, "cannot keep what job %" G_GUINT64_FORMAT " did to files", parcel->job);
    return -1;
  }
  guint64 offset = (guint64)status.st_size;
  if (offset < state->changes_bytes && !job_client_fetch(client, parcel->job, &offset, append, &fd, error))
    return -1;
  if (is_right(fd, state))
    return io_steal_fd(&fd);
  /* A torn end of a cut that was a power cut, perhaps: all of it comes again. */
  (void)!ftruncate(fd, 0);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                   "what came of job %" G_GUINT64_FORMAT
                   "'s changes of files is not what the clone said it would be; try again",
                   parcel->job);
  return -1;
}

/* ---- trees ---- */

int
job_parcel_tree(const JobParcel *parcel, guint number, GError **error)
{
  g_autofree char *name = g_strdup_printf("tree-%u", number);
  int fd = -1;
  if (mkdirat(parcel->directory, name, 0700) == 0 || errno == EEXIST)
    fd = openat(parcel->directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    doppel_error_errno(error, "cannot make the directory of journals %s", name);
  return fd;
}

gboolean
job_parcel_settle(int tree, int root, gboolean *made, GError **error)
{
  g_auto(Fd) receipt = openat(tree, RECEIPT, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  *made = receipt >= 0 && replica_journal_stands(receipt);
  if (!replica_recover(root, tree, error))
    return FALSE;
  if (!*made && receipt >= 0)
    unlinkat(tree, RECEIPT, 0);
  return TRUE;
}

static char *
find_journal(int tree)
{
  int fd = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  char *found = NULL;
  if (!listing)
    io_close(&fd);
  for (struct dirent *entry; listing && !found && (entry = readdir(listing));)
    if (g_str_has_suffix(entry->d_name, JOURNAL_SUFFIX))
      found = g_strdup(entry->d_name);
  if (listing)
    closedir(listing);
  return found;
}

gboolean
job_parcel_expect(int tree, GError **error)
{
  g_autofree char *journal = find_journal(tree);
  if (!journal) /* a change of nothing */
    return TRUE;
  return (linkat(tree, journal, tree, RECEIPT, 0) == 0 && fsync(tree) == 0) ||
         doppel_error_errno(error, "cannot give the journal %s a second name", journal);
}

gboolean
job_parcel_remove(JobParcel *parcel, GError **error)
{
  g_autofree char *name = g_strconcat("lock-", parcel->name, NULL);
  int failure = generation_trash_remove(parcel->above, parcel->name);
  unlinkat(parcel->above, name, 0);
  errno = failure;
  return !failure ||
         doppel_error_errno(error, "cannot remove what was kept of job %" G_GUINT64_FORMAT, parcel->job);
}

#include "replicator/job_store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "replica/generation_trash.h"
#include "replicator/owner.h"

#define BALLAST_BYTES (64 << 10)
#define RECORD_MAX    (2u << 20)
#define END_NS        (5 * G_GINT64_CONSTANT(1000000000)) /* for a killed job's process to end */
#define NEW_PREFIX    "new-"

struct JobStore {
  char *path;
  int directory;
  gboolean serves; /* `device`: nobody is told apart without */
  IdentityPublic device;
};

gint64
job_now_us(void)
{
  return g_get_real_time();
}

void
job_free(Job *job)
{
  io_close(&job->directory);
  g_free(job->path);
  g_free(job);
}

void
job_store_free(JobStore *store)
{
  io_close(&store->directory);
  g_free(store->path);
  g_free(store);
}

JobStore *
job_store_open(const char *directory, GError **error)
{
  g_autoptr(JobStore) store = g_new0(JobStore, 1);
  store->path = g_strdup(directory);
  store->directory = -1;
  if (g_mkdir_with_parents(directory, 0700) == 0)
    store->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (store->directory >= 0)
    return g_steal_pointer(&store);
  doppel_error_errno(error, "cannot keep jobs in %s", directory);
  return NULL;
}

void
job_store_serve(JobStore *store, const IdentityPublic *device)
{
  store->serves = device != NULL;
  if (device)
    store->device = *device;
}

const IdentityPublic *
job_store_served(const JobStore *store)
{
  return store->serves ? &store->device : NULL;
}

/* ---- small files ---- */

static gboolean
write_beside(int directory, const char *temporary, const void *data, gsize length)
{
  g_auto(Fd) fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  return fd >= 0 && io_write_all(fd, data, length) && fsync(fd) == 0;
}

/* All of it or what was there before, also after a power cut. FALSE with errno. */
static gboolean
replace_file(int directory, const char *name, const void *data, gsize length)
{
  g_autofree char *temporary = g_strdup_printf("%s.%d", name, (int)getpid());
  if (write_beside(directory, temporary, data, length) &&
      renameat(directory, temporary, directory, name) == 0 && fsync(directory) == 0)
    return TRUE;
  int saved = errno;
  unlinkat(directory, temporary, 0);
  errno = saved;
  return FALSE;
}

static GByteArray *
read_file(int directory, const char *name)
{
  g_auto(Fd) fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) < 0)
    return NULL;
  if (!S_ISREG(status.st_mode) || status.st_size > RECORD_MAX) {
    errno = EFBIG;
    return NULL;
  }
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  g_byte_array_set_size(bytes, status.st_size);
  gssize got = io_read_all(fd, bytes->data, bytes->len);
  if (got < 0)
    return NULL;
  g_byte_array_set_size(bytes, got);
  return g_steal_pointer(&bytes);
}

/* ---- records ---- */

JobRequest *
job_request_read(const Job *job, GError **error)
{
  g_autoptr(GByteArray) bytes = read_file(job->directory, "request");
  if (bytes)
    return job_request_unpack(bytes->data, bytes->len, error);
  doppel_error_errno(error, "cannot read what job %" G_GUINT64_FORMAT " was", job->number);
  return NULL;
}

static JobState *
read_state(const Job *job, GError **error)
{
  g_autoptr(GByteArray) bytes = read_file(job->directory, "state");
  if (bytes)
    return job_state_unpack(bytes->data, bytes->len, error);
  doppel_error_errno(error, "cannot read how job %" G_GUINT64_FORMAT " is", job->number);
  return NULL;
}

static gboolean
is_locked(const Job *job)
{
  g_auto(Fd) fd = openat(job->directory, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static pid_t
signed_by(const Job *job)
{
  g_autofree char *text = io_read_file_at(job->directory, "lock", 32);
  long pid = text ? strtol(text, NULL, 10) : 0;
  return pid > 1 && pid <= G_MAXINT ? (pid_t)pid : 0;
}

/* What a process leaves that was killed, of which nothing will come any more. */
static void
sweep(const Job *job)
{
  g_autofree char *half = g_strdup_printf("state.%d", (int)signed_by(job));
  static const char *const files[] = {"changes", "ballast"}, *const trees[] = {"work", "whole"};
  unlinkat(job->directory, half, 0);
  for (guint i = 0; i < G_N_ELEMENTS(files); i++)
    unlinkat(job->directory, files[i], 0);
  for (guint i = 0; i < G_N_ELEMENTS(trees); i++)
    generation_trash_remove(job->directory, trees[i]);
}

JobState *
job_state_read(const Job *job, GError **error)
{
  gboolean alive = is_locked(job);
  g_autoptr(JobState) state = read_state(job, error);
  if (!state || alive || job_state_is_over(state))
    return g_steal_pointer(&state);
  /* Its process wrote its last word before it let go of the lock, which was before we read: there is none. */
  state->phase = DOPPEL__WIRE__JOB_STATE__PHASE__INTERRUPTED;
  if (state->reason != protobuf_c_empty_string)
    free(state->reason);
  state->reason = strdup(
      "its process ended without a word (its host was stopped, or the process killed): what it did to files "
      "is lost, what it wrote until then is in its logs");
  state->ended_us = job_now_us();
  g_autoptr(GError) problem = NULL;
  if (!job_state_write(job, state, &problem))
    g_debug("%s", problem->message);
  sweep(job);
  return g_steal_pointer(&state);
}

gboolean
job_state_write(const Job *job, const JobState *state, GError **error)
{
  gsize length = doppel__wire__job_state__get_packed_size(state);
  g_autofree guint8 *bytes = g_malloc(MAX(length, 1));
  doppel__wire__job_state__pack(state, bytes);
  gboolean done = replace_file(job->directory, "state", bytes, length);
  if (!done && (errno == ENOSPC || errno == EDQUOT) && unlinkat(job->directory, "ballast", 0) == 0)
    done = replace_file(job->directory, "state", bytes, length);
  return done || doppel_error_errno(error, "cannot write down how job %" G_GUINT64_FORMAT " is", job->number);
}

gboolean
job_collected(const Job *job, GError **error)
{
  g_autoptr(JobState) state = job_state_read(job, error);
  if (!state)
    return FALSE;
  if (!job_state_is_over(state))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "job %" G_GUINT64_FORMAT " is not over yet",
                            job->number);
  state->collected = TRUE;
  if (!job_state_write(job, state, error))
    return FALSE;
  unlinkat(job->directory, "changes", 0);
  generation_trash_remove(job->directory, "whole");
  if (!is_locked(job)) /* its process is done with it, or was killed when it was */
    generation_trash_remove(job->directory, "work");
  return TRUE;
}

guint64
job_log_bytes(const Job *job)
{
  struct stat status;
  return fstatat(job->directory, "log", &status, AT_SYMLINK_NOFOLLOW) == 0 ? (guint64)status.st_size : 0;
}

/* ---- a job's process ---- */

/* Whoever ends jobs says so first and then looks who has signed. So either the signature is seen, or what was
 * said is. */
gboolean
job_lock_sign(const Job *job, int lock)
{
  g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
  gsize length = strlen(text);
  if (ftruncate(lock, 0) < 0 || pwrite(lock, text, length, 0) != (ssize_t)length)
    return FALSE;
  if (faccessat(job->directory, JOB_STORE_VOID, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
    return TRUE;
  errno = ECANCELED;
  return FALSE;
}

/* The lock is held for as long as the process lives: if it is held still once we have hold of the process,
 * the number is no other process's. */
gboolean
job_signal(const Job *job, int signal)
{
  pid_t pid = signed_by(job);
  g_auto(Fd) process = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
  return process >= 0 && is_locked(job) && signed_by(job) == pid &&
         syscall(SYS_pidfd_send_signal, process, signal, NULL, 0) == 0;
}

/* ---- all of them ---- */

static guint64
number_of(const char *name)
{
  char *end;
  guint64 number = g_ascii_isdigit(*name) && *name != '0' ? g_ascii_strtoull(name, &end, 10) : 0;
  return number && !*end && number < G_MAXUINT64 ? number : 0;
}

static gint
compare_numbers(gconstpointer a, gconstpointer b)
{
  guint64 left = *(const guint64 *)a, right = *(const guint64 *)b;
  return (left > right) - (left < right);
}

GArray *
job_store_list(const JobStore *store)
{
  GArray *numbers = g_array_new(FALSE, FALSE, sizeof(guint64));
  g_autoptr(GDir) entries = g_dir_open(store->path, 0, NULL);
  for (const char *name; entries && (name = g_dir_read_name(entries));) {
    guint64 number = number_of(name);
    if (number)
      g_array_append_val(numbers, number);
  }
  g_array_sort(numbers, compare_numbers);
  return numbers;
}

static Job *
open_job(const JobStore *store, guint64 number, const char *name)
{
  int directory = openat(store->directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (directory < 0)
    return NULL;
  Job *job = g_new0(Job, 1);
  job->number = number;
  job->directory = directory;
  job->path = g_build_filename(store->path, name, NULL);
  return job;
}

Job *
job_store_find(const JobStore *store, guint64 number, GError **error)
{
  g_autofree char *name = g_strdup_printf("%" G_GUINT64_FORMAT, number);
  Job *job = number ? open_job(store, number, name) : NULL;
  if (!job)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                     "there is no job %" G_GUINT64_FORMAT "; \"doppel jobs\" lists those there are", number);
  return job;
}

/* ---- adding ---- */

static gboolean
is_forgettable(const JobStore *store, guint64 number)
{
  g_autoptr(Job) job = job_store_find(store, number, NULL);
  g_autoptr(JobState) state = job ? job_state_read(job, NULL) : NULL;
  return state && job_state_is_over(state) && (state->collected || !state->changes_bytes);
}

static void
forget(const JobStore *store, const char *name)
{
  int failure = generation_trash_remove(store->directory, name);
  if (failure)
    g_debug("cannot remove job %s: %s", name, g_strerror(failure));
}

static guint
count_running(const JobStore *store)
{
  guint running = 0;
  g_autoptr(GArray) numbers = job_store_list(store);
  for (guint i = 0; i < numbers->len; i++) {
    g_autoptr(Job) job = job_store_find(store, g_array_index(numbers, guint64, i), NULL);
    g_autoptr(JobState) state = job ? job_state_read(job, NULL) : NULL;
    running += state && !job_state_is_over(state);
  }
  return running;
}

/* Under the gate's lock, so that many that are added at once are not too many. */
static gboolean
may_run(const JobStore *store, GError **error)
{
  return count_running(store) < JOB_STORE_RUN ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE, "%d jobs are running already: wait for one of them",
                          JOB_STORE_RUN);
}

/* Under the gate's lock. The oldest that nobody needs go; and what a killed job_store_add() left. */
static gboolean
make_room(const JobStore *store, GError **error)
{
  g_autoptr(GArray) numbers = job_store_list(store);
  guint left = numbers->len;
  for (guint i = 0; i < numbers->len && left >= JOB_STORE_KEEP; i++) {
    guint64 number = g_array_index(numbers, guint64, i);
    if (!is_forgettable(store, number))
      continue;
    g_autofree char *name = g_strdup_printf("%" G_GUINT64_FORMAT, number);
    forget(store, name);
    left--;
  }
  g_autoptr(GDir) entries = g_dir_open(store->path, 0, NULL);
  for (const char *name; entries && (name = g_dir_read_name(entries));)
    if (g_str_has_prefix(name, NEW_PREFIX) || g_str_has_prefix(name, GENERATION_TRASH))
      forget(store, name);
  return left < JOB_STORE_MAX || doppel_error_set(error, DOPPEL_ERROR_USAGE,
                                                  "there are %u jobs whose results were not collected: "
                                                  "\"doppel jobs\" does that",
                                                  left);
}

static guint64
next_number(const JobStore *store)
{
  g_autofree char *text = io_read_file_at(store->directory, "last", 32);
  guint64 last = text ? g_ascii_strtoull(text, NULL, 10) : 0;
  g_autoptr(GArray) numbers = job_store_list(store);
  if (numbers->len)
    last = MAX(last, g_array_index(numbers, guint64, numbers->len - 1));
  g_autofree char *next = g_strdup_printf("%" G_GUINT64_FORMAT "\n", last + 1);
  return replace_file(store->directory, "last", next, strlen(next)) ? last + 1 : 0;
}

static gboolean
write_request(const Job *job, const JobRequest *request)
{
  gsize length = doppel__wire__job_request__get_packed_size(request);
  g_autofree guint8 *bytes = g_malloc(MAX(length, 1));
  doppel__wire__job_request__pack(request, bytes);
  return replace_file(job->directory, "request", bytes, length);
}

static gboolean
write_ballast(const Job *job)
{
  g_auto(Fd) fd = openat(job->directory, "ballast", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  int failure = fd < 0 ? errno : posix_fallocate(fd, 0, BALLAST_BYTES);
  errno = failure;
  return failure == 0;
}

/* Fills the directory of a job that nobody can see yet. *lock is taken. FALSE with errno. */
static gboolean
furnish(const Job *job, const JobRequest *request, const IdentityPublic *owner, int *lock)
{
  JobState state = DOPPEL__WIRE__JOB_STATE__INIT;
  state.asked_us = job_now_us();
  state.generation = request->generation;
  *lock = openat(job->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  g_auto(Fd) log = openat(job->directory, "log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  return *lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) == 0 && log >= 0 && write_ballast(job) &&
         (!owner || owner_note(job->directory, JOB_STORE_OWNER, owner)) && write_request(job, request) &&
         job_state_write(job, &state, NULL);
}

static Job *
make_job(JobStore *store, const JobRequest *request, int *lock)
{
  guint64 number = next_number(store);
  if (!number)
    return NULL;
  g_autofree char *name = g_strdup_printf("%" G_GUINT64_FORMAT, number);
  g_autofree char *temporary = g_strconcat(NEW_PREFIX, name, NULL);
  if (mkdirat(store->directory, temporary, 0700) < 0)
    return NULL;
  g_autoptr(Job) job = open_job(store, number, temporary);
  if (job && furnish(job, request, job_store_served(store), lock) &&
      renameat(store->directory, temporary, store->directory, name) == 0 && fsync(store->directory) == 0) {
    g_free(job->path);
    job->path = g_build_filename(store->path, name, NULL);
    return g_steal_pointer(&job);
  }
  int saved = errno;
  io_close(lock);
  forget(store, temporary);
  errno = saved;
  return NULL;
}

Job *
job_store_add(JobStore *store, const JobRequest *request, int *lock, GError **error)
{
  *lock = -1;
  g_auto(Fd) gate = openat(store->directory, "gate", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (gate < 0 || flock(gate, LOCK_EX) < 0) {
    doppel_error_errno(error, "cannot lock the jobs in %s", store->path);
    return NULL;
  }
  if (!make_room(store, error) || !may_run(store, error))
    return NULL;
  Job *job = make_job(store, request, lock);
  if (!job)
    doppel_error_errno(error, "cannot write down a job in %s", store->path);
  return job;
}

/* ---- the end of the pairing ---- */

static void
end_job(const JobStore *store, guint64 number)
{
  g_autoptr(Job) job = job_store_find(store, number, NULL);
  if (!job || !job_signal(job, SIGKILL))
    return;
  gint64 limit = clock_now_ns() + END_NS;
  while (is_locked(job) && clock_now_ns() < limit)
    g_usleep(5000);
}

gboolean
job_store_remove(const char *directory, GError **error)
{
  if (!g_file_test(directory, G_FILE_TEST_IS_DIR))
    return TRUE;
  g_autoptr(JobStore) store = job_store_open(directory, error);
  if (!store)
    return FALSE;
  /* Nobody adds one meanwhile. */
  g_auto(Fd) gate = openat(store->directory, "gate", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (gate >= 0)
    flock(gate, LOCK_EX);
  g_autoptr(GArray) numbers = job_store_list(store);
  for (guint i = 0; i < numbers->len; i++)
    end_job(store, g_array_index(numbers, guint64, i));
  g_autofree char *above = g_path_get_dirname(directory), *name = g_path_get_basename(directory);
  g_auto(Fd) parent = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int failure = parent < 0 ? errno : generation_trash_remove(parent, name);
  errno = failure;
  return !failure || doppel_error_errno(error, "cannot remove a clone's jobs in %s", directory);
}

/* Whose jobs and checkpoints are, and what becomes of those of a device that is locked out. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replicator/checkpoint_owner.h"
#include "replicator/checkpoint_store.h"
#include "replicator/job_owner.h"
#include "replicator/owner.h"

static const IdentityPublic one = {{1}}, other = {{2}};

typedef struct {
  char *directory, *path;
  JobStore *store;
} World;

static void
set_up(World *world, gconstpointer unused)
{
  world->directory = g_dir_make_tmp("doppel-owner-XXXXXX", NULL);
  world->path = g_build_filename(world->directory, "clone", NULL);
  world->store = job_store_open(world->path, NULL);
  g_assert_nonnull(world->store);
}

static void
tear_down(World *world, gconstpointer unused)
{
  g_clear_pointer(&world->store, job_store_free);
  g_assert_true(job_store_remove(world->path, NULL));
  g_assert_cmpint(g_rmdir(world->directory), ==, 0);
  g_free(world->path);
  g_free(world->directory);
}

static Job *
try_to_add(World *world, const IdentityPublic *device, int *lock, GError **error)
{
  ProtobufCBinaryData path = {9, (guint8 *)"/bin/true"}, root = {1, (guint8 *)"/"};
  JobRequest request = DOPPEL__WIRE__JOB_REQUEST__INIT;
  request.path = path;
  request.directory = root;
  request.n_argument = 1;
  request.argument = &path;
  job_store_serve(world->store, device);
  return job_store_add(world->store, &request, lock, error);
}

static Job *
add(World *world, const IdentityPublic *device, int *lock)
{
  g_autoptr(GError) error = NULL;
  Job *job = try_to_add(world, device, lock, &error);
  g_assert_no_error(error);
  return job;
}

static gboolean
is_of(World *world, const Job *job, const IdentityPublic *device)
{
  job_store_serve(world->store, device);
  return job_owner_is_served(world->store, job);
}

static void
set_over(const Job *job, gboolean collected)
{
  static const guint8 hash[32];
  JobState state = DOPPEL__WIRE__JOB_STATE__INIT;
  state.phase = DOPPEL__WIRE__JOB_STATE__PHASE__ENDED;
  state.changes_bytes = 9;
  state.changes_hash = (ProtobufCBinaryData){sizeof hash, (guint8 *)hash};
  state.collected = collected;
  g_assert_true(job_state_write(job, &state, NULL));
}

/* ---- jobs ---- */

static void
test_own(World *world, gconstpointer unused)
{
  g_auto(Fd) lock = -1, nobodys_lock = -1;
  g_autoptr(Job) job = add(world, &one, &lock), nobodys = add(world, NULL, &nobodys_lock);
  g_assert_true(is_of(world, job, &one));
  g_assert_false(is_of(world, job, &other));
  /* Where nobody is told apart all are one's own; a job of before there were owners is no device's. */
  g_assert_true(is_of(world, job, NULL));
  g_assert_true(is_of(world, nobodys, NULL));
  g_assert_false(is_of(world, nobodys, &one));
}

static void
test_damaged(World *world, gconstpointer unused)
{
  g_auto(Fd) lock = -1;
  g_autoptr(Job) job = add(world, &one, &lock);
  g_auto(Fd) file = openat(job->directory, JOB_STORE_OWNER, O_WRONLY);
  for (guint length = 0; length <= 40; length++) {
    guint8 bytes[40] = {1};
    g_assert_cmpint(ftruncate(file, 0), ==, 0);
    g_assert_cmpint(pwrite(file, bytes, length, 0), ==, length);
    g_assert_cmpint(is_of(world, job, &one), ==, length == sizeof one);
  }
}

static void
test_adopt(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_auto(Fd) lock = -1, collected_lock = -1;
  g_autoptr(Job) job = add(world, &one, &lock), collected = add(world, &one, &collected_lock);
  set_over(job, FALSE);
  set_over(collected, TRUE);
  job_store_serve(world->store, &other);
  g_assert_true(job_owner_adopt(world->store, job, NULL));
  g_assert_true(job_owner_adopt(world->store, job, NULL));
  g_assert_false(job_owner_adopt(world->store, collected, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_assert_true(is_of(world, job, &other));
  g_assert_false(is_of(world, job, &one));
  g_assert_true(is_of(world, collected, &one));
}

/* A process that holds a job's lock, as its runner does; signed, or about to sign. */
static pid_t
hold(const Job *job, int *lock, gboolean signs)
{
  int ready[2];
  g_assert_cmpint(pipe(ready), ==, 0);
  pid_t pid = fork();
  if (pid == 0) {
    if (signs && !job_lock_sign(job, *lock))
      _exit(1);
    close(ready[0]);
    close(ready[1]);
    for (;;)
      pause();
  }
  close(ready[1]);
  char end;
  g_assert_cmpint(read(ready[0], &end, 1), ==, 0);
  close(ready[0]);
  io_close(lock);
  return pid;
}

static int
end(pid_t pid, int signal)
{
  int status;
  if (signal)
    kill(pid, signal);
  g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static GArray *
only(const IdentityPublic *device)
{
  GArray *devices = g_array_new(FALSE, FALSE, sizeof *device);
  g_array_append_vals(devices, device, 1);
  return devices;
}

static void
test_locked_out(World *world, gconstpointer unused)
{
  int locks[4];
  g_autoptr(GArray) devices = only(&other);
  g_autoptr(Job) gone = add(world, &one, &locks[0]), stays = add(world, &other, &locks[1]),
                 nobodys = add(world, NULL, &locks[2]), over = add(world, &one, &locks[3]);
  pid_t first = hold(gone, &locks[0], TRUE), second = hold(stays, &locks[1], TRUE),
        third = hold(nobodys, &locks[2], TRUE);
  set_over(over, FALSE);
  io_close(&locks[3]);
  g_assert_true(job_owner_end_others(world->path, devices, NULL));
  g_assert_cmpint(end(first, 0), ==, SIGKILL);
  g_assert_cmpint(end(third, 0), ==, SIGKILL);
  g_assert_cmpint(waitpid(second, NULL, WNOHANG), ==, 0);
  g_assert_cmpint(end(second, SIGTERM), ==, SIGTERM);
  g_autoptr(JobState) ended = job_state_read(gone, NULL), untouched = job_state_read(over, NULL);
  g_assert_cmpint(ended->phase, ==, DOPPEL__WIRE__JOB_STATE__PHASE__INTERRUPTED);
  g_assert_cmpuint(ended->changes_bytes, ==, 0);
  g_assert_cmpint(untouched->phase, ==, DOPPEL__WIRE__JOB_STATE__PHASE__ENDED);
  g_assert_cmpuint(untouched->changes_bytes, ==, 9);
  g_autofree char *missing = g_build_filename(world->directory, "none", NULL);
  g_assert_true(job_owner_end_others(missing, devices, NULL));
  g_assert_false(g_file_test(missing, G_FILE_TEST_EXISTS));
}

/* A runner that nobody can signal yet hears of it when it signs. */
static void
test_about_to_begin(World *world, gconstpointer unused)
{
  g_auto(Fd) lock = -1;
  g_autoptr(GArray) devices = only(&other);
  g_autoptr(Job) job = add(world, &one, &lock);
  g_assert_true(job_owner_end_others(world->path, devices, NULL));
  errno = 0;
  g_assert_false(job_lock_sign(job, lock));
  g_assert_cmpint(errno, ==, ECANCELED);
}

static void
test_too_many(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  int locks[JOB_STORE_RUN], surplus = -1;
  for (guint i = 0; i < JOB_STORE_RUN; i++) {
    g_autoptr(Job) job = add(world, &one, &locks[i]);
    g_assert_nonnull(job);
  }
  g_assert_null(try_to_add(world, &other, &surplus, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_assert_cmpint(surplus, ==, -1);
  io_close(&locks[0]);
  g_autoptr(Job) job = add(world, &other, &locks[0]);
  g_assert_nonnull(job);
  for (guint i = 0; i < JOB_STORE_RUN; i++)
    io_close(&locks[i]);
}

/* ---- checkpoints ---- */

static void
test_runs(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *store = g_build_filename(world->directory, "checkpoints", NULL);
  guint8 runs[2][CHECKPOINT_RUN] = {{0xaa}, {0xbb}};
  CheckpointKept *kept[2];
  for (guint i = 0; i < 2; i++) {
    Doppel__Wire__CheckpointRun run = DOPPEL__WIRE__CHECKPOINT_RUN__INIT;
    run.run = (ProtobufCBinaryData){CHECKPOINT_RUN, runs[i]};
    kept[i] = checkpoint_store_feed(store, &run, &error);
    g_assert_no_error(error);
    /* Until somebody claims it, it is nobody's. */
    g_assert_true(checkpoint_owner_is_other(store, runs[i], &one));
    g_assert_false(checkpoint_owner_denies(store, runs[i], &one, NULL));
    g_assert_true(checkpoint_owner_claim(store, runs[i], &one, NULL));
    g_assert_true(checkpoint_owner_claim(store, runs[i], &one, NULL));
  }
  g_assert_false(checkpoint_owner_claim(store, runs[0], &other, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_assert_true(checkpoint_owner_denies(store, runs[0], &other, NULL));
  g_assert_true(checkpoint_owner_is_other(store, runs[0], &other));
  g_assert_false(checkpoint_owner_is_other(store, runs[0], &one));
  g_assert_false(checkpoint_owner_is_other(store, runs[0], NULL));
  /* It stays through another feeding, is no run itself, and goes after its run. */
  g_clear_pointer(&kept[0], checkpoint_kept_free);
  g_assert_true(checkpoint_store_remove_run(store, runs[0], NULL));
  g_autoptr(GPtrArray) list = checkpoint_store_list(store);
  g_assert_cmpuint(list->len, ==, 1);
  g_assert_true(checkpoint_owner_claim(store, runs[1], &one, NULL));
  g_assert_true(checkpoint_owner_is_other(store, runs[0], &one));
  g_assert_false(checkpoint_owner_is_other(store, runs[1], &one));
  g_clear_pointer(&kept[1], checkpoint_kept_free);
  g_assert_true(checkpoint_store_remove(store, NULL));
}

#define ADD(name, function) g_test_add("/owner/" name, World, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  ADD("own", test_own);
  ADD("damaged", test_damaged);
  ADD("adopt", test_adopt);
  ADD("locked-out", test_locked_out);
  ADD("about-to-begin", test_about_to_begin);
  ADD("too-many", test_too_many);
  ADD("runs", test_runs);
  return g_test_run();
}

/* What a clone host keeps of jobs, when it is killed or damaged in between. */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replicator/job_store.h"

typedef struct {
  char *directory, *path;
  JobStore *store;
} World;

static void
set_up(World *world, gconstpointer unused)
{
  world->directory = g_dir_make_tmp("doppel-jobs-XXXXXX", NULL);
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
add(World *world, int *lock)
{
  static const char *const words[] = {"/bin/true", "/"};
  ProtobufCBinaryData path = {strlen(words[0]), (guint8 *)words[0]}, root = {1, (guint8 *)words[1]};
  JobRequest request = DOPPEL__WIRE__JOB_REQUEST__INIT;
  request.path = path;
  request.directory = root;
  request.n_argument = 1;
  request.argument = &path;
  g_autoptr(GError) error = NULL;
  Job *job = job_store_add(world->store, &request, lock, &error);
  g_assert_no_error(error);
  return job;
}

/* A job of which nobody says any more how it goes. */
static void
add_over(World *world, guint64 changes_bytes)
{
  static const guint8 hash[32];
  g_auto(Fd) lock = -1;
  g_autoptr(Job) job = add(world, &lock);
  JobState state = DOPPEL__WIRE__JOB_STATE__INIT;
  state.phase = DOPPEL__WIRE__JOB_STATE__PHASE__ENDED;
  state.changes_bytes = changes_bytes;
  state.changes_hash = (ProtobufCBinaryData){sizeof hash, (guint8 *)hash};
  g_assert_true(job_state_write(job, &state, NULL));
}

static void
assert_phase(const Job *job, Doppel__Wire__JobState__Phase phase)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(JobState) state = job_state_read(job, &error);
  g_assert_no_error(error);
  g_assert_cmpint(state->phase, ==, phase);
}

static void
test_interrupted(World *world, gconstpointer unused)
{
  g_auto(Fd) lock = -1;
  g_autoptr(Job) job = add(world, &lock);
  assert_phase(job, DOPPEL__WIRE__JOB_STATE__PHASE__WAITING);
  io_close(&lock);
  assert_phase(job, DOPPEL__WIRE__JOB_STATE__PHASE__INTERRUPTED);
  g_autoptr(Job) again = job_store_find(world->store, job->number, NULL);
  assert_phase(again, DOPPEL__WIRE__JOB_STATE__PHASE__INTERRUPTED);
  g_assert_false(job_signal(job, 0));
}

static void
test_over_stays(World *world, gconstpointer unused)
{
  add_over(world, 0);
  g_autoptr(Job) job = job_store_find(world->store, 1, NULL);
  assert_phase(job, DOPPEL__WIRE__JOB_STATE__PHASE__ENDED);
}

static void
test_numbers(World *world, gconstpointer unused)
{
  for (guint i = 1; i <= 3; i++)
    add_over(world, 0);
  g_clear_pointer(&world->store, job_store_free);
  /* The newest is gone, and a killed one was adding the next. */
  g_autofree char *newest = g_build_filename(world->path, "3", NULL);
  g_autofree char *half = g_build_filename(world->path, "new-4", NULL);
  g_assert_true(job_store_remove(newest, NULL));
  g_assert_cmpint(g_mkdir(half, 0700), ==, 0);
  world->store = job_store_open(world->path, NULL);
  g_autoptr(GArray) numbers = job_store_list(world->store);
  g_assert_cmpuint(numbers->len, ==, 2);
  g_auto(Fd) lock = -1;
  g_autoptr(Job) job = add(world, &lock);
  g_assert_cmpuint(job->number, ==, 4);
  g_assert_false(g_file_test(half, G_FILE_TEST_EXISTS));
}

static void
test_collected(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_auto(Fd) lock = -1;
  g_autoptr(Job) running = add(world, &lock);
  g_assert_false(job_collected(running, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  add_over(world, 9);
  g_autoptr(Job) job = job_store_find(world->store, 2, NULL);
  for (guint i = 0; i < 2; i++) {
    g_assert_true(job_collected(job, NULL));
    g_autoptr(JobState) state = job_state_read(job, NULL);
    g_assert_true(state->collected);
  }
}

/* Only what somebody may still want stays. */
static void
test_forgets(World *world, gconstpointer unused)
{
  add_over(world, 9);
  for (guint i = 0; i < JOB_STORE_KEEP + 20; i++)
    add_over(world, 0);
  g_autoptr(GArray) numbers = job_store_list(world->store);
  g_assert_cmpuint(numbers->len, ==, JOB_STORE_KEEP);
  g_assert_cmpuint(g_array_index(numbers, guint64, 0), ==, 1);
  g_assert_cmpuint(g_array_index(numbers, guint64, numbers->len - 1), ==, JOB_STORE_KEEP + 21);
}

static void
test_damaged(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  add_over(world, 0);
  g_autoptr(Job) job = job_store_find(world->store, 1, NULL);
  g_auto(Fd) state = openat(job->directory, "state", O_WRONLY | O_TRUNC);
  g_assert_true(io_write_all(state, "\xff\xff\xff", 3));
  g_assert_null(job_state_read(job, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_clear_error(&error);
  g_assert_null(job_store_find(world->store, 2, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
}

/* Whoever holds the lock, as the job's process, is who signals go to; a number in a file alone is nobody. */
static void
test_signal(World *world, gconstpointer unused)
{
  g_auto(Fd) lock = -1;
  g_autoptr(Job) job = add(world, &lock);
  g_assert_true(job_lock_sign(job, lock));
  g_assert_true(job_signal(job, 0));
  io_close(&lock);
  g_assert_false(job_signal(job, 0));
}

#define ADD(name, function) g_test_add("/job-store/" name, World, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  ADD("interrupted", test_interrupted);
  ADD("over-stays", test_over_stays);
  ADD("numbers", test_numbers);
  ADD("collected", test_collected);
  ADD("forgets", test_forgets);
  ADD("damaged", test_damaged);
  ADD("signal", test_signal);
  return g_test_run();
}

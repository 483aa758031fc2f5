/* A job of which it was said that it does not run does not run. */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replicator/job_client.h"
#include "replicator/job_runner.h"

static const JobBounds bounds = {JOB_BOUNDS_NONE, JOB_BOUNDS_NONE, JOB_BOUNDS_NONE};

typedef struct {
  char *directory, *path, *word;
  JobStore *store;
  JobPlace place;
} World;

static void
set_up(World *world, gconstpointer unused)
{
  world->directory = g_dir_make_tmp("doppel-runner-XXXXXX", NULL);
  world->path = g_build_filename(world->directory, "jobs", NULL);
  world->store = job_store_open(world->path, NULL);
  world->word = g_strdup_printf("1000.%d", (int)getpid());
  world->place = (JobPlace){.root = "/", .hidden = world->directory, .bounds = &bounds, .lease = -1};
  g_assert_nonnull(world->store);
}

static void
tear_down(World *world, gconstpointer unused)
{
  g_clear_pointer(&world->store, job_store_free);
  g_assert_true(job_store_remove(world->path, NULL));
  g_assert_cmpint(g_rmdir(world->directory), ==, 0);
  g_free(world->directory);
  g_free(world->path);
  g_free(world->word);
}

static Job *
add(World *world, int *lock)
{
  g_autoptr(GError) error = NULL;
  char sleep[] = "sleep", *const words[] = {sleep, world->word, NULL};
  g_autoptr(JobRequest) request = job_client_request(words, &error);
  g_assert_no_error(error);
  Job *job = job_store_add(world->store, request, lock, &error);
  g_assert_no_error(error);
  return job;
}

static void
assert_phase(const Job *job, Doppel__Wire__JobState__Phase phase)
{
  g_autoptr(JobState) state = job_state_read(job, NULL);
  g_assert_nonnull(state);
  g_assert_cmpint(state->phase, ==, phase);
}

static void
count(gpointer user)
{
  (*(guint *)user)++;
}

/* Its runner comes to a file that nobody ever opens. */
static void
test_stuck(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  guint calls = 0;
  int lock;
  g_autoptr(Job) job = add(world, &lock);
  g_assert_cmpint(unlinkat(job->directory, "log", 0), ==, 0);
  g_assert_cmpint(mkfifoat(job->directory, "log", 0600), ==, 0);
  world->place.patience_ms = 4000; /* on a slow machine, too, time to be told of meanwhile twice */
  world->place.meanwhile = count;
  world->place.user = &calls;
  g_assert_false(job_runner_start(job, lock, &world->place, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_nonnull(strstr(error->message, "was killed"));
  g_assert_cmpuint(calls, >=, 2);
  g_assert_false(job_signal(job, 0));
  assert_phase(job, DOPPEL__WIRE__JOB_STATE__PHASE__FAILED);
  /* Nor when the file is opened after all. */
  g_auto(Fd) reader = openat(job->directory, "log", O_RDONLY | O_NONBLOCK);
  g_usleep(200000);
  assert_phase(job, DOPPEL__WIRE__JOB_STATE__PHASE__FAILED);
}

/* Whether a program with that argument runs anywhere. */
static gboolean
runs(const World *world)
{
  g_autoptr(GDir) processes = g_dir_open("/proc", 0, NULL);
  for (const char *name; (name = g_dir_read_name(processes));) {
    g_autofree char *path = g_build_filename("/proc", name, "cmdline", NULL), *words = NULL;
    gsize length = 0;
    if (!g_ascii_isdigit(*name) || !g_file_get_contents(path, &words, &length, NULL))
      continue;
    if (length > 6 && strcmp(words, "sleep") == 0 && strcmp(words + 6, world->word) == 0)
      return TRUE;
  }
  return FALSE;
}

/* TRUE where it ran. */
static gboolean
start(World *world, int patience_ms, GError **error)
{
  int lock;
  g_autoptr(Job) job = add(world, &lock);
  world->place.patience_ms = patience_ms;
  gboolean began = job_runner_start(job, lock, &world->place, error);
  if (!began) {
    g_assert_false(runs(world));
    assert_phase(job, DOPPEL__WIRE__JOB_STATE__PHASE__FAILED);
    return FALSE;
  }
  for (guint i = 0; i < 6000 && !runs(world); i++) /* between fork(2) and execve(2) */
    g_usleep(10000);
  g_assert_true(runs(world));
  g_assert_true(job_signal(job, SIGINT));
  while (job_signal(job, 0))
    g_usleep(2000);
  return TRUE;
}

/* Given up anywhere between its fork and the last word. */
static void
test_anywhere(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  enum { TRIES = 60, PATIENCE_MS = 12 };
  guint begun = 0, given_up = 0;
  if (!start(world, 0, &error)) {
    g_test_skip(error->message);
    return;
  }
  for (guint i = 0; i < TRIES; i++) {
    gboolean began = start(world, 1 + (int)(i % PATIENCE_MS), NULL);
    begun += began;
    given_up += !began;
  }
  g_test_message("%u given up, %u begun", given_up, begun);
  g_assert_cmpuint(given_up, >, 0);
}

#define ADD(name, function) g_test_add("/job-runner/" name, World, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  ADD("stuck", test_stuck);
  ADD("anywhere", test_anywhere);
  return g_test_run();
}

/* A clone host that is killed at any moment of a synchronisation or of tidying up: what the next one finds is
 * exactly the old generation or the new one, what was durable is not asked for again, and the attempt goes on
 * to its end. DOPPEL_TEST_SEEDS: how many kills. */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "rig.h"
#include "store_rig.h"

#define CHANGES 30

/* What the victim tells while it lives. */
typedef struct {
  guint64 durable;
  gboolean complete;
  gint64 began_us, fed_us, ended_us; /* monotonic */
} Progress;

static void
feed_and_tell(StoreRig *rig, GPtrArray *steps, Progress *progress)
{
  GenerationAttempt attempt;
  GenerationOutcome outcome = GENERATION_REFUSED;
  if (!generation_store_begin(rig->store, &attempt, NULL))
    _exit(2);
  for (guint64 i = attempt.last; i < steps->len; i++) {
    outcome = generation_store_feed(rig->store, steps->pdata[i], NULL);
    if (outcome == GENERATION_REFUSED || (i % 16 == 15 && !generation_store_sync(rig->store, NULL)))
      _exit(3);
    if (generation_store_attempt(rig->store, &attempt))
      progress->durable = attempt.durable;
  }
  progress->complete = outcome == GENERATION_COMPLETE;
}

static void
be_the_victim(StoreRig *rig, GPtrArray *steps, guint layers, Progress *progress)
{
  progress->began_us = g_get_monotonic_time();
  store_rig_open(rig);
  feed_and_tell(rig, steps, progress);
  progress->fed_us = g_get_monotonic_time();
  GenerationRetention retention = {.hours = 3};
  if (!generation_store_tidy(rig->store, layers % 2 ? &retention : NULL, 2 + layers, NULL))
    _exit(4);
  progress->ended_us = g_get_monotonic_time();
  _exit(0);
}

/* As after a power cut: the last records of the log are not whole. */
static void
tear_log(StoreRig *rig, GRand *rand)
{
  g_autofree char *path = rig_path(rig->path, "attempt");
  struct stat status;
  if (stat(path, &status) < 0)
    return;
  guint cut = g_rand_int_range(rand, 1, 3000);
  if (status.st_size > cut + 4096)
    g_assert_cmpint(truncate(path, status.st_size - cut), ==, 0);
}

/* Begins anew where a victim was killed, and checks what is there. TRUE: the generation is complete. */
static gboolean
check(StoreRig *rig, guint64 before, gboolean torn, const Progress *progress)
{
  store_rig_open(rig);
  guint64 now = generation_head_last(generation_store_head(rig->store))->number;
  g_assert_true(now == before || now == before + 1);
  g_assert_true(!progress->complete || now == before + 1);
  store_rig_assert_same(rig, now);
  GenerationAttempt attempt;
  g_autoptr(GError) error = NULL;
  if (now == before) {
    g_assert_true(generation_store_begin(rig->store, &attempt, &error));
    g_assert_cmpuint(attempt.generation, ==, now + 1);
    g_assert_true(torn || attempt.last >= progress->durable);
  }
  store_rig_close(rig);
  return now != before;
}

static void
test_killed(void)
{
  guint kills = rig_seeds(40);
  guint32 seed = rig_first_seed();
  g_test_message("seed %u", seed);
  StoreRig *rig = store_rig_new(seed, NULL);
  g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
  Progress *progress =
      mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  rig->options.log_limit = 60000;
  store_rig_open(rig);
  store_rig_commit(rig, CHANGES);
  gint64 usual_us = 20000;
  guint in_feed = 0, after = 0;
  /* Where a busy machine lets few of them hit the feeding, there are more. */
  while (in_feed + after < kills || (in_feed <= kills / 4 && after < 10 * kills)) {
    guint64 before = generation_head_last(generation_store_head(rig->store))->number;
    g_autoptr(GPtrArray) steps = store_rig_change(rig, CHANGES);
    store_rig_close(rig);
    for (gboolean complete = FALSE; !complete;) {
      *progress = (Progress){0};
      guint layers = g_rand_int_range(rand, 0, 6);
      gboolean torn = g_rand_int_range(rand, 0, 4) == 0;
      pid_t victim = fork();
      if (victim == 0)
        be_the_victim(rig, steps, layers, progress);
      g_usleep(g_rand_int_range(rand, 0, usual_us * 5 / 4));
      kill(victim, SIGKILL);
      int status;
      waitpid(victim, &status, 0);
      g_assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
      if (WIFEXITED(status))
        usual_us = MAX(progress->ended_us - progress->began_us, 1000);
      else if (progress->fed_us)
        after++;
      else
        in_feed++, usual_us += usual_us / 8; /* or a slow machine would never come to the end */
      if (torn && !progress->complete)
        tear_log(rig, rand);
      complete = check(rig, before, torn, progress);
    }
    store_rig_open(rig);
  }
  g_test_message("%u kills while feeding, %u while tidying up", in_feed, after);
  g_assert_cmpuint(in_feed, >, kills / 4);
  munmap(progress, sizeof *progress);
  store_rig_free(rig);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  const char *refusal = rig_enter(&argc, &argv);
  if (refusal) {
    g_print("1..0 # SKIP %s\n", refusal);
    return 0;
  }
  g_test_add_func("/replica/generation/crash/killed", test_killed);
  return g_test_run();
}

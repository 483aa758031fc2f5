/* Many programs, links and runs: what the policy makes of them, against an oracle that knows everything.
 * POLICY_WORLDS=N lives N of them (here: as many as are quick); POLICY_WORLD=SEED tells the story of one. */
#include <math.h>
#include <stdlib.h>

#include "world.h"

enum { WORLDS = 300, RUNS = 4 };

typedef struct {
  double mine, oracle, local; /* s */
} Sum;

typedef struct {
  Sum all, later;     /* all runs; all but the first */
  double worst_local; /* of a later run: as a part of the time that it takes on the device */
} Account;

static PolicyPlacement *
remembering(GByteArray *bytes)
{
  PolicyAim aim = {.objective = POLICY_TIME};
  PolicyPlacement *placement = policy_placement_new(&aim);
  if (bytes)
    g_assert_true(policy_placement_unpack(placement, bytes->data, bytes->len));
  return placement;
}

static void
add(Sum *sum, double mine, double oracle, double local)
{
  sum->mine += mine;
  sum->oracle += oracle;
  sum->local += local;
}

static Account
live(guint32 seed, gboolean verbose)
{
  World world;
  Account account = {0};
  g_autoptr(GByteArray) kept = NULL;
  world_init(&world, seed);
  for (guint run = 0; run < RUNS; run++) {
    g_autoptr(PolicyPlacement) placement = remembering(kept);
    world_make_run(&world, run);
    WorldResult result = world_live(&world, placement, verbose);
    double oracle = world_oracle(&world), local = world_local(&world);
    add(&account.all, result.seconds, oracle, local);
    if (run)
      add(&account.later, result.seconds, oracle, local);
    if (run)
      account.worst_local = MAX(account.worst_local, result.seconds / local);
    if (verbose)
      g_printerr("seed %u run %u: %.2f s, oracle %.2f s, device %.2f s; %u blocks, %u tries, %u failed, %u "
                 "pings of %u\n",
                 seed, run, result.seconds, oracle, local, result.blocks, result.tries, result.failed,
                 result.pings, world.calls->len);
    g_clear_pointer(&kept, g_byte_array_unref);
    kept = policy_placement_pack(placement);
  }
  world_clear(&world);
  return account;
}

static gint
compare(gconstpointer a, gconstpointer b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void
tell(const char *what, double *values, guint count)
{
  qsort(values, count, sizeof *values, compare);
  double sum = 0;
  for (guint i = 0; i < count; i++)
    sum += values[i];
  g_test_message("%s: mean %.3f, median %.3f, 95 %% %.3f, worst %.3f", what, sum / count, values[count / 2],
                 values[count * 95 / 100], values[count - 1]);
}

static void
test_worlds(void)
{
  const char *many = g_getenv("POLICY_WORLDS");
  guint count = many ? (guint)atoi(many) : WORLDS;
  g_autofree double *all = g_new(double, count), *later = g_new(double, count), *local = g_new(double, count);
  Sum sum = {0}, sum_later = {0};
  g_assert_cmpuint(count, >, 0);
  for (guint i = 0; i < count; i++) {
    Account account = live(i + 1, FALSE);
    all[i] = account.all.mine / account.all.oracle;
    later[i] = account.later.mine / account.later.oracle;
    local[i] = account.worst_local;
    if (later[i] > 1.2 || local[i] > 1.1 || all[i] > 1.2)
      g_test_message(
          "seed %u: %.3f of the oracle in all, %.3f after the first run, at worst %.3f of the device", i + 1,
          all[i], later[i], local[i]);
    add(&sum, account.all.mine, account.all.oracle, account.all.local);
    add(&sum_later, account.later.mine, account.later.oracle, account.later.local);
  }
  tell("against the oracle, all runs", all, count);
  tell("against the oracle, after the first run", later, count);
  tell("against the device, worst run after the first", local, count);
  g_test_message("sums: %.3f of the oracle, %.3f after the first run; %.3f of the device",
                 sum.mine / sum.oracle, sum_later.mine / sum_later.oracle, sum.mine / sum.local);
  /* Of all worlds together, and of nearly each one: a link that changes while a block is on its way, or the
   * first costly call of a function, may cost a short run more. */
  g_assert_cmpfloat(sum.mine / sum.oracle, <=, 1.2);
  g_assert_cmpfloat(sum_later.mine / sum_later.oracle, <=, 1.2);
  g_assert_cmpfloat(later[count * 95 / 100], <=, 1.2);
  g_assert_cmpfloat(local[count * 95 / 100], <=, 1.1);
  g_assert_cmpfloat(later[count - 1], <=, 2);
  g_assert_cmpfloat(local[count - 1], <=, 1.5);
}

int
main(int argc, char **argv)
{
  const char *one = g_getenv("POLICY_WORLD");
  g_test_init(&argc, &argv, NULL);
  if (one)
    live((guint32)atoi(one), TRUE);
  g_test_add_func("/policy/world/worlds", test_worlds);
  return g_test_run();
}

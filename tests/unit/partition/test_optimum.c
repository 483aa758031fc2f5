/* The partitioner beside trying every set of functions, on problems by chance; DOPPEL_PARTITION_CASES says
 * how many. */
#include <math.h>

#include "base/error.h"
#include "small_problem.h"

/* What is asserted is what partition.h promises; what was seen is printed. */
static double worst;

static void
fail(const PartitionProblem *problem, guint64 seed, const char *what, double is, double should)
{
  g_autofree char *text = small_problem_text(problem);
  g_test_message("seed %" G_GUINT64_FORMAT ": %s is %.17g, should be %.17g\n%s", seed, what, is, should,
                 text);
  g_test_fail();
}

static void
check_cost(const PartitionProblem *problem, guint64 seed, const char *what, double is, double should)
{
  double off = is == should ? 0 : fabs(is - should) / MAX(fabs(should), 1e-300);
  worst = MAX(worst, off);
  if (!(off <= PARTITION_TOLERANCE))
    fail(problem, seed, what, is, should);
}

/* The shares have to obey the flow by themselves: what arrives is executed or begins a block. */
static void
check_shares(const PartitionProblem *problem, guint64 seed, const Partition *partition)
{
  double cost = 0;
  for (guint v = 0; v < problem->n_functions; v++) {
    const PartitionShare *share = &partition->shares[v];
    const PartitionFunction *function = &problem->functions[v];
    double arriving = function->entries, own = function->entries;
    for (gsize i = 0; i < problem->n_arcs; i++) {
      const PartitionArc *arc = &problem->arcs[i];
      if (arc->callee == v)
        own += arc->calls;
    }
    for (gsize i = 0; i < problem->n_arcs; i++) {
      const PartitionArc *arc = &problem->arcs[i];
      double total = problem->functions[arc->caller].entries;
      for (gsize j = 0; j < problem->n_arcs; j++)
        total += problem->arcs[j].callee == arc->caller ? problem->arcs[j].calls : 0;
      if (arc->callee == v && arc->calls > 0)
        arriving += arc->calls / total * partition->shares[arc->caller].executions;
    }
    if (fabs(arriving - share->executions - share->blocks) > 1e-9 * own)
      fail(problem, seed, "what arrives", share->executions + share->blocks, arriving);
    if (share->chosen ? share->executions != 0 || share->blocks <= 0 : share->blocks != 0)
      fail(problem, seed, "blocks of a share", share->blocks, share->chosen);
    cost += share->executions > 0 ? share->executions * function->local_cost : 0;
    cost += share->chosen ? share->blocks * function->block_cost + function->first_cost : 0;
  }
  gboolean any = FALSE;
  for (guint v = 0; v < problem->n_functions; v++)
    any |= partition->shares[v].chosen;
  check_cost(problem, seed, "the cost by shares", cost + (any ? problem->session_cost : 0), partition->cost);
}

static void
check(guint64 seed, guint most)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed((guint32)seed);
  SmallProblem small;
  small_problem_by_chance(&small, rand, most);
  double optimum = small_problem_optimum(&small.problem);
  g_autoptr(GError) error = NULL;
  g_autoptr(Partition) partition = partition_solve(&small.problem, 0, &error);
  if (isinf(optimum)) {
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
    return;
  }
  g_assert_no_error(error);
  check_cost(&small.problem, seed, "the optimum", partition->cost, optimum);
  gboolean chosen[SMALL_MOST];
  for (guint v = 0; v < partition->n_shares; v++)
    chosen[v] = partition->shares[v].chosen;
  check_cost(&small.problem, seed, "the cost of what is chosen", small_problem_cost(&small.problem, chosen),
             optimum);
  check_shares(&small.problem, seed, partition);
}

/* Cut at once there still is an answer, and the truth is between it and its bound. */
static void
check_cut(guint64 seed, guint *cut)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed((guint32)seed);
  SmallProblem small;
  small_problem_by_chance(&small, rand, 8);
  g_autoptr(Partition) partition = partition_solve(&small.problem, 1e-9, NULL);
  if (!partition)
    return;
  *cut += partition->cut;
  if (partition->effort.rounds > 1)
    fail(&small.problem, seed, "rounds after the time is over", partition->effort.rounds, 1);
  double optimum = small_problem_optimum(&small.problem);
  if (partition->bound > optimum * (1 + PARTITION_TOLERANCE) ||
      partition->cost < optimum * (1 - PARTITION_TOLERANCE))
    fail(&small.problem, seed, "the optimum is not between bound and cost: cost", partition->cost, optimum);
  check_shares(&small.problem, seed, partition);
}

static void
test_cut(void)
{
  guint cut = 0;
  for (guint64 seed = 1; seed <= small_problem_cases(1000) && !g_test_failed(); seed++)
    check_cut(seed, &cut);
  g_test_message("%u were cut", cut);
  g_assert_cmpuint(cut, >, 0);
}

static void
test_optimum(gconstpointer most)
{
  guint64 cases = small_problem_cases(300);
  for (guint64 seed = 1; seed <= cases && !g_test_failed(); seed++)
    check(seed, GPOINTER_TO_UINT(most));
  g_test_message("%" G_GUINT64_FORMAT " problems; the worst relative difference was %g", cases, worst);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_data_func("/partition/optimum/small", GUINT_TO_POINTER(6), test_optimum);
  g_test_add_data_func("/partition/optimum/large", GUINT_TO_POINTER(SMALL_MOST), test_optimum);
  g_test_add_func("/partition/optimum/cut", test_cut);
  return g_test_run();
}

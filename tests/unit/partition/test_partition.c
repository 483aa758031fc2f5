/* What the partitioner answers on problems small enough to be read, and what it refuses. */
#include "partition/partition.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "partition/integer.h"

#define FUNCTIONS(...) (PartitionFunction[]){__VA_ARGS__}, G_N_ELEMENTS(((PartitionFunction[]){__VA_ARGS__}))
#define ARCS(...)      (PartitionArc[]){__VA_ARGS__}, G_N_ELEMENTS(((PartitionArc[]){__VA_ARGS__}))

static Partition *
solved(const PartitionFunction *functions, guint n_functions, const PartitionArc *arcs, gsize n_arcs,
       double session_cost)
{
  PartitionProblem problem = {functions, n_functions, arcs, n_arcs, session_cost};
  g_autoptr(GError) error = NULL;
  Partition *partition = partition_solve(&problem, 0, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(partition->n_shares, ==, n_functions);
  g_assert_false(partition->cut);
  g_assert_cmpfloat(partition->bound, <=, partition->cost);
  g_assert_cmpfloat(partition->bound * (1 + 2 * PARTITION_TOLERANCE), >=, partition->cost);
  return partition;
}

static void
near(double is, double should)
{
  g_assert_cmpfloat_with_epsilon(is, should, 1e-9 * MAX(1, fabs(should)));
}

static void
test_nothing(void)
{
  g_autoptr(Partition) partition = solved(NULL, 0, NULL, 0, 5);
  near(partition->cost, 0);
}

/* main calls work 10 times, 2 s each; a block is 0.5 s. */
static void
test_offloads_what_pays(void)
{
  g_autoptr(Partition) partition = solved(FUNCTIONS({.entries = 1, .local_cost = 1, .no_block = TRUE},
                                                    {.local_cost = 2, .block_cost = 0.5, .first_cost = 3}),
                                          ARCS({0, 1, 10}), 4);
  near(partition->local_cost, 21);
  near(partition->cost, 1 + 10 * 0.5 + 3 + 4);
  g_assert_false(partition->shares[0].chosen);
  near(partition->shares[0].executions, 1);
  g_assert_true(partition->shares[1].chosen);
  near(partition->shares[1].blocks, 10);
  near(partition->shares[1].executions, 0);
}

static void
test_stays_where_first_block_or_session_cost_more(void)
{
  for (int i = 0; i < 2; i++) {
    g_autoptr(Partition) partition =
        solved(FUNCTIONS({.entries = 1, .local_cost = 1, .no_block = TRUE},
                         {.local_cost = 2, .block_cost = 0.5, .first_cost = i ? 15 : 1}),
               ARCS({0, 1, 10}), i ? 0 : 14);
    near(partition->cost, 21);
    g_assert_false(partition->shares[1].chosen);
    near(partition->shares[1].executions, 10);
  }
}

/* A tie is no gain. */
static void
test_stays_on_a_tie(void)
{
  g_autoptr(Partition) partition =
      solved(FUNCTIONS({.entries = 3, .local_cost = 2, .block_cost = 2}), NULL, 0, 0);
  g_assert_false(partition->shares[0].chosen);
  near(partition->cost, 6);
}

/* What is below a block is called by the other caller only: its own block has to pay for that part of its
 * calls. */
static void
test_no_block_inside_a_block(void)
{
  g_autoptr(Partition) partition = solved(
      FUNCTIONS({.entries = 1, .local_cost = 0, .no_block = TRUE}, {.local_cost = 1, .block_cost = 2},
                {.local_cost = 1, .no_block = TRUE}, {.local_cost = 1, .block_cost = 0.9, .first_cost = 1.5}),
      ARCS({0, 1, 1}, {0, 2, 1}, {1, 3, 90}, {2, 3, 10}), 0);
  g_assert_true(partition->shares[1].chosen);
  g_assert_false(partition->shares[3].chosen);
  near(partition->shares[3].executions, 10);
  near(partition->cost, 2 + 1 + 10);
}

/* Of 1000 calls of a recursion only one comes from outside: one block takes them all. */
static void
test_recursion_is_one_block(void)
{
  g_autoptr(Partition) partition =
      solved(FUNCTIONS({.entries = 1, .local_cost = 0, .no_block = TRUE},
                       {.local_cost = 1, .block_cost = 200}, {.local_cost = 1, .block_cost = 300}),
             ARCS({0, 1, 1}, {1, 2, 499}, {2, 1, 499}, {1, 1, 1}), 0);
  g_assert_true(partition->shares[1].chosen);
  near(partition->shares[1].blocks, 1);
  near(partition->cost, 200);
  near(partition->local_cost, 501 + 499);
}

/* It cannot run on the device: it is chosen, or its caller, whichever is cheaper. */
static void
test_what_cannot_run_is_offloaded(void)
{
  for (int i = 0; i < 2; i++) {
    g_autoptr(Partition) partition =
        solved(FUNCTIONS({.entries = 1, .local_cost = 1, .block_cost = i ? 50 : 500},
                         {.no_local = TRUE, .block_cost = 10}),
               ARCS({0, 1, 10}), 7);
    g_assert_true(isinf(partition->local_cost));
    g_assert_true(partition->shares[i ? 0 : 1].chosen);
    g_assert_false(partition->shares[i ? 1 : 0].chosen);
    near(partition->cost, i ? 57 : 108);
  }
}

static void
test_arcs_of_a_pair_add_up(void)
{
  g_autoptr(Partition) partition =
      solved(FUNCTIONS({.entries = 1, .no_block = TRUE}, {.local_cost = 2, .block_cost = 1},
                       {.local_cost = 9, .block_cost = 1}),
             ARCS({0, 1, 2}, {0, 1, 3}, {0, 2, 0}), 0);
  near(partition->shares[1].blocks, 5);
  near(partition->shares[2].executions, 0);
  g_assert_false(partition->shares[2].chosen);
}

static void
refused(const PartitionProblem *problem, DoppelErrorCode code, const char *word)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(partition_solve(problem, 0, &error));
  g_assert_error(error, DOPPEL_ERROR, (int)code);
  g_assert_nonnull(strstr(error->message, word));
}

static void
test_refuses_absurd_numbers(void)
{
  static const double absurd[] = {-1, -0.0 - 1e-300, 1e-300, 1e16, 1e308, INFINITY, -INFINITY, NAN};
  for (guint i = 0; i < G_N_ELEMENTS(absurd); i++)
    for (guint field = 0; field < 6; field++) {
      PartitionFunction functions[] = {{.entries = 1, .local_cost = 1, .block_cost = 1, .first_cost = 1},
                                       {.local_cost = 1}};
      PartitionArc arc = {0, 1, 1};
      PartitionProblem problem = {functions, 2, &arc, 1, 1};
      double *fields[] = {&functions[0].entries,
                          &functions[0].local_cost,
                          &functions[0].block_cost,
                          &functions[0].first_cost,
                          &arc.calls,
                          &problem.session_cost};
      *fields[field] = absurd[i];
      refused(&problem, DOPPEL_ERROR_USAGE, "has to be 0, or from");
    }
}

static void
test_refuses_what_fits_not_together(void)
{
  PartitionFunction functions[] = {{.entries = 1}, {.local_cost = 1}, {.local_cost = 1}};
  PartitionArc beyond = {0, 3, 1}, alone[] = {{1, 2, 5}, {2, 1, 5}}, itself = {1, 1, 5};
  PartitionProblem problem = {functions, 3, &beyond, 1, 0};
  refused(&problem, DOPPEL_ERROR_USAGE, "an arc from 0 to 3");
  problem.arcs = alone;
  problem.n_arcs = 2;
  refused(&problem, DOPPEL_ERROR_USAGE, "function 1 makes calls");
  problem.arcs = &itself;
  problem.n_arcs = 1;
  refused(&problem, DOPPEL_ERROR_USAGE, "function 1 makes calls");
  problem.n_functions = PARTITION_MOST_FUNCTIONS + 1;
  refused(&problem, DOPPEL_ERROR_USAGE, "are no program");
}

static void
test_says_what_is_impossible(void)
{
  PartitionFunction functions[] = {{.entries = 1, .no_block = TRUE},
                                   {.local_cost = 1, .no_block = TRUE},
                                   {.no_local = TRUE, .no_block = TRUE}};
  PartitionArc arcs[] = {{0, 1, 2}, {1, 0, 1}, {1, 2, 3}};
  PartitionProblem problem = {functions, 3, arcs, 3, 0};
  refused(&problem, DOPPEL_ERROR_UNSUPPORTED, "function 2 can run neither");
  /* With its caller chosen it is not reached. */
  functions[1].no_block = FALSE;
  g_autoptr(GError) error = NULL;
  g_autoptr(Partition) partition = partition_solve(&problem, 0, &error);
  g_assert_no_error(error);
  g_assert_true(partition->shares[1].chosen);
}

/* Deep chains and recursions: nothing here may use a stack of its depth. */
static void
test_long_chain(void)
{
  enum { LENGTH = 100000 };
  g_autofree PartitionFunction *functions = g_new0(PartitionFunction, LENGTH);
  g_autofree PartitionArc *arcs = g_new0(PartitionArc, LENGTH);
  for (guint v = 0; v < LENGTH; v++) {
    functions[v] =
        (PartitionFunction){.local_cost = 1, .block_cost = LENGTH / 2, .first_cost = 1, .no_block = v == 0};
    arcs[v] = (PartitionArc){v, v + 1, 1};
  }
  functions[0].entries = 1;
  g_autoptr(Partition) partition = solved(functions, LENGTH, arcs, LENGTH - 1, 0);
  g_assert_true(partition->shares[1].chosen);
  near(partition->cost, 1 + LENGTH / 2 + 1);
}

/* The same problem has the same answer, whatever was asked in between. */
static void
test_equal_problems_have_equal_answers(void)
{
  PartitionFunction functions[12] = {{.entries = 1, .local_cost = 1, .no_block = TRUE}};
  PartitionArc arcs[66];
  guint n_arcs = 0;
  for (guint v = 1; v < 12; v++) {
    functions[v] =
        (PartitionFunction){.local_cost = 1 + v % 3, .block_cost = 3 + v % 5, .first_cost = 20 + v % 7};
    for (guint u = 0; u < v; u++)
      arcs[n_arcs++] = (PartitionArc){u, v, 1 + (u * v) % 4};
  }
  g_autoptr(Partition) first = solved(functions, 12, arcs, n_arcs, 1);
  for (int i = 0; i < 3; i++) {
    g_autoptr(Partition) other = solved(functions, 11, arcs, 55, i);
    g_autoptr(Partition) again = solved(functions, 12, arcs, n_arcs, 1);
    g_assert_cmpmem(first->shares, 12 * sizeof *first->shares, again->shares, 12 * sizeof *again->shares);
    g_assert_true(first->cost == again->cost);
  }
}

/* Where it is not found everything is solved without it: nothing else would tell. */
static void
test_library_is_there(void)
{
  g_autoptr(PartitionProgram) program = partition_program_new();
  guint row = partition_program_row(program, 0, 1);
  for (int i = 0; i < 2; i++) {
    partition_program_column(program, -2 - i, 1, TRUE);
    partition_program_entry(program, row, 1);
  }
  double x[2] = {0}, objective = 0;
  guint nodes = 0;
  g_assert_cmpint(partition_program_solve(program, 0, x, &objective, &nodes), ==, PARTITION_SOLVED);
  near(x[0], 0);
  near(x[1], 1);
  near(objective, -3);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/partition/nothing", test_nothing);
  g_test_add_func("/partition/offloads-what-pays", test_offloads_what_pays);
  g_test_add_func("/partition/stays-where-first-block-or-session-cost-more",
                  test_stays_where_first_block_or_session_cost_more);
  g_test_add_func("/partition/stays-on-a-tie", test_stays_on_a_tie);
  g_test_add_func("/partition/no-block-inside-a-block", test_no_block_inside_a_block);
  g_test_add_func("/partition/recursion-is-one-block", test_recursion_is_one_block);
  g_test_add_func("/partition/what-cannot-run-is-offloaded", test_what_cannot_run_is_offloaded);
  g_test_add_func("/partition/arcs-of-a-pair-add-up", test_arcs_of_a_pair_add_up);
  g_test_add_func("/partition/refuses-absurd-numbers", test_refuses_absurd_numbers);
  g_test_add_func("/partition/refuses-what-fits-not-together", test_refuses_what_fits_not_together);
  g_test_add_func("/partition/says-what-is-impossible", test_says_what_is_impossible);
  g_test_add_func("/partition/long-chain", test_long_chain);
  g_test_add_func("/partition/equal-problems-have-equal-answers", test_equal_problems_have_equal_answers);
  g_test_add_func("/partition/library-is-there", test_library_is_there);
  return g_test_run();
}

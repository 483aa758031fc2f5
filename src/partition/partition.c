#include "partition/partition.h"

#include <math.h>

#include "base/clock.h"
#include "base/error.h"
#include "partition/calls.h"
#include "partition/kernel.h"
#include "partition/parts.h"

static gboolean
sensible(double number)
{
  return number == 0 || (number >= PARTITION_LEAST && number <= PARTITION_MOST);
}

static gboolean
check_number(double number, const char *what, guint function, GError **error)
{
  return sensible(number) || doppel_error_set(error, DOPPEL_ERROR_USAGE,
                                              "function %u: %s is %g; it has to be 0, or from %g to %g",
                                              function, what, number, PARTITION_LEAST, PARTITION_MOST);
}

static gboolean
check_function(const PartitionFunction *function, guint index, GError **error)
{
  return check_number(function->entries, "the number of entries", index, error) &&
         (function->no_local || check_number(function->local_cost, "the cost on the device", index, error)) &&
         (function->no_block ||
          (check_number(function->block_cost, "the cost of a block", index, error) &&
           check_number(function->first_cost, "the cost of the first block", index, error)));
}

static gboolean
check_problem(const PartitionProblem *problem, GError **error)
{
  if (problem->n_functions > PARTITION_MOST_FUNCTIONS || problem->n_arcs > PARTITION_MOST_ARCS)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "%u functions and %" G_GSIZE_FORMAT " arcs are no program: at most %u and %u",
                            problem->n_functions, problem->n_arcs, PARTITION_MOST_FUNCTIONS,
                            PARTITION_MOST_ARCS);
  if (!sensible(problem->session_cost))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "the cost of a session is %g; it has to be 0, or from %g to %g",
                            problem->session_cost, PARTITION_LEAST, PARTITION_MOST);
  for (guint v = 0; v < problem->n_functions; v++)
    if (!check_function(&problem->functions[v], v, error))
      return FALSE;
  for (gsize i = 0; i < problem->n_arcs; i++) {
    const PartitionArc *arc = &problem->arcs[i];
    if (arc->caller >= problem->n_functions || arc->callee >= problem->n_functions)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                              "there is an arc from %u to %u, but only %u functions", arc->caller,
                              arc->callee, problem->n_functions);
    if (!sensible(arc->calls))
      return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                              "function %u calls function %u %g times; it has to be 0, or from %g to %g",
                              arc->caller, arc->callee, arc->calls, PARTITION_LEAST, PARTITION_MOST);
  }
  return TRUE;
}

/* `v` cannot be reached with any choice: finds out which function below it is to blame. */
static gboolean
explain_impossible(const PartitionCalls *calls, const double *value, guint v, GError **error)
{
  g_autofree gboolean *seen = g_new0(gboolean, calls->n);
  g_autofree guint *queue = g_new(guint, calls->n);
  guint head = 0, tail = 0;
  queue[tail++] = v;
  for (seen[v] = TRUE; !isinf(calls->local[queue[head]]); head++)
    for (guint i = calls->out_start[queue[head]]; i < calls->out_start[queue[head] + 1]; i++) {
      guint callee = calls->out_function[i];
      if (!isinf(value[callee]) || seen[callee])
        continue;
      seen[callee] = TRUE;
      queue[tail++] = callee;
    }
  return doppel_error_set(
      error, DOPPEL_ERROR_UNSUPPORTED,
      "function %u can run neither on the device nor in the clone, and calls that begin with function %u "
      "lead to it past all functions that may be chosen",
      queue[head], v);
}

/* Chosen is what may be: then there has to be a way to run everything. */
static gboolean
check_possible(const PartitionCalls *calls, const PartitionProblem *problem, GError **error)
{
  g_autofree double *stop = g_new(double, calls->n + 1);
  g_autofree double *value = g_new0(double, calls->n + 1);
  g_autofree double *going_on = g_new0(double, calls->n + 1);
  PartitionValues values = {value, going_on};
  for (guint v = 0; v < calls->n; v++)
    stop[v] = problem->functions[v].no_block ? INFINITY : problem->functions[v].block_cost;
  partition_stopping_values(calls, stop, NULL, &values);
  for (guint v = 0; v < calls->n; v++)
    if (calls->entries[v] > 0 && isinf(value[v]))
      return explain_impossible(calls, value, v, error);
  return TRUE;
}

/* One partition_solve(). */
typedef struct {
  gboolean cut;
  double bound; /* of the whole: what the first round found, later ones are of branches; NAN before */
  PartitionEffort effort;
} Run;

static void find_best(Run *run, PartitionSearch *search, gboolean thorough);

/* What is left, 0 for no limit. */
static double
seconds_left(const PartitionSearch *search)
{
  return search->deadline ? MAX(search->deadline - clock_now_ns(), 1000000) / 1e9 : 0;
}

/* Tries both ways what is open: `v` chosen, and not. */
static void
branch(Run *run, PartitionSearch *search, guint v, gboolean thorough)
{
  static const PartitionState ways[] = {PARTITION_PAID, PARTITION_OUT};
  g_autofree guint8 *state = g_memdup2(search->state, search->calls->n);
  for (guint i = 0; i < G_N_ELEMENTS(ways); i++) {
    memcpy(search->state, state, search->calls->n);
    search->state[v] = ways[i];
    find_best(run, search, thorough);
  }
}

/* The integer program. Its tolerances are relative to the cutoff: where it gets lower by what is found, it is
 * looked at once more. Where that does not help, branches are small enough sooner or later to need no
 * library. */
static void
finish(Run *run, PartitionSearch *search)
{
  for (double before = INFINITY; search->cutoff < before;) {
    before = search->cutoff;
    if (partition_kernel_solve(search, seconds_left(search), &run->effort) ||
        partition_search_settle(search, TRUE))
      return;
    if (partition_search_late(search)) {
      run->cut = TRUE;
      return;
    }
  }
  guint open = 0;
  while (open < search->calls->n && search->state[open] != PARTITION_OPEN)
    open++;
  if (open < search->calls->n)
    branch(run, search, open, TRUE);
}

/* Costs of parts add up: each one's best together are the best of all. */
static void
find_best_of_parts(Run *run, PartitionSearch *search, const GPtrArray *parts)
{
  guint n = search->calls->n;
  g_autofree gboolean *offered = g_new0(gboolean, n + 1);
  for (guint v = 0; v < n; v++)
    offered[v] = search->state[v] == PARTITION_PAID || search->state[v] == PARTITION_STOP;
  for (guint i = 0; i < parts->len; i++) {
    PartitionSearch *part = g_ptr_array_index(parts, i);
    find_best(run, part, TRUE);
    for (guint j = 0; j < part->calls->n; j++)
      offered[part->function[j]] |= part->chosen[j];
    run->effort.rounds += part->rounds;
  }
  partition_search_try(search, offered);
}

/* The whole is looked at with cheap steps first; what is left of it is mostly small. */
static void
find_best(Run *run, PartitionSearch *search, gboolean thorough)
{
  /* Without any choice there would be no answer: the first round is made in any case. */
  gboolean settled = FALSE;
  if (search->rounds == 0 || !partition_search_late(search))
    settled = partition_search_settle(search, thorough);
  if (isnan(run->bound))
    run->bound = search->bound;
  if (settled)
    return;
  if (partition_search_late(search)) {
    run->cut = TRUE;
    return;
  }
  g_autoptr(GPtrArray) parts = partition_parts_of(search);
  PartitionSearch *first = parts->len == 1 ? g_ptr_array_index(parts, 0) : NULL;
  guint forced = partition_search_forced(search);
  if (!thorough || !first || first->calls->n < search->calls->n * 0.7)
    find_best_of_parts(run, search, parts);
  /* What cannot run on the device keeps open whatever calls it: without a block it may cost anything. Either
   * it is chosen, and this is over, or its callers cannot run there, too, which soon costs too much. */
  else if (forced < search->calls->n)
    branch(run, search, forced, thorough);
  else
    finish(run, search);
}

static double
cost_of_choosing_nothing(const PartitionCalls *calls)
{
  double sum = 0;
  for (guint v = 0; v < calls->n; v++)
    if (calls->arrivals[v] > 0)
      sum += calls->local[v];
  return sum;
}

static void
share(const PartitionCalls *calls, const gboolean *chosen, Partition *partition)
{
  g_autofree double *arriving = g_new0(double, calls->n + 1);
  g_autofree double *part = g_new0(double, calls->n + 1);
  partition_stopping_flow(calls, chosen, arriving, part);
  partition->n_shares = calls->n;
  partition->shares = g_new0(PartitionShare, calls->n + 1);
  for (guint v = 0; v < calls->n; v++) {
    partition->shares[v].chosen = chosen[v];
    partition->shares[v].executions = part[v] * calls->executions[v];
    partition->shares[v].blocks = chosen[v] ? arriving[v] : 0;
  }
}

static PartitionSearch *
search_of(const PartitionProblem *problem, PartitionCalls *calls, double cutoff)
{
  PartitionSearch *search = partition_search_new(calls, cutoff);
  for (guint v = 0; v < calls->n; v++) {
    const PartitionFunction *function = &problem->functions[v];
    search->block[v] = function->no_block ? INFINITY : function->block_cost;
    search->first[v] = function->no_block ? 0 : function->first_cost;
    search->state[v] = function->no_block         ? PARTITION_OUT
                       : function->first_cost > 0 ? PARTITION_OPEN
                                                  : PARTITION_PAID;
  }
  return search;
}

Partition *
partition_solve(const PartitionProblem *problem, double seconds, GError **error)
{
  gint64 deadline = seconds > 0 ? clock_now_ns() + (gint64)(MIN(seconds, 1e9) * 1e9) : 0;
  Run run = {.bound = NAN};
  if (!check_problem(problem, error))
    return NULL;
  g_autoptr(PartitionCalls) calls = partition_calls_new(problem, error);
  if (!calls || !check_possible(calls, problem, error))
    return NULL;
  g_autoptr(Partition) partition = g_new0(Partition, 1);
  partition->local_cost = cost_of_choosing_nothing(calls);
  /* A choice has to earn the session, too; what does not is not even looked for. */
  g_autoptr(PartitionSearch) search =
      search_of(problem, g_steal_pointer(&calls), partition->local_cost - problem->session_cost);
  search->deadline = deadline;
  find_best(&run, search, FALSE);
  partition->cost = search->found ? search->cutoff + problem->session_cost : partition->local_cost;
  partition->cut = run.cut;
  partition->bound = run.cut ? MIN(run.bound + problem->session_cost, partition->cost)
                             : partition->cost / (1 + PARTITION_TOLERANCE);
  partition->effort = run.effort;
  partition->effort.rounds += search->rounds;
  share(search->calls, search->chosen, partition);
  return g_steal_pointer(&partition);
}

void
partition_free(Partition *partition)
{
  g_free(partition->shares);
  g_free(partition);
}

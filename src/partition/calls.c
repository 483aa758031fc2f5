#include "partition/calls.h"

#include <math.h>

#include "base/error.h"

/* Counting sort of arcs by `key`, stable: by callee first and then by caller gives both orders in linear
 * time. */
static PartitionArc *
sorted(const PartitionArc *arcs, gsize n_arcs, guint n, gboolean by_caller)
{
  g_autofree gsize *start = g_new0(gsize, n + 1);
  for (gsize i = 0; i < n_arcs; i++)
    start[(by_caller ? arcs[i].caller : arcs[i].callee) + 1]++;
  for (guint v = 0; v < n; v++)
    start[v + 1] += start[v];
  PartitionArc *result = g_new(PartitionArc, n_arcs + 1);
  for (gsize i = 0; i < n_arcs; i++)
    result[start[by_caller ? arcs[i].caller : arcs[i].callee]++] = arcs[i];
  return result;
}

/* Arcs between different functions, by caller and then callee, one per pair. */
static GArray *
merged(const PartitionProblem *problem)
{
  g_autofree PartitionArc *by_callee = sorted(problem->arcs, problem->n_arcs, problem->n_functions, FALSE);
  g_autofree PartitionArc *both = sorted(by_callee, problem->n_arcs, problem->n_functions, TRUE);
  GArray *result = g_array_new(FALSE, FALSE, sizeof(PartitionArc));
  for (gsize i = 0; i < problem->n_arcs; i++) {
    PartitionArc *last = result->len ? &g_array_index(result, PartitionArc, result->len - 1) : NULL;
    if (both[i].calls == 0 || both[i].caller == both[i].callee)
      continue;
    if (last && last->caller == both[i].caller && last->callee == both[i].callee)
      last->calls += both[i].calls;
    else
      g_array_append_val(result, both[i]);
  }
  return result;
}

static void
lay_out(const PartitionArc *arcs, gsize n_arcs, guint n, gboolean out, guint **start, guint **function,
        double **calls)
{
  *start = g_new0(guint, n + 1);
  *function = g_new(guint, n_arcs + 1);
  *calls = g_new(double, n_arcs + 1);
  for (gsize i = 0; i < n_arcs; i++) {
    (*start)[(out ? arcs[i].caller : arcs[i].callee) + 1]++;
    (*function)[i] = out ? arcs[i].callee : arcs[i].caller;
    (*calls)[i] = arcs[i].calls;
  }
  for (guint v = 0; v < n; v++)
    (*start)[v + 1] += (*start)[v];
}

void
partition_calls_complete(PartitionCalls *calls)
{
  for (guint v = 0; v < calls->n; v++) {
    calls->arrivals[v] = calls->entries[v] + calls->lost[v];
    for (guint i = calls->in_start[v]; i < calls->in_start[v + 1]; i++)
      calls->arrivals[v] += calls->in_calls[i];
  }
}

static void
count(PartitionCalls *calls, const PartitionProblem *problem)
{
  for (guint v = 0; v < calls->n; v++)
    calls->entries[v] = problem->functions[v].entries;
  partition_calls_complete(calls);
  memcpy(calls->executions, calls->arrivals, calls->n * sizeof *calls->arrivals);
  for (gsize i = 0; i < problem->n_arcs; i++)
    if (problem->arcs[i].caller == problem->arcs[i].callee)
      calls->executions[problem->arcs[i].caller] += problem->arcs[i].calls;
  for (guint v = 0; v < calls->n; v++) {
    const PartitionFunction *function = &problem->functions[v];
    calls->local[v] = function->no_local ? INFINITY : function->local_cost * calls->executions[v];
  }
}

/* Every call has to begin with an entry: the flow of functions that only call each other could be anything.
 */
static gboolean
check_beginnings(const PartitionCalls *calls, GError **error)
{
  g_autofree gboolean *reached = g_new0(gboolean, calls->n + 1);
  g_autofree guint *queue = g_new(guint, calls->n + 1);
  guint head = 0, tail = 0;
  for (guint v = 0; v < calls->n; v++)
    if (calls->entries[v] > 0) {
      reached[v] = TRUE;
      queue[tail++] = v;
    }
  for (; head < tail; head++)
    for (guint i = calls->out_start[queue[head]]; i < calls->out_start[queue[head] + 1]; i++)
      if (!reached[calls->out_function[i]]) {
        reached[calls->out_function[i]] = TRUE;
        queue[tail++] = calls->out_function[i];
      }
  for (guint v = 0; v < calls->n; v++)
    if (!reached[v] && (calls->out_start[v] < calls->out_start[v + 1] || calls->executions[v] > 0))
      return doppel_error_set(
          error, DOPPEL_ERROR_USAGE,
          "function %u makes calls, but no chain of calls leads to it from a function with entries: count "
          "how often it is entered from outside",
          v);
  return TRUE;
}

/* Tarjan's algorithm with a stack of its own: call chains may be as long as the program is large. */
typedef struct {
  PartitionCalls *calls;
  guint *number, *low; /* number 0: not seen yet */
  guint *path, *next;  /* the chain that is being followed, and each function's next arc */
  guint *stack;        /* seen, in no group yet */
  guint depth, height, seen, members;
} Walk;

static void
enter(Walk *walk, guint v)
{
  walk->number[v] = walk->low[v] = ++walk->seen;
  walk->next[v] = walk->calls->out_start[v];
  walk->path[walk->depth++] = v;
  walk->stack[walk->height++] = v;
}

static void
leave(Walk *walk, guint v)
{
  PartitionCalls *calls = walk->calls;
  walk->depth--;
  if (walk->depth > 0) {
    guint caller = walk->path[walk->depth - 1];
    walk->low[caller] = MIN(walk->low[caller], walk->low[v]);
  }
  if (walk->low[v] != walk->number[v])
    return;
  guint member;
  do {
    member = walk->stack[--walk->height];
    calls->group_of[member] = calls->n_groups;
    calls->group_place[member] = walk->members;
    calls->group_member[walk->members++] = member;
  } while (member != v);
  calls->group_start[++calls->n_groups] = walk->members;
}

static void
follow(Walk *walk, guint first)
{
  PartitionCalls *calls = walk->calls;
  enter(walk, first);
  while (walk->depth > 0) {
    guint v = walk->path[walk->depth - 1];
    if (walk->next[v] == calls->out_start[v + 1]) {
      leave(walk, v);
      continue;
    }
    guint w = calls->out_function[walk->next[v]++];
    if (!walk->number[w])
      enter(walk, w);
    else if (calls->group_of[w] == G_MAXUINT)
      walk->low[v] = MIN(walk->low[v], walk->number[w]);
  }
}

static void
find_groups(PartitionCalls *calls)
{
  guint n = calls->n;
  g_autofree guint *room = g_new0(guint, 5 * (gsize)n + 1);
  Walk walk = {.calls = calls,
               .number = room,
               .low = room + n,
               .path = room + 2 * (gsize)n,
               .next = room + 3 * (gsize)n,
               .stack = room + 4 * (gsize)n};
  calls->group_start = g_new0(guint, n + 1);
  calls->group_member = g_new(guint, n + 1);
  calls->group_of = g_new(guint, n + 1);
  calls->group_place = g_new(guint, n + 1);
  for (guint v = 0; v < n; v++)
    calls->group_of[v] = G_MAXUINT;
  for (guint v = 0; v < n; v++)
    if (!walk.number[v])
      follow(&walk, v);
}

PartitionCalls *
partition_calls_new_of(guint n, GArray *arcs)
{
  PartitionCalls *calls = g_new0(PartitionCalls, 1);
  calls->n = n;
  calls->entries = g_new0(double, n + 1);
  calls->arrivals = g_new0(double, n + 1);
  calls->lost = g_new0(double, n + 1);
  calls->executions = g_new0(double, n + 1);
  calls->local = g_new0(double, n + 1);
  g_autofree PartitionArc *by_callee = sorted((PartitionArc *)(void *)arcs->data, arcs->len, n, FALSE);
  g_autofree PartitionArc *by_caller = sorted(by_callee, arcs->len, n, TRUE);
  g_autofree PartitionArc *back = sorted(by_caller, arcs->len, n, FALSE);
  lay_out(by_caller, arcs->len, n, TRUE, &calls->out_start, &calls->out_function, &calls->out_calls);
  lay_out(back, arcs->len, n, FALSE, &calls->in_start, &calls->in_function, &calls->in_calls);
  calls->out_in = g_new(guint, arcs->len + 1);
  g_autofree guint *next = g_memdup2(calls->in_start, (n + 1) * sizeof *next);
  for (guint i = 0; i < arcs->len; i++)
    calls->out_in[i] = next[calls->out_function[i]]++;
  find_groups(calls);
  g_array_unref(arcs);
  return calls;
}

PartitionCalls *
partition_calls_new(const PartitionProblem *problem, GError **error)
{
  g_autoptr(PartitionCalls) calls = partition_calls_new_of(problem->n_functions, merged(problem));
  count(calls, problem);
  if (!check_beginnings(calls, error))
    return NULL;
  return g_steal_pointer(&calls);
}

void
partition_calls_free(PartitionCalls *calls)
{
  g_free(calls->entries);
  g_free(calls->arrivals);
  g_free(calls->lost);
  g_free(calls->executions);
  g_free(calls->local);
  g_free(calls->out_start);
  g_free(calls->out_function);
  g_free(calls->out_calls);
  g_free(calls->in_start);
  g_free(calls->in_function);
  g_free(calls->in_calls);
  g_free(calls->out_in);
  g_free(calls->group_start);
  g_free(calls->group_member);
  g_free(calls->group_of);
  g_free(calls->group_place);
  g_free(calls);
}

#include "small_problem.h"

#include <math.h>

guint64
small_problem_cases(guint64 usual)
{
  const char *cases = g_getenv("DOPPEL_PARTITION_CASES");
  return cases ? g_ascii_strtoull(cases, NULL, 10) : usual;
}

/* Numbers of one kind per problem, so that each kind meets itself. */
typedef enum {
  TIES,    /* 0, 1, 2, 3: many choices cost the same */
  PLAIN,   /* of one size */
  WIDE,    /* of twelve sizes */
  EXTREME, /* of all that is allowed; no cycles but those of one function, or the test itself would have too
              few digits */
  KINDS,
} Kind;

static double
number(GRand *rand, Kind kind, double middle)
{
  switch (kind) {
  case TIES:
    return g_rand_int_range(rand, 0, 4);
  case PLAIN:
    return middle * g_rand_double_range(rand, 0.1, 2);
  case WIDE:
    return g_rand_int_range(rand, 0, 8) ? pow(10, g_rand_double_range(rand, -6, 6)) : 0;
  default:
    return g_rand_int_range(rand, 0, 8) ? pow(10, g_rand_double_range(rand, -14.9, 14.9)) : 0;
  }
}

static gboolean
one_in(GRand *rand, guint n)
{
  return n > 0 && g_rand_int_range(rand, 0, n) == 0;
}

static void
functions_by_chance(SmallProblem *small, GRand *rand, Kind kind)
{
  guint forbidden = g_rand_int_range(rand, 0, 8), forced = g_rand_int_range(rand, 0, 2) * 8;
  double block = pow(10, g_rand_double_range(rand, -1, 2)), first = pow(10, g_rand_double_range(rand, -1, 3));
  gboolean with_first = !one_in(rand, 4);
  for (guint v = 0; v < small->problem.n_functions; v++) {
    double entries = number(rand, kind, 5);
    small->functions[v] =
        (PartitionFunction){.entries = v && !one_in(rand, 6) ? 0 : MAX(entries, PARTITION_LEAST),
                            .local_cost = number(rand, kind, 1),
                            .block_cost = number(rand, kind, block),
                            .first_cost = with_first ? number(rand, kind, first) : 0,
                            .no_block = one_in(rand, forbidden),
                            .no_local = one_in(rand, forced)};
  }
}

/* Only functions that are reached make calls. */
static void
arcs_by_chance(SmallProblem *small, GRand *rand, Kind kind)
{
  guint n = small->problem.n_functions;
  gboolean reached[SMALL_MOST], cycles = kind != EXTREME && g_rand_boolean(rand);
  for (guint v = 0; v < n; v++)
    reached[v] = small->functions[v].entries > 0;
  guint n_arcs = g_rand_int_range(rand, 0, n * (one_in(rand, 3) ? n : 3) + 1);
  gsize made = 0;
  for (guint tries = 0; made < n_arcs && tries < 20 * n_arcs; tries++) {
    guint a = g_rand_int_range(rand, 0, n), b = g_rand_int_range(rand, 0, n);
    PartitionArc arc = {cycles ? a : MIN(a, b), cycles ? b : MAX(a, b), number(rand, kind, 20)};
    if (!reached[arc.caller])
      continue;
    reached[arc.callee] |= arc.calls > 0;
    small->arcs[made++] = arc;
  }
  small->problem.n_arcs = made;
}

void
small_problem_by_chance(SmallProblem *small, GRand *rand, guint most)
{
  Kind kind = g_rand_int_range(rand, 0, KINDS);
  small->problem = (PartitionProblem){.functions = small->functions,
                                      .arcs = small->arcs,
                                      .n_functions = g_rand_int_range(rand, 1, most + 1),
                                      .session_cost = g_rand_boolean(rand) ? 0 : number(rand, kind, 100)};
  functions_by_chance(small, rand, kind);
  arcs_by_chance(small, rand, kind);
}

/* Plain Gaussian elimination loses digits where recursion is deep: there are enough of them here. */
#ifdef __SIZEOF_FLOAT128__
typedef __float128 Exact;
#else
typedef long double Exact;
#endif

/* How often each function is called by others; and calls[u][v], in all of the profile. */
typedef struct {
  guint n;
  Exact arrivals[SMALL_MOST];
  Exact calls[SMALL_MOST][SMALL_MOST];
  Exact own[SMALL_MOST]; /* cost of all executions on the device */
} Chain;

static void
make_chain(const PartitionProblem *problem, Chain *chain)
{
  *chain = (Chain){.n = problem->n_functions};
  for (gsize i = 0; i < problem->n_arcs; i++)
    chain->calls[problem->arcs[i].caller][problem->arcs[i].callee] += problem->arcs[i].calls;
  for (guint v = 0; v < chain->n; v++) {
    chain->arrivals[v] = problem->functions[v].entries;
    for (guint u = 0; u < chain->n; u++)
      chain->arrivals[v] += u == v ? 0 : chain->calls[u][v];
    chain->own[v] = (chain->arrivals[v] + chain->calls[v][v]) * problem->functions[v].local_cost;
    chain->calls[v][v] = 0;
  }
}

/* Which functions are reached on the device; executed are those that are not in `set`. */
static guint
reached_with(const PartitionProblem *problem, const Chain *chain, guint set)
{
  guint reached = 0, before;
  for (guint v = 0; v < chain->n; v++)
    reached |= problem->functions[v].entries > 0 ? 1u << v : 0;
  do {
    before = reached;
    for (guint u = 0; u < chain->n; u++)
      for (guint v = 0; v < chain->n; v++)
        if ((reached & ~set) >> u & 1 && chain->calls[u][v] > 0)
          reached |= 1u << v;
  } while (reached != before);
  return reached;
}

/* Gaussian elimination with pivots; the solution is in the last column. */
static void
solve(Exact a[SMALL_MOST][SMALL_MOST + 1], guint m)
{
  for (guint k = 0; k < m; k++) {
    guint pivot = k;
    for (guint i = k + 1; i < m; i++)
      if ((a[i][k] < 0 ? -a[i][k] : a[i][k]) > (a[pivot][k] < 0 ? -a[pivot][k] : a[pivot][k]))
        pivot = i;
    for (guint j = k; j <= m; j++) {
      Exact other = a[k][j];
      a[k][j] = a[pivot][j];
      a[pivot][j] = other;
    }
    for (guint i = k + 1; i < m; i++) {
      if (a[i][k] == 0)
        continue;
      Exact factor = a[i][k] / a[k][k];
      for (guint j = k; j <= m; j++)
        a[i][j] -= factor * a[k][j];
    }
  }
  for (guint k = m; k > 0; k--) {
    for (guint j = k; j < m; j++)
      a[k - 1][m] -= a[k - 1][j] * a[j][m];
    a[k - 1][m] /= a[k - 1][k - 1];
  }
}

static double
cost_of_set(const PartitionProblem *problem, const Chain *chain, guint set)
{
  guint reached = reached_with(problem, chain, set), executed[SMALL_MOST], m = 0;
  for (guint v = 0; v < chain->n; v++) {
    if ((reached & ~set) >> v & 1)
      executed[m++] = v;
    if ((reached & ~set) >> v & 1 && problem->functions[v].no_local)
      return INFINITY;
    if (set >> v & 1 && problem->functions[v].no_block)
      return INFINITY;
  }
  /* Which part of its arrivals each executes: arrivals * part = entries + what other parts call. */
  Exact a[SMALL_MOST][SMALL_MOST + 1];
  for (guint i = 0; i < m; i++) {
    for (guint j = 0; j < m; j++)
      a[i][j] = i == j ? chain->arrivals[executed[i]] : -chain->calls[executed[j]][executed[i]];
    a[i][m] = problem->functions[executed[i]].entries;
  }
  solve(a, m);
  Exact cost = set ? problem->session_cost : 0;
  for (guint i = 0; i < m; i++)
    cost += a[i][m] * chain->own[executed[i]];
  for (guint v = 0; v < chain->n; v++) {
    if (!(set >> v & 1))
      continue;
    Exact blocks = problem->functions[v].entries;
    for (guint i = 0; i < m; i++)
      blocks += a[i][m] * chain->calls[executed[i]][v];
    cost += blocks * problem->functions[v].block_cost + problem->functions[v].first_cost;
  }
  return (double)cost;
}

double
small_problem_cost(const PartitionProblem *problem, const gboolean *chosen)
{
  Chain chain;
  make_chain(problem, &chain);
  guint set = 0;
  for (guint v = 0; v < problem->n_functions; v++)
    set |= chosen[v] ? 1u << v : 0;
  return cost_of_set(problem, &chain, set);
}

double
small_problem_optimum(const PartitionProblem *problem)
{
  Chain chain;
  make_chain(problem, &chain);
  double least = INFINITY;
  for (guint set = 0; set < 1u << problem->n_functions; set++)
    least = MIN(least, cost_of_set(problem, &chain, set));
  return least;
}

char *
small_problem_text(const PartitionProblem *problem)
{
  GString *text = g_string_new(NULL);
  g_string_append_printf(text, "session %.17g\n", problem->session_cost);
  for (guint v = 0; v < problem->n_functions; v++) {
    const PartitionFunction *function = &problem->functions[v];
    g_string_append_printf(text, "%u: entries %.17g local %.17g block %.17g first %.17g%s%s\n", v,
                           function->entries, function->local_cost, function->block_cost,
                           function->first_cost, function->no_block ? " no-block" : "",
                           function->no_local ? " no-local" : "");
  }
  for (gsize i = 0; i < problem->n_arcs; i++)
    g_string_append_printf(text, "%u -> %u: %.17g\n", problem->arcs[i].caller, problem->arcs[i].callee,
                           problem->arcs[i].calls);
  return g_string_free(text, FALSE);
}

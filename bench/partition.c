/* What it costs to find the best partition of a large program: call graphs made by chance, of several kinds
 * and over several links, beside what any solver has to do: reading the graph, and the dynamic programme
 * without first blocks, which ignores a part of the problem.
 *
 *     partition [--functions N] [--seeds N] [--seconds S] [--json]
 *
 * Times are the processor's, in ms: the median of the seeds, and the worst. `open` is what the presolve left
 * to the library, `cut` how many were not finished in time, `gap` how much better than what was found a
 * partition could be then. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "partition/stopping.h"

static int n_functions = 20000, n_seeds = 9;
static double seconds = 5;
static gboolean json;

static const GOptionEntry options[] = {
    {"functions", 'n', 0, G_OPTION_ARG_INT, &n_functions, "How many (default 20000)", "N"},
    {"seeds", 's', 0, G_OPTION_ARG_INT, &n_seeds, "How many graphs of a kind (default 9)", "N"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &seconds, "After which a solver is to stop; 0: never (default 5)",
     "S"},
    {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL},
    {NULL},
};

/* What a program's graph is like. Calls go from lower to higher numbers, but for those back. */
typedef struct {
  const char *name;
  gboolean tree;  /* every function is somebody's helper first of all; else anything is called by anything */
  double callees; /* of a function, in the mean, beyond its helpers */
  double back;    /* how many of the functions call one that is above them, near by */
  double far;     /* how many call one that is anywhere above them */
  guint forced;   /* one in so many of those that are no library's does not fit the device; 0: none */
} Shape;

static const Shape shapes[] = {
    {"no recursion", TRUE, 4, 0, 0, 0},       {"some recursion", TRUE, 4, 0.01, 0, 0},
    {"many arcs", TRUE, 20, 0.01, 0, 0},      {"an interpreter", TRUE, 4, 0.02, 0.0005, 0},
    {"large memory", TRUE, 4, 0.01, 0, 5000}, {"no order", FALSE, 5, 0.01, 0, 0},
};

typedef struct {
  const char *name;
  double round_trip; /* seconds */
  double rate;       /* bytes a second */
} Line;

static const Line lines[] = {
    {"lan", 0.0005, 100e6}, {"wifi", 0.005, 5e6}, {"lte", 0.05, 1.5e6}, {"3g", 0.3, 0.1e6}};

enum { SPEED_UP = 10 }; /* of the clone */

typedef struct {
  PartitionFunction *functions;
  GArray *arcs;
  double *inclusive; /* seconds of one execution, without what is called back */
  double *calls;
} Program;

static double
log_uniform(GRand *rand, double least, double most)
{
  return exp(g_rand_double_range(rand, log(least), log(most)));
}

/* Somebody near by, or one of a library's functions, of which few are popular. */
static guint
callee_of(GRand *rand, const Shape *shape, guint caller, guint n)
{
  guint span = n - caller - 1;
  double at = g_rand_double(rand);
  if (!shape->tree)
    return caller + 1 + (guint)(span * at * at);
  if (g_rand_double(rand) < 0.3)
    return caller + 1 + (guint)(MIN(span, 200u) * at);
  return MAX(caller + 1, n - 1 - (guint)(n / 20.0 * at * at * at));
}

static gboolean
one_in(GRand *rand, guint n)
{
  return g_rand_int_range(rand, 0, n) == 0;
}

static void
add_arc(Program *program, guint caller, guint callee, double calls)
{
  PartitionArc arc = {caller, callee, MAX(floor(calls), 1)};
  g_array_append_val(program->arcs, arc);
  program->calls[callee] += arc.calls;
}

static double
calls_of(const Program *program, GRand *rand, guint caller, double least, double most)
{
  double calls = program->calls[caller] * log_uniform(rand, least, most), limit = log_uniform(rand, 1, 1e7);
  return MIN(calls, limit);
}

static void
add_calls(Program *program, GRand *rand, const Shape *shape, guint v, guint n)
{
  guint wanted = shape->callees * -log(1 - g_rand_double(rand)) + 0.5;
  for (guint i = 0; i < wanted && v + 1 < n; i++) {
    guint callee = callee_of(rand, shape, v, n);
    add_arc(program, v, callee, calls_of(program, rand, v, 0.01, 4));
  }
  if (v > 0 && g_rand_double(rand) < shape->back)
    add_arc(program, v, v - MIN(v, (guint)g_rand_int_range(rand, 0, 20)),
            program->calls[v] * log_uniform(rand, 0.01, 1));
  if (v > 0 && g_rand_double(rand) < shape->far)
    add_arc(program, v, g_rand_int_range(rand, 0, v), program->calls[v] * log_uniform(rand, 0.001, 0.1));
}

/* A program that runs for some minutes on the device. */
static void
set_times(Program *program, GRand *rand, guint n)
{
  double total = 0;
  for (guint v = 0; v < n; v++) {
    program->functions[v].local_cost = log_uniform(rand, 1e-8, 1e-5);
    total += program->functions[v].local_cost * program->calls[v];
  }
  double factor = log_uniform(rand, 10, 1000) / total;
  for (guint v = 0; v < n; v++)
    program->inclusive[v] = program->functions[v].local_cost *= factor;
  for (guint i = program->arcs->len; i > 0; i--) {
    PartitionArc *arc = &g_array_index(program->arcs, PartitionArc, i - 1);
    if (arc->caller < arc->callee)
      program->inclusive[arc->caller] +=
          arc->calls / program->calls[arc->caller] * program->inclusive[arc->callee];
  }
}

static void
set_blocks(Program *program, GRand *rand, const Shape *shape, const Line *line, guint n)
{
  for (guint v = 0; v < n; v++) {
    PartitionFunction *function = &program->functions[v];
    function->block_cost =
        program->inclusive[v] / SPEED_UP + line->round_trip + log_uniform(rand, 300, 1e5) / line->rate;
    function->first_cost = line->round_trip + log_uniform(rand, 4e3, 1e6) / line->rate;
    /* What is on top talks to the user. */
    function->no_block = g_rand_double(rand) < (v < 30 ? 0.8 : 0.05);
    function->no_local = !function->no_block && v < n / 2 && shape->forced && one_in(rand, shape->forced);
  }
}

static Program *
program_new(GRand *rand, const Shape *shape, const Line *line)
{
  guint n = n_functions;
  Program *program = g_new0(Program, 1);
  program->functions = g_new0(PartitionFunction, n);
  program->inclusive = g_new0(double, n);
  program->calls = g_new0(double, n);
  program->arcs = g_array_new(FALSE, FALSE, sizeof(PartitionArc));
  for (guint v = 0; v < n; v++) {
    guint caller = v ? g_rand_int_range(rand, v / 4, v) : 0;
    if (v > 0 && shape->tree)
      add_arc(program, caller, v, calls_of(program, rand, caller, 0.05, 20));
    /* Signals and threads come in anywhere. */
    if (program->calls[v] == 0 || one_in(rand, 1000))
      program->calls[v] += program->functions[v].entries = 1;
    add_calls(program, rand, shape, v, n);
  }
  set_times(program, rand, n);
  set_blocks(program, rand, shape, line, n);
  return program;
}

static void
program_free(Program *program)
{
  g_free(program->functions);
  g_free(program->inclusive);
  g_free(program->calls);
  g_array_unref(program->arcs);
  g_free(program);
}

static double
processor_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* Of one kind of graph over one line: what a row shows of all seeds. */
typedef enum {
  GROUP,     /* the largest cycle of functions that call each other */
  READ,      /* ms: the graph is there */
  PROGRAMME, /* ms: and the dynamic programme is through */
  SOLVE,     /* ms: the partition */
  OPEN,      /* functions that the integer programs had to tell */
  CUT,       /* 1 where time ran out */
  GAP,       /* then: how much better a partition might be, % */
  FIGURES,
} Figure;

static int
by_size(const void *a, const void *b)
{
  double first = *(const double *)a, second = *(const double *)b;
  return first < second ? -1 : first > second;
}

static void
fail(const GError *error)
{
  fprintf(stderr, "partition: %s\n", error->message);
  exit(1);
}

static double
largest_group(const PartitionCalls *calls)
{
  guint largest = 0;
  for (guint i = 0; i < calls->n_groups; i++)
    largest = MAX(largest, calls->group_start[i + 1] - calls->group_start[i]);
  return largest;
}

static void
dynamic_programme(const PartitionCalls *calls, const PartitionProblem *problem)
{
  g_autofree double *stop = g_new(double, calls->n);
  g_autofree double *value = g_new0(double, calls->n);
  g_autofree double *going_on = g_new0(double, calls->n);
  for (guint v = 0; v < calls->n; v++)
    stop[v] = problem->functions[v].no_block ? INFINITY : problem->functions[v].block_cost;
  PartitionValues values = {value, going_on};
  partition_stopping_values(calls, stop, NULL, &values);
}

static void
sample(const Shape *shape, const Line *line, guint seed, double *figures)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
  Program *program = program_new(rand, shape, line);
  PartitionProblem problem = {.functions = program->functions,
                              .n_functions = n_functions,
                              .arcs = (PartitionArc *)(void *)program->arcs->data,
                              .n_arcs = program->arcs->len,
                              .session_cost = 10 * line->round_trip};
  g_autoptr(GError) error = NULL;
  double begin = processor_ms();
  g_autoptr(PartitionCalls) calls = partition_calls_new(&problem, &error);
  if (!calls)
    fail(error);
  figures[READ] = processor_ms() - begin;
  dynamic_programme(calls, &problem);
  figures[PROGRAMME] = processor_ms() - begin;
  begin = processor_ms();
  g_autoptr(Partition) partition = partition_solve(&problem, seconds, &error);
  if (!partition)
    fail(error);
  figures[SOLVE] = processor_ms() - begin;
  figures[GROUP] = largest_group(calls);
  figures[OPEN] = partition->effort.open;
  figures[CUT] = partition->cut;
  figures[GAP] = partition->cut ? 100 * (partition->cost / partition->bound - 1) : 0;
  program_free(program);
}

static void
measure(const Shape *shape, const Line *line, gboolean first)
{
  g_autofree double *samples = g_new0(double, FIGURES *n_seeds);
  double cut = 0, middle[FIGURES], worst[FIGURES];
  for (int seed = 0; seed < n_seeds; seed++) {
    double figures[FIGURES];
    sample(shape, line, seed + 1, figures);
    cut += figures[CUT];
    for (guint i = 0; i < FIGURES; i++)
      samples[i * n_seeds + seed] = figures[i];
  }
  for (guint i = 0; i < FIGURES; i++) {
    qsort(&samples[i * n_seeds], n_seeds, sizeof *samples, by_size);
    middle[i] = samples[i * n_seeds + n_seeds / 2];
    worst[i] = samples[(i + 1) * n_seeds - 1];
  }
  if (json)
    printf(
        "%s\n  {\"graph\": \"%s\", \"line\": \"%s\", \"largest_group\": %.0f, \"read_ms\": %.2f, "
        "\"programme_ms\": %.2f, "
        "\"solve_ms\": %.2f, \"solve_ms_worst\": %.2f, \"open\": %.0f, \"open_worst\": %.0f, \"cut\": %.0f, "
        "\"gap_percent_worst\": %.3f}",
        first ? "" : ",", shape->name, line->name, worst[GROUP], middle[READ], middle[PROGRAMME],
        middle[SOLVE], worst[SOLVE], middle[OPEN], worst[OPEN], cut, worst[GAP]);
  else
    printf("%-15s %-5s %6.0f %7.1f %7.1f %8.1f %8.1f %7.1f %6.0f %6.0f %5.0f %8.3f\n", shape->name,
           line->name, worst[GROUP], middle[READ], middle[PROGRAMME], middle[SOLVE], worst[SOLVE],
           middle[SOLVE] / middle[PROGRAMME], middle[OPEN], worst[OPEN], cut, worst[GAP]);
  fflush(stdout);
}

int
main(int argc, char **argv)
{
  g_autoptr(GOptionContext) context = g_option_context_new("- what finding the best partition costs");
  g_option_context_add_main_entries(context, options, NULL);
  g_autoptr(GError) error = NULL;
  if (!g_option_context_parse(context, &argc, &argv, &error))
    fail(error);
  if (n_functions < 2 || n_seeds < 1) {
    fprintf(stderr, "partition: at least two functions, and one seed\n");
    return 2;
  }
  if (json)
    printf("[");
  else
    printf("%d functions, %d seeds; ms of processor, the median and the worst\n%-15s %-5s %6s %7s %7s %8s "
           "%8s %7s %6s %6s %5s %8s\n",
           n_functions, n_seeds, "graph", "line", "group", "read", "DP", "solve", "worst", "of DP", "open",
           "worst", "cut", "gap, %");
  for (guint i = 0; i < G_N_ELEMENTS(shapes); i++)
    for (guint j = 0; j < G_N_ELEMENTS(lines); j++)
      measure(&shapes[i], &lines[j], i == 0 && j == 0);
  printf(json ? "\n]\n" : "");
  return 0;
}

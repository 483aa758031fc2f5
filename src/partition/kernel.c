#include "partition/kernel.h"

#include <math.h>

#include "partition/integer.h"

/* What is found has to be this near to what the program claims. */
#define AGREEMENT 1e-7

/* The columns of a function; G_MAXUINT: it has no such. */
typedef struct {
  gboolean inside;
  guint row;
  guint executed; /* the part of its arrivals that it executes, of `most_part` */
  guint blocks;   /* its blocks, of `most_blocks` */
  guint first;    /* whether there is one; integer */
  guint split; /* rows: what is executed by where it comes from, and for each arc and the entries how much at
                  least */
} Columns;

typedef struct {
  PartitionSearch *search;
  PartitionProgram *program;
  Columns *columns;
  double budget;
} Kernel;

static void
add_row(Kernel *kernel, guint v)
{
  const PartitionSearch *search = kernel->search;
  Columns *columns = &kernel->columns[v];
  columns->executed = columns->blocks = columns->first = G_MAXUINT;
  columns->inside = search->most[v] > 0 && !isinf(search->lower.value[v]);
  if (!columns->inside)
    return;
  double entries = search->calls->entries[v] / search->most[v];
  columns->row = partition_program_row(kernel->program, entries, entries);
}

/* What arrives by one way and is not executed is within what that way can bring at most, if there is a first
 * block at all. All ways together would be enough to be right; by way the relaxation is much nearer to the
 * truth. */
static double
most_by(const PartitionSearch *search, guint v, guint i)
{
  const PartitionCalls *calls = search->calls;
  return MIN(calls->in_calls[i] * search->most_part[calls->in_function[i]], search->most_blocks[v]);
}

static void
add_split(Kernel *kernel, guint v)
{
  const PartitionSearch *search = kernel->search;
  const PartitionCalls *calls = search->calls;
  Columns *columns = &kernel->columns[v];
  columns->split = G_MAXUINT;
  guint begin = calls->in_start[v], end = calls->in_start[v + 1];
  if (!columns->inside || search->state[v] != PARTITION_OPEN || end - begin + (calls->entries[v] > 0) < 2)
    return;
  columns->split = partition_program_row(kernel->program, 0, 0);
  for (guint i = begin; i < end; i++)
    partition_program_row(kernel->program, 0, INFINITY);
  double entries = MIN(calls->entries[v], search->most_blocks[v]);
  partition_program_row(kernel->program, entries > 0 ? calls->entries[v] / entries : 0, INFINITY);
}

static void
add_ways(Kernel *kernel, guint v)
{
  const PartitionSearch *search = kernel->search;
  const PartitionCalls *calls = search->calls;
  const Columns *columns = &kernel->columns[v];
  guint begin = calls->in_start[v], ways = calls->in_start[v + 1] - begin;
  for (guint i = 0; i <= ways; i++) {
    double most = i < ways ? most_by(search, v, begin + i) : MIN(calls->entries[v], search->most_blocks[v]);
    if (most <= 0)
      continue;
    partition_program_column(kernel->program, 0, 1, FALSE);
    partition_program_entry(kernel->program, columns->split, most / search->most[v]);
    partition_program_entry(kernel->program, columns->split + 1 + i, 1);
  }
}

static void
add_execution(Kernel *kernel, guint v)
{
  const PartitionSearch *search = kernel->search;
  const PartitionCalls *calls = search->calls;
  double part = search->most_part[v];
  kernel->columns[v].executed =
      partition_program_column(kernel->program, calls->local[v] * part / kernel->budget, 1, FALSE);
  partition_program_entry(kernel->program, kernel->columns[v].row,
                          calls->arrivals[v] * part / search->most[v]);
  for (guint i = calls->out_start[v]; i < calls->out_start[v + 1]; i++) {
    guint callee = calls->out_function[i];
    partition_program_entry(kernel->program, kernel->columns[callee].row,
                            -calls->out_calls[i] * part / search->most[callee]);
    guint split = kernel->columns[callee].split, way = calls->out_in[i];
    double most = most_by(search, callee, way);
    if (split != G_MAXUINT && most > 0)
      partition_program_entry(kernel->program, split + 1 + way - calls->in_start[callee],
                              -calls->out_calls[i] * part / most);
  }
  if (kernel->columns[v].split != G_MAXUINT)
    partition_program_entry(kernel->program, kernel->columns[v].split,
                            -calls->arrivals[v] * part / search->most[v]);
}

static void
add_blocks(Kernel *kernel, guint v)
{
  const PartitionSearch *search = kernel->search;
  Columns *columns = &kernel->columns[v];
  double blocks = search->most_blocks[v];
  columns->blocks =
      partition_program_column(kernel->program, search->block[v] * blocks / kernel->budget, 1, FALSE);
  partition_program_entry(kernel->program, columns->row, blocks / search->most[v]);
  if (search->state[v] != PARTITION_OPEN)
    return;
  /* No block without the first one. */
  guint link = partition_program_row(kernel->program, -INFINITY, 0);
  partition_program_entry(kernel->program, link, 1);
  columns->first = partition_program_column(kernel->program, search->first[v] / kernel->budget, 1, TRUE);
  partition_program_entry(kernel->program, link, -1);
  if (columns->split == G_MAXUINT)
    return;
  guint ways = search->calls->in_start[v + 1] - search->calls->in_start[v];
  for (guint i = 0; i <= ways; i++)
    partition_program_entry(kernel->program, columns->split + 1 + i, 1);
  add_ways(kernel, v);
}

/* Every variable is a part of what it can be at most, so that the library's tolerances, which are absolute,
 * are relative to that; and costs are parts of the budget. */
static void
build(Kernel *kernel)
{
  const PartitionSearch *search = kernel->search;
  guint n = search->calls->n;
  for (guint v = 0; v < n; v++)
    add_row(kernel, v);
  for (guint v = 0; v < n; v++)
    add_split(kernel, v);
  for (guint v = 0; v < n; v++) {
    if (!kernel->columns[v].inside)
      continue;
    if (search->state[v] != PARTITION_STOP && !isinf(search->lower.going_on[v]) && search->most_part[v] > 0)
      add_execution(kernel, v);
    if (search->state[v] != PARTITION_OUT && search->most_blocks[v] > 0)
      add_blocks(kernel, v);
  }
}

gboolean
partition_kernel_solve(PartitionSearch *search, double seconds, PartitionEffort *effort)
{
  guint n = search->calls->n;
  g_autoptr(PartitionProgram) program = partition_program_new();
  g_autofree Columns *columns = g_new0(Columns, n + 1);
  Kernel kernel = {search, program, columns, search->cutoff - search->paid};
  build(&kernel);
  for (guint v = 0; v < n; v++)
    effort->open += search->state[v] == PARTITION_OPEN;
  effort->columns += program->cost->len;

  double objective = 0;
  g_autofree double *x = g_new0(double, program->cost->len + 1);
  PartitionVerdict verdict = partition_program_solve(program, seconds, x, &objective, &effort->nodes);
  if (verdict == PARTITION_IMPOSSIBLE || verdict == PARTITION_GAVE_UP)
    return verdict == PARTITION_IMPOSSIBLE;
  g_autofree gboolean *offered = g_new0(gboolean, n + 1);
  for (guint v = 0; v < n; v++)
    offered[v] = search->state[v] == PARTITION_PAID || search->state[v] == PARTITION_STOP ||
                 (columns[v].first != G_MAXUINT && x[columns[v].first] > 0.5);
  partition_search_try(search, offered);
  return verdict == PARTITION_SOLVED &&
         search->cutoff <= search->paid + objective * kernel.budget + AGREEMENT * search->cutoff;
}

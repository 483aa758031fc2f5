#include "partition/search.h"

#include <math.h>

#include "base/clock.h"

/* Rounding of sums: a bound this near to the cutoff has reached it. */
#define ROUNDING 1e-12
/* Each round is some walks over the graph; what it settles gets less, and the integer program is better at
 * the rest. */
#define MOST_ROUNDS  30
#define DUAL_ROUNDS  30
#define SLOPE_ROUNDS 20
#define CHEAP_ROUNDS 3
#define TRY_EACH     5

static void
new_values(PartitionValues *values, guint n)
{
  values->value = g_new0(double, n + 1);
  values->going_on = g_new0(double, n + 1);
}

static void
free_values(PartitionValues *values)
{
  g_free(values->value);
  g_free(values->going_on);
}

PartitionSearch *
partition_search_new(PartitionCalls *calls, double cutoff)
{
  guint n = calls->n;
  PartitionSearch *search = g_new0(PartitionSearch, 1);
  search->calls = calls;
  search->block = g_new0(double, n + 1);
  search->first = g_new0(double, n + 1);
  search->state = g_new0(guint8, n + 1);
  search->most = g_new0(double, n + 1);
  search->most_part = g_new0(double, n + 1);
  search->most_blocks = g_new0(double, n + 1);
  search->least = g_new0(double, n + 1);
  new_values(&search->lower, n);
  new_values(&search->upper, n);
  new_values(&search->relaxed, n);
  search->chosen = g_new0(gboolean, n + 1);
  search->stop = g_new0(double, n + 1);
  search->arriving = g_new0(double, n + 1);
  search->part = g_new0(double, n + 1);
  search->stops = g_new0(gboolean, n + 1);
  search->cutoff = cutoff;
  return search;
}

void
partition_search_free(PartitionSearch *search)
{
  partition_calls_free(search->calls);
  g_free(search->function);
  g_free(search->block);
  g_free(search->first);
  g_free(search->state);
  g_free(search->most);
  g_free(search->most_part);
  g_free(search->most_blocks);
  g_free(search->least);
  free_values(&search->lower);
  free_values(&search->upper);
  free_values(&search->relaxed);
  g_free(search->chosen);
  g_free(search->stop);
  g_free(search->arriving);
  g_free(search->part);
  g_free(search->stops);
  g_free(search);
}

gboolean
partition_search_late(const PartitionSearch *search)
{
  return search->deadline && clock_now_ns() >= search->deadline;
}

/* Leaves in `stops` who stops and is reached, in `arriving` how often; uses `relaxed`. */
static double
cost_of(PartitionSearch *search, const gboolean *offered)
{
  const PartitionCalls *calls = search->calls;
  PartitionValues *values = &search->relaxed;
  for (guint v = 0; v < calls->n; v++)
    search->stop[v] = offered[v] ? search->block[v] : INFINITY;
  partition_stopping_values(calls, search->stop, NULL, values);
  double cost = partition_stopping_cost(calls, search->stop, NULL, values);
  for (guint v = 0; v < calls->n; v++)
    search->stops[v] = search->stop[v] < values->going_on[v];
  partition_stopping_flow(calls, search->stops, search->arriving, search->part);
  for (guint v = 0; v < calls->n; v++) {
    search->stops[v] = search->stops[v] && search->arriving[v] > 0;
    if (search->stops[v])
      cost += search->first[v];
  }
  return cost;
}

void
partition_search_try(PartitionSearch *search, const gboolean *offered)
{
  guint n = search->calls->n;
  g_autofree gboolean *next = g_memdup2(offered, (n + 1) * sizeof *offered);
  for (gboolean again = TRUE; again;) {
    double cost = cost_of(search, next);
    if (cost < search->cutoff) {
      search->cutoff = cost;
      search->found = TRUE;
      memcpy(search->chosen, search->stops, n * sizeof *search->stops);
    }
    /* Those that do not earn their first block may be left to the others: perhaps that is better. */
    again = FALSE;
    for (guint v = 0; v < n; v++) {
      next[v] = search->stops[v];
      double gain = (search->relaxed.going_on[v] - search->block[v]) * search->arriving[v];
      if (next[v] && gain < search->first[v]) {
        next[v] = FALSE;
        again = TRUE;
      }
    }
  }
}

static void
set_stops(PartitionSearch *search, gboolean only_paid)
{
  for (guint v = 0; v < search->calls->n; v++) {
    PartitionState state = search->state[v];
    gboolean may =
        state == PARTITION_PAID || state == PARTITION_STOP || (state == PARTITION_OPEN && !only_paid);
    search->stop[v] = may ? search->block[v] : INFINITY;
  }
}

/* A choice that is to undercut the cutoff can afford so many blocks and executions only. A function either
 * begins a block or is executed. What it calls within its group is left out of an execution's cost: it would
 * be counted at each level of a recursion. */
static void
keep_to_budget(PartitionSearch *search, double budget)
{
  const PartitionCalls *calls = search->calls;
  for (guint v = 0; v < calls->n; v++) {
    double executed = calls->local[v];
    for (guint i = calls->out_start[v]; i < calls->out_start[v + 1]; i++) {
      guint callee = calls->out_function[i];
      if (calls->group_of[callee] != calls->group_of[v])
        executed += calls->out_calls[i] * search->lower.value[callee];
    }
    if (executed > 0)
      search->most_part[v] = MIN(search->most_part[v], budget / executed);
    double first = search->state[v] == PARTITION_OPEN ? search->first[v] : 0;
    if (search->state[v] == PARTITION_OUT)
      search->most_blocks[v] = 0;
    else if (search->block[v] > 0)
      search->most_blocks[v] = MIN(search->most_blocks[v], MAX(budget - first, 0) / search->block[v]);
    search->most[v] =
        MIN(search->most[v], MAX(search->most_part[v] * calls->arrivals[v], search->most_blocks[v]));
  }
}

/* Bounds on values and flows. The lowest values let everything stop that may, for its block alone; with most
 * stops flows are least, with those only that are certain they are greatest. And a choice that is to undercut
 * the cutoff can afford so many arrivals only. */
static void
find_bounds(PartitionSearch *search)
{
  const PartitionCalls *calls = search->calls;
  set_stops(search, FALSE);
  partition_stopping_values(calls, search->stop, NULL, &search->lower);
  for (guint v = 0; v < calls->n; v++)
    search->stops[v] = !isinf(search->stop[v]) || isinf(search->lower.going_on[v]);
  partition_stopping_flow(calls, search->stops, search->least, search->part);

  for (guint v = 0; v < calls->n; v++)
    search->stops[v] = search->state[v] == PARTITION_STOP || isinf(search->lower.going_on[v]);
  partition_stopping_flow(calls, search->stops, search->most, search->most_part);
  memcpy(search->most_blocks, search->most, calls->n * sizeof *search->most);

  set_stops(search, TRUE);
  partition_stopping_values(calls, search->stop, NULL, &search->upper);

  search->paid = 0;
  for (guint v = 0; v < calls->n; v++)
    if (search->state[v] == PARTITION_PAID || search->state[v] == PARTITION_STOP)
      search->paid += search->first[v];
  if (isfinite(search->cutoff))
    keep_to_budget(search, MAX(search->cutoff - search->paid, 0) * (1 + ROUNDING));
}

/* A block of v costs at least this: its first one is shared by no more than there can be. */
static double
shared(const PartitionSearch *search, guint v)
{
  return search->state[v] == PARTITION_OPEN ? search->block[v] + search->first[v] / search->most[v]
                                            : search->block[v];
}

/* Each step keeps some choice that is as good as any that agrees with the states before it. */
static gboolean
settle_one(PartitionSearch *search, guint v)
{
  PartitionState before = search->state[v];
  double going_on = search->lower.going_on[v];
  if (before == PARTITION_OUT || before == PARTITION_STOP)
    return FALSE;
  /* Never reached on the device, whatever is chosen. */
  if (search->most[v] <= 0)
    search->state[v] = PARTITION_OUT;
  /* Never pays: a choice without it would execute these calls for no more than `upper` each, and the paid
   * ones are there anyhow. */
  else if (shared(search, v) >= search->upper.going_on[v])
    search->state[v] = PARTITION_OUT;
  /* Always earns its first block: that often it is reached whatever is chosen, and each time a block saves at
   * least so much. (A choice without v gets no dearer by it.) */
  else if (before == PARTITION_OPEN && search->least[v] > 0 &&
           search->first[v] <= search->least[v] * (going_on - search->block[v]))
    search->state[v] = PARTITION_PAID;
  /* Once it is paid for: nothing that may be chosen below makes going on as cheap as a block. So what it
   * calls is not called by it any more. */
  if (search->state[v] == PARTITION_PAID && search->block[v] < going_on)
    search->state[v] = PARTITION_STOP;
  return search->state[v] != before;
}

/* The linear relaxation by its dual: first blocks are paid in parts, by those who begin blocks. How a
 * function's first block is shared among its callers is free, so long as nobody pays for calls beyond what
 * there can be; each way is a bound, and the best is found by moving the shares to those callers that do call
 * (as in the volume algorithm of Barahona and Anbil, Mathematical Programming 87, 2000). */
typedef struct {
  double *all, *arc, *entry; /* shares of a first block: over all arrivals alike, by arc, of entries */
} Shares;

typedef struct {
  PartitionSearch *search;
  Shares share, use; /* of each share: how much of what it is paid for there is, a mean of the rounds */
  PartitionPrices prices;
} Dual;

static void
new_shares(Shares *shares, guint n, guint n_arcs)
{
  shares->all = g_new0(double, n + 1);
  shares->arc = g_new0(double, n_arcs + 1);
  shares->entry = g_new0(double, n + 1);
}

static void
free_shares(Shares *shares)
{
  g_free(shares->all);
  g_free(shares->arc);
  g_free(shares->entry);
}

static gboolean
alone(const PartitionCalls *calls, guint v)
{
  guint group = calls->group_of[v];
  return calls->group_start[group + 1] - calls->group_start[group] == 1;
}

static double
most_of_arc(const PartitionSearch *search, guint v, guint i)
{
  const PartitionCalls *calls = search->calls;
  return MIN(calls->in_calls[i] * search->most_part[calls->in_function[i]], search->most_blocks[v]);
}

static void
set_prices(Dual *dual)
{
  PartitionSearch *search = dual->search;
  const PartitionCalls *calls = search->calls;
  for (guint v = 0; v < calls->n; v++) {
    search->stop[v] = search->state[v] == PARTITION_OUT ? INFINITY : search->block[v];
    dual->prices.entry[v] = 0;
    gboolean open = search->state[v] == PARTITION_OPEN;
    if (open)
      search->stop[v] += dual->share.all[v] / search->most_blocks[v];
    if (open && dual->share.entry[v] > 0)
      dual->prices.entry[v] = dual->share.entry[v] / MIN(calls->entries[v], search->most_blocks[v]);
    for (guint i = calls->in_start[v]; i < calls->in_start[v + 1]; i++)
      dual->prices.arc[i] =
          open && dual->share.arc[i] > 0 ? dual->share.arc[i] / most_of_arc(search, v, i) : 0;
  }
}

/* What a choice with v costs more than the bound: what its callers do not pay of its first block. */
static double
unpaid(const Dual *dual, guint v)
{
  const PartitionSearch *search = dual->search;
  const PartitionCalls *calls = search->calls;
  double worth = MAX(search->relaxed.going_on[v] - search->block[v], 0);
  double alike = MIN(dual->share.all[v] / search->most_blocks[v], worth);
  double paid = alike * search->most_blocks[v];
  if (dual->prices.entry[v] > 0)
    paid += MIN(dual->prices.entry[v], worth - alike) * MIN(calls->entries[v], search->most_blocks[v]);
  for (guint i = calls->in_start[v]; i < calls->in_start[v + 1]; i++)
    if (dual->prices.arc[i] > 0)
      paid += MIN(dual->prices.arc[i], worth - alike) * most_of_arc(search, v, i);
  return search->first[v] - paid;
}

/* Over some rounds: single ones swing from one solution to another. */
static void
mean(double *value, double now)
{
  *value += 0.3 * (now - *value);
}

/* First blocks are paid by those who would be there anyhow; a power keeps the others from sharing nearly
 * alike. */
static double
weight(double use)
{
  return use * use * use * use;
}

/* Moves shares of v's first block to where there are blocks. */
static void
move_shares(Dual *dual, guint v, double step)
{
  const PartitionSearch *search = dual->search;
  const PartitionCalls *calls = search->calls;
  double worth = search->relaxed.going_on[v] - search->stop[v], blocks = 0, sum = 0;
  guint begin = calls->in_start[v], end = calls->in_start[v + 1];
  for (guint i = begin; i < end; i++) {
    double most = most_of_arc(search, v, i), part = search->part[calls->in_function[i]];
    double now = worth > dual->prices.arc[i] ? calls->in_calls[i] * part : 0;
    blocks += now;
    mean(&dual->use.arc[i], most > 0 ? MIN(now / most, 1) : 0);
    sum += weight(dual->use.arc[i]);
  }
  double now = worth > dual->prices.entry[v] ? calls->entries[v] : 0;
  blocks += now;
  mean(&dual->use.entry[v],
       calls->entries[v] > 0 ? MIN(now / MIN(calls->entries[v], search->most_blocks[v]), 1) : 0);
  mean(&dual->use.all[v], MIN(blocks / search->most_blocks[v], 1));
  sum += weight(dual->use.entry[v]) + weight(dual->use.all[v]);
  if (sum <= 0)
    return;
  double scale = step * search->first[v] / sum;
  for (guint i = begin; i < end; i++)
    dual->share.arc[i] = (1 - step) * dual->share.arc[i] + scale * weight(dual->use.arc[i]);
  dual->share.entry[v] = (1 - step) * dual->share.entry[v] + scale * weight(dual->use.entry[v]);
  dual->share.all[v] = (1 - step) * dual->share.all[v] + scale * weight(dual->use.all[v]);
}

/* One round. TRUE: it settled something. */
static gboolean
ascend(Dual *dual, double step, gboolean *stops)
{
  PartitionSearch *search = dual->search;
  const PartitionCalls *calls = search->calls;
  set_prices(dual);
  partition_stopping_values(calls, search->stop, &dual->prices, &search->relaxed);
  double bound = search->paid + partition_stopping_cost(calls, search->stop, &dual->prices, &search->relaxed);
  search->bound = MAX(search->bound, bound);
  gboolean changed = FALSE;
  for (guint v = 0; v < calls->n; v++) {
    if (search->state[v] != PARTITION_OPEN || bound + unpaid(dual, v) <= search->cutoff * (1 + ROUNDING))
      continue;
    search->state[v] = PARTITION_OUT;
    changed = TRUE;
  }
  partition_stopping_best_flow(calls, search->stop, &dual->prices, &search->relaxed, search->arriving,
                               search->part);
  for (guint v = 0; v < calls->n; v++) {
    stops[v] = search->state[v] == PARTITION_PAID || search->state[v] == PARTITION_STOP;
    if (search->state[v] != PARTITION_OPEN)
      continue;
    if (alone(calls, v))
      move_shares(dual, v, step);
    stops[v] = search->stop[v] < search->relaxed.going_on[v];
  }
  return changed;
}

/* Good choices by slope scaling (Kim and Pardalos, Operations Research Letters 24, 1999): a first block is
 * shared among as many as there were in the last round. */
static void
scale_slopes(PartitionSearch *search, guint rounds)
{
  const PartitionCalls *calls = search->calls;
  g_autofree double *slope = g_new0(double, calls->n + 1);
  g_autofree gboolean *stops = g_new0(gboolean, calls->n + 1);
  for (guint v = 0; v < calls->n; v++)
    slope[v] = search->state[v] == PARTITION_OPEN ? search->first[v] / search->most_blocks[v] : 0;
  for (guint round = 0; round < rounds; round++) {
    for (guint v = 0; v < calls->n; v++)
      search->stop[v] = search->state[v] == PARTITION_OUT ? INFINITY : search->block[v] + slope[v];
    partition_stopping_values(calls, search->stop, NULL, &search->relaxed);
    for (guint v = 0; v < calls->n; v++)
      stops[v] = search->stop[v] < search->relaxed.going_on[v];
    partition_stopping_flow(calls, stops, search->arriving, search->part);
    gboolean changed = FALSE;
    for (guint v = 0; v < calls->n; v++) {
      stops[v] = stops[v] && search->arriving[v] > 0;
      if (search->state[v] != PARTITION_OPEN || !stops[v])
        continue;
      double now = search->first[v] / search->arriving[v];
      changed |= fabs(now - slope[v]) > 1e-9 * now;
      slope[v] = now;
    }
    partition_search_try(search, stops);
    if (!changed || partition_search_late(search))
      break;
  }
}

/* Both bounds together: the better a choice is known, the more functions cost too much. */
static gboolean
relax(PartitionSearch *search, gboolean thorough)
{
  const PartitionCalls *calls = search->calls;
  guint n_arcs = calls->in_start[calls->n];
  Dual dual = {.search = search, .prices = {g_new0(double, n_arcs + 1), g_new0(double, calls->n + 1)}};
  new_shares(&dual.share, calls->n, n_arcs);
  new_shares(&dual.use, calls->n, n_arcs);
  g_autofree gboolean *stops = g_new0(gboolean, calls->n + 1);
  for (guint v = 0; v < calls->n; v++)
    dual.share.all[v] = search->state[v] == PARTITION_OPEN ? search->first[v] : 0;
  gboolean changed = FALSE;
  double before = search->cutoff;
  search->bound = search->paid;
  scale_slopes(search, thorough ? SLOPE_ROUNDS : CHEAP_ROUNDS);
  for (guint i = 0; i < (thorough ? DUAL_ROUNDS : 1) && search->bound < search->cutoff * (1 - ROUNDING);
       i++) {
    /* Steps get smaller, so that the shares come to rest. */
    changed |= ascend(&dual, 1 / (1 + 0.2 * i), stops);
    if (i % TRY_EACH == 0 && search->bound < search->cutoff)
      partition_search_try(search, stops);
    if (partition_search_late(search))
      break;
  }
  free_shares(&dual.share);
  free_shares(&dual.use);
  g_free(dual.prices.arc);
  g_free(dual.prices.entry);
  return changed || search->cutoff < before;
}

guint
partition_search_forced(const PartitionSearch *search)
{
  const PartitionCalls *calls = search->calls;
  for (guint i = 0; i < calls->n; i++) {
    guint v = calls->group_member[i];
    if (search->state[v] == PARTITION_OPEN && isinf(search->lower.going_on[v]))
      return v;
  }
  return calls->n;
}

gboolean
partition_search_settle(PartitionSearch *search, gboolean thorough)
{
  gboolean changed = TRUE;
  for (guint round = 0; changed && round < MOST_ROUNDS; round++) {
    search->rounds++;
    find_bounds(search);
    changed = FALSE;
    for (guint v = 0; v < search->calls->n; v++)
      changed |= settle_one(search, v);
    changed |= relax(search, thorough && partition_search_forced(search) == search->calls->n);
    if (search->bound >= search->cutoff * (1 - ROUNDING))
      return TRUE;
    if (partition_search_late(search))
      break;
  }
  return FALSE;
}

#include "partition/stopping.h"

#include <math.h>

#include "partition/elimination.h"

/* Below all that stop there may be none that cannot go on: whatever has such a callee has to stop, too.
 * Backwards from those, so that no cycle has to be solved to know it. */
static void
find_impossible(const PartitionCalls *calls, const double *stop, PartitionValues *values)
{
  g_autofree guint *queue = g_new(guint, calls->n + 1);
  guint head = 0, tail = 0;
  for (guint v = 0; v < calls->n; v++) {
    values->going_on[v] = isinf(calls->local[v]) ? INFINITY : 0;
    values->value[v] = stop[v];
    if (isinf(values->going_on[v]) && isinf(stop[v]))
      queue[tail++] = v;
  }
  for (; head < tail; head++)
    for (guint i = calls->in_start[queue[head]]; i < calls->in_start[queue[head] + 1]; i++) {
      guint caller = calls->in_function[i];
      if (isinf(values->going_on[caller]))
        continue;
      values->going_on[caller] = INFINITY;
      if (isinf(stop[caller]))
        queue[tail++] = caller;
    }
}

/* What a call costs, by its place in out_function. Within a group there are no prices, and going on is not
 * known yet. */
static double
call_value(const PartitionCalls *calls, const double *stop, const PartitionPrices *prices,
           const PartitionValues *values, guint i)
{
  guint callee = calls->out_function[i];
  double price = prices ? prices->arc[calls->out_in[i]] : 0;
  return price > 0 ? MIN(stop[callee] + price, values->going_on[callee]) : values->value[callee];
}

static double
executed(const PartitionCalls *calls, const double *stop, const PartitionPrices *prices,
         const PartitionValues *values, guint v)
{
  double sum = calls->local[v];
  for (guint i = calls->out_start[v]; i < calls->out_start[v + 1]; i++)
    sum += calls->out_calls[i] * call_value(calls, stop, prices, values, i);
  return sum / calls->arrivals[v];
}

/* The functions of a group of which `inside` holds (by their place in the group), their arcs to each other,
 * and what arrives from elsewhere. */
static PartitionElimination *
part_of_group(const PartitionCalls *calls, guint group, const gboolean *inside)
{
  guint first = calls->group_start[group], n = calls->group_start[group + 1] - first;
  PartitionElimination *graph = partition_elimination_new(n);
  for (guint i = 0; i < n; i++) {
    guint v = calls->group_member[first + i];
    if (!inside[i])
      continue;
    graph->outside[i] = calls->entries[v] + calls->lost[v];
    for (guint j = calls->in_start[v]; j < calls->in_start[v + 1]; j++) {
      guint caller = calls->in_function[j];
      guint place = calls->group_place[caller] - first;
      if (calls->group_of[caller] == group && inside[place])
        partition_elimination_arc(graph, place, i, calls->in_calls[j]);
      else
        graph->outside[i] += calls->in_calls[j];
    }
  }
  return graph;
}

/* What one arrival costs that goes on once, and stops wherever that leads to. */
static double
one_step(const PartitionElimination *graph, guint node, const double *value)
{
  double sum = graph->cost[node];
  for (guint i = 0; i < graph->out[node]->len; i++) {
    PartitionCall *call = &g_array_index(graph->out[node], PartitionCall, i);
    sum += call->calls * value[call->node];
  }
  return sum / partition_elimination_arrivals(graph, node);
}

/* Takes out all that are `possible` and rather go on; `value` is the cost of stopping. */
static void
settle(PartitionElimination *graph, const gboolean *possible, const double *value)
{
  g_autofree gboolean *marked = g_new0(gboolean, graph->n + 1);
  gboolean more = FALSE;
  for (guint i = 0; i < graph->n; i++)
    more |= marked[i] = possible[i] && isinf(value[i]);
  do {
    partition_elimination_run(graph, marked, 0);
    more = FALSE;
    for (guint i = 0; i < graph->n; i++)
      if (possible[i] && !graph->gone[i])
        more |= marked[i] = one_step(graph, i, value) < value[i];
  } while (more);
}

static void
values_of_group(const PartitionCalls *calls, const double *stop, const PartitionPrices *prices, guint group,
                PartitionValues *values)
{
  guint first = calls->group_start[group], n = calls->group_start[group + 1] - first;
  const guint *member = &calls->group_member[first];
  g_autofree gboolean *possible = g_new0(gboolean, n);
  g_autofree double *value = g_new0(double, n);
  for (guint i = 0; i < n; i++) {
    possible[i] = !isinf(values->going_on[member[i]]);
    value[i] = stop[member[i]];
  }
  g_autoptr(PartitionElimination) graph = part_of_group(calls, group, possible);
  for (guint i = 0; i < n; i++) {
    guint v = member[i];
    graph->cost[i] = calls->local[v];
    for (guint j = calls->out_start[v]; possible[i] && j < calls->out_start[v + 1]; j++) {
      guint w = calls->out_function[j];
      if (calls->group_of[w] != group || !possible[calls->group_place[w] - first])
        graph->cost[i] += calls->out_calls[j] * call_value(calls, stop, prices, values, j);
    }
  }

  settle(graph, possible, value);
  partition_elimination_values(graph, value);
  for (guint i = 0; i < n; i++)
    values->value[member[i]] = value[i];
  for (guint i = 0; i < n; i++)
    if (possible[i])
      values->going_on[member[i]] =
          graph->gone[i] ? value[i] : executed(calls, stop, prices, values, member[i]);
}

void
partition_stopping_values(const PartitionCalls *calls, const double *stop, const PartitionPrices *prices,
                          PartitionValues *values)
{
  find_impossible(calls, stop, values);
  for (guint group = 0; group < calls->n_groups; group++) {
    guint v = calls->group_member[calls->group_start[group]];
    if (calls->group_start[group + 1] - calls->group_start[group] > 1)
      values_of_group(calls, stop, prices, group, values);
    else if (!isinf(values->going_on[v]) && calls->arrivals[v] > 0) {
      values->going_on[v] = executed(calls, stop, prices, values, v);
      values->value[v] = MIN(stop[v], values->going_on[v]);
    }
  }
}

double
partition_stopping_cost(const PartitionCalls *calls, const double *stop, const PartitionPrices *prices,
                        const PartitionValues *values)
{
  double sum = 0;
  for (guint v = 0; v < calls->n; v++)
    if (calls->entries[v] > 0)
      sum += calls->entries[v] *
             (prices ? MIN(stop[v] + prices->entry[v], values->going_on[v]) : values->value[v]);
  return sum;
}

static double
arriving_at(const PartitionCalls *calls, guint v, const double *part)
{
  double sum = calls->entries[v];
  for (guint i = calls->in_start[v]; i < calls->in_start[v + 1]; i++)
    sum += calls->in_calls[i] * part[calls->in_function[i]];
  return sum;
}

static void
flow_of_group(const PartitionCalls *calls, const gboolean *stops, guint group, double *part)
{
  guint first = calls->group_start[group], n = calls->group_start[group + 1] - first;
  const guint *member = &calls->group_member[first];
  g_autofree gboolean *goes_on = g_new0(gboolean, n);
  g_autofree double *parts = g_new0(double, n);
  for (guint i = 0; i < n; i++) {
    goes_on[i] = !stops[member[i]];
    part[member[i]] = 0;
  }
  g_autoptr(PartitionElimination) graph = part_of_group(calls, group, goes_on);
  for (guint i = 0; i < n; i++)
    graph->entries[i] = goes_on[i] ? arriving_at(calls, member[i], part) : 0;
  partition_elimination_run(graph, goes_on, 0);
  partition_elimination_flow(graph, parts);
  for (guint i = 0; i < n; i++)
    part[member[i]] = parts[i];
}

void
partition_stopping_flow(const PartitionCalls *calls, const gboolean *stops, double *arriving, double *part)
{
  for (guint group = calls->n_groups; group > 0; group--) {
    guint first = calls->group_start[group - 1], end = calls->group_start[group];
    if (end - first > 1)
      flow_of_group(calls, stops, group - 1, part);
    for (guint i = first; i < end; i++) {
      guint v = calls->group_member[i];
      arriving[v] = arriving_at(calls, v, part);
      if (end - first == 1)
        part[v] = stops[v] || calls->arrivals[v] == 0 ? 0 : arriving[v] / calls->arrivals[v];
    }
  }
}

/* Of the arrivals at a function that is a group of its own. */
static double
going_on_at(const PartitionCalls *calls, const double *stop, const PartitionPrices *prices,
            const PartitionValues *values, guint v, const double *part)
{
  double worth = values->going_on[v] - stop[v];
  double sum = worth <= prices->entry[v] ? calls->entries[v] : 0;
  for (guint i = calls->in_start[v]; i < calls->in_start[v + 1]; i++)
    if (worth <= prices->arc[i])
      sum += calls->in_calls[i] * part[calls->in_function[i]];
  return sum;
}

void
partition_stopping_best_flow(const PartitionCalls *calls, const double *stop, const PartitionPrices *prices,
                             const PartitionValues *values, double *arriving, double *part)
{
  g_autofree gboolean *stops = g_new0(gboolean, calls->n + 1);
  for (guint v = 0; v < calls->n; v++)
    stops[v] = stop[v] < values->going_on[v];
  for (guint group = calls->n_groups; group > 0; group--) {
    guint first = calls->group_start[group - 1], end = calls->group_start[group];
    if (end - first > 1)
      flow_of_group(calls, stops, group - 1, part);
    for (guint i = first; i < end; i++) {
      guint v = calls->group_member[i];
      arriving[v] = arriving_at(calls, v, part);
      if (end - first == 1)
        part[v] = calls->arrivals[v] == 0
                      ? 0
                      : going_on_at(calls, stop, prices, values, v, part) / calls->arrivals[v];
    }
  }
}

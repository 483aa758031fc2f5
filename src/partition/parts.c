#include "partition/parts.h"

#include <math.h>

#include "partition/elimination.h"

/* Taking a settled function out may leave so many more arcs: a function less is worth some. */
#define MOST_MORE_ARCS 8

typedef struct {
  const PartitionSearch *search;
  guint n;
  guint *function; /* of a node */
  PartitionElimination *graph;
  guint *part; /* union-find: what hangs together */
} Reduction;

static gboolean
goes_on(const PartitionSearch *search, guint v)
{
  return search->state[v] != PARTITION_STOP && !isinf(search->lower.going_on[v]);
}

static void
find_nodes(Reduction *reduction, guint *node)
{
  const PartitionSearch *search = reduction->search;
  const PartitionCalls *calls = search->calls;
  reduction->function = g_new(guint, calls->n + 1);
  /* Callees first: leaves are taken out in one sweep. */
  for (guint i = 0; i < calls->n; i++) {
    guint v = calls->group_member[i];
    node[v] = G_MAXUINT;
    if (search->most[v] > 0 && !isinf(search->lower.value[v])) {
      node[v] = reduction->n;
      reduction->function[reduction->n++] = v;
    }
  }
}

static void
build_graph(Reduction *reduction)
{
  const PartitionSearch *search = reduction->search;
  const PartitionCalls *calls = search->calls;
  g_autofree guint *node = g_new(guint, calls->n + 1);
  find_nodes(reduction, node);
  reduction->graph = partition_elimination_new(reduction->n);
  for (guint i = 0; i < reduction->n; i++) {
    guint v = reduction->function[i];
    reduction->graph->entries[i] = calls->entries[v];
    reduction->graph->outside[i] = calls->entries[v] + calls->lost[v];
    reduction->graph->cost[i] = calls->local[v];
    for (guint j = calls->in_start[v]; j < calls->in_start[v + 1]; j++) {
      guint caller = calls->in_function[j];
      if (node[caller] != G_MAXUINT && goes_on(search, caller))
        partition_elimination_arc(reduction->graph, node[caller], i, calls->in_calls[j]);
      else
        reduction->graph->outside[i] += calls->in_calls[j];
    }
    /* A function that stops for certain costs its blocks, and calls nobody. */
    if (search->state[v] == PARTITION_STOP)
      reduction->graph->cost[i] = search->block[v] * calls->arrivals[v];
  }
}

static void
shrink(Reduction *reduction)
{
  const PartitionSearch *search = reduction->search;
  g_autofree gboolean *settled = g_new0(gboolean, reduction->n + 1);
  for (guint i = 0; i < reduction->n; i++) {
    PartitionState state = search->state[reduction->function[i]];
    settled[i] = state == PARTITION_STOP || state == PARTITION_OUT;
  }
  partition_elimination_run(reduction->graph, settled, MOST_MORE_ARCS);
}

static guint
part_of(Reduction *reduction, guint node)
{
  while (reduction->part[node] != node)
    node = reduction->part[node] = reduction->part[reduction->part[node]];
  return node;
}

static void
find_parts(Reduction *reduction)
{
  reduction->part = g_new(guint, reduction->n + 1);
  for (guint i = 0; i < reduction->n; i++)
    reduction->part[i] = i;
  for (guint i = 0; i < reduction->n; i++)
    for (guint j = 0; !reduction->graph->gone[i] && j < reduction->graph->out[i]->len; j++) {
      guint callee = g_array_index(reduction->graph->out[i], PartitionCall, j).node;
      reduction->part[part_of(reduction, i)] = part_of(reduction, callee);
    }
}

static PartitionSearch *
search_of(Reduction *reduction, const GArray *nodes, guint *place)
{
  const PartitionSearch *search = reduction->search;
  const PartitionElimination *graph = reduction->graph;
  GArray *arcs = g_array_new(FALSE, FALSE, sizeof(PartitionArc));
  for (guint i = 0; i < nodes->len; i++)
    place[g_array_index(nodes, guint, i)] = i;
  for (guint i = 0; i < nodes->len; i++) {
    const GArray *out = graph->out[g_array_index(nodes, guint, i)];
    for (guint j = 0; j < out->len; j++) {
      PartitionCall *call = &g_array_index(out, PartitionCall, j);
      PartitionArc arc = {i, place[call->node], call->calls};
      g_array_append_val(arcs, arc);
    }
  }
  PartitionCalls *calls = partition_calls_new_of(nodes->len, arcs);
  PartitionSearch *part = partition_search_new(calls, INFINITY);
  part->deadline = search->deadline;
  part->function = g_new(guint, nodes->len + 1);
  for (guint i = 0; i < nodes->len; i++) {
    guint node = g_array_index(nodes, guint, i), v = reduction->function[node];
    calls->entries[i] = graph->entries[node];
    calls->lost[i] = MAX(graph->outside[node] - graph->entries[node], 0);
    calls->local[i] = goes_on(search, v) ? graph->cost[node] : INFINITY;
    part->function[i] = v;
    part->state[i] = search->state[v];
    part->block[i] = search->block[v];
    part->first[i] = search->first[v];
  }
  partition_calls_complete(calls);
  return part;
}

static int
by_part(gconstpointer a, gconstpointer b, gpointer data)
{
  Reduction *reduction = data;
  guint first = *(const guint *)a, second = *(const guint *)b;
  guint first_part = part_of(reduction, first), second_part = part_of(reduction, second);
  if (first_part != second_part)
    return first_part < second_part ? -1 : 1;
  return first < second ? -1 : first > second;
}

/* The nodes that are left, those of one part together. Parts without an open function are known. */
static GArray *
left_by_part(Reduction *reduction)
{
  g_autofree gboolean *open = g_new0(gboolean, reduction->n + 1);
  for (guint i = 0; i < reduction->n; i++) {
    PartitionState state = reduction->search->state[reduction->function[i]];
    if (!reduction->graph->gone[i] && (state == PARTITION_OPEN || state == PARTITION_PAID))
      open[part_of(reduction, i)] = TRUE;
  }
  GArray *left = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint i = 0; i < reduction->n; i++)
    if (!reduction->graph->gone[i] && open[part_of(reduction, i)])
      g_array_append_val(left, i);
  g_array_sort_with_data(left, by_part, reduction);
  return left;
}

GPtrArray *
partition_parts_of(const PartitionSearch *search)
{
  Reduction reduction = {.search = search};
  build_graph(&reduction);
  shrink(&reduction);
  find_parts(&reduction);
  GPtrArray *parts = g_ptr_array_new_with_free_func((GDestroyNotify)partition_search_free);
  g_autoptr(GArray) left = left_by_part(&reduction);
  g_autofree guint *place = g_new(guint, reduction.n + 1);
  for (guint i = 0; i < left->len;) {
    guint part = part_of(&reduction, g_array_index(left, guint, i));
    g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(guint));
    for (; i < left->len && part_of(&reduction, g_array_index(left, guint, i)) == part; i++)
      g_array_append_val(nodes, g_array_index(left, guint, i));
    g_ptr_array_add(parts, search_of(&reduction, nodes, place));
  }
  partition_elimination_free(reduction.graph);
  g_free(reduction.function);
  g_free(reduction.part);
  return parts;
}

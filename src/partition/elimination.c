#include "partition/elimination.h"

#define CALL(array, i)   g_array_index(array, PartitionCall, i)
#define CALLER(array, i) g_array_index(array, guint, i)

PartitionElimination *
partition_elimination_new(guint n)
{
  PartitionElimination *graph = g_new0(PartitionElimination, 1);
  graph->n = n;
  graph->out = g_new(GArray *, n + 1);
  graph->in = g_new(GArray *, n + 1);
  graph->from = g_new0(GArray *, n + 1);
  graph->place = g_new(guint, n + 1);
  for (guint v = 0; v < n; v++) {
    graph->out[v] = g_array_new(FALSE, FALSE, sizeof(PartitionCall));
    graph->in[v] = g_array_new(FALSE, FALSE, sizeof(guint));
    graph->place[v] = G_MAXUINT;
  }
  graph->outside = g_new0(double, n + 1);
  graph->entries = g_new0(double, n + 1);
  graph->cost = g_new0(double, n + 1);
  graph->divisor = g_new0(double, n + 1);
  graph->gone = g_new0(gboolean, n + 1);
  graph->order = g_array_new(FALSE, FALSE, sizeof(guint));
  return graph;
}

void
partition_elimination_arc(PartitionElimination *graph, guint caller, guint callee, double calls)
{
  PartitionCall call = {callee, calls};
  g_array_append_val(graph->out[caller], call);
  g_array_append_val(graph->in[callee], caller);
}

static double
calls_of(const PartitionElimination *graph, guint caller, guint callee)
{
  const GArray *out = graph->out[caller];
  for (guint i = 0; i < out->len; i++)
    if (CALL(out, i).node == callee)
      return CALL(out, i).calls;
  return 0;
}

double
partition_elimination_arrivals(const PartitionElimination *graph, guint node)
{
  double sum = graph->outside[node];
  for (guint i = 0; i < graph->in[node]->len; i++)
    sum += calls_of(graph, CALLER(graph->in[node], i), node);
  return sum;
}

/* `caller` calls what `node` called instead of it. What it then calls itself is left out: it is no arrival.
 */
static void
take_over(PartitionElimination *graph, guint caller, guint node, double calls)
{
  GArray *out = graph->out[caller], *below = graph->out[node];
  double part = calls / graph->divisor[node];
  for (guint i = 0; i < out->len; i++)
    graph->place[CALL(out, i).node] = i;
  for (guint i = 0; i < below->len; i++) {
    guint callee = CALL(below, i).node;
    double more = CALL(below, i).calls * part;
    if (callee == caller || more == 0)
      continue;
    if (graph->place[callee] != G_MAXUINT) {
      CALL(out, graph->place[callee]).calls += more;
    } else {
      graph->place[callee] = out->len;
      partition_elimination_arc(graph, caller, callee, more);
    }
  }
  guint place = graph->place[node];
  for (guint i = 0; i < out->len; i++)
    graph->place[CALL(out, i).node] = G_MAXUINT;
  g_array_remove_index_fast(out, place);
  graph->cost[caller] += graph->cost[node] * part;
}

/* What comes from outside goes on to those below. */
static void
pass_on(PartitionElimination *graph, guint node)
{
  GArray *below = graph->out[node];
  double outside = graph->outside[node] / graph->divisor[node];
  double entries = graph->entries[node] / graph->divisor[node];
  for (guint i = 0; i < below->len; i++) {
    guint callee = CALL(below, i).node;
    graph->outside[callee] += CALL(below, i).calls * outside;
    graph->entries[callee] += CALL(below, i).calls * entries;
    for (guint j = 0; j < graph->in[callee]->len; j++)
      if (CALLER(graph->in[callee], j) == node) {
        g_array_remove_index_fast(graph->in[callee], j);
        break;
      }
  }
}

static void
eliminate(PartitionElimination *graph, guint node)
{
  const GArray *callers = graph->in[node];
  GArray *from = graph->from[node] = g_array_sized_new(FALSE, FALSE, sizeof(PartitionCall), callers->len);
  graph->divisor[node] = graph->outside[node];
  for (guint i = 0; i < callers->len; i++) {
    PartitionCall call = {CALLER(callers, i), calls_of(graph, CALLER(callers, i), node)};
    g_array_append_val(from, call);
    graph->divisor[node] += call.calls;
  }
  for (guint i = 0; i < from->len; i++)
    take_over(graph, CALL(from, i).node, node, CALL(from, i).calls);
  pass_on(graph, node);
  graph->gone[node] = TRUE;
  g_array_append_val(graph->order, node);
}

/* Arcs that may come, less those that go. */
static gint64
growth(const PartitionElimination *graph, guint node)
{
  gint64 in = graph->in[node]->len, out = graph->out[node]->len;
  return in * out - in - out;
}

void
partition_elimination_run(PartitionElimination *graph, const gboolean *marked, guint most)
{
  /* Nearly the cheapest first: a bound that rises, instead of a queue that each new arc would have to be told
   * to. */
  gint64 last = most ? (gint64)most : G_MAXINT64, bound = 0;
  for (;;) {
    gboolean went = FALSE, left = FALSE;
    for (guint v = 0; v < graph->n; v++) {
      if (!marked[v] || graph->gone[v])
        continue;
      if (growth(graph, v) <= bound) {
        eliminate(graph, v);
        went = TRUE;
      } else {
        left = TRUE;
      }
    }
    if (!left || (!went && bound == last))
      return;
    if (!went)
      bound = bound < last / 2 ? 2 * bound + 1 : last;
  }
}

void
partition_elimination_values(const PartitionElimination *graph, double *value)
{
  for (guint i = graph->order->len; i > 0; i--) {
    guint v = g_array_index(graph->order, guint, i - 1);
    double sum = graph->cost[v];
    for (guint j = 0; j < graph->out[v]->len; j++)
      sum += CALL(graph->out[v], j).calls * value[CALL(graph->out[v], j).node];
    value[v] = sum / graph->divisor[v];
  }
}

void
partition_elimination_flow(const PartitionElimination *graph, double *part)
{
  for (guint i = graph->order->len; i > 0; i--) {
    guint v = g_array_index(graph->order, guint, i - 1);
    double sum = graph->entries[v];
    for (guint j = 0; j < graph->from[v]->len; j++)
      sum += CALL(graph->from[v], j).calls * part[CALL(graph->from[v], j).node];
    part[v] = sum / graph->divisor[v];
  }
}

void
partition_elimination_free(PartitionElimination *graph)
{
  for (guint v = 0; v < graph->n; v++) {
    g_array_unref(graph->out[v]);
    g_array_unref(graph->in[v]);
    if (graph->from[v])
      g_array_unref(graph->from[v]);
  }
  g_free(graph->out);
  g_free(graph->in);
  g_free(graph->from);
  g_free(graph->outside);
  g_free(graph->entries);
  g_free(graph->cost);
  g_free(graph->divisor);
  g_free(graph->gone);
  g_free(graph->place);
  g_array_unref(graph->order);
  g_free(graph);
}

/* The call tree of doppel plan. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/plan.h"

#define LEAST_SHARE 0.01 /* of all instructions: calls below that are left out */
#define DEPTH_MOST  100

typedef struct {
  const PlanShown *shown;
  double total;            /* instructions */
  guint *start;            /* of each caller's arcs in `arcs` */
  const ProfileArc **arcs; /* by caller, the most expensive first */
  gboolean *printed;       /* each function's callees are printed once */
  guint left_out;
} Tree;

static const PlanShare *
share_of(const Plan *plan, guint function)
{
  return &g_array_index(plan->shares, PlanShare, function);
}

/* By how many of the plans it is off-loaded. */
static guint
count_chosen(const Tree *tree, guint function)
{
  guint count = 0;
  for (guint i = 0; i < tree->shown->plans->len; i++)
    count += share_of(tree->shown->plans->pdata[i], function)->chosen;
  return count;
}

static int
compare_arcs(const void *a, const void *b)
{
  const ProfileArc *left = *(const ProfileArc *const *)a, *right = *(const ProfileArc *const *)b;
  if (left->caller != right->caller)
    return left->caller < right->caller ? -1 : 1;
  if (left->cost != right->cost)
    return left->cost > right->cost ? -1 : 1;
  return (left->callee > right->callee) - (left->callee < right->callee);
}

static void
index_arcs(Tree *tree)
{
  const GArray *arcs = tree->shown->graph->arcs;
  guint n = tree->shown->graph->functions->len;
  tree->arcs = g_new(const ProfileArc *, arcs->len + 1);
  tree->start = g_new0(guint, n + 1);
  for (guint i = 0; i < arcs->len; i++) {
    tree->arcs[i] = &g_array_index(arcs, ProfileArc, i);
    tree->start[tree->arcs[i]->caller + 1]++;
  }
  for (guint v = 0; v < n; v++)
    tree->start[v + 1] += tree->start[v];
  qsort(tree->arcs, arcs->len, sizeof *tree->arcs, compare_arcs);
}

/* "=> the clone over lan, wifi", of what begins blocks. */
static void
print_cut(const Tree *tree, guint function)
{
  const GPtrArray *plans = tree->shown->plans;
  guint chosen = count_chosen(tree, function), told = 0;
  if (chosen == 0)
    return;
  fputs(" => the clone", stdout);
  for (guint i = 0; i < plans->len && chosen < plans->len; i++) {
    const Plan *plan = plans->pdata[i];
    if (share_of(plan, function)->chosen)
      printf("%s%s", told++ ? ", " : " over ", plan->condition);
  }
}

static void
print_line(const Tree *tree, guint function, double cost, guint64 calls, guint depth, gboolean again)
{
  const ProfileFunction *place = profile_graph_function(tree->shown->graph, function);
  g_autofree char *name =
      plan_cmd_name(place->name, tree->shown->graph->objects->pdata[place->object], place->offset);
  double runs = MAX(tree->shown->graph->runs, 1);
  printf("%6.1f %% %11.*f  %*s%s", 100 * cost / tree->total, calls % MAX(tree->shown->graph->runs, 1) ? 1 : 0,
         (double)calls / runs, 2 * (int)depth, "", name);
  print_cut(tree, function);
  puts(again ? " (see above)" : "");
}

static void
print_function(Tree *tree, guint function, double cost, guint64 calls, guint depth)
{
  gboolean leaf = tree->start[function] == tree->start[function + 1];
  gboolean again = tree->printed[function] && !leaf;
  print_line(tree, function, cost, calls, depth, again);
  /* What a block covers runs in the clone, chosen or not. */
  gboolean covered = count_chosen(tree, function) == tree->shown->plans->len && !tree->shown->all;
  if (again || covered || depth >= DEPTH_MOST)
    return;
  tree->printed[function] = TRUE;
  for (guint i = tree->start[function]; i < tree->start[function + 1]; i++) {
    const ProfileArc *arc = tree->arcs[i];
    gboolean matters = (double)arc->cost >= LEAST_SHARE * tree->total || count_chosen(tree, arc->callee) > 0;
    if (arc->callee == function || arc->calls == arc->nested)
      continue;
    if (matters || tree->shown->all)
      print_function(tree, arc->callee, (double)arc->cost, arc->calls, depth + 1);
    else
      tree->left_out++;
  }
}

/* Where the program and its threads begin: what has calls from no function. */
static GArray *
find_roots(const ProfileGraph *graph)
{
  GArray *roots = g_array_new(FALSE, FALSE, sizeof(guint));
  g_autofree guint64 *told = g_new0(guint64, graph->functions->len + 1);
  for (guint i = 0; i < graph->arcs->len; i++) {
    const ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
    told[arc->callee] = profile_sum(told[arc->callee], arc->calls);
  }
  for (guint v = 0; v < graph->functions->len; v++)
    if (profile_graph_function(graph, v)->calls > told[v])
      g_array_append_val(roots, v);
  return roots;
}

static int
compare_roots(gconstpointer a, gconstpointer b, gpointer graph)
{
  guint64 left = profile_graph_function(graph, *(const guint *)a)->inclusive;
  guint64 right = profile_graph_function(graph, *(const guint *)b)->inclusive;
  return (left < right) - (left > right);
}

void
plan_cmd_tree(const PlanShown *shown)
{
  Tree tree = {.shown = shown, .total = (double)MAX(profile_graph_total(shown->graph), 1)};
  g_autoptr(GArray) roots = find_roots(shown->graph);
  index_arcs(&tree);
  tree.printed = g_new0(gboolean, shown->graph->functions->len + 1);
  g_array_sort_with_data(roots, compare_roots, (gpointer)shown->graph);
  printf("%8s %11s  %s\n", "COST", "CALLS", "FUNCTION");
  for (guint i = 0; i < roots->len; i++) {
    guint root = g_array_index(roots, guint, i);
    const ProfileFunction *function = profile_graph_function(shown->graph, root);
    if (shown->all || (double)function->inclusive >= LEAST_SHARE * tree.total || count_chosen(&tree, root))
      print_function(&tree, root, (double)function->inclusive, function->calls, 0);
    else
      tree.left_out++;
  }
  if (tree.left_out > 0)
    printf("Left out: %u that cost less than %.0f %% each. --all shows them.\n", tree.left_out,
           LEAST_SHARE * 100);
  g_free(tree.start);
  g_free(tree.arcs);
  g_free(tree.printed);
}

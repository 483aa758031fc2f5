#include "plan/plan.h"

#include <math.h>

#include "base/error.h"
#include "partition/partition.h"
#include "plan/estimate.h"

#define SOLVE_S 2.0  /* for each of the conditions */
#define SPARE_S 0.5  /* for what would be chosen without what is */
enum { SPARES = 2 }; /* so often */

void
plan_function_free(PlanFunction *function)
{
  if (!function)
    return;
  profile_object_free(function->object);
  g_free(function->name);
  g_free(function);
}

void
plan_free(Plan *plan)
{
  if (!plan)
    return;
  g_free(plan->condition);
  g_free(plan->model);
  g_ptr_array_unref(plan->functions);
  g_clear_pointer(&plan->shares, g_array_unref);
  g_free(plan);
}

char *
plan_function_text(const ProfileObject *object, guint64 offset)
{
  return g_strdup_printf("%s+0x%" G_GINT64_MODIFIER "x", object->path, offset);
}

/* ---- costs ---- */

/* One link's plan in the making. */
typedef struct {
  const PlanInput *input;
  const PlanBlock *blocks;
  const PolicyConditions *conditions;
  PolicyAim energy; /* the aim, were it energy */
  double runs;
  double total_s;                     /* of a run on the device */
  double second_price, second_joules; /* of the device at work */
  guint8 *candidates;                 /* of all conditions, by function */
  Plan *plan;
} Making;

static double
price(const Making *making, const PolicyCost *cost, double pause_s)
{
  return policy_price(&making->input->aim, making->conditions, cost, pause_s);
}

static PlanCost
with_joules(const Making *making, const PolicyCost *cost, double pause_s)
{
  return (PlanCost){*cost, policy_price(&making->energy, making->conditions, cost, pause_s)};
}

static void
add_cost(PlanCost *sum, const PlanCost *cost, double times)
{
  sum->cost.seconds += cost->cost.seconds * times;
  sum->cost.processor_s += cost->cost.processor_s * times;
  sum->cost.up += cost->cost.up * times;
  sum->cost.down += cost->cost.down * times;
  sum->cost.round_trips += cost->cost.round_trips * times;
  sum->cost.clone_s += cost->cost.clone_s * times;
  sum->joules += cost->joules * times;
}

/* So many instructions on the device. */
static PlanCost
here(const Making *making, double instructions)
{
  double seconds = instructions * making->input->speeds.device.ns / 1e9;
  return (PlanCost){{.seconds = seconds, .processor_s = seconds}, seconds * making->second_joules};
}

/* Work here costs by the second: asked for each, a billionth of one would drown in rounding. */
static double
price_here(const Making *making, const PlanCost *cost)
{
  return cost->cost.seconds * making->second_price;
}

static PolicyCost
there(const Making *making, const PlanMoves *moves, double instructions)
{
  PolicyCost cost = {.processor_s = moves->device_s, .up = moves->up, .down = moves->down};
  cost.round_trips = moves->round_trips;
  cost.clone_s = moves->clone_s + instructions * making->input->speeds.clone.ns / 1e9;
  cost.seconds = cost.processor_s + cost.clone_s +
                 policy_conditions_seconds(making->conditions, cost.round_trips, moves->up, moves->down);
  return cost;
}

static PlanMoves
both(const PlanMoves *a, const PlanMoves *b)
{
  return (PlanMoves){a->up + b->up, a->down + b->down, a->round_trips + b->round_trips,
                     a->device_s + b->device_s, a->clone_s + b->clone_s};
}

/* How long the radio rests between blocks of a function, with all else on the device. */
static double
pause_of(const Making *making, double calls, double local_s)
{
  return calls > 1 ? MAX(0, making->total_s / calls - local_s) : INFINITY;
}

/* Fills in the costs of a function, and what the problem has of it. */
static void
cost_function(const Making *making, guint index, PlanShare *share, PartitionFunction *to)
{
  const ProfileFunction *function = profile_graph_function(making->input->graph, index);
  const PlanBlock *block = &making->blocks[index];
  double outermost = (double)(function->calls - MIN(function->calls, function->nested)) / making->runs;
  share->observed = block->observed;
  share->barred = block->barred;
  share->no_local = block->no_local;
  share->calls = (double)function->calls / making->runs;
  share->local = here(making, block->instructions);
  double pause_s = pause_of(making, outermost, share->local.cost.seconds);
  PolicyCost later = there(making, &block->later, block->instructions);
  PlanMoves first_moves = both(&block->later, &block->first);
  PolicyCost first = there(making, &first_moves, block->instructions);
  /* What a block that fails took is lost, and the call is run here after it. */
  double failing = block->failures / (1 + block->failures);
  share->block = with_joules(making, &later, pause_s);
  double block_price = price(making, &later, pause_s);
  double first_price = MAX(0, price(making, &first, INFINITY) - block_price);
  share->first = with_joules(making, &first, INFINITY);
  add_cost(&share->first, &share->block, -1);
  share->first.joules = MAX(0, share->first.joules);
  add_cost(&share->block, &share->local, failing);
  block_price += failing * price_here(making, &share->local);
  PlanCost own = here(making, function->calls > 0 ? (double)function->self / (double)function->calls : 0);
  to->local_cost = price_here(making, &own);
  to->block_cost = block_price;
  to->first_cost = first_price;
  to->no_block = share->barred != NULL;
  to->no_local = share->no_local;
}

/* ---- the problem ---- */

/* The solver takes 0 and what is neither too small nor too large to be counted with. */
static double
tame(double number)
{
  return number >= PARTITION_LEAST ? MIN(number, PARTITION_MOST) : 0;
}

static void
tame_function(PartitionFunction *function)
{
  if (!isfinite(function->block_cost) || !isfinite(function->first_cost))
    function->no_block = TRUE;
  function->entries = tame(function->entries);
  function->local_cost = tame(function->local_cost);
  function->block_cost = tame(function->block_cost);
  function->first_cost = tame(function->first_cost);
}

/* Who calls whom, of those that do. */
typedef struct {
  guint n;
  guint *start, *callees; /* of v: [start[v], start[v + 1]) */
} Callees;

static void
callees_clear(Callees *callees)
{
  g_free(callees->start);
  g_free(callees->callees);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Callees, callees_clear)

static Callees
callees_of(const ProfileGraph *graph)
{
  Callees to = {graph->functions->len, g_new0(guint, graph->functions->len + 2),
                g_new(guint, graph->arcs->len + 1)};
  /* Shifted by one, so that filling moves each start to where it belongs. */
  for (guint i = 0; i < graph->arcs->len; i++) {
    const ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
    to.start[arc->caller + 2] += arc->calls > 0;
  }
  for (guint v = 2; v < to.n + 2; v++)
    to.start[v] += to.start[v - 1];
  for (guint i = 0; i < graph->arcs->len; i++) {
    const ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
    if (arc->calls > 0)
      to.callees[to.start[arc->caller + 1]++] = arc->callee;
  }
  return to;
}

/* Marks all that calls lead to from there. */
static void
reach(const Callees *callees, guint root, guint8 *reached)
{
  g_autoptr(GArray) open = g_array_new(FALSE, FALSE, sizeof(guint));
  reached[root] = TRUE;
  g_array_append_val(open, root);
  while (open->len > 0) {
    guint v = g_array_index(open, guint, open->len - 1);
    g_array_set_size(open, open->len - 1);
    for (guint i = callees->start[v]; i < callees->start[v + 1]; i++)
      if (!reached[callees->callees[i]]) {
        reached[callees->callees[i]] = TRUE;
        g_array_append_val(open, callees->callees[i]);
      }
  }
}

/* Calls from no function of the graph. What nothing leads to was entered all the same, where the counts of a
 * damaged profile say otherwise. */
static void
find_entries(const Making *making, PartitionFunction *functions)
{
  const ProfileGraph *graph = making->input->graph;
  g_auto(Callees) callees = callees_of(graph);
  g_autofree guint64 *told = g_new0(guint64, callees.n + 1);
  g_autofree guint8 *reached = g_new0(guint8, callees.n + 1);
  for (guint i = 0; i < graph->arcs->len; i++) {
    const ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
    told[arc->callee] = profile_sum(told[arc->callee], arc->calls);
  }
  for (guint v = 0; v < callees.n; v++) {
    guint64 calls = profile_graph_function(graph, v)->calls;
    functions[v].entries = calls > told[v] ? (double)(calls - told[v]) / making->runs : 0;
    if (functions[v].entries > 0 && !reached[v])
      reach(&callees, v, reached);
  }
  for (guint v = 0; v < callees.n; v++)
    if (!reached[v]) {
      functions[v].entries = 1 / making->runs;
      reach(&callees, v, reached);
    }
}

static PartitionArc *
arcs_of(const Making *making)
{
  const GArray *from = making->input->graph->arcs;
  PartitionArc *arcs = g_new(PartitionArc, from->len + 1);
  for (guint i = 0; i < from->len; i++) {
    const ProfileArc *arc = &g_array_index(from, ProfileArc, i);
    arcs[i] = (PartitionArc){arc->caller, arc->callee, tame((double)arc->calls / making->runs)};
  }
  return arcs;
}

/* ---- and back ---- */

static PlanShare *
share_at(const Plan *plan, guint index)
{
  return &g_array_index(plan->shares, PlanShare, index);
}

static void
take_partition(const Making *making, const Partition *partition, const PlanCost *session)
{
  Plan *plan = making->plan;
  const ProfileGraph *graph = making->input->graph;
  PlanCost elsewhere = here(making, (double)graph->elsewhere / making->runs);
  double rest = price_here(making, &elsewhere);
  gboolean any = FALSE;
  plan->proven = !partition->cut;
  plan->possible = isfinite(partition->local_cost);
  plan->alone_value = partition->local_cost + rest;
  plan->planned_value = partition->cost + rest;
  plan->alone = here(making, (double)profile_graph_total(graph) / making->runs);
  plan->planned = elsewhere;
  for (guint v = 0; v < partition->n_shares; v++) {
    const PartitionShare *found = &partition->shares[v];
    const ProfileFunction *function = profile_graph_function(graph, v);
    PlanShare *share = share_at(plan, v);
    share->chosen = found->chosen;
    share->executions = found->executions;
    share->blocks = found->blocks;
    PlanCost own = here(making, function->calls > 0 ? (double)function->self / (double)function->calls : 0);
    add_cost(&plan->planned, &own, found->executions);
    if (found->chosen) {
      add_cost(&plan->planned, &share->block, found->blocks);
      add_cost(&plan->planned, &share->first, 1);
      any = TRUE;
    }
  }
  if (any)
    add_cost(&plan->planned, session, 1);
}

static gboolean
explain_failure(const PlanInput *input, const Plan *plan, GError *why, GError **error)
{
  if (!g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED)) {
    g_propagate_prefixed_error(error, why, "the profile makes no sense: ");
    return FALSE;
  }
  for (guint v = 0; v < plan->shares->len; v++) {
    const ProfileFunction *function = profile_graph_function(input->graph, v);
    const ProfileObject *object = input->graph->objects->pdata[function->object];
    if (!share_at(plan, v)->no_local || !share_at(plan, v)->barred)
      continue;
    g_autofree char *text = plan_function_text(object, function->offset);
    doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "this device has too little memory for %s (%s), which cannot run in the clone either: %s",
        function->name ? function->name : "a function", text, share_at(plan, v)->barred);
    g_error_free(why);
    return FALSE;
  }
  g_propagate_error(error, why);
  return FALSE;
}

static void
note_candidates(const Making *making, const Partition *partition, PartitionFunction *functions)
{
  for (guint v = 0; v < partition->n_shares; v++)
    if (partition->shares[v].chosen) {
      making->candidates[v] = TRUE;
      functions[v].no_block = TRUE;
    }
}

/* What is chosen is expected to go well, and may not: what would be best without it is a candidate, too. */
static void
find_spares(const Making *making, const PartitionProblem *problem, PartitionFunction *functions)
{
  for (guint i = 0; i < SPARES; i++) {
    g_autoptr(Partition) partition = partition_solve(problem, SPARE_S, NULL);
    if (!partition)
      return;
    note_candidates(making, partition, functions);
  }
}

static gboolean
is_energy_known(const Making *making)
{
  const EnergyBurst burst = {0, 1, 1, 1};
  EnergyWork work = {.seconds = 1, .radio = making->conditions->radio, .bursts = &burst, .burst_count = 1};
  EnergyEstimate estimate = energy_estimate(making->input->aim.energy, &work);
  return estimate.waiting_known && estimate.radio_known;
}

static Plan *
new_plan(const PlanInput *input, const PolicyProfile *profile)
{
  Plan *plan = g_new0(Plan, 1);
  plan->objective = input->aim.objective;
  plan->condition = g_strdup(profile->name);
  plan->model = g_strdup(input->aim.energy->name);
  plan->speeds = input->speeds;
  plan->runs = input->graph->runs;
  plan->functions = g_ptr_array_new_with_free_func((GDestroyNotify)plan_function_free);
  plan->shares = g_array_new(FALSE, TRUE, sizeof(PlanShare));
  g_array_set_size(plan->shares, input->graph->functions->len);
  return plan;
}

static Plan *
make_one(const PlanInput *input, const PlanBlock *blocks, const PolicyProfile *profile, guint8 *candidates,
         GError **error)
{
  guint n = input->graph->functions->len;
  g_autoptr(Plan) plan = new_plan(input, profile);
  g_autoptr(GError) why = NULL;
  Making making = {.input = input,
                   .blocks = blocks,
                   .conditions = &profile->conditions,
                   .candidates = candidates,
                   .plan = plan};
  making.energy = input->aim;
  making.energy.objective = POLICY_ENERGY;
  making.runs = MAX(input->graph->runs, 1);
  const PolicyCost second = {.seconds = 1, .processor_s = 1};
  making.second_price = price(&making, &second, 0);
  making.second_joules = with_joules(&making, &second, 0).joules;
  making.total_s = profile_graph_total(input->graph) / making.runs * input->speeds.device.ns / 1e9;
  plan->energy_known = is_energy_known(&making);
  g_autofree PartitionFunction *functions = g_new0(PartitionFunction, n + 1);
  find_entries(&making, functions);
  for (guint v = 0; v < n; v++) {
    cost_function(&making, v, share_at(plan, v), &functions[v]);
    tame_function(&functions[v]);
  }
  PlanMoves start = plan_session(&input->speeds);
  PolicyCost session_cost = there(&making, &start, 0);
  PlanCost session = with_joules(&making, &session_cost, 0);
  g_autofree PartitionArc *arcs = arcs_of(&making);
  PartitionProblem problem = {functions, n, arcs, input->graph->arcs->len,
                              tame(price(&making, &session_cost, 0))};
  g_autoptr(Partition) partition = partition_solve(&problem, SOLVE_S, &why);
  if (!partition) {
    explain_failure(input, plan, g_steal_pointer(&why), error);
    return NULL;
  }
  take_partition(&making, partition, &session);
  note_candidates(&making, partition, functions);
  find_spares(&making, &problem, functions);
  return g_steal_pointer(&plan);
}

/* ---- all of them ---- */

void
plan_links(PolicyProfile links[POLICY_PROFILES])
{
  for (guint i = 0; i < POLICY_PROFILES; i++) {
    links[i] = policy_profiles[i];
    EnergyRadioKind radio = links[i].conditions.radio;
    links[i].conditions.metered = radio == ENERGY_RADIO_LTE || radio == ENERGY_RADIO_3G;
  }
}

static void
add_candidate(Plan *plan, const ProfileGraph *graph, guint index)
{
  const ProfileFunction *place = profile_graph_function(graph, index);
  PlanFunction *function = g_new0(PlanFunction, 1);
  function->object = profile_object_copy(graph->objects->pdata[place->object]);
  function->offset = place->offset;
  function->name = g_strdup(place->name);
  function->share = *share_at(plan, index);
  g_ptr_array_add(plan->functions, function);
}

/* What takes most of a run first, for who can watch a few only. */
static int
compare_candidates(gconstpointer a, gconstpointer b)
{
  const PlanShare *left = &(*(const PlanFunction *const *)a)->share;
  const PlanShare *right = &(*(const PlanFunction *const *)b)->share;
  double one = left->calls * left->local.cost.seconds, other = right->calls * right->local.cost.seconds;
  return (one < other) - (one > other);
}

static void
name_candidates(const GPtrArray *plans, const ProfileGraph *graph, const guint8 *candidates)
{
  for (guint v = 0; v < graph->functions->len; v++)
    for (guint i = 0; candidates[v] && i < plans->len; i++)
      add_candidate(plans->pdata[i], graph, v);
  for (guint i = 0; i < plans->len; i++)
    g_ptr_array_sort(((const Plan *)plans->pdata[i])->functions, compare_candidates);
}

GPtrArray *
plan_make(const PlanInput *input, const PolicyProfile *profiles, guint count, GError **error)
{
  g_autofree PlanBlock *blocks = plan_estimate(input->graph, input->observed, &input->speeds);
  g_autofree guint8 *candidates = g_new0(guint8, input->graph->functions->len + 1);
  g_autoptr(GPtrArray) plans = g_ptr_array_new_with_free_func((GDestroyNotify)plan_free);
  for (guint i = 0; i < count; i++) {
    Plan *plan = make_one(input, blocks, &profiles[i], candidates, error);
    if (!plan)
      return NULL;
    g_ptr_array_add(plans, plan);
  }
  name_candidates(plans, input->graph, candidates);
  return g_steal_pointer(&plans);
}

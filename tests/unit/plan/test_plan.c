/* Plans: from a profile, what was observed, speeds and a link to what is off-loaded and what that costs. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "rig.h"

/* Blocks of work; main's were tried, and failed: else all of main in one block would be cheaper than ten. */
static ProfileObserved *
observed_work(void)
{
  ProfileObserved *observed = rig_observed();
  rig_observation(observed, 0x1000)->failed = 1;
  return observed;
}

/* All of it by hand. A block over wifi (5 ms, 5 MB/s): 1 ms here, 2 ms there, 100 ms of running, two round
 * trips, 20 ms up, 10 ms down. The first has 200 ms more. The session: 500 ms, 300 ms, 6 round trips, 4 ms of
 * bytes. */
static void
test_time(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = observed_work();
  PlanInput input = rig_input(graph, observed, POLICY_TIME);
  g_autoptr(Plan) plan = rig_plan(&input, "wifi");
  const PlanShare *work = rig_share(plan, RIG_WORK);
  g_assert_true(work->chosen);
  g_assert_true(work->observed);
  g_assert_false(rig_share(plan, RIG_MAIN)->chosen);
  rig_expect_near(work->local.cost.seconds, 1);
  rig_expect_near(work->block.cost.seconds, 0.143);
  rig_expect_near(work->block.cost.processor_s, 0.001);
  rig_expect_near(work->block.cost.clone_s, 0.102);
  rig_expect_near(work->block.cost.round_trips, 2);
  rig_expect_near(work->first.cost.seconds, 0.2);
  rig_expect_near(work->first.cost.up, 1e6);
  rig_expect_near(work->blocks, 10);
  rig_expect_near(work->executions, 0);
  rig_expect_near(plan->alone.cost.seconds, 10.01);
  rig_expect_near(plan->alone_value, 10.01);
  rig_expect_near(plan->planned.cost.seconds, 0.01 + 1.43 + 0.2 + 0.834);
  rig_expect_near(plan->planned_value, 0.01 + 1.43 + 0.2 + 0.834);
  rig_expect_near(plan->planned.cost.up, 1e6 + 1e6 + 16e3);
  rig_expect_near(plan->planned.cost.down, 5e5 + 4e3);
  rig_expect_near(plan->planned.cost.round_trips, 26);
  g_assert_true(plan->proven && plan->possible && plan->energy_known);
}

/* 3g has 2 s for the bytes up alone: all stays here. */
static void
test_slow_link(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = observed_work();
  PlanInput input = rig_input(graph, observed, POLICY_TIME);
  g_autoptr(Plan) plan = rig_plan(&input, "3g");
  rig_expect_near(rig_share(plan, RIG_WORK)->block.cost.seconds, 0.103 + 0.24 + 2 + 0.2);
  g_assert_false(rig_share(plan, RIG_WORK)->chosen);
  rig_expect_near(plan->planned.cost.seconds, 10.01);
  rig_expect_near(plan->planned_value, plan->alone_value);
  rig_expect_near(plan->planned.cost.up, 0);
}

/* Alone: 10.01 s, busy and awake. A call there: waiting costs half as much a second, the processor 1 ms. */
static void
test_energy(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = observed_work();
  PlanInput input = rig_input(graph, observed, POLICY_ENERGY);
  g_autoptr(Plan) plan = rig_plan(&input, "wifi");
  rig_expect_near(plan->alone.joules, 1.5 * 10.01);
  rig_expect_near(plan->alone_value, plan->alone.joules);
  g_assert_true(rig_share(plan, RIG_WORK)->chosen);
  rig_expect_near(rig_share(plan, RIG_WORK)->local.joules, 1.5);
  /* What of 143 ms the radio is on depends on how its bytes are spread: 30 ms of them at least. */
  double block = rig_share(plan, RIG_WORK)->block.joules;
  g_assert_cmpfloat(block, >=, 0.001 + 0.5 * 0.143 + 0.03 - 1e-9);
  g_assert_cmpfloat(block, <=, 0.001 + 0.5 * 0.143 + 0.143 + 1e-9);
  rig_expect_near(plan->planned.joules, plan->planned_value);
}

/* Several runs: a plan is for one. */
static void
test_runs(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph(), other = rig_graph();
  g_autoptr(ProfileObserved) observed = observed_work();
  g_assert_true(profile_graph_merge(graph, other));
  PlanInput input = rig_input(graph, observed, POLICY_TIME);
  g_autoptr(Plan) plan = rig_plan(&input, "wifi");
  rig_expect_near(plan->alone.cost.seconds, 10.01);
  rig_expect_near(plan->planned.cost.seconds, 2.474);
  rig_expect_near(rig_share(plan, RIG_WORK)->calls, 10);
  g_assert_cmpuint(plan->runs, ==, 2);
}

/* A clone that is no faster: nothing is gained. */
static void
test_equal_speeds(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = observed_work();
  PlanInput input = rig_input(graph, observed, POLICY_TIME);
  input.speeds.clone.ns = input.speeds.device.ns;
  g_autoptr(Plan) plan = rig_plan(&input, "lan");
  g_assert_cmpuint(plan->functions->len, ==, 0);
  rig_expect_near(plan->planned_value, plan->alone_value);
}

/* "Operations that are not possible to run because available memory is not large enough are tagged." */
static void
test_memory(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = observed_work();
  rig_observation(observed, 0x2000)->out_of_memory = 1;
  PlanInput input = rig_input(graph, observed, POLICY_TIME);
  g_autoptr(Plan) plan = rig_plan(&input, "3g");
  g_assert_false(plan->possible);
  g_assert_true(isinf(plan->alone_value));
  g_assert_true(rig_share(plan, RIG_WORK)->no_local);
  g_assert_true(rig_share(plan, RIG_WORK)->chosen || rig_share(plan, RIG_MAIN)->chosen);
  g_assert_cmpfloat(plan->planned.cost.seconds, <, 100);
}

static void
test_neither_here_nor_there(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = observed_work();
  g_autoptr(GError) error = NULL;
  ProfileObservation *seen = rig_observation(observed, 0x2000);
  seen->out_of_memory = 1;
  seen->failed = 1000;
  PlanInput input = rig_input(graph, observed, POLICY_TIME);
  g_assert_null(plan_make(&input, policy_profiles, POLICY_PROFILES, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  g_assert_nonnull(strstr(error->message, "work (/opt/program+0x2000)"));
}

/* What fails now and then is paid for: a third of the tries, and the call here after it. */
static void
test_failures_cost(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = observed_work();
  rig_observation(observed, 0x2000)->failed = 4; /* for 10 that counted */
  PlanInput input = rig_input(graph, observed, POLICY_TIME);
  g_autoptr(Plan) plan = rig_plan(&input, "wifi");
  rig_expect_near(rig_share(plan, RIG_WORK)->block.cost.seconds, 0.143 + 0.4 / 1.4 * 1);
}

/* Candidates are of every link, in each plan, with what they cost there. */
static void
test_candidates(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = observed_work();
  g_autoptr(GError) error = NULL;
  PlanInput input = rig_input(graph, observed, POLICY_TIME);
  g_autoptr(GPtrArray) plans = plan_make(&input, policy_profiles, POLICY_PROFILES, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(plans->len, ==, POLICY_PROFILES);
  for (guint i = 0; i < plans->len; i++) {
    const Plan *plan = plans->pdata[i];
    gboolean found = FALSE;
    for (guint j = 0; j < plan->functions->len; j++) {
      const PlanFunction *function = plan->functions->pdata[j];
      g_autofree char *text = plan_function_text(function->object, function->offset);
      if (strcmp(text, "/opt/program+0x2000") != 0)
        continue;
      found = TRUE;
      g_assert_cmpstr(function->name, ==, "work");
      g_assert_cmpint(function->share.chosen, ==, i != POLICY_3G);
      rig_expect_near(function->share.local.cost.seconds, 1);
    }
    g_assert_true(found);
    g_assert_cmpstr(plan->condition, ==, policy_profiles[i].name);
  }
}

/* main's one block looks best, and nobody has seen one: work is there to fall back on. */
static void
test_spares(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  PlanInput input = rig_input(graph, NULL, POLICY_TIME);
  g_autoptr(Plan) plan = rig_plan(&input, "lan");
  g_assert_true(rig_share(plan, RIG_MAIN)->chosen);
  g_assert_false(rig_share(plan, RIG_WORK)->chosen);
  g_assert_cmpuint(plan->functions->len, ==, 2);
  g_assert_cmpstr(((const PlanFunction *)plan->functions->pdata[0])->name, ==, "main");
  const PlanFunction *spare = plan->functions->pdata[1];
  g_assert_cmpstr(spare->name, ==, "work");
  g_assert_false(spare->share.chosen);
  rig_expect_near(spare->share.local.cost.seconds, 1);
}

/* Bytes cost money over mobile links only: 1.5 MB of them, at 5e-7 cents. */
static void
test_money(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = observed_work();
  PolicyProfile links[POLICY_PROFILES];
  PlanInput input = rig_input(graph, observed, POLICY_MONEY);
  rig_observation(observed, 0x2000)->out_of_memory = 1; /* so that all have blocks */
  plan_links(links);
  g_autoptr(GPtrArray) plans = plan_make(&input, links, POLICY_PROFILES, NULL);
  g_assert_nonnull(plans);
  for (guint i = 0; i < plans->len; i++) {
    const Plan *plan = plans->pdata[i];
    const PolicyCost *cost = &plan->planned.cost;
    double bytes = i == POLICY_LTE || i == POLICY_3G ? (cost->up + cost->down) * 5e-7 : 0;
    rig_expect_near(plan->planned_value, cost->seconds * 3e-2 + cost->clone_s * 3e-3 + bytes);
  }
}

/* A radio that the model does not know. */
static void
test_unknown_radio(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  EnergyModel model = rig_model;
  model.radios[ENERGY_RADIO_LTE] = NULL;
  PlanInput input = rig_input(graph, NULL, POLICY_ENERGY);
  input.aim.energy = &model;
  g_autoptr(Plan) lte = rig_plan(&input, "lte"), wifi = rig_plan(&input, "wifi");
  g_assert_false(lte->energy_known);
  g_assert_true(wifi->energy_known);
}

/* ---- properties ---- */

/* A program by chance: calls go to later functions, and some back (nested ones). */
static ProfileGraph *
graph_by_chance(GRand *rand, guint n)
{
  ProfileGraph *graph = profile_graph_new();
  graph->runs = (guint)g_rand_int_range(rand, 1, 4);
  graph->elsewhere = (guint64)g_rand_int_range(rand, 0, 1000);
  for (guint v = 0; v < n; v++)
    rig_add(graph, 0x10 * (v + 1), NULL, (guint64)exp(g_rand_double_range(rand, 0, 24)),
            v == 0 ? graph->runs : 0, 0);
  for (guint v = 0; v + 1 < n; v++)
    for (guint i = 0; i < 3; i++) {
      guint callee = (guint)g_rand_int_range(rand, (gint)v + 1, (gint)n);
      guint64 calls = (guint64)g_rand_int_range(rand, 1, 50) * graph->runs;
      if (profile_graph_function(graph, v)->calls == 0)
        continue;
      ProfileArc *arc = profile_graph_add_arc(graph, v, callee);
      arc->calls += calls;
      profile_graph_function(graph, callee)->calls += calls;
    }
  for (guint v = n; v-- > 0;) {
    ProfileFunction *function = profile_graph_function(graph, v);
    if (function->calls == 0)
      function->self = 0;
    function->inclusive += function->self;
    for (guint i = 0; i < graph->arcs->len; i++) {
      ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
      if (arc->callee != v || function->calls == 0)
        continue;
      arc->cost = (guint64)((double)function->inclusive * (double)arc->calls / (double)function->calls);
      profile_graph_function(graph, arc->caller)->inclusive += arc->cost;
    }
  }
  return graph;
}

static ProfileObserved *
observed_by_chance(GRand *rand, guint n)
{
  ProfileObserved *observed = profile_observed_new();
  for (guint v = 0; v < n; v++) {
    if (g_rand_int_range(rand, 0, 3) != 0)
      continue;
    ProfileObservation *seen = rig_observation(observed, 0x10 * (v + 1));
    guint64 blocks = (guint64)g_rand_int_range(rand, 0, 5);
    seen->first =
        (ProfileBlocks){1, (guint64)g_rand_int_range(rand, 0, 2000000), 20000, 2000000, 3000000, 12};
    seen->later = (ProfileBlocks){blocks,          blocks * (guint64)g_rand_int_range(rand, 100, 100000),
                                  blocks * 1000,   blocks * 300000,
                                  blocks * 400000, blocks * (guint64)g_rand_int_range(rand, 0, 3)};
    seen->failed = (guint64)g_rand_int_range(rand, 0, 2);
  }
  return observed;
}

/* A plan never costs more than running all of it here, by its own numbers; it is what its parts add up to;
 * and on a link that is worse in each respect no plan is cheaper. */
static void
test_properties(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(20470);
  guint gains = 0;
  for (guint round = 0; round < 300; round++) {
    guint n = (guint)g_rand_int_range(rand, 1, 30);
    g_autoptr(ProfileGraph) graph = graph_by_chance(rand, n);
    g_autoptr(ProfileObserved) observed = round % 3 ? observed_by_chance(rand, n) : NULL;
    g_autoptr(GError) error = NULL;
    PlanInput input = rig_input(graph, observed, round % POLICY_OBJECTIVES);
    g_autoptr(GPtrArray) plans = plan_make(&input, policy_profiles, POLICY_PROFILES, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < plans->len; i++) {
      const Plan *plan = plans->pdata[i];
      g_assert_cmpfloat(plan->planned_value, <=, plan->alone_value);
      gains += plan->planned_value < plan->alone_value;
      if (plan->objective == POLICY_TIME) {
        rig_expect_near(plan->planned.cost.seconds, plan->planned_value);
        rig_expect_near(plan->alone.cost.seconds, plan->alone_value);
      }
      if (i > 0 && plan->objective == POLICY_TIME)
        g_assert_cmpfloat(plan->planned_value * (1 + 1e-5), >=,
                          ((const Plan *)plans->pdata[i - 1])->planned_value);
    }
  }
  g_assert_cmpuint(gains, >, 100);
}

/* ---- what a damaged store may say ---- */

static guint64
number_by_chance(GRand *rand)
{
  static const guint64 numbers[] = {0, 1, 2, 1000, G_MAXINT64, G_MAXINT64 - 1, 1000000000};
  return numbers[g_rand_int_range(rand, 0, G_N_ELEMENTS(numbers))];
}

/* Numbers that contradict each other make a plan or an error, and nothing that is no number. */
static void
test_hostile(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(20471);
  guint planned = 0;
  for (guint round = 0; round < 2000; round++) {
    guint n = (guint)g_rand_int_range(rand, 0, 8);
    g_autoptr(ProfileGraph) graph = profile_graph_new();
    g_autoptr(ProfileObserved) observed = profile_observed_new();
    graph->runs = (guint)g_rand_int_range(rand, 0, 3);
    graph->elsewhere = number_by_chance(rand);
    for (guint v = 0; v < n; v++) {
      guint index =
          rig_add(graph, v, NULL, number_by_chance(rand), number_by_chance(rand), number_by_chance(rand));
      profile_graph_function(graph, index)->nested = number_by_chance(rand);
      ProfileObservation *seen = rig_observation(observed, (guint64)g_rand_int_range(rand, 0, 10));
      guint64 *numbers = (guint64 *)seen;
      for (guint i = 0; i < 2 * sizeof(ProfileBlocks) / 8 + 3; i++)
        numbers[i] = number_by_chance(rand);
    }
    for (guint i = 0; n > 0 && i < 2 * n; i++) {
      guint caller = (guint)g_rand_int_range(rand, 0, (gint)n),
            callee = (guint)g_rand_int_range(rand, 0, (gint)n);
      *profile_graph_add_arc(graph, caller, callee) = (ProfileArc){
          caller, callee, number_by_chance(rand), number_by_chance(rand), number_by_chance(rand)};
    }
    g_autoptr(GError) error = NULL;
    PlanInput input = rig_input(graph, round % 2 ? observed : NULL, round % POLICY_OBJECTIVES);
    g_autoptr(GPtrArray) plans = plan_make(&input, policy_profiles, POLICY_PROFILES, &error);
    g_assert_true((plans != NULL) == (error == NULL));
    for (guint i = 0; plans && i < plans->len; i++) {
      const Plan *plan = plans->pdata[i];
      planned++;
      g_assert_true(isfinite(plan->planned_value) && !isnan(plan->alone_value));
      g_assert_true(isfinite(plan->planned.cost.seconds) && isfinite(plan->planned.joules));
    }
  }
  g_assert_cmpuint(planned, >, 1000);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/plan/time", test_time);
  g_test_add_func("/plan/slow-link", test_slow_link);
  g_test_add_func("/plan/energy", test_energy);
  g_test_add_func("/plan/runs", test_runs);
  g_test_add_func("/plan/equal-speeds", test_equal_speeds);
  g_test_add_func("/plan/memory", test_memory);
  g_test_add_func("/plan/neither-here-nor-there", test_neither_here_nor_there);
  g_test_add_func("/plan/failures-cost", test_failures_cost);
  g_test_add_func("/plan/candidates", test_candidates);
  g_test_add_func("/plan/spares", test_spares);
  g_test_add_func("/plan/money", test_money);
  g_test_add_func("/plan/unknown-radio", test_unknown_radio);
  g_test_add_func("/plan/properties", test_properties);
  g_test_add_func("/plan/hostile", test_hostile);
  return g_test_run();
}

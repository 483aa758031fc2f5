#include "rig.h"

#include <math.h>

ProfileObject rig_program = {.path = (char *)"/opt/program", .build_id = (char *)"aa01"};

static const EnergyRadio radio = {.name = (char *)"plain", .active_w = 1};
const EnergyModel rig_model = {
    .name = (char *)"rig", .busy_w = 1, .idle_w = 0.5, .radios = {&radio, &radio, &radio, &radio}};

guint
rig_add(ProfileGraph *graph, guint64 offset, const char *name, guint64 self, guint64 calls, guint64 inclusive)
{
  guint object = profile_graph_add_object(graph, &rig_program);
  guint index = profile_graph_add_function(graph, object, offset, name);
  ProfileFunction *function = profile_graph_function(graph, index);
  function->self = self;
  function->calls = calls;
  function->inclusive = inclusive;
  return index;
}

void
rig_call(ProfileGraph *graph, guint caller, guint callee, guint64 calls, guint64 cost)
{
  *profile_graph_add_arc(graph, caller, callee) = (ProfileArc){caller, callee, calls, 0, cost};
}

ProfileGraph *
rig_graph(void)
{
  ProfileGraph *graph = profile_graph_new();
  graph->runs = 1;
  rig_add(graph, 0x1000, "main", 1000000, 1, 1001000000);
  rig_add(graph, 0x2000, "work", 1000000000, 10, 1000000000);
  rig_call(graph, RIG_MAIN, RIG_WORK, 10, 1000000000);
  return graph;
}

ProfileObservation *
rig_observation(ProfileObserved *observed, guint64 offset)
{
  ProfileObservation *seen = profile_observed_add(observed, &rig_program, offset, NULL);
  g_assert_nonnull(seen);
  return seen;
}

ProfileObserved *
rig_observed(void)
{
  ProfileObserved *observed = profile_observed_new();
  ProfileObservation *seen = rig_observation(observed, 0x2000);
  seen->first = (ProfileBlocks){1, 1100000 + 16000, 50000 + 4000, 501000000, 302000000, 7};
  seen->later = (ProfileBlocks){9, 900000, 450000, 9000000, 18000000, 9};
  return observed;
}

PlanInput
rig_input(const ProfileGraph *graph, const ProfileObserved *observed, PolicyObjective objective)
{
  return (PlanInput){.graph = graph,
                     .observed = observed,
                     .speeds = {{10, PLAN_SPEED_PLACE}, {1, PLAN_SPEED_PLACE}},
                     .aim = {objective, &rig_model, POLICY_PRICES_DEFAULT}};
}

Plan *
rig_plan(const PlanInput *input, const char *link)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) plans = plan_make(input, policy_profile_find(link), 1, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(plans->len, ==, 1);
  g_ptr_array_set_free_func(plans, NULL);
  return plans->pdata[0];
}

const PlanShare *
rig_share(const Plan *plan, guint index)
{
  return &g_array_index(plan->shares, PlanShare, index);
}

void
rig_expect_near(double is, double expected)
{
  if (!(fabs(is - expected) <= 1e-6 * MAX(fabs(expected), 1e-6)))
    g_error("it is %.9g and should be %.9g", is, expected);
}

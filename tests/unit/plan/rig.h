/* Programs for the tests of plans: small graphs whose numbers can be reckoned with by hand. */
#pragma once

#include "plan/plan.h"

extern ProfileObject rig_program;   /* "/opt/program", which is no file */
extern const EnergyModel rig_model; /* 1 W busy, 0.5 W waiting; all radios 1 W with traffic and no tails */

/* A function at that place of the program; its index. */
guint rig_add(ProfileGraph *graph, guint64 offset, const char *name, guint64 self, guint64 calls,
              guint64 inclusive);
void rig_call(ProfileGraph *graph, guint caller, guint callee, guint64 calls, guint64 cost);

/* A run: main (1e6 instructions) calls work ten times, 1e8 instructions each. */
enum { RIG_MAIN, RIG_WORK };
ProfileGraph *rig_graph(void);

/* Of work: a first block and nine later ones of 100 kB up, 50 kB down, 1 ms here, 2 ms there and a round trip
 * more than its own. The first has what the session takes, and 1 MB more up. */
ProfileObserved *rig_observed(void);
ProfileObservation *rig_observation(ProfileObserved *observed, guint64 offset);

/* 10 ns an instruction here, 1 there. */
PlanInput rig_input(const ProfileGraph *graph, const ProfileObserved *observed, PolicyObjective objective);

/* The one plan; fails the test where there is none. */
Plan *rig_plan(const PlanInput *input, const char *link);
const PlanShare *rig_share(const Plan *plan, guint index);

void rig_expect_near(double is, double expected);

/* What a block is taken to move and need. */
#include <string.h>

#include "plan/estimate.h"
#include "rig.h"

static const PlanSpeeds speeds = {{10, PLAN_SPEED_PLACE}, {1, PLAN_SPEED_PLACE}};

static PlanBlock
estimate_of(const ProfileGraph *graph, const ProfileObserved *observed, guint index)
{
  g_autofree PlanBlock *blocks = plan_estimate(graph, observed, &speeds);
  return blocks[index];
}

static void
test_observed(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = rig_observed();
  PlanBlock work = estimate_of(graph, observed, RIG_WORK);
  g_assert_true(work.observed);
  g_assert_null(work.barred);
  rig_expect_near(work.instructions, 1e8);
  rig_expect_near(work.later.up, 1e5);
  rig_expect_near(work.later.down, 5e4);
  rig_expect_near(work.later.round_trips, 2);
  rig_expect_near(work.later.device_s, 1e-3);
  rig_expect_near(work.later.clone_s, 2e-3);
  rig_expect_near(work.first.up, 1e6);
  rig_expect_near(work.first.down, 0);
}

/* Where each run had one block, that is what a block is, without what the session takes. */
static void
test_first_blocks_only(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = rig_observed();
  rig_observation(observed, 0x2000)->later = (ProfileBlocks){0};
  PlanBlock work = estimate_of(graph, observed, RIG_WORK);
  rig_expect_near(work.later.up, 1.1e6);
  rig_expect_near(work.later.down, 5e4);
  rig_expect_near(work.later.round_trips, 2);
  rig_expect_near(work.later.device_s, 1e-3);
  rig_expect_near(work.first.up, 0);
}

/* What nobody saw is assumed: so much for a block, so much for its instructions, and no more than a bound. */
static void
test_assumed(void)
{
  g_autoptr(ProfileGraph) graph = profile_graph_new();
  graph->runs = 1;
  guint none = rig_add(graph, 0x10, "none", 0, 1, 0), some = rig_add(graph, 0x20, "some", 64000, 1, 64000);
  guint most = rig_add(graph, 0x30, "most", 1, 1, G_MAXINT64);
  g_autofree PlanBlock *blocks = plan_estimate(graph, NULL, &speeds);
  g_assert_false(blocks[none].observed);
  rig_expect_near(blocks[some].later.up - blocks[none].later.up, 1000);
  rig_expect_near(blocks[some].later.down - blocks[none].later.down, 1000);
  rig_expect_near(blocks[most].later.up - blocks[none].later.up, 128e3);
  /* Work is slower where everything is. */
  g_assert_cmpfloat(blocks[some].later.device_s, >, 9 * blocks[some].later.clone_s);
}

/* The program's other functions say how far that is off: work moves 150 kB where 261 kB were assumed. */
static void
test_factor(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  rig_add(graph, 0x3000, "idle", 0, 1, 0);
  g_autoptr(ProfileObserved) observed = rig_observed();
  double alone = estimate_of(graph, NULL, 2).later.up;
  double assumed =
      estimate_of(graph, NULL, RIG_WORK).later.up + estimate_of(graph, NULL, RIG_WORK).later.down;
  rig_expect_near(estimate_of(graph, observed, 2).later.up, alone * 150e3 / assumed);
  rig_observation(observed, 0x2000)->later.bytes_out = G_MAXINT64;
  rig_expect_near(estimate_of(graph, observed, 2).later.up, alone * 16);
}

/* A caller's block forwards what the blocks inside it would. */
static void
test_forwarded_below(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = rig_observed();
  double without = estimate_of(graph, observed, RIG_MAIN).later.round_trips;
  rig_observation(observed, 0x2000)->forwarded = 30; /* of 10 blocks */
  rig_expect_near(estimate_of(graph, observed, RIG_MAIN).later.round_trips, without + 30);
}

/* Calls of the C library that are about the device alone, where nothing was observed; as other files name
 * theirs says nothing. */
static void
test_pinned_calls(void)
{
  ProfileObject libc = {.path = (char *)"/usr/lib/libc.so.6", .build_id = (char *)"cc"};
  static const struct {
    const char *name;
    gboolean libc;
    double trips;
  } rows[] = {{"recv", TRUE, 7}, {"__libc_recv", TRUE, 7}, {"__poll", TRUE, 7},
              {"read", TRUE, 0}, {"recv", FALSE, 0},       {NULL, TRUE, 0}};
  for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
    g_autoptr(ProfileGraph) graph = rig_graph();
    double without = estimate_of(graph, NULL, RIG_MAIN).later.round_trips;
    guint object = profile_graph_add_object(graph, rows[i].libc ? &libc : &rig_program);
    guint callee = profile_graph_add_function(graph, object, 0x99, rows[i].name);
    profile_graph_function(graph, callee)->calls = 7;
    rig_call(graph, RIG_MAIN, callee, 7, 0);
    rig_expect_near(estimate_of(graph, NULL, RIG_MAIN).later.round_trips, without + rows[i].trips);
  }
}

static void
expect_barred(const ProfileGraph *graph, const ProfileObserved *observed, guint index, const char *why)
{
  PlanBlock block = estimate_of(graph, observed, index);
  if (!why)
    g_assert_null(block.barred);
  else if (!block.barred || !strstr(block.barred, why))
    g_error("it should be barred for \"%s\", and is for \"%s\"", why, block.barred);
}

static void
test_barred(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = rig_observed();
  guint start = rig_add(graph, 0x3000, "_start", 1, 1, 1);
  guint inner = rig_add(graph, 0x4000, "inner", 1, 5, 0);
  profile_graph_function(graph, inner)->nested = 5;
  expect_barred(graph, observed, start, "starts or ends");
  expect_barred(graph, observed, inner, "never called");
  expect_barred(graph, observed, RIG_WORK, NULL);
  expect_barred(graph, observed, RIG_MAIN, NULL);
  /* Of ten blocks in main's, each fails a little: main's would hardly ever get through. */
  rig_observation(observed, 0x2000)->failed = 1;
  expect_barred(graph, observed, RIG_WORK, NULL);
  expect_barred(graph, observed, RIG_MAIN, "what it calls");
  rig_observation(observed, 0x2000)->failed = 5;
  expect_barred(graph, observed, RIG_WORK, "blocks of it");
}

/* Functions that call each other: what is below is counted, and an end is found. */
static void
test_cycles(void)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  g_autoptr(ProfileObserved) observed = rig_observed();
  guint a = rig_add(graph, 0x10, "a", 1, 1000, 1), b = rig_add(graph, 0x20, "b", 1, 1000, 1);
  rig_call(graph, a, b, 1000, 0);
  rig_call(graph, b, a, 999, 0);
  rig_call(graph, b, RIG_WORK, 1000, 0);
  rig_observation(observed, 0x2000)->forwarded = 10;
  double trips = estimate_of(graph, observed, a).later.round_trips;
  g_assert_cmpfloat(trips, >=, 1);
  g_assert_cmpfloat(trips, <=, 1e9 + 10);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/estimate/observed", test_observed);
  g_test_add_func("/estimate/first-blocks-only", test_first_blocks_only);
  g_test_add_func("/estimate/assumed", test_assumed);
  g_test_add_func("/estimate/factor", test_factor);
  g_test_add_func("/estimate/forwarded-below", test_forwarded_below);
  g_test_add_func("/estimate/pinned-calls", test_pinned_calls);
  g_test_add_func("/estimate/barred", test_barred);
  g_test_add_func("/estimate/cycles", test_cycles);
  return g_test_run();
}

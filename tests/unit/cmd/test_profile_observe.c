/* Which functions of a profile are looked at, and what is kept of what was seen. */
#include "cmd/profile_observe.h"

#define MILLION G_GUINT64_CONSTANT(1000000)

typedef struct {
  ProfileGraph *graph;
  guint program, loader;
} World;

static void
world_begin(World *world)
{
  const ProfileObject program = {.path = (char *)"/bin/program", .build_id = (char *)"01"};
  const ProfileObject loader = {.path = (char *)"/lib/ld-linux-x86-64.so.2", .build_id = (char *)"02"};
  world->graph = profile_graph_new();
  world->graph->runs = 1;
  world->program = profile_graph_add_object(world->graph, &program);
  world->loader = profile_graph_add_object(world->graph, &loader);
}

static guint
add(World *world, guint object, const char *name, guint64 inclusive, guint64 self, guint64 calls,
    guint64 nested)
{
  guint index =
      profile_graph_add_function(world->graph, object, 4096 + 64 * world->graph->functions->len, name);
  ProfileFunction *function = profile_graph_function(world->graph, index);
  function->inclusive = inclusive;
  function->self = self;
  function->calls = calls;
  function->nested = nested;
  return index;
}

static gboolean
is_chosen(const World *world, guint function, guint most)
{
  g_autoptr(GArray) chosen = profile_observe_candidates(world->graph, most);
  for (guint i = 0; i < chosen->len; i++)
    if (g_array_index(chosen, guint, i) == function)
      return TRUE;
  return FALSE;
}

/* What is worth a journey, and neither the program's beginning, nor too small, nor too often. */
static void
test_candidates(void)
{
  World world;
  world_begin(&world);
  guint start = add(&world, world.program, "_start", 1000 * MILLION, 0, 1, 0);
  guint loads = add(&world, world.loader, "_dl_start", 990 * MILLION, 0, 1, 0);
  guint large = add(&world, world.program, "large", 800 * MILLION, 900 * MILLION, 3, 0);
  guint small_part = add(&world, world.program, "small", 15 * MILLION, 100 * MILLION, 2, 0);
  guint small_blocks = add(&world, world.program, "short", 300 * MILLION, 0, 1900, 900);
  guint often = add(&world, world.program, "often", 500 * MILLION, 0, 1001, 0);
  guint recursive = add(&world, world.program, "recursive", 400 * MILLION, 0, 5000, 4998);
  g_assert_cmpuint(profile_graph_total(world.graph), ==, 1000 * MILLION);
  g_assert_false(is_chosen(&world, start, 8));
  g_assert_false(is_chosen(&world, loads, 8));
  g_assert_true(is_chosen(&world, large, 8));
  g_assert_false(is_chosen(&world, small_part, 8));
  g_assert_true(is_chosen(&world, small_blocks, 8)); /* 1000 blocks of 300000 */
  g_assert_false(is_chosen(&world, often, 8));
  g_assert_true(is_chosen(&world, recursive, 8));
  g_assert_true(is_chosen(&world, large, 1));
  g_assert_false(is_chosen(&world, recursive, 1));
  g_assert_false(is_chosen(&world, large, 0));
  profile_graph_free(world.graph);
}

/* Of a chain of functions that each only call the next, the last; not of those that are called otherwise. */
static void
test_chain(void)
{
  World world;
  world_begin(&world);
  guint main_function = add(&world, world.program, "main", 1000 * MILLION, 0, 1, 0);
  guint between = add(&world, world.program, "between", 999 * MILLION, 0, 1, 0);
  guint last = add(&world, world.program, "last", 998 * MILLION, 0, 1, 0);
  guint twice = add(&world, world.program, "twice", 997 * MILLION, 1000 * MILLION, 2, 0);
  g_assert_false(is_chosen(&world, main_function, 8));
  g_assert_false(is_chosen(&world, between, 8));
  g_assert_true(is_chosen(&world, last, 8));
  g_assert_true(is_chosen(&world, twice, 8));
  profile_graph_free(world.graph);
}

/* The first block apart from the others, time divided among them, and a block's own round trip left out. */
static void
test_sums(void)
{
  World world;
  world_begin(&world);
  ProfilerSeen whole = {.function = add(&world, world.program, "whole", 10, 10, 5, 0),
                        .blocks = 4,
                        .first_out = 100,
                        .first_in = 50,
                        .first_trips = 7,
                        .bytes_out = 130,
                        .bytes_in = 80,
                        .trips = 13,
                        .device_ns = 400,
                        .clone_ns = 800};
  ProfilerSeen refused = {.function = add(&world, world.program, "refused", 10, 10, 5, 0),
                          .aborted = 3,
                          .reason = (char *)"a device"};
  ProfilerSeen unseen = {.function = add(&world, world.program, "unseen", 10, 10, 5, 0),
                         .reason = (char *)"its time was over"};
  g_autoptr(GPtrArray) list = g_ptr_array_new();
  g_ptr_array_add(list, &whole);
  g_ptr_array_add(list, &refused);
  g_ptr_array_add(list, &unseen);
  g_autoptr(ProfileObserved) observed = profile_observe_sums(world.graph, list);
  const ProfileObject *program = world.graph->objects->pdata[world.program];
  const ProfileObservation *good =
      profile_observed_find(observed, program, profile_graph_function(world.graph, whole.function)->offset);
  const ProfileObservation *bad =
      profile_observed_find(observed, program, profile_graph_function(world.graph, refused.function)->offset);
  g_assert_nonnull(good);
  g_assert_cmpuint(good->first.blocks, ==, 1);
  g_assert_cmpuint(good->first.bytes_out, ==, 100);
  g_assert_cmpuint(good->first.round_trips, ==, 6);
  g_assert_cmpuint(good->first.device_ns, ==, 100);
  g_assert_cmpuint(good->later.blocks, ==, 3);
  g_assert_cmpuint(good->later.bytes_out, ==, 30);
  g_assert_cmpuint(good->later.bytes_in, ==, 30);
  g_assert_cmpuint(good->later.round_trips, ==, 3);
  g_assert_cmpuint(good->later.clone_ns, ==, 600);
  g_assert_cmpuint(good->failed, ==, 0);
  g_assert_nonnull(bad);
  g_assert_cmpuint(bad->failed, ==, 3);
  g_assert_cmpstr(bad->reasons[0].text, ==, "a device");
  g_assert_null(
      profile_observed_find(observed, program, profile_graph_function(world.graph, unseen.function)->offset));
  profile_graph_free(world.graph);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/cmd/profile/candidates", test_candidates);
  g_test_add_func("/cmd/profile/chain", test_chain);
  g_test_add_func("/cmd/profile/sums", test_sums);
  return g_test_run();
}

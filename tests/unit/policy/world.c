#include "world.h"

#include <math.h>
#include <string.h>

static double
between(GRand *random, double least, double most)
{
  return exp(g_rand_double_range(random, log(least), log(most)));
}

/* Normal, by the sum of twelve. */
static double
normal(GRand *random)
{
  double sum = -6;
  for (guint i = 0; i < 12; i++)
    sum += g_rand_double(random);
  return sum;
}

void
world_init(World *world, guint32 seed)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  *world = (World){.seed = seed, .calls = g_array_new(FALSE, FALSE, sizeof(WorldCall))};
  world->function_count = g_rand_int_range(random, 1, WORLD_FUNCTIONS + 1);
  world->state_bytes = between(random, 1e5, 5e6);
  for (guint i = 0; i < world->function_count; i++) {
    WorldFunction *function = &world->functions[i];
    function->kind = g_rand_int_range(random, 0, WORLD_KINDS);
    function->argument = g_rand_int_range(random, 0, POLICY_ARGUMENTS - 1);
    function->base_s = function->kind == WORLD_TINY ? between(random, 1e-5, 5e-4) : between(random, 5e-3, 3);
    function->speed = between(random, 0.7, 20);
    function->noise = between(random, 0.02, 0.2);
    for (guint k = 0; k < 4; k++)
      function->modes[k] = between(random, 0.05, 5);
    function->device_s = between(random, 1e-3, 1e-2);
    function->around_s = between(random, 5e-4, 5e-3);
    function->up = between(random, 2e3, 5e5);
    function->down = between(random, 1e3, 5e5);
    function->by_argument = g_rand_boolean(random);
    function->round_trips = g_rand_boolean(random) ? 1 : g_rand_int_range(random, 1, 10);
  }
}

void
world_clear(World *world)
{
  g_array_unref(world->calls);
}

/* How much of the usual work it is. */
static double
work_of(const WorldFunction *function, const guint64 *arguments, GRand *random)
{
  double n = (double)arguments[function->argument] / 1000;
  switch (function->kind) {
  case WORLD_LINEAR:
    return n;
  case WORLD_SQUARE:
    return n * n;
  case WORLD_PRODUCT:
    return n * (double)arguments[function->argument + 1] / 1000;
  case WORLD_MODE:
    return function->modes[arguments[function->argument]];
  case WORLD_RANDOM:
    return exp(normal(random));
  default:
    return 1;
  }
}

/* Lengths, pointers, flags: what registers hold. */
static void
make_arguments(const WorldFunction *function, guint64 *arguments, GRand *random)
{
  for (guint i = 0; i < POLICY_ARGUMENTS; i++)
    arguments[i] =
        i % 2 ? 0x7f0000000000 + (guint64)g_rand_int(random) : (guint64)g_rand_int_range(random, 0, 3);
  arguments[function->argument] = (guint64)between(random, 100, 10000);
  if (function->kind == WORLD_PRODUCT)
    arguments[function->argument + 1] = (guint64)between(random, 200, 5000);
  if (function->kind == WORLD_MODE)
    arguments[function->argument] = g_rand_int_range(random, 0, 4);
}

static double
noisy(double mean, double noise, GRand *random)
{
  double freak = g_rand_int_range(random, 0, 100) == 0 ? 5 : 1;
  return mean * exp(noise * normal(random)) * freak;
}

static WorldCall
make_call(const World *world, guint link, gboolean last_of_phase, gboolean none_follows, GRand *random)
{
  WorldCall call = {.link = link, .wire = 1};
  call.function = g_rand_int_range(random, 0, world->function_count);
  const WorldFunction *function = &world->functions[call.function];
  make_arguments(function, call.arguments, random);
  call.mean_local_s = function->base_s * work_of(function, call.arguments, random);
  call.mean_clone_s = call.mean_local_s / function->speed;
  call.local_s = noisy(call.mean_local_s, function->noise, random);
  call.clone_s = noisy(call.mean_clone_s, function->noise, random);
  call.wire = noisy(1, 0.1, random);
  if (last_of_phase && none_follows)
    call.cut = g_rand_double_range(random, 0.1, 0.9);
  return call;
}

/* wifi, 3g, none, wifi again and the like, some ten to a hundred calls each. */
void
world_make_run(World *world, guint run)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(world->seed * 1000003u + run + 1);
  static const guint links[] = {POLICY_WIFI, POLICY_3G, WORLD_NONE, POLICY_WIFI, POLICY_LTE, POLICY_LAN};
  guint at = g_rand_int_range(random, 0, G_N_ELEMENTS(links)), phases = g_rand_int_range(random, 2, 6);
  g_array_set_size(world->calls, 0);
  for (guint phase = 0; phase < phases; phase++) {
    guint count = (guint)between(random, 30, 150), next = (at + 1) % G_N_ELEMENTS(links);
    for (guint i = 0; i < count; i++) {
      WorldCall call = make_call(world, links[at], i + 1 == count && phase + 1 < phases,
                                 links[next] == WORLD_NONE, random);
      g_array_append_val(world->calls, call);
    }
    at = next;
  }
}

/* ---- what it takes ---- */

static double
size_of(const WorldFunction *function, const WorldCall *call, double bytes)
{
  return function->by_argument && function->kind != WORLD_MODE
             ? bytes * (double)call->arguments[function->argument] / 1000
             : bytes;
}

static PolicyBlock
block_of(const World *world, const WorldCall *call, gboolean first, double clone_s, double wire)
{
  const WorldFunction *function = &world->functions[call->function];
  PolicyBlock block = {.device_s = function->device_s,
                       .clone_s = clone_s,
                       .around_s = function->around_s,
                       .up = size_of(function, call, function->up),
                       .down = size_of(function, call, function->down),
                       .round_trips = function->round_trips};
  if (first) {
    block.device_s += world->state_bytes / 100e6;
    block.around_s += world->state_bytes / 100e6;
    block.up += world->state_bytes;
    block.round_trips += 2;
  }
  double link = policy_conditions_seconds(&policy_profiles[call->link].conditions, block.round_trips,
                                          block.up, block.down);
  block.seconds = block.device_s + block.clone_s + block.around_s + link * wire;
  return block;
}

double
world_local(const World *world)
{
  double sum = 0;
  for (guint i = 0; i < world->calls->len; i++)
    sum += g_array_index(world->calls, WorldCall, i).local_s;
  return sum;
}

/* The best way by what calls cost on average, for who knows all calls and all links: without and with a
 * mirror, from the end. Its cost is what really came. */
double
world_oracle(const World *world)
{
  guint count = world->calls->len;
  double ahead[2] = {0, 0}, real[2] = {0, 0};
  for (guint i = count; i-- > 0;) {
    const WorldCall *call = &g_array_index(world->calls, WorldCall, i);
    double now[2], then[2];
    for (guint mirror = 0; mirror < 2; mirror++) {
      guint keeps = mirror && call->link != WORLD_NONE && !call->cut;
      now[mirror] = call->mean_local_s + ahead[keeps];
      then[mirror] = call->local_s + real[keeps];
      if (call->link == WORLD_NONE || call->cut)
        continue;
      double remote = block_of(world, call, !mirror, call->mean_clone_s, 1).seconds + ahead[1];
      if (remote < now[mirror]) {
        now[mirror] = remote;
        then[mirror] = block_of(world, call, !mirror, call->clone_s, call->wire).seconds + real[1];
      }
    }
    memcpy(ahead, now, sizeof ahead);
    memcpy(real, then, sizeof real);
  }
  return real[0];
}

/* ---- a life ---- */

typedef struct {
  World *world;
  PolicyPlacement *placement;
  WorldResult result;
  double now_s;
  gboolean mirror;
  double ping_sent_s;                      /* < 0: none is under way */
  double watched_again_s[WORLD_FUNCTIONS]; /* 0: it is watched */
} Life;

static void
answer_ping(Life *life, const WorldCall *call)
{
  PolicyTracker *tracker = policy_placement_tracker(life->placement);
  if (life->ping_sent_s < 0)
    return;
  double took = call->link == WORLD_NONE ? 0 : policy_profiles[call->link].conditions.round_trip_s;
  if (life->ping_sent_s + took > life->now_s)
    return;
  if (call->link == WORLD_NONE)
    policy_tracker_lost(tracker, life->now_s);
  else
    policy_tracker_ping(tracker, life->now_s, took);
  life->ping_sent_s = -1;
}

static void
run_here(Life *life, const WorldCall *call, PolicyFunction *function, const PolicyAnswer *answer)
{
  policy_ran_here(life->placement, function, answer, call->local_s, call->local_s);
  life->now_s += call->local_s;
  if (!policy_watch(life->placement, function, life->now_s, &life->watched_again_s[call->function]))
    return;
  life->watched_again_s[call->function] = 0;
}

static void
run_there(Life *life, const WorldCall *call, PolicyFunction *function, const PolicyAnswer *answer)
{
  life->result.blocks++;
  if (call->link == WORLD_NONE || call->cut) {
    double wasted = policy_patience(answer);
    if (call->cut)
      wasted += call->cut * block_of(life->world, call, !life->mirror, call->clone_s, call->wire).seconds;
    policy_failed_there(life->placement, function, answer, wasted, TRUE);
    life->result.failed++;
    life->now_s += wasted;
    life->mirror = FALSE;
    run_here(life, call, function, answer);
    return;
  }
  PolicyBlock block = block_of(life->world, call, !life->mirror, call->clone_s, call->wire);
  const PolicyConditions *link = &policy_profiles[call->link].conditions;
  double deadline = policy_deadline(answer), moving = deadline - block.device_s;
  double up_s = (link->round_trip_s / 2 + block.up / link->up) * call->wire;
  if (up_s > moving) {
    double moved = MAX(moving / call->wire - link->round_trip_s / 2, 0) * link->up;
    policy_slow_there(life->placement, function, answer, deadline, moved);
    life->result.failed++;
    life->now_s += deadline;
    life->mirror = FALSE;
    run_here(life, call, function, answer);
    return;
  }
  policy_ran_there(life->placement, function, answer, &block);
  life->now_s += block.seconds;
  life->mirror = TRUE;
}

static void
one_call(Life *life, const WorldCall *call, gboolean verbose)
{
  PolicyFunction *function =
      policy_placement_function(life->placement, (const char *const[]){"a", "b", "c", "d"}[call->function]);
  PolicyCall asked = {.argument_count = POLICY_ARGUMENTS,
                      .first = !life->mirror,
                      .state_bytes = life->world->state_bytes * 3};
  memcpy(asked.arguments, call->arguments, sizeof asked.arguments);
  if (call->link == WORLD_NONE)
    life->mirror = FALSE;
  if (life->watched_again_s[call->function] > life->now_s) {
    life->now_s += call->local_s;
    return;
  }
  answer_ping(life, call);
  PolicyAnswer answer = policy_ask(life->placement, function, &asked, life->now_s);
  life->result.tries += answer.why == POLICY_TRY;
  if (life->ping_sent_s < 0 && policy_wants_ping(life->placement, function, &answer, life->now_s)) {
    life->ping_sent_s = life->now_s;
    life->result.pings++;
  }
  if (verbose) {
    g_autofree char *words = policy_words(life->placement, function, &answer);
    g_autofree char *line = g_strdup_printf(
        "%8.2f s link %u really %.3f s here, %.3f s there%s: %s", life->now_s, call->link, call->local_s,
        call->link == WORLD_NONE
            ? INFINITY
            : block_of(life->world, call, !life->mirror, call->clone_s, call->wire).seconds,
        answer.remote ? " REMOTE" : "", words);
    g_printerr("%s %s\n", policy_function_name(function), line);
  }
  if (answer.remote)
    run_there(life, call, function, &answer);
  else
    run_here(life, call, function, &answer);
}

WorldResult
world_live(World *world, PolicyPlacement *placement, gboolean verbose)
{
  Life life = {.world = world, .placement = placement, .now_s = 1, .ping_sent_s = -1};
  for (guint i = 0; i < world->calls->len; i++)
    one_call(&life, &g_array_index(world->calls, WorldCall, i), verbose);
  life.result.seconds = life.now_s - 1;
  return life.result;
}

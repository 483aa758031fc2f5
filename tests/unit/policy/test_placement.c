/* Decisions about single functions whose costs are known by hand. */
#include <math.h>
#include <string.h>

#include "policy/placement.h"

/* A function: s here and there, bytes of a block and of a first one. */
typedef struct {
  double local_s, clone_s, up, first_up;
} Function;

typedef struct {
  PolicyPlacement *placement;
  PolicyFunction *function;
  Function is;
  double now_s;
  gboolean mirror;
  double ping_s; /* when the answer to one comes; 0: none is under way */
  guint wrong;   /* calls that ran in the dearer place */
} Life;

static const PolicyAim time_aim = {.objective = POLICY_TIME};

static Life
life_of(Function is, const PolicyAim *aim)
{
  Life life = {.placement = policy_placement_new(aim), .is = is, .now_s = 1};
  life.function = policy_placement_function(life.placement, "f");
  policy_tracker_ping(policy_placement_tracker(life.placement), 1, 0.005);
  return life;
}

static PolicyBlock
block_of(const Life *life, const PolicyConditions *link)
{
  PolicyBlock block = {.device_s = 0.002,
                       .clone_s = life->is.clone_s,
                       .around_s = 0.001,
                       .up = life->mirror ? life->is.up : life->is.first_up,
                       .down = 1000,
                       .round_trips = 1};
  block.seconds = block.device_s + block.clone_s + block.around_s +
                  policy_conditions_seconds(link, block.round_trips, block.up, block.down);
  return block;
}

static PolicyAnswer
ask(Life *life)
{
  PolicyCall call = {.first = !life->mirror};
  return policy_ask(life->placement, life->function, &call, life->now_s);
}

static void
hear(Life *life, const PolicyConditions *link)
{
  PolicyTracker *tracker = policy_placement_tracker(life->placement);
  if (!life->ping_s || life->ping_s > life->now_s)
    return;
  life->ping_s = 0;
  if (link->linked)
    policy_tracker_ping(tracker, life->now_s, link->round_trip_s);
  else
    policy_tracker_lost(tracker, life->now_s);
}

/* One call, wherever the policy wants it. */
static PolicyAnswer
live(Life *life, const PolicyConditions *link)
{
  hear(life, link);
  PolicyAnswer answer = ask(life);
  PolicyBlock block = block_of(life, link);
  gboolean dearer = answer.remote ? !link->linked || block.seconds > life->is.local_s
                                  : link->linked && block.seconds < life->is.local_s;
  life->wrong += dearer && life->mirror;
  if (!answer.remote && policy_wants_ping(life->placement, life->function, &answer, life->now_s))
    life->ping_s = life->now_s + link->round_trip_s;
  double deadline = policy_deadline(&answer);
  if (answer.remote && link->linked && block.device_s + block.up / link->up <= deadline) {
    policy_ran_there(life->placement, life->function, &answer, &block);
    life->now_s += block.seconds;
    life->mirror = TRUE;
    return answer;
  }
  if (answer.remote && link->linked) {
    policy_slow_there(life->placement, life->function, &answer, deadline, deadline * link->up);
    life->now_s += deadline;
  } else if (answer.remote) {
    policy_failed_there(life->placement, life->function, &answer, policy_patience(&answer), TRUE);
    life->now_s += policy_patience(&answer);
  }
  policy_ran_here(life->placement, life->function, &answer, life->is.local_s, life->is.local_s);
  life->now_s += life->is.local_s;
  return answer;
}

static const PolicyConditions *
profile(const char *name)
{
  return &policy_profile_find(name)->conditions;
}

static void
test_unseen_runs_here_first(void)
{
  Life life = life_of((Function){1, 0.1, 1e4, 1e5}, &time_aim);
  PolicyAnswer answer;
  for (guint i = 0; i < 2; i++) { /* the first call often pays for what the later ones find ready */
    answer = live(&life, profile("wifi"));
    g_assert_false(answer.remote);
    g_assert_cmpint(answer.why, ==, POLICY_UNSEEN);
  }
  answer = live(&life, profile("wifi"));
  g_assert_true(answer.remote);
  g_assert_cmpint(answer.why, ==, POLICY_TRY);
  for (guint i = 0; i < 5; i++)
    answer = live(&life, profile("wifi"));
  g_assert_true(answer.remote);
  g_assert_cmpint(answer.why, ==, POLICY_CHEAPER);
  policy_placement_free(life.placement);
}

/* By a plan's beliefs the first call goes. */
static void
test_belief_goes_at_once(void)
{
  Life life = life_of((Function){5, 0.1, 1e4, 1e5}, &time_aim);
  policy_function_believe(life.function, &(PolicyBelief){5, 0.002, 0.1, 1e4, 1e3, 1, 1e5});
  g_assert_true(live(&life, profile("wifi")).remote);
  policy_placement_free(life.placement);
}

/* 10 ms here can never pay on 3g: not once is it tried. */
static void
test_what_cannot_pay_is_not_tried(void)
{
  Life life = life_of((Function){0.01, 0.001, 1e4, 1e5}, &time_aim);
  for (guint i = 0; i < 5; i++)
    policy_tracker_ping(policy_placement_tracker(life.placement), 1, 0.12);
  for (guint i = 0; i < 500; i++)
    g_assert_false(live(&life, profile("3g")).remote);
  policy_placement_free(life.placement);
}

/* A mirror that costs much is made when that many calls have missed it. */
static void
test_first_block_has_to_be_worth_it(void)
{
  Life life = life_of((Function){0.3, 0.01, 1e4, 20e6}, &time_aim); /* 4 s on wifi */
  PolicyCall call = {.first = TRUE, .state_bytes = 60e6};
  guint local = 0;
  for (guint i = 0; i < 100; i++, local++) {
    hear(&life, profile("wifi"));
    PolicyAnswer answer = policy_ask(life.placement, life.function, &call, life.now_s);
    if (answer.remote)
      break;
    if (policy_wants_ping(life.placement, life.function, &answer, life.now_s))
      life.ping_s = life.now_s + 0.005;
    policy_ran_here(life.placement, life.function, &answer, 0.3, 0.3);
    life.now_s += 0.3;
    if (i == 10) {
      g_assert_cmpint(answer.why, ==, POLICY_NOT_YET);
      g_assert_cmpfloat_with_epsilon(answer.first_price, 3.6, 0.5);
    }
  }
  g_assert_cmpuint(local, >=, 10);
  g_assert_cmpuint(local, <=, 40);
  policy_placement_free(life.placement);
}

/* wifi, 3g, none, wifi: two calls after each change the right place is known, and stays. */
static void
test_follows_the_link(void)
{
  PolicyConditions none = *profile("wifi");
  none.linked = FALSE;
  none.round_trip_s = 0.01;
  const PolicyConditions *links[] = {profile("wifi"), profile("3g"), &none,
                                     profile("wifi"), profile("3g"), profile("lan")};
  const gboolean remote[] = {TRUE, FALSE, FALSE, TRUE, FALSE, TRUE};
  Life life = life_of((Function){1, 0.1, 3e5, 6e5}, &time_aim);
  for (guint i = 0; i < 5; i++)
    live(&life, links[0]);
  for (guint phase = 0; phase < G_N_ELEMENTS(links); phase++)
    for (guint i = 0; i < 12; i++) {
      if (!links[phase]->linked)
        life.mirror = FALSE;
      PolicyAnswer answer = live(&life, links[phase]);
      if (i >= 2 && answer.why != POLICY_TRY && answer.remote != remote[phase]) {
        g_autofree char *words = policy_words(life.placement, life.function, &answer);
        g_error("phase %u, call %u: %s", phase, i, words);
      }
    }
  policy_placement_free(life.placement);
}

static void
test_no_link(void)
{
  Life life = life_of((Function){1, 0.1, 1e4, 1e5}, &time_aim);
  for (guint i = 0; i < 6; i++)
    live(&life, profile("wifi"));
  policy_tracker_lost(policy_placement_tracker(life.placement), life.now_s);
  PolicyAnswer answer = ask(&life);
  g_assert_false(answer.remote);
  g_assert_cmpint(answer.why, ==, POLICY_NO_LINK);
  g_assert_cmpfloat_with_epsilon(policy_patience(&answer), 0.5, 0.1);
  policy_placement_free(life.placement);
}

/* What fails rests, twice as long each time; a success ends it. */
static void
test_failures_rest(void)
{
  Life life = life_of((Function){1, 0.1, 1e4, 1e5}, &time_aim);
  for (guint i = 0; i < 6; i++)
    live(&life, profile("wifi"));
  guint rests[3] = {0};
  for (guint fail = 0; fail < 3; fail++) {
    PolicyAnswer answer = ask(&life);
    for (; answer.why == POLICY_FAILS && rests[fail] < 100; answer = ask(&life))
      rests[fail]++;
    if (!answer.remote) /* a look at what it takes here */
      answer = ask(&life);
    g_assert_true(answer.remote);
    policy_failed_there(life.placement, life.function, &answer, 0.1, FALSE);
  }
  g_assert_cmpuint(rests[0], ==, 0);
  g_assert_cmpuint(rests[1], ==, 8);
  g_assert_cmpuint(rests[2], ==, 16);
  policy_placement_free(life.placement);
}

/* The clone, although it is slower: the device cannot. */
static void
test_memory(void)
{
  Life life = life_of((Function){0.1, 0.5, 1e4, 1e5}, &time_aim);
  PolicyCall call = {.memory_free = 100e6};
  for (guint i = 0; i < 8; i++)
    live(&life, profile("wifi"));
  PolicyAnswer answer = policy_ask(life.placement, life.function, &call, life.now_s);
  g_assert_false(answer.remote);
  policy_out_of_memory(life.function, &answer);
  answer = policy_ask(life.placement, life.function, &call, life.now_s);
  g_assert_true(answer.remote);
  g_assert_cmpint(answer.why, ==, POLICY_MEMORY);
  g_assert_true(isinf(policy_deadline(&answer)));
  call.memory_free = 200e6; /* other programs have ended */
  g_assert_cmpint(policy_ask(life.placement, life.function, &call, life.now_s).why, !=, POLICY_MEMORY);
  call.memory_free = 50e6;
  policy_tracker_lost(policy_placement_tracker(life.placement), life.now_s);
  answer = policy_ask(life.placement, life.function, &call, life.now_s);
  g_assert_false(answer.remote);
  g_assert_cmpint(answer.why, ==, POLICY_MEMORY_CUT);
  policy_placement_free(life.placement);
}

/* A block that needed more than the device has tells before anything fails. */
static void
test_memory_that_a_block_needed(void)
{
  Life life = life_of((Function){1, 0.1, 1e4, 1e5}, &time_aim);
  PolicyCall call = {.memory_free = 1e9};
  PolicyAnswer answer = policy_ask(life.placement, life.function, &call, life.now_s);
  PolicyBlock block = block_of(&life, profile("wifi"));
  block.memory = 300e6;
  policy_ran_there(life.placement, life.function, &answer, &block);
  call.memory_free = 200e6;
  g_assert_cmpint(policy_ask(life.placement, life.function, &call, life.now_s).why, ==, POLICY_MEMORY);
  call.memory_free = 400e6;
  g_assert_cmpint(policy_ask(life.placement, life.function, &call, life.now_s).why, !=, POLICY_MEMORY);
  policy_placement_free(life.placement);
}

/* However long it lives, trying takes no more than its share and the last try. */
static void
test_exploring_has_a_budget(void)
{
  static const Function functions[] = {
      {1, 0.1, 1e4, 1e5}, {0.1, 0.3, 1e5, 1e6}, {0.05, 0.04, 1e4, 1e5}, {0.02, 0.2, 3e3, 1e4}};
  for (guint k = 0; k < G_N_ELEMENTS(functions); k++) {
    Life life = life_of(functions[k], &time_aim);
    double lost = 0, last = 0, first = 0;
    guint tries = 0;
    for (guint i = 0; i < 5000; i++) {
      double before = life.now_s;
      PolicyAnswer answer = live(&life, profile("wifi"));
      PolicyBlock block = block_of(&life, profile("wifi"));
      double best = MIN(functions[k].local_s, block.seconds), loss = life.now_s - before - best;
      if (answer.why != POLICY_TRY || loss < 1e-3)
        continue;
      if (tries++ < 2 * POLICY_FIRST_TRIES)
        first += loss;
      lost += loss;
      last = loss;
      g_assert_cmpfloat(lost, <=, first + 1.3 * POLICY_EXPLORE_SHARE * (life.now_s - 1) + last);
    }
    g_assert_cmpuint(tries, <, 200);
    policy_placement_free(life.placement);
  }
}

/* The clone has become fast: some day that is found out. */
static void
test_looks_again(void)
{
  Life life = life_of((Function){0.2, 0.4, 1e4, 1e5}, &time_aim);
  for (guint i = 0; i < 200; i++)
    live(&life, profile("wifi"));
  g_assert_false(ask(&life).remote);
  life.is.clone_s = 0.02;
  guint remote = 0;
  for (guint i = 0; i < 2000; i++)
    remote += live(&life, profile("wifi")).remote;
  g_assert_cmpuint(remote, >, 1000);
  policy_placement_free(life.placement);
}

/* Time says the clone, energy says the device: waiting with the radio on takes more than it computes. */
static void
test_objectives_differ(void)
{
  EnergyRadio radio = {.kind = ENERGY_RADIO_WIFI, .active_w = 5, .tails = {{5, 10}}, .tail_count = 1};
  EnergyModel model = {.busy_w = 0.5, .idle_w = 0.5, .radios = {[ENERGY_RADIO_WIFI] = &radio}};
  PolicyAim energy = {POLICY_ENERGY, &model};
  Life by_time = life_of((Function){2, 1, 1e4, 1e5}, &time_aim);
  Life by_energy = life_of((Function){2, 1, 1e4, 1e5}, &energy);
  PolicyAnswer fast = {0}, thrifty = {0};
  for (guint i = 0; i < 12; i++) {
    fast = live(&by_time, profile("wifi"));
    thrifty = live(&by_energy, profile("wifi"));
  }
  g_assert_true(fast.remote);
  g_assert_false(thrifty.remote);
  policy_placement_free(by_time.placement);
  policy_placement_free(by_energy.placement);
}

/* Short calls are left alone, looked at again, and found when they are long. */
static void
test_watching(void)
{
  Life life = life_of((Function){20e-6, 1e-6, 1e3, 1e5}, &time_aim);
  double again = 0, waits[3];
  for (guint look = 0; look < 3; look++) {
    guint calls = 0;
    do
      live(&life, profile("wifi"));
    while (++calls < 20 && policy_watch(life.placement, life.function, life.now_s, &again));
    g_assert_cmpuint(calls, ==, 4);
    waits[look] = again - life.now_s;
    life.now_s = again;
  }
  g_assert_cmpfloat_with_epsilon(waits[0], POLICY_RELOOK_S, 1e-9);
  g_assert_cmpfloat_with_epsilon(waits[2], 4 * POLICY_RELOOK_S, 1e-9);
  life.is = (Function){1, 0.1, 1e3, 1e5};
  guint remote = 0;
  for (guint i = 0; i < 40; i++) {
    remote += live(&life, profile("wifi")).remote;
    g_assert_true(policy_watch(life.placement, life.function, life.now_s, &again));
  }
  g_assert_cmpuint(remote, >, 20);
  policy_placement_free(life.placement);
}

static void
test_words(void)
{
  Life life = life_of((Function){1, 0.1, 1e4, 1e5}, &time_aim);
  for (guint i = 0; i < 8; i++)
    live(&life, profile("wifi"));
  PolicyAnswer answer = ask(&life);
  g_autofree char *words = policy_words(life.placement, life.function, &answer);
  static const char *const parts[] = {"in the clone; 11",
                                      " ms there (6 blocks; device 2.0 ms, clone 101",
                                      " for 1 round trips, 10.0",
                                      "kB up, 1.0",
                                      " against 1.00 s here (2 calls)",
                                      "; a link like wifi: 5."};
  const char *at = words;
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
    g_test_message("%s", at);
    at = strstr(at, parts[i]);
    g_assert_nonnull(at);
  }
  policy_tracker_lost(policy_placement_tracker(life.placement), life.now_s);
  answer = ask(&life);
  g_autofree char *none = policy_words(life.placement, life.function, &answer);
  g_assert_true(g_str_has_prefix(none, "on the device: there is no way to the clone; "));
  g_assert_cmpstr(policy_why_word(answer.why), ==, "no-link");
  policy_placement_free(life.placement);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/policy/placement/unseen-runs-here-first", test_unseen_runs_here_first);
  g_test_add_func("/policy/placement/belief-goes-at-once", test_belief_goes_at_once);
  g_test_add_func("/policy/placement/what-cannot-pay-is-not-tried", test_what_cannot_pay_is_not_tried);
  g_test_add_func("/policy/placement/first-block-has-to-be-worth-it", test_first_block_has_to_be_worth_it);
  g_test_add_func("/policy/placement/follows-the-link", test_follows_the_link);
  g_test_add_func("/policy/placement/no-link", test_no_link);
  g_test_add_func("/policy/placement/failures-rest", test_failures_rest);
  g_test_add_func("/policy/placement/memory", test_memory);
  g_test_add_func("/policy/placement/memory-that-a-block-needed", test_memory_that_a_block_needed);
  g_test_add_func("/policy/placement/exploring-has-a-budget", test_exploring_has_a_budget);
  g_test_add_func("/policy/placement/looks-again", test_looks_again);
  g_test_add_func("/policy/placement/objectives-differ", test_objectives_differ);
  g_test_add_func("/policy/placement/watching", test_watching);
  g_test_add_func("/policy/placement/words", test_words);
  return g_test_run();
}

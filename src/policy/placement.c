#include "policy/placement_private.h"

#include <math.h>

#define PAUSE_UNKNOWN    10.0 /* s: long for a radio */
#define SHORT_S          2e-3 /* against it a stop is nothing */
#define PING_NOW         1e-3
#define FRESH_S          1.0
#define LINK_CALLS       8.0
#define GAIN_CALLS       16.0
#define CLONE_FASTER     4.0
#define HOPE_COUNTS      0.5
#define UNKNOWN_SIZES    4.0
#define DEADLINE_LEAST_S 0.05
#define SURE_S           2.0 /* so long a first call is taken by its word */

enum {
  SHORT_CALLS = 4, /* in a row, before nobody looks */
  LOOK_EVERY = 16, /* calls, at first */
  LOOK_RARELY = 4096,
  REST = 8, /* calls, after one failure; twice as many after each */
  REST_DOUBLINGS = 10,
};

static void
function_free(PolicyFunction *function)
{
  g_free(function->name);
  policy_model_free(function->model);
  g_free(function);
}

PolicyPlacement *
policy_placement_new(const PolicyAim *aim)
{
  PolicyPlacement *placement = g_new0(PolicyPlacement, 1);
  placement->aim = *aim;
  placement->functions = g_ptr_array_new_with_free_func((GDestroyNotify)function_free);
  placement->by_name = g_hash_table_new(g_str_hash, g_str_equal);
  policy_tracker_init(&placement->tracker, ENERGY_RADIO_WIFI);
  return placement;
}

void
policy_placement_free(PolicyPlacement *placement)
{
  if (!placement)
    return;
  g_hash_table_unref(placement->by_name);
  g_ptr_array_unref(placement->functions);
  g_free(placement);
}

PolicyTracker *
policy_placement_tracker(PolicyPlacement *placement)
{
  return &placement->tracker;
}

PolicyFunction *
policy_function_add(PolicyPlacement *placement, const char *name)
{
  PolicyFunction *function = g_new0(PolicyFunction, 1);
  function->name = g_strdup(name);
  function->model = policy_model_new();
  function->look_every = LOOK_EVERY;
  function->relook_s = POLICY_RELOOK_S;
  g_ptr_array_add(placement->functions, function);
  g_hash_table_insert(placement->by_name, function->name, function);
  return function;
}

PolicyFunction *
policy_placement_function(PolicyPlacement *placement, const char *name)
{
  PolicyFunction *function = g_hash_table_lookup(placement->by_name, name);
  return function ? function : policy_function_add(placement, name);
}

void
policy_function_believe(PolicyFunction *function, const PolicyBelief *belief)
{
  policy_model_believe(function->model, belief);
}

guint
policy_placement_count(const PolicyPlacement *placement)
{
  return placement->functions->len;
}

PolicyFunction *
policy_placement_nth(const PolicyPlacement *placement, guint index)
{
  return placement->functions->pdata[index];
}

const char *
policy_function_name(const PolicyFunction *function)
{
  return function->name;
}

const PolicyModel *
policy_function_model(const PolicyFunction *function)
{
  return function->model;
}

/* ---- what is likely ---- */

/* Calls that this run has yet, the present one included: as in earlier runs, or as many as it had. */
static double
calls_ahead(const PolicyFunction *function)
{
  LearnerGuess guess = learner_usual_guess(&function->run_calls);
  double usual = guess.known ? exp(guess.value) : 0, had = (double)function->calls;
  return usual > had ? usual - had : had + 1;
}

static double
speed_of_clone(const PolicyPlacement *placement)
{
  LearnerGuess guess = learner_usual_guess(&placement->speed);
  return guess.known ? exp(guess.value) : 0;
}

static void
note_pause(PolicyFunction *function, double now_s)
{
  if (function->ended_s > 0 && now_s > function->ended_s)
    learner_usual_learn(&function->pause, log(CLAMP(now_s - function->ended_s, 1e-6, 3600)));
}

/* Prices of both places, as far as they are known. */
static void
compare(PolicyPlacement *placement, const PolicyFunction *function, PolicyAnswer *answer)
{
  const PolicyConditions *conditions = &answer->conditions;
  double speed = speed_of_clone(placement);
  LearnerGuess pause = learner_usual_guess(&function->pause);
  answer->pause_s = pause.known ? exp(pause.value) : PAUSE_UNKNOWN;
  answer->local_price = answer->block_price = INFINITY;
  answer->local_known =
      policy_model_local(function->model, &answer->call, &answer->local, &answer->local_doubt);
  if (answer->local_known)
    answer->local_price = policy_price(&placement->aim, conditions, &answer->local, answer->pause_s);
  PolicyCall later = answer->call;
  later.first = FALSE;
  answer->block_known =
      policy_model_block(function->model, &later, conditions, speed, &answer->block, &answer->block_doubt);
  if (!answer->block_known)
    return;
  answer->block_price = policy_price(&placement->aim, conditions, &answer->block, answer->pause_s);
  answer->sizes_known = policy_model_block_count(function->model, FALSE) > 0;
  if (!answer->call.first)
    return;
  double block_price = answer->block_price;
  answer->sizes_known = placement->state.count > 0;
  policy_model_block(function->model, &answer->call, conditions, speed, &answer->block, &answer->block_doubt);
  answer->first_price =
      MAX(policy_price(&placement->aim, conditions, &answer->block, answer->pause_s) - block_price, 0);
}

/* ---- the decision ---- */

static gboolean
memory_is_short(const PolicyFunction *function, const PolicyCall *call)
{
  double need = MAX(function->memory_need, policy_model_memory(function->model, call));
  return call->memory_free > 0 ? need > call->memory_free : function->memory_need > 0;
}

/* May trying cost so much now? */
static gboolean
has_credit(const PolicyPlacement *placement, double loss)
{
  PolicyObjective objective = placement->aim.objective;
  return placement->lost[objective] + loss <= POLICY_EXPLORE_SHARE * placement->spent[objective];
}

/* Too little is known of later blocks to believe the numbers, and of first ones where it would be one. */
static gboolean
is_new_there(const PolicyFunction *function, gboolean first)
{
  guint64 later = policy_model_block_count(function->model, FALSE);
  return later < POLICY_FIRST_TRIES || (first && !policy_model_block_count(function->model, TRUE));
}

static gboolean
was_there(const PolicyFunction *function)
{
  return policy_model_block_count(function->model, FALSE) + policy_model_block_count(function->model, TRUE) >
         0;
}

static gboolean
is_new_here(const PolicyFunction *function, const PolicyAnswer *answer)
{
  guint64 calls = policy_model_local_count(function->model);
  return calls == 1 && answer->local.seconds < SURE_S;
}

static gboolean
due_for_look(const PolicyPlacement *placement, const PolicyFunction *function, double loss)
{
  return function->calls >= function->looked + function->look_every && isfinite(loss) &&
         has_credit(placement, MAX(loss, 0));
}

/* A clone that has become faster would make the block cheaper: the link's part is known well enough. */
static gboolean
may_change(const PolicyAnswer *answer)
{
  return answer->block.seconds - answer->block.clone_s * (1 - 1 / CLONE_FASTER) < answer->local.seconds;
}

static void
set(PolicyAnswer *answer, gboolean remote, PolicyWhy why)
{
  answer->remote = remote;
  answer->why = why;
}

/* The clone is cheaper but for the first block: whether that is worth it. What this run has missed so far
 * counts, for it is likely to miss as much again; or what half of the calls that are expected would save, as
 * far as the link is likely to stay what it is: for as many calls as it has. */
static gboolean
first_pays(const PolicyPlacement *placement, const PolicyFunction *function, const PolicyAnswer *answer,
           double gain)
{
  /* As far as it is certain. */
  gain = MIN(gain, MAX(answer->local_price / answer->local_doubt - answer->block_price, 0));
  if (is_new_there(function, FALSE))
    gain *= HOPE_COUNTS;
  double calls = MIN(answer->calls_ahead / 2, MAX(placement->link_calls, LINK_CALLS));
  return MAX(placement->regret, calls * function->gain) + gain >= answer->first_price;
}

/* A first block costs so much that hearsay about the link will not do, nor is it enough to learn from. */
static gboolean
is_fresh(const PolicyPlacement *placement, const PolicyFunction *function, const PolicyAnswer *answer)
{
  LearnerGuess pause = learner_usual_guess(&function->pause);
  double every = answer->local.seconds + (pause.known ? exp(pause.value) : 0);
  return answer->began_s - placement->tracker.seen_s <= MAX(FRESH_S, 2 * every);
}

static void
decide(PolicyPlacement *placement, PolicyFunction *function, PolicyAnswer *answer)
{
  double gain = answer->local_price - answer->block_price;
  double more = answer->first_price - gain; /* that a block would cost now */
  gboolean new = is_new_there(function, answer->call.first);
  if (isfinite(gain))
    function->gain += (MAX(gain, 0) - function->gain) / MIN((double)function->calls, GAIN_CALLS);
  if (gain <= 0)
    /* What was never seen there is as good as it can be in these numbers already. */
    set(answer, was_there(function) && may_change(answer) && due_for_look(placement, function, more),
        POLICY_CHEAPER);
  else if (!first_pays(placement, function, answer, gain))
    set(answer, FALSE, POLICY_NOT_YET);
  else
    set(answer, new || !due_for_look(placement, function, -more), new ? POLICY_TRY : POLICY_CHEAPER);
  if (answer->why == POLICY_CHEAPER && answer->remote != (gain > 0))
    answer->why = POLICY_TRY;
  if (answer->remote && (answer->call.first || answer->why == POLICY_TRY) &&
      !is_fresh(placement, function, answer))
    set(answer, FALSE, POLICY_LINK_UNSEEN);
}

PolicyAnswer
policy_ask(PolicyPlacement *placement, PolicyFunction *function, const PolicyCall *call, double now_s)
{
  PolicyAnswer answer = {.call = *call, .conditions = placement->tracker.now, .began_s = now_s};
  note_pause(function, now_s);
  answer.call.argument_count = MIN(call->argument_count, POLICY_ARGUMENTS);
  answer.call.here_s = placement->block_ended_s > 0 ? MAX(now_s - placement->block_ended_s, 0) : 0;
  answer.calls_ahead = calls_ahead(function);
  if (placement->state.count > 0)
    answer.call.state_bytes = policy_model_state(exp(placement->state.mean));
  compare(placement, function, &answer);
  gboolean linked = answer.conditions.linked;
  function->calls++;
  if (placement->link_changes != placement->tracker.changes)
    placement->link_calls = 0;
  placement->link_changes = placement->tracker.changes;
  placement->link_calls++;
  if (memory_is_short(function, &answer.call))
    set(&answer, linked, linked ? POLICY_MEMORY : POLICY_MEMORY_CUT);
  else if (!linked)
    set(&answer, FALSE, POLICY_NO_LINK);
  else if (function->failures && function->calls <= function->rests_until)
    set(&answer, FALSE, POLICY_FAILS);
  else if (!answer.local_known || !answer.block_known || is_new_here(function, &answer))
    set(&answer, FALSE, POLICY_UNSEEN);
  else if (!placement->tracker.measured)
    set(&answer, FALSE, POLICY_LINK_UNSEEN);
  else
    decide(placement, function, &answer);
  return answer;
}

/* ---- what came of it ---- */

static void
note_end(PolicyPlacement *placement, PolicyFunction *function, const PolicyAnswer *answer,
         const PolicyCost *cost)
{
  PolicyObjective objective = placement->aim.objective;
  double price = policy_price(&placement->aim, &answer->conditions, cost, answer->pause_s);
  if (!(price >= 0 && price <= 1e12))
    return;
  placement->spent[objective] += price;
  if (answer->why != POLICY_TRY)
    return;
  gboolean was_remote = cost->up > 0 || cost->down > 0 || cost->round_trips > 0;
  double other = was_remote ? answer->local_price : answer->block_price + answer->first_price;
  double lost = price - other;
  if (isfinite(lost) && lost > 0)
    placement->lost[objective] += lost;
  function->looked = function->calls;
  /* As expected: there is less reason to look again. */
  function->look_every = lost > 0 ? MIN(function->look_every * 2, LOOK_RARELY) : LOOK_EVERY;
}

void
policy_ran_here(PolicyPlacement *placement, PolicyFunction *function, const PolicyAnswer *answer,
                double seconds, double processor_s)
{
  if (!(seconds >= 0))
    return;
  PolicyCost cost = {.seconds = seconds, .processor_s = MAX(processor_s, 0)};
  policy_model_learn_local(function->model, &answer->call, seconds, cost.processor_s);
  note_end(placement, function, answer, &cost);
  if (answer->why == POLICY_NOT_YET)
    placement->regret += answer->local_price - answer->block_price;
  function->ended_s = answer->began_s + seconds;
  gboolean could_pay = answer->block_price < answer->local_price;
  if (seconds < SHORT_S && !could_pay) {
    function->short_calls++;
    return;
  }
  function->short_calls = 0;
  function->relook_s = POLICY_RELOOK_S;
}

void
policy_ran_there(PolicyPlacement *placement, PolicyFunction *function, const PolicyAnswer *answer,
                 const PolicyBlock *block)
{
  double ended_s = answer->began_s + block->seconds;
  if (!(block->seconds >= 0))
    return;
  double work = block->device_s + block->clone_s + block->around_s;
  PolicyTransfer transfer = {block->round_trips, block->up, block->down, MAX(block->seconds - work, 0)};
  PolicyCost cost = {block->seconds, block->device_s,    block->up,
                     block->down,    block->round_trips, block->clone_s + block->around_s};
  policy_tracker_transfer(&placement->tracker, ended_s, &transfer);
  policy_model_learn_block(function->model, &answer->call, block);
  if (answer->local_known && block->clone_s > 0)
    learner_usual_learn(&placement->speed, log(CLAMP(answer->local.seconds / block->clone_s, 1e-3, 1e3)));
  if (answer->call.first)
    learner_usual_learn(&placement->state, log(CLAMP(block->up, 1, 1e15)));
  note_end(placement, function, answer, &cost);
  function->failures = 0;
  function->short_calls = 0;
  function->ended_s = placement->block_ended_s = ended_s;
  placement->regret = 0;
}

/* A try that brought nothing. */
static void
note_loss(PolicyPlacement *placement, double seconds)
{
  if (seconds > 0 && placement->aim.objective == POLICY_TIME)
    placement->lost[POLICY_TIME] += MIN(seconds, 1e9);
}

static void
rest(PolicyFunction *function)
{
  function->failures++;
  function->rests_until = function->calls + ((guint64)REST << MIN(function->failures - 1, REST_DOUBLINGS));
}

void
policy_failed_there(PolicyPlacement *placement, PolicyFunction *function, const PolicyAnswer *answer,
                    double seconds, gboolean link)
{
  if (link)
    policy_tracker_lost(&placement->tracker, answer->began_s + MAX(seconds, 0));
  if (answer->why == POLICY_TRY)
    note_loss(placement, seconds);
  if (link)
    return;
  rest(function);
}

void
policy_out_of_memory(PolicyFunction *function, const PolicyAnswer *answer)
{
  function->memory_need = MAX(function->memory_need, MAX(answer->call.memory_free * 1.01, 1));
}

double
policy_patience(const PolicyAnswer *answer)
{
  enum { UNKNOWN_S = 30 };
  return answer->why == POLICY_MEMORY ? G_MAXINT
         : answer->local_known        ? answer->local.seconds / 2
                                      : UNKNOWN_S;
}

double
policy_deadline(const PolicyAnswer *answer)
{
  double most = answer->block.seconds + MAX(answer->local.seconds, DEADLINE_LEAST_S);
  if (!answer->local_known || answer->why == POLICY_MEMORY)
    return INFINITY;
  return answer->sizes_known ? most : UNKNOWN_SIZES * most;
}

void
policy_slow_there(PolicyPlacement *placement, PolicyFunction *function, const PolicyAnswer *answer,
                  double seconds, double moved)
{
  PolicyTransfer transfer = {1, moved, 0, seconds};
  policy_tracker_transfer(&placement->tracker, answer->began_s + MAX(seconds, 0), &transfer);
  if (answer->why == POLICY_TRY)
    note_loss(placement, seconds);
  if (!answer->sizes_known)
    rest(function);
}

/* On the best of links a block would be cheaper: then it matters what the link is like. */
gboolean
policy_wants_ping(PolicyPlacement *placement, PolicyFunction *function, const PolicyAnswer *answer,
                  double now_s)
{
  PolicyCost cost;
  PolicyDoubt doubt;
  PolicyConditions best = policy_profiles[POLICY_LAN].conditions;
  PolicyCall later = answer->call;
  later.first = FALSE;
  best.radio = answer->conditions.radio;
  if (answer->why == POLICY_LINK_UNSEEN)
    return policy_tracker_wants_ping(&placement->tracker, now_s, PING_NOW);
  if (answer->remote || !answer->local_known ||
      !policy_model_block(function->model, &later, &best, speed_of_clone(placement), &cost, &doubt) ||
      policy_price(&placement->aim, &best, &cost, answer->pause_s) >= answer->local_price)
    return FALSE;
  return policy_tracker_wants_ping(&placement->tracker, now_s, answer->local.seconds);
}

gboolean
policy_watch(PolicyPlacement *placement, PolicyFunction *function, double now_s, double *again_s)
{
  if (function->short_calls < SHORT_CALLS)
    return TRUE;
  *again_s = now_s + function->relook_s;
  function->short_calls = 0;
  function->relook_s = MIN(function->relook_s * 2, POLICY_RELOOK_MOST_S);
  return FALSE;
}

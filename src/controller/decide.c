/* Where the next call runs: asks the policy (policy/placement.h), and tells it what came of it. */
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/io.h"
#include "controller/controller.h"

enum {
  FAILURES_MAX = 3,
  ARGUMENTS = POLICY_ARGUMENTS,
  STATM_MAX = 256,
};

#define LOCAL_ROUND_TRIP_S 50e-6 /* over a socket pair */
#define AGAIN_S            5.0   /* without a link, before another try; twice as long each time */
#define SHOWN_FACTOR       2 /* a decision for the same reason is explained when its numbers differ so much */

static double
now_s(void)
{
  return clock_now_ns() / 1e9;
}

static gboolean
is_auto(const Controller *controller)
{
  return controller->options->place == RUN_PLACE_AUTO && !controller->options->whole;
}

/* ---- the link ---- */

/* The engine has no message that only asks how long the way is: what the system knows of the connection has
 * to do between two blocks. */
static void
look_at_link(Controller *controller)
{
  PolicyTracker *tracker = policy_placement_tracker(controller->policy);
  double seen = controller->link ? link_round_trip_s(controller->link) : 0;
  const char *clone = controller->options->clone;
  if (seen <= 0)
    seen = !clone || g_str_equal(clone, "local") ? LOCAL_ROUND_TRIP_S : tracker->now.round_trip_s;
  policy_tracker_ping(tracker, now_s(), seen);
}

static void
note_link(Controller *controller)
{
  PolicyTracker *tracker = policy_placement_tracker(controller->policy);
  if (controller->link && link_state(controller->link) == LINK_AWAY)
    policy_tracker_lost(tracker, now_s());
  else if (!tracker->measured ||
           (!tracker->now.linked &&
            (controller->link ||
             now_s() - tracker->seen_s > AGAIN_S * (1 << MIN(controller->sessions_failed, 4)))))
    look_at_link(controller);
}

/* ---- a call ---- */

/* Bytes of memory that the program has; 0: it does not tell. */
static double
resident(const Controller *controller)
{
  unsigned long size, pages;
  g_autofree char *text = io_read_file_at(controller->process->directory, "statm", STATM_MAX);
  return text && sscanf(text, "%lu %lu", &size, &pages) == 2 ? (double)pages * COPIES_PAGE : 0;
}

static void
say(Controller *controller, Function *function)
{
  const PolicyAnswer *answer = &function->answer;
  gboolean same =
      function->said && function->said_why == answer->why && function->said_remote == answer->remote;
  double was = function->said_s, is = answer->local_known ? answer->local.seconds : 0;
  if (!controller->options->explain || (same && is <= was * SHOWN_FACTOR && was <= is * SHOWN_FACTOR))
    return;
  g_autofree char *words = policy_words(controller->policy, function->policy, answer);
  explain(controller, "%s: %s", function->text, words);
  function->said = TRUE;
  function->said_why = answer->why;
  function->said_remote = answer->remote;
  function->said_s = is;
}

static void
ask(Controller *controller, Function *function, const ArchRegisters *registers)
{
  PolicyCall call = {.argument_count = ARGUMENTS, .first = !controller->started || controller->block == 0};
  for (guint i = 0; i < ARGUMENTS; i++)
    call.arguments[i] = arch_parameter(registers, i);
  if (call.first)
    call.state_bytes = resident(controller);
  if (!function->policy)
    function->policy = policy_placement_function(controller->policy, function->text);
  note_link(controller);
  function->answer = policy_ask(controller->policy, function->policy, &call, now_s());
  if (policy_wants_ping(controller->policy, function->policy, &function->answer, now_s()))
    look_at_link(controller);
  say(controller, function);
}

gboolean
decide_remote(Controller *controller, Function *function, const ArchRegisters *registers)
{
  if (function->failures >= FAILURES_MAX || controller->why_no_session)
    return FALSE;
  if (!is_auto(controller))
    return controller->options->place == RUN_PLACE_CLONE;
  ask(controller, function, registers);
  return function->answer.remote;
}

/* ---- what came of it ---- */

static double
joules(Controller *controller, const PolicyCost *cost, double pause_s)
{
  PolicyAim aim = {.objective = POLICY_ENERGY, .energy = controller->energy};
  PolicyConditions conditions = policy_placement_tracker(controller->policy)->now;
  conditions.linked = TRUE;
  return controller->energy ? policy_price(&aim, &conditions, cost, pause_s) : 0;
}

/* The clone's time holds what it waited for the device while the block ran: as long as that takes on this
 * link. */
static PolicyBlock
block_seen(Controller *controller, gint64 ns)
{
  const LinkCounters *counters = link_counters(controller->link);
  const PolicyConditions *link = &policy_placement_tracker(controller->policy)->now;
  const gint64 *split = controller->split;
  const Traffic *traffic = &controller->meter.now;
  PolicyBlock block = {
      .seconds = ns / 1e9,
      .device_s = (split[SPLIT_STOP] + split[SPLIT_CAPTURE] + split[SPLIT_SEND] + split[SPLIT_APPLY]) / 1e9,
      .around_s = (split[SPLIT_CLONE_APPLY] + split[SPLIT_CLONE_CAPTURE] + split[SPLIT_CLONE_SEND]) / 1e9,
      .up = (double)(counters->bytes_sent - controller->bytes_out_before),
      .down = (double)(counters->bytes_received - controller->bytes_in_before),
      .round_trips = MAX((double)traffic->round_trips, 1),
  };
  double ran = split[SPLIT_CLONE_RUN] / 1e9;
  double waited = (block.round_trips - 1) * link->round_trip_s +
                  (double)traffic_bytes(traffic, TRAFFIC_PULLED) / link->up;
  block.clone_s = MAX(ran - waited, ran / 20);
  return block;
}

void
decide_learn_remote(Controller *controller, Function *function, gint64 ns)
{
  PolicyBlock block = block_seen(controller, ns);
  PolicyCost cost = {block.seconds, block.device_s,    block.up,
                     block.down,    block.round_trips, block.clone_s + block.around_s};
  function->failures = 0;
  function->joules_there += joules(controller, &cost, function->answer.pause_s);
  if (function->policy)
    policy_ran_there(controller->policy, function->policy, &function->answer, &block);
}

void
decide_failed(Controller *controller, Function *function, gint64 ns)
{
  function->failures++;
  if (!function->policy)
    return;
  if (!controller->too_slow) {
    policy_failed_there(controller->policy, function->policy, &function->answer, ns / 1e9,
                        controller->link && link_state(controller->link) == LINK_AWAY);
    return;
  }
  double moved = (double)(link_counters(controller->link)->bytes_sent - controller->bytes_out_before);
  policy_slow_there(controller->policy, function->policy, &function->answer, ns / 1e9, moved);
  function->failures = 0; /* it is the link's fault */
}

gint64
decide_processor_ns(const Controller *controller)
{
  clockid_t clock;
  struct timespec used;
  if (clock_getcpuclockid(controller->pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
    return 0;
  return (gint64)used.tv_sec * 1000000000 + used.tv_nsec;
}

void
decide_learn_local(Controller *controller, const LocalTiming *timing, gint64 ns)
{
  Function *function = timing->function;
  gint64 processor = decide_processor_ns(controller) - timing->processor_ns;
  PolicyCost cost = {.seconds = ns / 1e9, .processor_s = CLAMP(processor, 0, 1024 * ns) / 1e9};
  double again_s;
  function->local_ns += ns;
  function->joules_here += joules(controller, &cost, timing->answer.pause_s);
  if (!function->policy)
    return;
  policy_ran_here(controller->policy, function->policy, &timing->answer, cost.seconds, cost.processor_s);
  if (!function->watched || policy_watch(controller->policy, function->policy, now_s(), &again_s))
    return;
  explain(controller,
          "%s: a call takes %.1f us on the device, less than any off-loading; it is not watched for %.1f s",
          function->text, ns / 1e3, again_s - now_s());
  functions_unwatch(controller, function);
  function->again_ns = (gint64)(again_s * 1e9);
}

/* ---- a block that takes too long ---- */

gboolean
decide_gives_up(Controller *controller, int *timeout_ms)
{
  enum { LOOK_MS = 20 };
  const Function *function = controller->block_function;
  if (!function || !function->policy || !controller->link)
    return FALSE;
  gboolean away = link_state(controller->link) == LINK_AWAY;
  gboolean stuck = link_backlog(controller->link).unwritten > 0;
  gint64 now = clock_now_ns();
  controller->away_since_ns = !away ? 0 : controller->away_since_ns ? controller->away_since_ns : now;
  controller->too_slow =
      stuck && !away && (now - controller->block_start_ns) / 1e9 > policy_deadline(&function->answer);
  if (away || stuck)
    *timeout_ms = *timeout_ms < 0 ? LOOK_MS : MIN(*timeout_ms, LOOK_MS);
  return controller->too_slow ||
         (away && (now - controller->away_since_ns) / 1e9 > policy_patience(&function->answer));
}

/* ---- functions that are not watched ---- */

void
decide_timeout(const Controller *controller, int *timeout_ms)
{
  for (guint i = 0; i < controller->functions->len; i++) {
    const Function *function = controller->functions->pdata[i];
    int left = function->again_ns ? clock_left_ms(function->again_ns) : -1;
    if (left >= 0)
      *timeout_ms = *timeout_ms < 0 ? left : MIN(*timeout_ms, left);
  }
}

gboolean
decide_relook(Controller *controller, GError **error)
{
  for (guint i = 0; i < controller->functions->len; i++) {
    Function *function = controller->functions->pdata[i];
    if (!function->again_ns || controller->exited || clock_left_ms(function->again_ns) > 0)
      continue;
    function->again_ns = 0;
    if (!functions_watch(controller, function, error))
      return FALSE;
  }
  return TRUE;
}

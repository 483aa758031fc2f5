#include "policy/tracker.h"

#include <math.h>

/* A look that differs by more than this factor is a change and no noise. */
#define SUDDEN      2.5
#define SUDDEN_PING 1.8
/* How much of a difference is taken over at once, otherwise. */
#define GAIN_PING     0.25
#define GAIN_TRANSFER 0.5

#define ROUND_TRIP_LEAST 1e-6
#define ROUND_TRIP_MOST  1e3
#define RATE_LEAST       1e2
#define RATE_MOST        1e12

#define PING_LEAST_S 0.05 /* between two */
#define PING_MOST_S  10.0

static const PolicyProfileKind profile_of_radio[ENERGY_RADIO_KINDS] = {
    [ENERGY_RADIO_WIFI] = POLICY_WIFI,
    [ENERGY_RADIO_LTE] = POLICY_LTE,
    [ENERGY_RADIO_3G] = POLICY_3G,
    [ENERGY_RADIO_WIRED] = POLICY_LAN,
};

/* The link's numbers are another's; what the device is in stays. */
static void
take_link(PolicyTracker *tracker, const PolicyConditions *link)
{
  tracker->now.round_trip_s = CLAMP(link->round_trip_s, ROUND_TRIP_LEAST, ROUND_TRIP_MOST);
  tracker->now.up = CLAMP(link->up, RATE_LEAST, RATE_MOST);
  tracker->now.down = CLAMP(link->down, RATE_LEAST, RATE_MOST);
}

void
policy_tracker_init(PolicyTracker *tracker, EnergyRadioKind radio)
{
  *tracker = (PolicyTracker){.now = policy_profiles[profile_of_radio[radio]].conditions};
  tracker->now.radio = radio;
  tracker->seen_s = tracker->asked_s = -INFINITY;
}

/* The numbers of a link like this profile: as it was last, or the profile's. */
static const PolicyConditions *
recall(const PolicyTracker *tracker, PolicyProfileKind kind)
{
  return tracker->known[kind].round_trip_s > 0 ? &tracker->known[kind] : &policy_profiles[kind].conditions;
}

static void
remember(PolicyTracker *tracker)
{
  PolicyProfileKind kind = policy_conditions_nearest(&tracker->now);
  tracker->known[kind] = tracker->now;
}

static void
change_begins(PolicyTracker *tracker)
{
  tracker->before = tracker->now;
  tracker->sudden = TRUE;
  tracker->changes++;
}

/* The look was no freak, nor was the one before it. */
static void
settle(PolicyTracker *tracker)
{
  tracker->sudden = FALSE;
  remember(tracker);
}

static gboolean
is_sudden(double factor, double least)
{
  return fabs(log(factor)) > log(least);
}

/* After a sudden change: does this look say that it was a freak? */
static gboolean
taken_back(PolicyTracker *tracker, double now_would, double before_would, double seconds)
{
  if (!tracker->sudden || !tracker->before.linked || is_sudden(seconds / before_would, SUDDEN) ||
      fabs(log(seconds / before_would)) >= fabs(log(seconds / now_would)))
    return FALSE;
  take_link(tracker, &tracker->before);
  return TRUE;
}

static gboolean
begin_look(PolicyTracker *tracker, double now_s, double seconds)
{
  gboolean was_linked = tracker->now.linked;
  tracker->seen_s = MAX(tracker->seen_s, now_s);
  tracker->now.linked = tracker->measured = TRUE;
  return was_linked;
}

/* The link that has the round trip most like this one. */
static void
take_by_round_trip(PolicyTracker *tracker, double seconds)
{
  double least = INFINITY;
  PolicyConditions best = tracker->now;
  for (guint i = 0; i < POLICY_PROFILES; i++) {
    const PolicyConditions *link = recall(tracker, i);
    double apart = fabs(log(seconds / link->round_trip_s));
    if (apart < least) {
      least = apart;
      best = *link;
    }
  }
  best.round_trip_s = seconds;
  take_link(tracker, &best);
}

void
policy_tracker_ping(PolicyTracker *tracker, double now_s, double seconds)
{
  if (!(seconds >= 0 && seconds <= ROUND_TRIP_MOST))
    return;
  seconds = MAX(seconds, ROUND_TRIP_LEAST);
  begin_look(tracker, now_s, seconds);
  double factor = seconds / tracker->now.round_trip_s;
  gboolean back = taken_back(tracker, tracker->now.round_trip_s, tracker->before.round_trip_s, seconds);
  if (back || !is_sudden(factor, SUDDEN_PING)) {
    if (!back)
      tracker->now.round_trip_s *= pow(factor, GAIN_PING);
    settle(tracker);
    return;
  }
  change_begins(tracker);
  take_by_round_trip(tracker, seconds);
}

/* Of all links that are known, the one on which this transfer would have taken about as long; else all three
 * numbers by the same factor. */
static void
take_by_transfer(PolicyTracker *tracker, const PolicyTransfer *transfer, double seconds)
{
  double least = log(SUDDEN), factor = 0;
  PolicyConditions best = tracker->now;
  for (guint i = 0; i < POLICY_PROFILES; i++) {
    const PolicyConditions *link = recall(tracker, i);
    double would = policy_conditions_seconds(link, transfer->round_trips, transfer->up, transfer->down);
    if (would > 0 && fabs(log(seconds / would)) < least) {
      least = fabs(log(seconds / would));
      best = *link;
      factor = 1;
    }
  }
  if (factor == 0) {
    factor = seconds /
             policy_conditions_seconds(&tracker->now, transfer->round_trips, transfer->up, transfer->down);
    best.round_trip_s *= factor;
    best.up /= factor;
    best.down /= factor;
  }
  take_link(tracker, &best);
}

/* A part of the difference goes to each number, by how much of the time it explains. */
static void
adjust(PolicyTracker *tracker, const PolicyTransfer *transfer, double expected, double seconds)
{
  PolicyConditions link = tracker->now;
  double trips = transfer->round_trips * link.round_trip_s / expected, up = transfer->up / link.up / expected,
         down = transfer->down / link.down / expected;
  double step = GAIN_TRANSFER * log(seconds / expected) / (trips * trips + up * up + down * down);
  link.round_trip_s *= exp(step * trips);
  link.up /= exp(step * up);
  link.down /= exp(step * down);
  take_link(tracker, &link);
}

static gboolean
makes_sense(const PolicyTransfer *transfer)
{
  return transfer->seconds >= 0 && transfer->seconds <= 1e6 && transfer->round_trips >= 0 &&
         transfer->round_trips <= 1e9 && transfer->up >= 0 && transfer->up <= 1e15 && transfer->down >= 0 &&
         transfer->down <= 1e15 && transfer->round_trips + transfer->up + transfer->down > 0;
}

void
policy_tracker_transfer(PolicyTracker *tracker, double now_s, const PolicyTransfer *transfer)
{
  if (!makes_sense(transfer))
    return;
  double seconds = MAX(transfer->seconds, ROUND_TRIP_LEAST);
  gboolean was_linked = begin_look(tracker, now_s, seconds);
  double expected =
      policy_conditions_seconds(&tracker->now, transfer->round_trips, transfer->up, transfer->down);
  if (tracker->sudden && tracker->before.linked && was_linked &&
      taken_back(
          tracker, expected,
          policy_conditions_seconds(&tracker->before, transfer->round_trips, transfer->up, transfer->down),
          seconds)) {
    settle(tracker);
    return;
  }
  if (is_sudden(seconds / expected, SUDDEN)) {
    change_begins(tracker);
    take_by_transfer(tracker, transfer, seconds);
    return;
  }
  adjust(tracker, transfer, expected, seconds);
  settle(tracker);
}

void
policy_tracker_lost(PolicyTracker *tracker, double now_s)
{
  tracker->changes += tracker->now.linked;
  tracker->now.linked = tracker->sudden = FALSE;
  tracker->seen_s = MAX(tracker->seen_s, now_s);
}

void
policy_tracker_radio(PolicyTracker *tracker, EnergyRadioKind radio, gboolean metered)
{
  tracker->now.metered = metered;
  if (radio == tracker->now.radio)
    return;
  change_begins(tracker);
  tracker->now.radio = radio;
  take_link(tracker, recall(tracker, profile_of_radio[radio]));
}

void
policy_tracker_battery(PolicyTracker *tracker, gboolean on_battery, double level)
{
  tracker->now.on_battery = on_battery;
  tracker->now.battery = level >= 0 && level <= 1 ? level : POLICY_BATTERY_UNKNOWN;
}

gboolean
policy_tracker_wants_ping(PolicyTracker *tracker, double now_s, double worth_s)
{
  double every = CLAMP(worth_s / 2, PING_LEAST_S, PING_MOST_S);
  if (!(worth_s > 0) || now_s - tracker->asked_s < every)
    return FALSE;
  if (!tracker->sudden && tracker->now.linked && now_s - tracker->seen_s < every)
    return FALSE;
  tracker->asked_s = now_s;
  return TRUE;
}

/* What the link is like at present, from what blocks and pings show.
 *
 * Small differences move the estimate a little (an average that forgets: EWMA, of logarithms, so that twice
 * and half weigh the same). A difference by a large factor is no noise: it is believed at once, and taken
 * back where the next look denies it. Kim and Noble (MobiCom 2001) call such a pair of filters flip-flop:
 * stable while nothing happens, agile when it does. What was learned of a link like one of the four profiles
 * is remembered, so that a link that comes back is known at once, by its round trip or its radio alone.
 *
 * Times are seconds by the caller's clock, which does not go back. */
#pragma once

#include "policy/conditions.h"

typedef struct {
  double round_trips, up, down; /* bytes as on the wire */
  double seconds;               /* that they took, without anybody's work */
} PolicyTransfer;

typedef struct {
  PolicyConditions now;
  PolicyConditions
      known[POLICY_PROFILES]; /* the link as it was last when it was like this; round_trip_s 0: never */
  PolicyConditions before;    /* a sudden change may be taken back to this */
  gboolean sudden;            /* the last look was such a change */
  gboolean measured;          /* something was seen of this link; FALSE: its profile's numbers */
  double seen_s, asked_s;     /* when it was looked at last, and when a ping was wanted last */
  guint changes;              /* so far */
} PolicyTracker;

/* Nothing seen yet: a link like the profile that the radio suggests, until something is. */
void policy_tracker_init(PolicyTracker *tracker, EnergyRadioKind radio);

/* An empty message went there and back. */
void policy_tracker_ping(PolicyTracker *tracker, double now_s, double seconds);
/* A block's traffic. Numbers that make no sense are left out. */
void policy_tracker_transfer(PolicyTracker *tracker, double now_s, const PolicyTransfer *transfer);
/* There is no way to the clone; the next of the two above says that there is again. */
void policy_tracker_lost(PolicyTracker *tracker, double now_s);
/* The system says what the first hop is. Another radio is another link, of which only what is remembered is
 * known. */
void policy_tracker_radio(PolicyTracker *tracker, EnergyRadioKind radio, gboolean metered);
void policy_tracker_battery(PolicyTracker *tracker, gboolean on_battery, double level);

/* Whether to send a ping now, which costs a packet each way: nothing was seen of the link for a while,
 * measured by what the next decision is worth (s that the call which begins takes). Says so once for each. */
gboolean policy_tracker_wants_ping(PolicyTracker *tracker, double now_s, double worth_s);

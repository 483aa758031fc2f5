/* When to synchronise (CloneCloud section 4: periodic, opportunistic and on-demand synchronisation). Pure:
 * from configuration, conditions, clock and what is pending follow a decision and, rule by rule, why. */
#pragma once

#include <glib.h>

#include "replicator/conditions.h"
#include "replicator/policy_config.h"

typedef enum {
  POLICY_COARSE,        /* every few hours */
  POLICY_OPPORTUNISTIC, /* on a good link, with power, at night; big things, too */
  POLICY_ON_DEMAND,     /* somebody asks and waits */
  POLICY_FINE,          /* before a block that is off-loaded */
  POLICY_LEVELS,
} PolicyLevel;

/* What has changed since the newest generation. Times are seconds since 1970. */
typedef struct {
  gint64 entries; /* of the tree, without big files; -1: not known before the tree is looked at */
  guint64 bytes;  /* of their contents */
  gint64 big_entries;
  guint64 big_bytes;
  gint64 big_since;       /* since when the first of the big ones waits */
  gint64 last_generation; /* 0: there is none */
  guint failures;         /* attempts that failed since, one after the other */
  gint64 last_failure;
} PolicyPending;

typedef struct {
  Conditions conditions;
  gint64 now;       /* s since 1970 */
  int minute;       /* of the day, local time: 0 to 1439 */
  gboolean running; /* one is under way: may it go on? Rules about when to begin do not count */
  PolicyPending pending;
} PolicySituation;

/* Sets now and minute. */
void policy_set_clock(PolicySituation *situation, GDateTime *local);

#define POLICY_NO_TIME G_MAXINT64 /* it is not the clock that is waited for, but that conditions change */

typedef struct {
  const char *rule;
  gboolean holds;
  gint64 until; /* where it does not hold: s since 1970 when it will, or POLICY_NO_TIME */
  char *text;   /* what it looked at, for people */
} PolicyReason;

typedef struct {
  PolicyLevel level;
  gint64 time; /* when it was made: s since 1970, */
  int minute;  /* and the local minute of the day */
  gboolean now;
  gint64 look_again; /* s since 1970: no decision changes before, unless conditions or what is pending do */
  gboolean big;      /* big things, too */
  guint64 rate;      /* bytes/s on the wire at most; 0: no limit */
  int compression;   /* zstd's level */
  GArray *reasons;   /* of PolicyReason, in the order of the rules */
} PolicyDecision;
void policy_decision_free(PolicyDecision *decision);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PolicyDecision, policy_decision_free)

PolicyDecision *policy_decide(const PolicyConfig *config, const PolicySituation *situation,
                              PolicyLevel level);

/* What a device does by itself: an opportunistic synchronisation where there is an opportunity, or else a
 * coarse one. Where neither goes now, the decision is about the one that may go sooner, and looks again as
 * soon as one of them may. */
PolicyDecision *policy_decide_automatic(const PolicyConfig *config, const PolicySituation *situation);

const char *policy_level_name(PolicyLevel level);

/* "waits, looks again at 16:10: the last generation is 2 h old; ..." or "now": one line with all that does
 * not hold. */
char *policy_summary(const PolicyDecision *decision);

/* "coarse: " and the summary, then a line for each rule: its name, "holds" or "waits", what it looked at. */
char *policy_explain(const PolicyDecision *decision);

/* Rules of a level, in the order of its reasons: index from 0, NULL after the last. For manuals and tests. */
const char *policy_rule_name(PolicyLevel level, guint index);

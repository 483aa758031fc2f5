/* What a placement knows. Private to the folder. */
#pragma once

#include "policy/learner.h"
#include "policy/placement.h"

struct PolicyFunction {
  char *name;
  PolicyModel *model;
  LearnerUsual run_calls; /* in earlier runs: logarithm */
  double used;            /* the number of the run that used it last */
  /* of this run: */
  guint64 calls;
  guint failures;
  guint64 rests_until; /* call: so long no block is tried after failures */
  guint64 looked;      /* call at which the other place was looked at last */
  guint64 look_every;  /* calls */
  double memory_need;  /* bytes beyond what there was; 0: it has always sufficed */
  double gain;         /* what blocks save a call on average, as far as is known: in the objective's unit */
  LearnerUsual pause;  /* s between two calls: logarithm */
  double ended_s;      /* the last one; 0: none was */
  guint short_calls;   /* in a row */
  double relook_s;
};

struct PolicyPlacement {
  PolicyAim aim;
  PolicyTracker tracker;
  GHashTable *by_name;  /* borrowed name → PolicyFunction, borrowed */
  GPtrArray *functions; /* of PolicyFunction */
  LearnerUsual speed;   /* of the clone, of all functions: logarithm */
  LearnerUsual state;   /* bytes that first blocks send: logarithm */
  double runs;
  double spent[POLICY_OBJECTIVES],
      lost[POLICY_OBJECTIVES]; /* by all runs, and by trying: in each one's unit */
  double regret;               /* what this run's calls would have saved, had there been a mirror already */
  double block_ended_s;        /* 0: there was none */
  guint link_changes;          /* of the tracker, when calls were counted last */
  double link_calls;           /* since then */
};

PolicyFunction *policy_function_add(PolicyPlacement *placement, const char *name);

/* What follows the checksum, whoever wrote it. FALSE: it is none of ours. */
gboolean policy_placement_unpack_checked(PolicyPlacement *placement, const guint8 *bytes, gsize length);

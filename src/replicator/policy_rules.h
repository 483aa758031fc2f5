/* The rules, each of which looks at one thing. Private to the folder. */
#pragma once

#include "replicator/policy.h"

typedef struct {
  const PolicyConfig *config;
  const PolicySituation *situation;
  PolicyLevel level;
} PolicyQuestion;

/* Fills in holds, until and text of a reason. */
typedef void (*PolicyRuleFunction)(const PolicyQuestion *question, PolicyReason *reason);

typedef struct {
  const char *name;
  guint levels;           /* bits 1 << PolicyLevel */
  gboolean while_running; /* it also counts for whether one that is under way may go on */
  PolicyRuleFunction judge;
} PolicyRule;

/* Ended by one without a name. */
extern const PolicyRule policy_rules[];

/* The link is metered, or likely to be: 1; not: 0. */
gboolean policy_is_metered(const Conditions *conditions);

guint64 policy_rate(const PolicyQuestion *question);
int policy_compression(const PolicyQuestion *question);

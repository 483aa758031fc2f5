/* How much a synchronisation may take of the link, and of the processor to spare the link. */
#include "replicator/policy_rules.h"

enum { POWER_EXTERNAL, POWER_BATTERY, POWER_LOW, POWERS };
enum { WAY_ETHERNET, WAY_WIFI, WAY_SLOW, WAYS };

/* zstd's levels. A radio that is slow or costs is worth much of the processor, a cable little; on battery
 * both drain it, and the processor's share grows fast with the level. */
static const int levels[WAYS][POWERS] = {
    [WAY_ETHERNET] = {3, 1, 1},
    [WAY_WIFI] = {6, 3, 1},
    [WAY_SLOW] = {12, 6, 3},
};

static guint
power_of(const PolicyQuestion *question)
{
  const Conditions *conditions = &question->situation->conditions;
  int level = conditions_get(conditions, CONDITION_LEVEL);
  if (conditions_get(conditions, CONDITION_ON_BATTERY) == 0)
    return POWER_EXTERNAL;
  return level >= 0 && level < question->config->battery_minimum ? POWER_LOW : POWER_BATTERY;
}

static guint
way_of(const Conditions *conditions)
{
  int link = conditions_get(conditions, CONDITION_LINK);
  if (policy_is_metered(conditions))
    return WAY_SLOW;
  return link == CONDITION_LINK_ETHERNET ? WAY_ETHERNET : WAY_WIFI;
}

int
policy_compression(const PolicyQuestion *question)
{
  if (question->config->compression > 0)
    return question->config->compression;
  return levels[way_of(&question->situation->conditions)][power_of(question)];
}

static guint64
lower(guint64 a, guint64 b)
{
  return a == 0 ? b : b == 0 ? a : MIN(a, b);
}

guint64
policy_rate(const PolicyQuestion *question)
{
  const Conditions *conditions = &question->situation->conditions;
  if (question->level == POLICY_FINE)
    return 0;
  if (question->level == POLICY_ON_DEMAND)
    return question->config->rate_on_demand;
  int link = conditions_get(conditions, CONDITION_LINK);
  guint64 rate = question->config->rate[link > CONDITION_LINK_NONE ? link : CONDITION_LINK_OTHER];
  return policy_is_metered(conditions) ? lower(rate, question->config->rate_metered) : rate;
}

#include "replicator/policy.h"

#include "replicator/policy_rules.h"

static const char *const level_names[] = {"coarse", "opportunistic", "on demand", "fine"};
G_STATIC_ASSERT(G_N_ELEMENTS(level_names) == POLICY_LEVELS);

const char *
policy_level_name(PolicyLevel level)
{
  return level_names[level];
}

const char *
policy_rule_name(PolicyLevel level, guint index)
{
  for (const PolicyRule *rule = policy_rules; rule->name; rule++)
    if (rule->levels & 1u << level && index-- == 0)
      return rule->name;
  return NULL;
}

void
policy_set_clock(PolicySituation *situation, GDateTime *local)
{
  situation->now = g_date_time_to_unix(local);
  situation->minute = g_date_time_get_hour(local) * 60 + g_date_time_get_minute(local);
}

static void
clear_reason(gpointer data)
{
  g_free(((PolicyReason *)data)->text);
}

void
policy_decision_free(PolicyDecision *decision)
{
  if (!decision)
    return;
  g_array_unref(decision->reasons);
  g_free(decision);
}

/* What is pending was read from a file, which may be damaged: sums of these have to stay numbers. */
static PolicySituation
in_range(const PolicySituation *situation)
{
  const gint64 most = G_GINT64_CONSTANT(1) << 53;
  PolicySituation sane = *situation;
  PolicyPending *pending = &sane.pending;
  sane.now = CLAMP(sane.now, 0, most);
  sane.minute = CLAMP(sane.minute, 0, 1439);
  pending->entries = CLAMP(pending->entries, -1, most);
  pending->big_entries = CLAMP(pending->big_entries, 0, most);
  pending->bytes = MIN(pending->bytes, G_MAXINT64);
  pending->big_bytes = MIN(pending->big_bytes, G_MAXINT64);
  pending->big_since = CLAMP(pending->big_since, 0, most);
  pending->last_generation = CLAMP(pending->last_generation, 0, most);
  pending->last_failure = CLAMP(pending->last_failure, 0, most);
  return sane;
}

PolicyDecision *
policy_decide(const PolicyConfig *config, const PolicySituation *given, PolicyLevel level)
{
  PolicySituation sane = in_range(given);
  const PolicySituation *situation = &sane;
  PolicyQuestion question = {.config = config, .situation = situation, .level = level};
  PolicyDecision *decision = g_new0(PolicyDecision, 1);
  decision->level = level;
  decision->time = situation->now;
  decision->minute = situation->minute;
  decision->now = TRUE;
  decision->look_again = situation->now;
  decision->big = level == POLICY_OPPORTUNISTIC || level == POLICY_ON_DEMAND;
  decision->rate = policy_rate(&question);
  decision->compression = policy_compression(&question);
  decision->reasons = g_array_new(FALSE, TRUE, sizeof(PolicyReason));
  g_array_set_clear_func(decision->reasons, clear_reason);
  for (const PolicyRule *rule = policy_rules; rule->name; rule++) {
    if (!(rule->levels & 1u << level) || (situation->running && !rule->while_running))
      continue;
    PolicyReason reason = {.rule = rule->name};
    rule->judge(&question, &reason);
    g_array_append_val(decision->reasons, reason);
    if (reason.holds)
      continue;
    decision->now = FALSE;
    decision->look_again = MAX(decision->look_again, reason.until);
  }
  return decision;
}

PolicyDecision *
policy_decide_automatic(const PolicyConfig *config, const PolicySituation *situation)
{
  g_autoptr(PolicyDecision) opportunity = policy_decide(config, situation, POLICY_OPPORTUNISTIC);
  if (opportunity->now)
    return g_steal_pointer(&opportunity);
  g_autoptr(PolicyDecision) coarse = policy_decide(config, situation, POLICY_COARSE);
  if (coarse->now || coarse->look_again <= opportunity->look_again)
    return g_steal_pointer(&coarse);
  return g_steal_pointer(&opportunity);
}

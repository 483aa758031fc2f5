/* Decisions in words. */
#include "replicator/policy.h"
#include "replicator/policy_text.h"

char *
policy_summary(const PolicyDecision *decision)
{
  g_autoptr(GString) line = g_string_new(decision->now ? "now" : "waits");
  if (!decision->now && decision->look_again != POLICY_NO_TIME) {
    g_autofree char *when = policy_text_when(decision->look_again, decision->time, decision->minute);
    g_string_append_printf(line, ", looks again %s", when);
  }
  const char *separator = ": ";
  for (guint i = 0; i < decision->reasons->len; i++) {
    const PolicyReason *reason = &g_array_index(decision->reasons, PolicyReason, i);
    if (reason->holds)
      continue;
    g_string_append_printf(line, "%s%s", separator, reason->text);
    separator = "; ";
  }
  return g_string_free(g_steal_pointer(&line), FALSE);
}

char *
policy_explain(const PolicyDecision *decision)
{
  g_autofree char *summary = policy_summary(decision);
  g_autoptr(GString) text = g_string_new(NULL);
  g_string_append_printf(text, "%s: %s\n", policy_level_name(decision->level), summary);
  for (guint i = 0; i < decision->reasons->len; i++) {
    const PolicyReason *reason = &g_array_index(decision->reasons, PolicyReason, i);
    g_string_append_printf(text, "  %-9s  %-5s  %s\n", reason->rule, reason->holds ? "holds" : "waits",
                           reason->text);
  }
  return g_string_free(g_steal_pointer(&text), FALSE);
}

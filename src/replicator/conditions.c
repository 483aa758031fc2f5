#include "replicator/conditions.h"

#include <string.h>

static const char *const names[] = {"link", "online", "metered", "on battery", "charging", "battery level"};
G_STATIC_ASSERT(G_N_ELEMENTS(names) == CONDITIONS_COUNT);

static const char *const links[] = {"none", "wifi", "ethernet", "mobile", "other"};
G_STATIC_ASSERT(G_N_ELEMENTS(links) == CONDITION_LINKS);

static const char *const sources[] = {"nobody", "configuration",           "NetworkManager",
                                      "UPower", "/sys/class/power_supply", "/sys/class/net"};

int
conditions_get(const Conditions *conditions, ConditionKind kind)
{
  const Condition *fact = &conditions->facts[kind];
  return fact->source == CONDITIONS_NOBODY ? -1 : fact->value;
}

void
conditions_set(Conditions *conditions, ConditionKind kind, int value, ConditionsSource source)
{
  conditions->facts[kind] = (Condition){.value = value, .source = source};
}

void
conditions_add(Conditions *conditions, const Conditions *more)
{
  for (guint i = 0; i < CONDITIONS_COUNT; i++)
    if (conditions->facts[i].source == CONDITIONS_NOBODY)
      conditions->facts[i] = more->facts[i];
}

gboolean
conditions_equal(const Conditions *a, const Conditions *b)
{
  for (guint i = 0; i < CONDITIONS_COUNT; i++)
    if (a->facts[i].source != b->facts[i].source || conditions_get(a, i) != conditions_get(b, i))
      return FALSE;
  return TRUE;
}

const char *
conditions_link_name(ConditionLink link)
{
  return links[link];
}

const char *
conditions_source_name(ConditionsSource source)
{
  return sources[source];
}

const char *
conditions_name(ConditionKind kind)
{
  return names[kind];
}

char *
conditions_value_text(const Conditions *conditions, ConditionKind kind)
{
  int value = conditions_get(conditions, kind);
  if (value < 0)
    return g_strdup("unknown");
  if (kind == CONDITION_LINK)
    return g_strdup(links[value]);
  if (kind == CONDITION_LEVEL)
    return g_strdup_printf("%d %%", value);
  return g_strdup(value ? "yes" : "no");
}

int
conditions_link_from_name(const char *name)
{
  for (int i = 0; i < CONDITION_LINKS; i++)
    if (strcmp(name, links[i]) == 0)
      return i;
  return -1;
}

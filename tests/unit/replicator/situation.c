#include "situation.h"

#include <string.h>

static gint64
seconds_before(const char *text)
{
  gint64 seconds = 0;
  gboolean future = *text == '-';
  g_assert_true(policy_value_duration.read(text + future, &seconds));
  return SITUATION_NOW + (future ? seconds : -seconds);
}

static guint64
bytes_of(const char *text)
{
  guint64 bytes;
  g_assert_true(policy_value_size.read(text, &bytes));
  return bytes;
}

static int
minute_of(const char *text)
{
  PolicyHours hours;
  g_autofree char *both = g_strdup_printf("%s-%s", text, strcmp(text, "00:00") == 0 ? "00:01" : "00:00");
  g_assert_true(policy_value_hours.read(both, &hours));
  return hours.from;
}

static gboolean
set_fact(Conditions *conditions, const char *name, const char *value)
{
  static const struct {
    const char *name;
    ConditionKind kind;
    ConditionsSource source;
  } facts[] = {
      {"link", CONDITION_LINK, CONDITIONS_NETWORK_MANAGER},
      {"online", CONDITION_ONLINE, CONDITIONS_NETWORK_MANAGER},
      {"metered", CONDITION_METERED, CONDITIONS_NETWORK_MANAGER},
      {"battery", CONDITION_ON_BATTERY, CONDITIONS_UPOWER},
      {"charging", CONDITION_CHARGING, CONDITIONS_UPOWER},
      {"level", CONDITION_LEVEL, CONDITIONS_UPOWER},
  };
  for (guint i = 0; i < G_N_ELEMENTS(facts); i++) {
    if (strcmp(name, facts[i].name) != 0)
      continue;
    gboolean known = strcmp(value, "-1") != 0;
    int number = facts[i].kind == CONDITION_LINK ? conditions_link_from_name(value) : atoi(value);
    g_assert_true(!known || number >= 0);
    conditions_set(conditions, facts[i].kind, number, known ? facts[i].source : CONDITIONS_NOBODY);
    return TRUE;
  }
  return FALSE;
}

static gboolean
set_pending(PolicyPending *pending, const char *name, const char *value)
{
  if (strcmp(name, "entries") == 0)
    pending->entries = atoi(value);
  else if (strcmp(name, "bytes") == 0)
    pending->bytes = bytes_of(value);
  else if (strcmp(name, "big") == 0)
    pending->big_entries = atoi(value);
  else if (strcmp(name, "big-bytes") == 0)
    pending->big_bytes = bytes_of(value);
  else if (strcmp(name, "big-age") == 0)
    pending->big_since = seconds_before(value);
  else if (strcmp(name, "age") == 0)
    pending->last_generation = strcmp(value, "never") == 0 ? 0 : seconds_before(value);
  else if (strcmp(name, "failures") == 0)
    pending->failures = atoi(value);
  else if (strcmp(name, "failed") == 0)
    pending->last_failure = seconds_before(value);
  else
    return FALSE;
  return TRUE;
}

static void
set_words(PolicySituation *situation, const char *words)
{
  g_auto(GStrv) each = g_strsplit(words, " ", -1);
  for (char **word = each; *word; word++) {
    if (!**word)
      continue;
    g_auto(GStrv) pair = g_strsplit(*word, "=", 2);
    g_assert_cmpuint(g_strv_length(pair), ==, 2);
    if (strcmp(pair[0], "time") == 0)
      situation->minute = minute_of(pair[1]);
    else if (strcmp(pair[0], "running") == 0)
      situation->running = atoi(pair[1]);
    else if (!set_fact(&situation->conditions, pair[0], pair[1]) &&
             !set_pending(&situation->pending, pair[0], pair[1]))
      g_error("\"%s\" is no word of a situation", *word);
  }
}

void
situation_set(PolicySituation *situation, const char *words)
{
  *situation = (PolicySituation){.now = SITUATION_NOW};
  set_words(situation,
            "link=wifi online=1 metered=0 battery=0 charging=1 level=80 entries=3 bytes=1.2M age=5h "
            "time=14:00");
  set_words(situation, words);
}

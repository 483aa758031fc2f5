#include "replicator/policy_values.h"

#include <stdio.h>
#include <string.h>

#include "replicator/conditions.h"
#include "replicator/pace.h"

static gboolean
read_number(const char *text, gint64 min, gint64 max, gint64 *number)
{
  return g_ascii_string_to_signed(text, 10, min, max, number, NULL);
}

static gboolean
read_boolean(const char *text, gpointer value)
{
  gboolean yes = strcmp(text, "true") == 0;
  *(gboolean *)value = yes;
  return yes || strcmp(text, "false") == 0;
}

static gboolean
read_duration(const char *text, gpointer value)
{
  static const struct {
    char unit;
    gint64 seconds;
  } units[] = {{'m', 60}, {'h', 3600}, {'d', 86400}};
  gsize length = strlen(text);
  g_autofree char *digits = g_strndup(text, length ? length - 1 : 0);
  gint64 number;
  for (guint i = 0; length && i < G_N_ELEMENTS(units); i++)
    if (text[length - 1] == units[i].unit &&
        read_number(digits, 1, 365 * 86400 / units[i].seconds, &number)) {
      *(gint64 *)value = number * units[i].seconds;
      return TRUE;
    }
  return FALSE;
}

static gboolean
read_size(const char *text, gpointer value)
{
  if (strcmp(text, "unlimited") == 0) {
    *(guint64 *)value = G_MAXUINT64;
    return TRUE;
  }
  return pace_parse(text, value, NULL);
}

static gboolean
read_rate(const char *text, gpointer value)
{
  return pace_parse(text, value, NULL);
}

static gboolean
read_percent(const char *text, gpointer value)
{
  gint64 number;
  if (!read_number(text, 0, 100, &number))
    return FALSE;
  *(int *)value = number;
  return TRUE;
}

static gboolean
read_hours(const char *text, gpointer value)
{
  PolicyHours *hours = value;
  guint from_hour, from_minute, to_hour, to_minute;
  int end = -1;
  *hours = (PolicyHours){0, 0};
  if (strcmp(text, "any") == 0)
    return TRUE;
  if (sscanf(text, "%2u:%2u-%2u:%2u%n", &from_hour, &from_minute, &to_hour, &to_minute, &end) != 4 ||
      end < 0 || text[end] || from_hour > 23 || to_hour > 23 || from_minute > 59 || to_minute > 59)
    return FALSE;
  *hours = (PolicyHours){.from = from_hour * 60 + from_minute, .to = to_hour * 60 + to_minute};
  return hours->from != hours->to;
}

static gboolean
read_links(const char *text, gpointer value)
{
  guint links = 0;
  g_auto(GStrv) names = g_strsplit(text, ";", -1);
  for (char **name = names; *name; name++) {
    int link = conditions_link_from_name(g_strstrip(*name));
    if (**name && link <= CONDITION_LINK_NONE)
      return FALSE;
    links |= **name ? 1u << link : 0;
  }
  *(guint *)value = links;
  return links != 0;
}

static gboolean
read_nice(const char *text, gpointer value)
{
  gint64 number = POLICY_NICE_NEVER;
  if (strcmp(text, "never") != 0 && !read_number(text, -20, 19, &number))
    return FALSE;
  *(int *)value = number;
  return TRUE;
}

static gboolean
read_names(const char *text, gpointer value)
{
  PolicyNames *names = value;
  g_autoptr(GString) list = g_string_new(NULL);
  g_auto(GStrv) words = g_strsplit(text, ";", -1);
  for (char **word = words; *word; word++)
    if (*g_strstrip(*word))
      g_string_append_printf(list, "%s%s", list->len ? ";" : "", *word);
  if (list->len >= sizeof names->text)
    return FALSE;
  memset(names, 0, sizeof *names);
  memcpy(names->text, list->str, list->len);
  return TRUE;
}

static gboolean
read_compression(const char *text, gpointer value)
{
  gint64 number = 0;
  if (strcmp(text, "auto") != 0 && !read_number(text, 1, 19, &number))
    return FALSE;
  *(int *)value = number;
  return TRUE;
}

/* A fact, or with "auto" none: what another file had set is taken back. */
static gboolean
set_fact(Conditions *conditions, ConditionKind kind, const char *text, int value)
{
  if (strcmp(text, "auto") == 0)
    conditions_set(conditions, kind, 0, CONDITIONS_NOBODY);
  else if (value >= 0)
    conditions_set(conditions, kind, value, CONDITIONS_CONFIGURATION);
  else
    return FALSE;
  return TRUE;
}

static int
which(const char *text, const char *no, const char *yes)
{
  return strcmp(text, yes) == 0 ? 1 : strcmp(text, no) == 0 ? 0 : -1;
}

static gboolean
read_link(const char *text, gpointer value)
{
  return set_fact(value, CONDITION_LINK, text, conditions_link_from_name(text));
}

static gboolean
read_metered(const char *text, gpointer value)
{
  return set_fact(value, CONDITION_METERED, text, which(text, "no", "yes"));
}

static gboolean
read_power(const char *text, gpointer value)
{
  int battery = which(text, "external", "battery");
  return set_fact(value, CONDITION_ON_BATTERY, text, battery) &&
         set_fact(value, CONDITION_CHARGING, text, battery < 0 ? -1 : !battery);
}

static gboolean
read_level(const char *text, gpointer value)
{
  int level = -1;
  return (strcmp(text, "auto") == 0 || read_percent(text, &level)) &&
         set_fact(value, CONDITION_LEVEL, text, level);
}

const PolicyValueKind policy_value_boolean = {"true or false", read_boolean};
const PolicyValueKind policy_value_duration = {"a time from 1m to 365d, as in 30m, 4h or 3d", read_duration};
const PolicyValueKind policy_value_size = {
    "a number of bytes from 1k, as in 500k, 20M or 4G, or 0, or unlimited", read_size};
const PolicyValueKind policy_value_rate = {
    "bytes a second from 1k, as in 500k or 2M, or 0, which is no limit", read_rate};
const PolicyValueKind policy_value_percent = {"a number from 0 to 100", read_percent};
const PolicyValueKind policy_value_hours = {"two different times of day, as in 22:00-06:00, or any",
                                            read_hours};
const PolicyValueKind policy_value_links = {
    "one or more of wifi, ethernet, mobile and other, with semicolons between them", read_links};
const PolicyValueKind policy_value_nice = {"a nice level from -20 to 19, or never", read_nice};
const PolicyValueKind policy_value_names = {
    "names of programs, with semicolons between them, and of less than 512 bytes together", read_names};
const PolicyValueKind policy_value_compression = {"a level from 1 to 19, or auto", read_compression};
const PolicyValueKind policy_value_link = {"auto, none, wifi, ethernet, mobile or other", read_link};
const PolicyValueKind policy_value_metered = {"auto, yes or no", read_metered};
const PolicyValueKind policy_value_power = {"auto, battery or external", read_power};
const PolicyValueKind policy_value_level = {"a number from 0 to 100, or auto", read_level};

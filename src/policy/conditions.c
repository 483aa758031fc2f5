#include "policy/conditions.h"

#include <math.h>

#define PROFILE(name_, kind, ms, mbit_up, mbit_down)                                                         \
  {                                                                                                          \
    .name = name_, .conditions = {                                                                           \
      TRUE,                                                                                                  \
      (ms) / 1e3,                                                                                            \
      (mbit_up)*125e3,                                                                                       \
      (mbit_down)*125e3,                                                                                     \
      kind,                                                                                                  \
      .battery = POLICY_BATTERY_UNKNOWN                                                                      \
    }                                                                                                        \
  }

const PolicyProfile policy_profiles[POLICY_PROFILES] = {
    [POLICY_LAN] = PROFILE("lan", ENERGY_RADIO_WIRED, 0.2, 1000, 1000),
    [POLICY_WIFI] = PROFILE("wifi", ENERGY_RADIO_WIFI, 5, 40, 40),
    [POLICY_LTE] = PROFILE("lte", ENERGY_RADIO_LTE, 50, 6, 12),
    [POLICY_3G] = PROFILE("3g", ENERGY_RADIO_3G, 120, 0.4, 2),
};

const PolicyProfile *
policy_profile_find(const char *name)
{
  for (guint i = 0; i < POLICY_PROFILES; i++)
    if (g_str_equal(policy_profiles[i].name, name))
      return &policy_profiles[i];
  return NULL;
}

static gboolean
is_known(double number)
{
  return isfinite(number) && number > 0;
}

/* The square of the factor's logarithm; 0 where one of both is not known. */
static double
apart(double a, double b, gboolean *any)
{
  if (!is_known(a) || !is_known(b))
    return 0;
  *any = TRUE;
  return log(a / b) * log(a / b);
}

PolicyProfileKind
policy_conditions_nearest(const PolicyConditions *conditions)
{
  PolicyProfileKind best = POLICY_PROFILES;
  double least = INFINITY;
  for (guint i = 0; i < POLICY_PROFILES; i++) {
    const PolicyConditions *profile = &policy_profiles[i].conditions;
    gboolean any = FALSE;
    double distance = apart(conditions->round_trip_s, profile->round_trip_s, &any) +
                      apart(conditions->up, profile->up, &any) + apart(conditions->down, profile->down, &any);
    if (!any)
      distance = conditions->radio == profile->radio ? 0 : 1;
    if (distance < least) {
      least = distance;
      best = i;
    }
  }
  return best;
}

double
policy_conditions_seconds(const PolicyConditions *conditions, double round_trips, double up, double down)
{
  if (!conditions->linked)
    return INFINITY;
  return round_trips * conditions->round_trip_s + up / conditions->up + down / conditions->down;
}

char *
policy_conditions_words(const PolicyConditions *conditions)
{
  g_autoptr(GString) words = g_string_new(NULL);
  if (!conditions->linked) {
    g_string_append(words, "no link");
  } else {
    g_autofree char *up = g_format_size((guint64)round(conditions->up));
    g_autofree char *down = g_format_size((guint64)round(conditions->down));
    g_string_append_printf(words, "a link like %s: %.1f ms, %s/s up, %s/s down",
                           policy_profiles[policy_conditions_nearest(conditions)].name,
                           conditions->round_trip_s * 1e3, up, down);
  }
  if (conditions->metered)
    g_string_append(words, ", metered");
  if (conditions->on_battery)
    g_string_append(words, ", on battery");
  if (conditions->on_battery && conditions->battery >= 0)
    g_string_append_printf(words, " (%.0f %%)", conditions->battery * 100);
  return g_string_free(g_steal_pointer(&words), FALSE);
}

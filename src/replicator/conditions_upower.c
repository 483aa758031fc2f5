#include <math.h>

#include "replicator/conditions_sources.h"

enum { TYPE_BATTERY = 2, TYPE_UPS = 3 };

/* Charging, by the device's State: 0 unknown, 1 charging, 2 discharging, 3 empty, 4 fully charged, 5 pending
 * charge (held by the charger), 6 pending discharge. */
static const int charging[] = {-1, 1, 0, 0, 1, 1, 0};

/* Whether the display device stands for a battery that is there: without one it has a type, too. */
static gboolean
has_battery(const BusObject *display)
{
  guint32 type;
  gboolean present;
  return bus_object_get_uint(display, "Type", &type) && (type == TYPE_BATTERY || type == TYPE_UPS) &&
         bus_object_get_boolean(display, "IsPresent", &present) && present;
}

static void
add_battery(Conditions *told, const BusObject *display)
{
  guint32 state;
  if (bus_object_get_uint(display, "State", &state) && state < G_N_ELEMENTS(charging) && charging[state] >= 0)
    conditions_set(told, CONDITION_CHARGING, charging[state], CONDITIONS_UPOWER);
  g_autoptr(GVariant) percentage = bus_object_get(display, "Percentage", "d");
  double level = percentage ? g_variant_get_double(percentage) : NAN;
  if (level >= 0 && level <= 100)
    conditions_set(told, CONDITION_LEVEL, (int)level, CONDITIONS_UPOWER);
}

void
conditions_from_upower(Conditions *conditions, const BusObject *daemon, const BusObject *display)
{
  Conditions told = {0};
  gboolean on_battery;
  if (bus_object_get_boolean(daemon, "OnBattery", &on_battery))
    conditions_set(&told, CONDITION_ON_BATTERY, on_battery, CONDITIONS_UPOWER);
  if (has_battery(display))
    add_battery(&told, display);
  conditions_add(conditions, &told);
}

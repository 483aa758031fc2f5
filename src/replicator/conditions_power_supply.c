#include "base/power_supply.h"
#include "base/sysfs.h"
#include "replicator/conditions_sources.h"

typedef struct {
  guint batteries, charging, discharging; /* that are there; of them by status */
  guint levels, level_sum;
  guint externals, online; /* mains, USB, wireless; of them those that give power */
} Supplies;

static void
add_battery(Supplies *supplies, int directory)
{
  supplies->batteries++;
  g_autofree char *status = sysfs_text(directory, "status");
  supplies->discharging += g_strcmp0(status, "Discharging") == 0;
  supplies->charging += g_strcmp0(status, "Charging") == 0 || g_strcmp0(status, "Full") == 0 ||
                        g_strcmp0(status, "Not charging") == 0;
  gint64 level = sysfs_number(directory, "capacity", 0, 100, -1);
  if (level >= 0) {
    supplies->levels++;
    supplies->level_sum += level;
  }
}

static void
add_external(Supplies *supplies, int directory)
{
  gint64 online = sysfs_number(directory, "online", 0, 2, -1);
  supplies->externals += online >= 0;
  supplies->online += online > 0;
}

static void
add_supply(PowerSupplyKind kind, const char *name, int directory, gpointer data)
{
  if (kind == POWER_SUPPLY_BATTERY)
    add_battery(data, directory);
  else
    add_external(data, directory);
}

/* -1 where neither the supplies nor the batteries tell. */
static int
on_battery(const Supplies *supplies)
{
  if (supplies->batteries == 0 || supplies->online > 0)
    return 0;
  if (supplies->externals > 0 || supplies->discharging > 0)
    return 1;
  return supplies->charging > 0 ? 0 : -1;
}

void
conditions_from_power_supply(Conditions *conditions, const char *sys)
{
  Supplies supplies = {0};
  if (!power_supply_each(sys, add_supply, &supplies))
    return;
  Conditions told = {0};
  int without = on_battery(&supplies);
  if (without >= 0)
    conditions_set(&told, CONDITION_ON_BATTERY, without, CONDITIONS_POWER_SUPPLY);
  if (supplies.discharging > 0 || supplies.charging > 0)
    conditions_set(&told, CONDITION_CHARGING, supplies.discharging == 0 && without != 1,
                   CONDITIONS_POWER_SUPPLY);
  if (supplies.levels > 0)
    conditions_set(&told, CONDITION_LEVEL, supplies.level_sum / supplies.levels, CONDITIONS_POWER_SUPPLY);
  conditions_add(conditions, &told);
}

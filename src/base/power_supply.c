#include "base/power_supply.h"

#include <string.h>

#include "base/sysfs.h"

typedef struct {
  PowerSupplyVisit *visit;
  gpointer data;
} Walk;

static void
look(const char *name, int directory, gpointer data)
{
  const Walk *walk = data;
  g_autofree char *type = sysfs_text(directory, "type");
  g_autofree char *scope = sysfs_text(directory, "scope");
  if (!type || g_strcmp0(scope, "Device") == 0)
    return;
  if (strcmp(type, "Mains") == 0 || strcmp(type, "Wireless") == 0 || g_str_has_prefix(type, "USB"))
    walk->visit(POWER_SUPPLY_EXTERNAL, name, directory, walk->data);
  else if (strcmp(type, "Battery") == 0 && sysfs_number(directory, "present", 0, 1, 1) == 1)
    walk->visit(POWER_SUPPLY_BATTERY, name, directory, walk->data);
}

gboolean
power_supply_each(const char *sys, PowerSupplyVisit *visit, gpointer data)
{
  g_autofree char *path = g_build_filename(sys, "class/power_supply", NULL);
  return sysfs_each(path, look, &(Walk){visit, data});
}

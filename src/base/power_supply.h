/* What feeds this device: SYS/class/power_supply (the kernel's Documentation/ABI/testing/sysfs-class-power).
 */
#pragma once

#include <glib.h>

typedef enum {
  POWER_SUPPLY_BATTERY,
  POWER_SUPPLY_EXTERNAL, /* mains, USB, wireless */
} PowerSupplyKind;

typedef void PowerSupplyVisit(PowerSupplyKind kind, const char *name, int directory, gpointer data);

/* Calls visit(kind, name, directory, data) for each supply of the device itself, in the order of their names:
 * not for those of a mouse, and not for a battery that is taken out. `directory` has the attributes
 * (sysfs.h). FALSE where there is no such class. */
gboolean power_supply_each(const char *sys, PowerSupplyVisit *visit, gpointer data);

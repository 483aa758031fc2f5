/* The two ways to read a meter. Private to the folder. */
#pragma once

#include "energy/meter.h"

typedef struct {
  int seconds;
  /* The words of what is read and a state of its own; NULL where there is nothing to be read, which `why`
   * tells: "SYS/class/powercap is not there". */
  gpointer (*open)(const char *sys, char **words, char **why);
  gboolean (*read)(gpointer state, gint64 now_ns, double *joules, GError **error);
  void (*free)(gpointer state);
} EnergyMeterKind;

extern const EnergyMeterKind energy_meter_battery, energy_meter_powercap;

/* What this device takes of energy, as the kernel tells it: its battery while that feeds it
 * (Documentation/ABI/testing/sysfs-class-power: power_now in uW, or current_now in uA and voltage_now in uV),
 * which is all that it takes; else Intel's and AMD's running average power limit
 * (Documentation/ABI/testing/sysfs-class-powercap: energy_uj, of packages and memory), which is the processor
 * and the memory. */
#pragma once

#include <glib.h>

typedef struct EnergyMeter EnergyMeter;

/* `sys`: where sysfs is. NULL (UNSUPPORTED) where nothing tells, or not now: the message says what was looked
 * at and what is in the way. */
EnergyMeter *energy_meter_open(const char *sys, GError **error);
void energy_meter_free(EnergyMeter *meter);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EnergyMeter, energy_meter_free)

/* What it reads: "battery BAT0 (power_now)". */
const char *energy_meter_words(const EnergyMeter *meter);

/* s for which it should be read, so that what it says is worth something: gauges of batteries are slow. */
int energy_meter_seconds(const EnergyMeter *meter);

/* *joules: since the first call, which says 0. Power is taken to have changed evenly since the call before, a
 * counter to have been round at most once: call it once a second or so. FALSE where it cannot be read any
 * more, or the battery is being charged. */
gboolean energy_meter_read(EnergyMeter *meter, gint64 now_ns, double *joules, GError **error);

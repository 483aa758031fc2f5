/* doppel energy: what this device is taken to use of energy. Parts of one verb, in several files. */
#pragma once

#include <glib.h>

#include "energy/models.h"

#define ENERGY_SECONDS_USUAL G_MININT /* as the meter needs */

typedef struct {
  gboolean json;
  int seconds; /* of a phase */
  char *sys;   /* NULL: /sys */
} EnergyOptions;

/* The commands: what follows their name, NULL-terminated. */
gboolean energy_cmd_models(char **words, const EnergyOptions *options, GError **error);
gboolean energy_cmd_show(char **words, const EnergyOptions *options, GError **error);
gboolean energy_cmd_use(char **words, const EnergyOptions *options, GError **error);
gboolean energy_cmd_calibrate(char **words, const EnergyOptions *options, GError **error);

/* A number with `decimals` of them, and a point whatever the locale. For the table and JSON. */
char *energy_number(double number, int decimals);

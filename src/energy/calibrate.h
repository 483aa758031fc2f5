/* What this device takes while it waits, and what a busy processor adds: two phases, of which the meter and
 * the kernel's clock of processors tell joules and processor seconds. Both are put into the model's equation
 * (energy.h), so that a little that other programs do meanwhile is no error. */
#pragma once

#include "energy/meter.h"

/* How time passes: for tests, which have a time of their own. */
typedef struct {
  gint64 (*now_ns)(gpointer data);
  double (*processor_s)(gpointer data); /* that all programs have used so far; negative: cannot be read */
  void (*pass)(double seconds, gboolean busy,
               gpointer data); /* returns after them; busy: keeps one processor so */
  void (*progress)(gboolean busy, double done_s, double of_s, gpointer data); /* NULL: nobody wants to know */
  gpointer data;
} EnergyTrial;

/* As it really passes: CLOCK_MONOTONIC and /proc/stat. */
EnergyTrial energy_trial_here(void);

/* W, as of an EnergyModel. Each phase is measured for `seconds`, and goes on for a fifth of that before, so
 * that a slow gauge shows it: in all 2.4 times `seconds`. FALSE where the meter fails or shows no difference
 * (UNSUPPORTED), or other programs used the processors (FAILED); the message says what to do. */
gboolean energy_calibrate(EnergyMeter *meter, double seconds, const EnergyTrial *trial, double *busy_w,
                          double *idle_w, GError **error);

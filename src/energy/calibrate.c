#include "energy/calibrate.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"

#define STEP_S   1.0
#define SETTLE   0.2 /* of a phase */
#define LEAST    0.5 /* processors more than in the idle phase */
#define STAT_MAX (16 << 20)

/* ---- as it really passes ---- */

static gint64
real_now(gpointer unused)
{
  return clock_now_ns();
}

/* proc(5): user, nice, system, idle, iowait, irq, softirq, steal. Guests' time is in user's. */
static double
real_processors(gpointer unused)
{
  g_autofree char *text = io_read_file_at(AT_FDCWD, "/proc/stat", STAT_MAX);
  guint64 user, nice, system, idle, iowait, irq, softirq;
  if (!text || sscanf(text,
                      "cpu %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
                      " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
                      &user, &nice, &system, &idle, &iowait, &irq, &softirq) != 7)
    return -1;
  return (double)(user + nice + system + irq + softirq) / sysconf(_SC_CLK_TCK);
}

static void
real_pass(double seconds, gboolean busy, gpointer unused)
{
  gint64 end = clock_now_ns() + (gint64)(seconds * 1e9);
  if (!busy) {
    g_usleep((gulong)(seconds * 1e6));
    return;
  }
  for (volatile guint64 work = 1; clock_now_ns() < end;)
    for (guint i = 0; i < 100000; i++)
      work = work * G_GUINT64_CONSTANT(6364136223846793005) + 1442695040888963407;
}

EnergyTrial
energy_trial_here(void)
{
  return (EnergyTrial){real_now, real_processors, real_pass};
}

/* ---- measuring ---- */

typedef struct {
  double joules, seconds, processor_s;
} Reading;

static gboolean
take_reading(EnergyMeter *meter, const EnergyTrial *trial, Reading *reading, GError **error)
{
  gint64 now = trial->now_ns(trial->data);
  reading->seconds = now * 1e-9;
  reading->processor_s = trial->processor_s(trial->data);
  if (reading->processor_s < 0)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "/proc/stat does not tell what the processors do");
  return energy_meter_read(meter, now, &reading->joules, error);
}

/* Lets time pass in steps, none of which is long enough for a counter to go round. */
static gboolean
pass(EnergyMeter *meter, const EnergyTrial *trial, gboolean busy, double from, double to, double of,
     GError **error)
{
  for (double at = from; at < to;) {
    Reading reading;
    double step = MIN(STEP_S, to - at);
    trial->pass(step, busy, trial->data);
    at = to - at > STEP_S ? at + step : to;
    if (!take_reading(meter, trial, &reading, error))
      return FALSE;
    if (trial->progress)
      trial->progress(busy, at, of, trial->data);
  }
  return TRUE;
}

/* What a phase took each second. */
static gboolean
measure(EnergyMeter *meter, double seconds, const EnergyTrial *trial, gboolean busy, Reading *rate,
        GError **error)
{
  double settle = seconds * SETTLE, all = settle + seconds;
  Reading before, after;
  if (!take_reading(meter, trial, &before, error) || !pass(meter, trial, busy, 0, settle, all, error) ||
      !take_reading(meter, trial, &before, error) || !pass(meter, trial, busy, settle, all, all, error) ||
      !take_reading(meter, trial, &after, error))
    return FALSE;
  double took = after.seconds - before.seconds;
  *rate =
      (Reading){(after.joules - before.joules) / took, took, (after.processor_s - before.processor_s) / took};
  return TRUE;
}

gboolean
energy_calibrate(EnergyMeter *meter, double seconds, const EnergyTrial *trial, double *busy_w, double *idle_w,
                 GError **error)
{
  Reading idle, busy;
  if (!measure(meter, seconds, trial, FALSE, &idle, error) ||
      !measure(meter, seconds, trial, TRUE, &busy, error))
    return FALSE;
  double more = busy.processor_s - idle.processor_s;
  if (more < LEAST)
    return doppel_error_set(
        error, DOPPEL_ERROR_FAILED,
        "other programs used this device's processors: %.2f of them were busy while it was "
        "to wait, %.2f while it was to work. Try again when it has nothing else to do",
        idle.processor_s, busy.processor_s);
  *busy_w = (busy.joules - idle.joules) / more;
  *idle_w = idle.joules - *busy_w * idle.processor_s;
  if (*busy_w > 0 && *idle_w >= 0)
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                          "%s tells no difference between waiting (%.3f W) and working (%.3f W): measure for "
                          "longer, with --seconds",
                          energy_meter_words(meter), idle.joules, busy.joules);
}

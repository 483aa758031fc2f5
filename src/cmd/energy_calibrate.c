/* doppel energy calibrate: measures this device. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "cmd/energy.h"
#include "energy/calibrate.h"

/* What goes on, for whoever sits before it: one line that changes, or without a terminal one for each phase.
 */
typedef struct {
  gboolean terminal, told[2];
} Teller;

static void
tell(gboolean busy, double done_s, double of_s, gpointer data)
{
  Teller *teller = data;
  const char *phase = busy ? "a processor is kept busy" : "waiting";
  if (teller->terminal)
    fprintf(stderr, "\r%s: %.0f of %.0f s   ", phase, done_s, of_s);
  else if (!teller->told[busy])
    fprintf(stderr, "%s for %.0f s\n", phase, of_s);
  teller->told[busy] = TRUE;
}

static void
tell_no_more(const Teller *teller)
{
  if (teller->terminal)
    fprintf(stderr, "\r%*s\r", 60, "");
}

static EnergyMeter *
open_meter(const char *sys, GError **error)
{
  g_autoptr(GError) problem = NULL;
  EnergyMeter *meter = energy_meter_open(sys, &problem);
  if (!meter)
    doppel_error_set(error, problem->code,
                     "%s. Without that, use a published model: \"doppel energy models\" lists them, \"doppel "
                     "energy use MODEL\" chooses one",
                     problem->message);
  return meter;
}

static char *
source_words(const EnergyMeter *meter, int seconds)
{
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(clock_unix_time());
  g_autofree char *day = g_date_time_format(time, "%F");
  return g_strdup_printf("measured on this device on %s, %d s waiting and %d s busy: %s", day, seconds,
                         seconds, energy_meter_words(meter));
}

/* The radios are those of the model that counted until now. */
static gboolean
keep(const EnergyModel *before, const char *source, double busy_w, double idle_w, GError **error)
{
  g_autofree char *title = g_strdup_printf("this device (%s)", g_get_host_name());
  EnergyModel measured = *before;
  measured.name = (char *)ENERGY_MODEL_CALIBRATED;
  measured.title = title;
  measured.source = (char *)source;
  measured.busy_w = busy_w;
  measured.idle_w = idle_w;
  return energy_models_keep(NULL, &measured, error);
}

static void
print_found(const EnergyMeter *meter, EnergyChoice why, const EnergyModel *before, double busy_w,
            double idle_w)
{
  g_autofree char *busy = energy_number(busy_w * 1e3, 1), *idle = energy_number(idle_w * 1e3, 1);
  g_autofree char *path = energy_models_own_path();
  printf("%s mW for each processor that is busy, %s mW while it waits; by %s.\n", busy, idle,
         energy_meter_words(meter));
  if (g_str_has_prefix(energy_meter_words(meter), "powercap"))
    puts("That is what processor and memory take; a battery would tell of the rest, too.");
  printf("Kept in %s as the model \"" ENERGY_MODEL_CALIBRATED "\".\n", path);
  if (why == ENERGY_CHOICE_CONFIGURED && strcmp(before->name, ENERGY_MODEL_CALIBRATED) != 0)
    printf("\"%s\" counts, which was chosen before: \"doppel energy use auto\" changes that.\n",
           before->name);
}

gboolean
energy_cmd_calibrate(char **words, const EnergyOptions *options, GError **error)
{
  g_autoptr(EnergyModels) models = energy_models_load(NULL, NULL, error);
  EnergyChoice why;
  const EnergyModel *before = models ? energy_models_chosen(models, &why, error) : NULL;
  g_autoptr(EnergyMeter) meter = before ? open_meter(options->sys ? options->sys : "/sys", error) : NULL;
  if (!meter)
    return FALSE;
  int seconds = options->seconds == ENERGY_SECONDS_USUAL ? energy_meter_seconds(meter) : options->seconds;
  Teller teller = {.terminal = isatty(STDERR_FILENO)};
  EnergyTrial trial = energy_trial_here();
  trial.progress = tell;
  trial.data = &teller;
  double busy_w, idle_w;
  gboolean measured = energy_calibrate(meter, seconds, &trial, &busy_w, &idle_w, error);
  tell_no_more(&teller);
  if (!measured)
    return FALSE;
  g_autofree char *source = source_words(meter, seconds);
  if (!keep(before, source, busy_w, idle_w, error))
    return FALSE;
  print_found(meter, why, before, busy_w, idle_w);
  return TRUE;
}

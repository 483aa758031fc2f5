/* doppel energy: by which power model this device's energy is estimated. */
#include "cmd/energy.h"

#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"

static const char summary[] =
    "Says by which power model it is estimated what work takes of this device's energy: so many watts while "
    "it "
    "waits, more for\neach processor that is busy, and what its radio takes with traffic and for how long it "
    "stays "
    "awake after it.\n\n"
    "Commands:\n"
    "  show [MODEL]   The model that counts, or another one, with its sources (also without a command)\n"
    "  models         List the models: published ones, your own, and what was measured on this device\n"
    "  use MODEL      Let that model count; \"auto\": what was measured on this device, else the default\n"
    "  calibrate      Measure what this device takes while it waits and while a processor is busy, by its "
    "battery or by\n                 powercap, and keep that as the model \"calibrated\"";

static const char notes[] =
    "To calibrate, unplug the charger and let the device do nothing else. Radios are not measured: they are "
    "those "
    "of the model\nthat counted before. Where nothing tells what the device takes, use the published model "
    "that "
    "is most like it. Models of\nyour own go into ~/.config/doppel/power.ini, as doppel-energy(1) says.\n\n"
    "Examples:\n"
    "  doppel energy models\n"
    "  doppel energy use raspberry-pi\n"
    "  doppel energy calibrate --seconds 120\n"
    "  doppel energy show --json";

enum { JSON = 1 << 0, MEASURE = 1 << 1 };

static const struct {
  const char *name, *words;
  int least, most; /* words after it */
  guint options;
  gboolean (*run)(char **words, const EnergyOptions *options, GError **error);
} commands[] = {
    {"show", " [MODEL]", 0, 1, JSON, energy_cmd_show},
    {"models", "", 0, 0, JSON, energy_cmd_models},
    {"use", " MODEL", 1, 1, 0, energy_cmd_use},
    {"calibrate", "", 0, 0, MEASURE, energy_cmd_calibrate},
};

static void
options_clear(EnergyOptions *options)
{
  g_free(options->sys);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(EnergyOptions, options_clear)

static gboolean
check_options(const EnergyOptions *options, const char *command, guint allowed, GError **error)
{
  const struct {
    gboolean given;
    guint option;
    const char *name;
  } given[] = {{options->json, JSON, "--json"},
               {options->seconds != ENERGY_SECONDS_USUAL, MEASURE, "--seconds"},
               {options->sys != NULL, MEASURE, "--sys"}};
  for (gsize i = 0; i < G_N_ELEMENTS(given); i++)
    if (given[i].given && !(given[i].option & allowed))
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s is not for \"%s\"", given[i].name, command);
  if (options->seconds != ENERGY_SECONDS_USUAL && (options->seconds < 1 || options->seconds > 600))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--seconds takes 1 to 600");
  return TRUE;
}

static gboolean
run(char **words, int count, const EnergyOptions *options, GError **error)
{
  const char *command = count > 0 ? words[0] : "show";
  for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
    if (strcmp(commands[i].name, command) != 0)
      continue;
    int after = MAX(count - 1, 0);
    if (after < commands[i].least || after > commands[i].most)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "write \"doppel energy %s%s\"", command,
                              commands[i].words);
    return check_options(options, command, commands[i].options, error) &&
           commands[i].run(words + MIN(count, 1), options, error);
  }
  return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "there is no command \"%.60s\": \"doppel energy --help\" lists them", command);
}

int
cmd_energy(int argc, char **argv)
{
  g_auto(EnergyOptions) options = {.seconds = ENERGY_SECONDS_USUAL};
  const GOptionEntry entries[] = {
      {"seconds", 's', 0, G_OPTION_ARG_INT, &options.seconds,
       "calibrate: measure for so long while it waits, and as long while it works (10, with a battery 60)",
       "N"},
      {"sys", 0, 0, G_OPTION_ARG_FILENAME, &options.sys, "calibrate: sysfs is there, and not in /sys", "DIR"},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "show, models: print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[COMMAND [MODEL]]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 2))
    return 2;
  g_autoptr(GError) error = NULL;
  return run(argv + 1, argc - 1, &options, &error) ? 0 : cmd_fail("energy", error);
}

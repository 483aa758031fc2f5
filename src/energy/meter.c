#include "energy/meter.h"

#include "base/error.h"
#include "energy/meter_private.h"

struct EnergyMeter {
  const EnergyMeterKind *kind;
  gpointer state;
  char *words;
};

/* What tells more comes first. */
static const EnergyMeterKind *const kinds[] = {&energy_meter_battery, &energy_meter_powercap};

EnergyMeter *
energy_meter_open(const char *sys, GError **error)
{
  g_autoptr(GString) reasons = g_string_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    g_autofree char *words = NULL, *why = NULL;
    gpointer state = kinds[i]->open(sys, &words, &why);
    if (state) {
      EnergyMeter *meter = g_new0(EnergyMeter, 1);
      *meter = (EnergyMeter){kinds[i], state, g_steal_pointer(&words)};
      return meter;
    }
    g_string_append_printf(reasons, "%s%s", i > 0 ? "; " : "", why);
  }
  doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "nothing tells what this device takes: %s", reasons->str);
  return NULL;
}

void
energy_meter_free(EnergyMeter *meter)
{
  if (!meter)
    return;
  meter->kind->free(meter->state);
  g_free(meter->words);
  g_free(meter);
}

const char *
energy_meter_words(const EnergyMeter *meter)
{
  return meter->words;
}

int
energy_meter_seconds(const EnergyMeter *meter)
{
  return meter->kind->seconds;
}

gboolean
energy_meter_read(EnergyMeter *meter, gint64 now_ns, double *joules, GError **error)
{
  return meter->kind->read(meter->state, now_ns, joules, error);
}

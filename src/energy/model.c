#include "energy/model.h"

#include <string.h>

static const char *const words[ENERGY_RADIO_KINDS] = {"wifi", "lte", "3g", "wired"};

const char *
energy_radio_word(EnergyRadioKind kind)
{
  return words[kind];
}

gboolean
energy_radio_parse(const char *word, EnergyRadioKind *kind)
{
  for (guint i = 0; i < ENERGY_RADIO_KINDS; i++)
    if (strcmp(words[i], word) == 0) {
      *kind = i;
      return TRUE;
    }
  return FALSE;
}

void
energy_radio_free(EnergyRadio *radio)
{
  if (!radio)
    return;
  g_free(radio->name);
  g_free(radio->title);
  g_free(radio->source);
  g_free(radio->file);
  g_free(radio);
}

void
energy_model_free(EnergyModel *model)
{
  if (!model)
    return;
  g_free(model->name);
  g_free(model->title);
  g_free(model->source);
  g_free(model->file);
  for (guint i = 0; i < ENERGY_RADIO_KINDS; i++)
    g_free(model->radio_names[i]);
  g_free(model);
}

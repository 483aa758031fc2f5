/* doppel energy models, show and use. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cmd/energy.h"
#include "cmd/table.h"
#include "energy/energy.h"

#define AUTO "auto"

char *
energy_number(double number, int decimals)
{
  char format[8], text[G_ASCII_DTOSTR_BUF_SIZE];
  g_snprintf(format, sizeof format, "%%.%df", decimals);
  return g_strdup(g_ascii_formatd(text, sizeof text, format, number));
}

/* NULL where it is not known. */
static char *
milliwatt(double watt)
{
  return watt < 0 ? NULL : energy_number(watt * 1e3, 1);
}

/* ---- models ---- */

static const TableColumn columns[] = {
    {"MODEL", "model"},
    {"DEVICE", "device"},
    {"BUSY mW", "busy_mw", TABLE_NUMBER},
    {"WAITING mW", "idle_mw", TABLE_NUMBER},
    {"RADIOS", NULL},
    {"COUNTS", "counts", TABLE_BOOLEAN},
    {NULL, "wifi"},
    {NULL, "lte"},
    {NULL, "3g"},
    {NULL, "wired"},
    {NULL, "source"},
    {NULL, "file"},
};

static char *
radio_words(const EnergyModel *model)
{
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint kind = 0; kind < ENERGY_RADIO_KINDS; kind++)
    if (model->radios[kind])
      g_string_append_printf(text, "%s%s", text->len ? " " : "", energy_radio_word(kind));
  return g_string_free(g_steal_pointer(&text), FALSE);
}

static void
add_row(Table *table, const EnergyModel *model, gboolean counts)
{
  g_autofree char *busy = milliwatt(model->busy_w), *idle = milliwatt(model->idle_w),
                  *radios = radio_words(model);
  char *const *names = model->radio_names;
  const char *cells[] = {model->name,
                         model->title,
                         busy,
                         idle,
                         radios,
                         counts ? "true" : "false",
                         names[ENERGY_RADIO_WIFI],
                         names[ENERGY_RADIO_LTE],
                         names[ENERGY_RADIO_3G],
                         names[ENERGY_RADIO_WIRED],
                         model->source,
                         model->file};
  table_add(table, cells);
}

gboolean
energy_cmd_models(char **words, const EnergyOptions *options, GError **error)
{
  g_autoptr(EnergyModels) models = energy_models_load(NULL, NULL, error);
  if (!models)
    return FALSE;
  const EnergyModel *chosen = energy_models_chosen(models, NULL, NULL);
  g_autoptr(GPtrArray) list = energy_models_list(models);
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (guint i = 0; i < list->len; i++)
    add_row(table, list->pdata[i], list->pdata[i] == chosen);
  table_print(table, options->json, stdout);
  return TRUE;
}

/* ---- use ---- */

gboolean
energy_cmd_use(char **words, const EnergyOptions *options, GError **error)
{
  gboolean automatic = strcmp(words[0], AUTO) == 0;
  g_autoptr(EnergyModels) models = energy_models_load(NULL, NULL, error);
  return models && (automatic || energy_models_find(models, words[0], error)) &&
         energy_models_use(NULL, automatic ? NULL : words[0], error);
}

/* ---- show ---- */

/* What is shown: a model, and why it counts, or NULL. */
typedef struct {
  const EnergyModel *model;
  const char *reason, *advice;
} Shown;

static const struct {
  const char *word, *advice;
} reasons[] = {
    [ENERGY_CHOICE_CONFIGURED] = {"configured", "counts: \"doppel energy use\" chose it"},
    [ENERGY_CHOICE_CALIBRATED] = {"calibrated", "counts: it was measured on this device"},
    [ENERGY_CHOICE_DEFAULT] =
        {"default", "counts, for no other was chosen: \"doppel energy calibrate\" measures this device, "
                    "\"doppel energy use MODEL\" takes another"},
};

/* J that the radio takes for a megabyte sent in a second, with what comes before and after: what makes models
 * comparable. */
static double
megabyte(const EnergyModel *model, EnergyRadioKind kind)
{
  const EnergyBurst burst = {0, 1, 1000000, 0};
  const EnergyWork work = {.seconds = 1, .radio = kind, .bursts = &burst, .burst_count = 1};
  return energy_estimate(model, &work).radio;
}

static void
append_milliwatt(GString *text, const char *before, double watt, const char *after)
{
  g_autofree char *number = energy_number(watt * 1e3, 1);
  g_string_append_printf(text, "%s%s mW%s", before, number, after);
}

static void
append_for(GString *text, const char *before, double watt, double seconds)
{
  g_autofree char *number = energy_number(seconds, 2);
  append_milliwatt(text, before, watt, " for ");
  g_string_append_printf(text, "%s s", number);
}

static char *
radio_states(const EnergyRadio *radio)
{
  g_autoptr(GString) text = g_string_new(NULL);
  if (radio->idle.ramp_s > 0)
    append_for(text, "wakes up with ", radio->idle.ramp_w, radio->idle.ramp_s);
  append_milliwatt(text, text->len ? ", then " : "", radio->active_w, " with traffic");
  const double bytes[] = {radio->up_j, radio->down_j};
  for (guint i = 0; i < G_N_ELEMENTS(bytes); i++)
    if (bytes[i] > 0)
      append_milliwatt(text, ", ", bytes[i] * 1e6 / 8,
                       i == 0 ? " more for each Mbit/s up" : " for each down");
  for (guint i = 0; i < radio->tail_count; i++) {
    const EnergyWaiting *tail = &radio->tails[i];
    append_for(text, i == 0 ? "; after it " : ", ", tail->w, tail->s);
    if (tail->ramp_s > 0)
      append_for(text, " (and to come back from there ", tail->ramp_w, tail->ramp_s);
    g_string_append(text, tail->ramp_s > 0 ? ")" : "");
  }
  append_milliwatt(text, "; else ", radio->idle.w, "");
  return g_string_free(g_steal_pointer(&text), FALSE);
}

static void
print_radio(const EnergyModel *model, EnergyRadioKind kind)
{
  const EnergyRadio *radio = model->radios[kind];
  if (!radio) {
    printf("  %-10s not known: nothing is counted for it\n", energy_radio_word(kind));
    return;
  }
  g_autofree char *states = radio_states(radio), *joules = energy_number(megabyte(model, kind), 2);
  printf("  %-10s %s: %s\n", energy_radio_word(kind), radio->title, states);
  printf("  %-10s a megabyte sent in a second takes %s J. %s\n", "", joules, radio->source);
}

static void
print_text(const Shown *shown)
{
  const EnergyModel *model = shown->model;
  g_autofree char *busy = milliwatt(model->busy_w), *idle = milliwatt(model->idle_w);
  printf("%s: %s\n", model->name, model->title);
  if (shown->advice)
    printf("  %s\n", shown->advice);
  printf("  %-10s %s\n", "source", model->source);
  printf("  %-10s %s mW for each that is busy\n", "processor", busy);
  printf("  %-10s %s%s\n", "waiting", idle ? idle : "not known: nothing is counted for it",
         idle ? " mW" : "");
  for (guint kind = 0; kind < ENERGY_RADIO_KINDS; kind++)
    print_radio(model, kind);
}

static void
append_number(GString *json, const char *before, double number)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append_printf(json, "%s%s", before, g_ascii_formatd(text, sizeof text, "%.7g", number));
}

static void
append_text(GString *json, const char *before, const char *text)
{
  g_string_append(json, before);
  if (text)
    json_append_string(json, text);
  else
    g_string_append(json, "null");
}

static void
append_waiting(GString *json, const EnergyWaiting *state)
{
  append_number(json, "{\"mw\": ", state->w * 1e3);
  append_number(json, ", \"s\": ", state->s);
  append_number(json, ", \"ramp_mw\": ", state->ramp_w * 1e3);
  append_number(json, ", \"ramp_s\": ", state->ramp_s);
  g_string_append_c(json, '}');
}

static void
append_radio(GString *json, const EnergyModel *model, EnergyRadioKind kind)
{
  const EnergyRadio *radio = model->radios[kind];
  append_text(json, "{\"radio\": ", radio->name);
  append_text(json, ", \"device\": ", radio->title);
  append_text(json, ", \"source\": ", radio->source);
  append_text(json, ", \"file\": ", radio->file);
  append_number(json, ",\n    \"active_mw\": ", radio->active_w * 1e3);
  append_number(json, ", \"up_mw_per_mbit\": ", radio->up_j * 1e9 / 8);
  append_number(json, ", \"down_mw_per_mbit\": ", radio->down_j * 1e9 / 8);
  if (radio->air_rate > 0)
    append_number(json, ", \"air_mbit\": ", radio->air_rate * 8e-6);
  append_number(json, ", \"idle_mw\": ", radio->idle.w * 1e3);
  append_number(json, ", \"ramp_mw\": ", radio->idle.ramp_w * 1e3);
  append_number(json, ", \"ramp_s\": ", radio->idle.ramp_s);
  g_string_append(json, ",\n    \"tails\": [");
  for (guint i = 0; i < radio->tail_count; i++) {
    g_string_append(json, i > 0 ? ", " : "");
    append_waiting(json, &radio->tails[i]);
  }
  append_number(json, "], \"megabyte_j\": ", megabyte(model, kind));
  g_string_append_c(json, '}');
}

static void
print_json(const Shown *shown)
{
  const EnergyModel *model = shown->model;
  g_autoptr(GString) json = g_string_new(NULL);
  append_text(json, "{\"model\": ", model->name);
  append_text(json, ", \"device\": ", model->title);
  append_text(json, ", \"counts\": ", shown->reason);
  append_text(json, ",\n \"source\": ", model->source);
  append_text(json, ", \"file\": ", model->file);
  append_number(json, ",\n \"busy_mw\": ", model->busy_w * 1e3);
  if (model->idle_w >= 0)
    append_number(json, ", \"idle_mw\": ", model->idle_w * 1e3);
  g_string_append(json, ",\n \"radios\": {");
  gboolean any = FALSE;
  for (guint kind = 0; kind < ENERGY_RADIO_KINDS; kind++) {
    if (!model->radios[kind])
      continue;
    g_string_append_printf(json, "%s\n  \"%s\": ", any ? "," : "", energy_radio_word(kind));
    append_radio(json, model, kind);
    any = TRUE;
  }
  printf("%s}}\n", json->str);
}

gboolean
energy_cmd_show(char **words, const EnergyOptions *options, GError **error)
{
  g_autoptr(EnergyModels) models = energy_models_load(NULL, NULL, error);
  if (!models)
    return FALSE;
  EnergyChoice why;
  const EnergyModel *chosen = energy_models_chosen(models, &why, words[0] ? NULL : error);
  const EnergyModel *model = words[0] ? energy_models_find(models, words[0], error) : chosen;
  if (!model)
    return FALSE;
  gboolean counts = model == chosen;
  const Shown shown = {model, counts ? reasons[why].word : NULL, counts ? reasons[why].advice : NULL};
  if (options->json)
    print_json(&shown);
  else
    print_text(&shown);
  return TRUE;
}

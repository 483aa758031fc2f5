#include "energy/model_file.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

/* Far above what any device takes, far below what sums of it could not bear. */
#define MILLIWATT_MAX 1e6
#define SECONDS_MAX   3600
#define MBIT_MAX      1e6

/* ---- what a key can say ---- */

typedef struct {
  gboolean (*read)(const char *text, gpointer value);
  const char *allowed;
} ValueKind;

/* A decimal number as JSON has it, from 0 to `most`: strtod(3) would take hexadecimals, "inf" and "nan", too.
 */
static gboolean
read_number(const char *text, double most, double *number)
{
  char *end;
  if (!g_ascii_isdigit(*text) || strspn(text, "0123456789.eE+-") != strlen(text))
    return FALSE;
  *number = g_ascii_strtod(text, &end);
  return *end == '\0' && isfinite(*number) && *number >= 0 && *number <= most;
}

static gboolean
read_scaled(const char *text, double most, double scale, double *value)
{
  double number;
  if (!read_number(text, most, &number))
    return FALSE;
  *value = number * scale;
  return TRUE;
}

static gboolean
read_milliwatt(const char *text, gpointer value)
{
  return read_scaled(text, MILLIWATT_MAX, 1e-3, value);
}

static gboolean
read_seconds(const char *text, gpointer value)
{
  return read_scaled(text, SECONDS_MAX, 1, value) && *(double *)value > 0;
}

/* mW for each Mbit/s is nJ a bit. */
static gboolean
read_per_mbit(const char *text, gpointer value)
{
  return read_scaled(text, MILLIWATT_MAX, 8e-9, value);
}

static gboolean
read_mbit(const char *text, gpointer value)
{
  return read_scaled(text, MBIT_MAX, 1e6 / 8, value) && *(double *)value > 0;
}

static gboolean
read_text(const char *text, gpointer value)
{
  *(char **)value = *text ? g_strdup(text) : NULL;
  return *text != '\0';
}

static gboolean
is_name(const char *text)
{
  return *text && strlen(text) <= 64 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

static gboolean
read_name(const char *text, gpointer value)
{
  return is_name(text) && read_text(text, value);
}

static gboolean
read_kind(const char *text, gpointer value)
{
  return energy_radio_parse(text, value);
}

static const ValueKind milliwatt = {read_milliwatt, "a number of mW, from 0 to 1000000"},
                       seconds = {read_seconds, "a number of seconds, above 0 and up to 3600"},
                       per_mbit = {read_per_mbit, "a number of mW for each Mbit/s, from 0 to 1000000"},
                       mbit = {read_mbit, "a number of Mbit/s, above 0 and up to 1000000"},
                       words = {read_text, "text"},
                       name = {read_name, "a name of small letters, digits and \"-\""},
                       kind = {read_kind, "wifi, lte, 3g or wired"};

/* ---- the keys ---- */

typedef struct {
  const char *key;
  const ValueKind *kind;
  gsize offset; /* in EnergyModel or EnergyRadio */
  gboolean needed;
  const char *with; /* is there only together with this one */
} Key;

#define MODEL(field)       G_STRUCT_OFFSET(EnergyModel, field)
#define RADIO(field)       G_STRUCT_OFFSET(EnergyRadio, field)
#define TAIL(index, field) RADIO(tails[index].field)

static const Key model_keys[] = {
    {"title", &words, MODEL(title)},
    {"source", &words, MODEL(source), TRUE},
    {"busy-mw", &milliwatt, MODEL(busy_w), TRUE},
    {"idle-mw", &milliwatt, MODEL(idle_w)},
    {"wifi", &name, MODEL(radio_names[ENERGY_RADIO_WIFI])},
    {"lte", &name, MODEL(radio_names[ENERGY_RADIO_LTE])},
    {"3g", &name, MODEL(radio_names[ENERGY_RADIO_3G])},
    {"wired", &name, MODEL(radio_names[ENERGY_RADIO_WIRED])},
};

static const Key radio_keys[] = {
    {"title", &words, RADIO(title)},
    {"source", &words, RADIO(source), TRUE},
    {"kind", &kind, RADIO(kind), TRUE},
    {"active-mw", &milliwatt, RADIO(active_w), TRUE},
    {"up-mw-per-mbit", &per_mbit, RADIO(up_j)},
    {"down-mw-per-mbit", &per_mbit, RADIO(down_j)},
    {"air-mbit", &mbit, RADIO(air_rate)},
    {"idle-mw", &milliwatt, RADIO(idle.w)},
    {"ramp-mw", &milliwatt, RADIO(idle.ramp_w), FALSE, "ramp-s"},
    {"ramp-s", &seconds, RADIO(idle.ramp_s), FALSE, "ramp-mw"},
    {"tail1-mw", &milliwatt, TAIL(0, w), FALSE, "tail1-s"},
    {"tail1-s", &seconds, TAIL(0, s), FALSE, "tail1-mw"},
    {"tail1-ramp-mw", &milliwatt, TAIL(0, ramp_w), FALSE, "tail1-ramp-s"},
    {"tail1-ramp-s", &seconds, TAIL(0, ramp_s), FALSE, "tail1-ramp-mw"},
    {"tail2-mw", &milliwatt, TAIL(1, w), FALSE, "tail2-s"},
    {"tail2-s", &seconds, TAIL(1, s), FALSE, "tail2-mw"},
    {"tail2-ramp-mw", &milliwatt, TAIL(1, ramp_w), FALSE, "tail2-ramp-s"},
    {"tail2-ramp-s", &seconds, TAIL(1, ramp_s), FALSE, "tail2-ramp-mw"},
    {"tail3-mw", &milliwatt, TAIL(2, w), FALSE, "tail3-s"},
    {"tail3-s", &seconds, TAIL(2, s), FALSE, "tail3-mw"},
    {"tail3-ramp-mw", &milliwatt, TAIL(2, ramp_w), FALSE, "tail3-ramp-s"},
    {"tail3-ramp-s", &seconds, TAIL(2, ramp_s), FALSE, "tail3-ramp-mw"},
};

static const Key use_keys[] = {{"model", &name, 0, TRUE}};

/* ---- reading ---- */

/* A group of the file that is being read. */
typedef struct {
  GKeyFile *file;
  const char *path, *group;
} Group;

static gboolean
read_key(const Group *group, const Key *key, gpointer to, GError **error)
{
  g_autofree char *text = g_key_file_get_value(group->file, group->group, key->key, NULL);
  if (!text)
    return !key->needed ||
           doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE, "%s: [%s] has no %s, which it needs: %s",
                                    group->path, group->group, key->key, key->kind->allowed);
  if (!key->kind->read(g_strchomp(text), (char *)to + key->offset))
    return doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE, "%s: [%s] %s = \"%.80s\": it has to be %s",
                                    group->path, group->group, key->key, text, key->kind->allowed);
  if (key->with && !g_key_file_has_key(group->file, group->group, key->with, NULL))
    return doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE,
                                    "%s: [%s] has %s, but no %s, which belongs to it", group->path,
                                    group->group, key->key, key->with);
  return TRUE;
}

static char *
known_keys(const Key *keys, guint count)
{
  g_autoptr(GString) list = g_string_new(NULL);
  for (guint i = 0; i < count; i++)
    g_string_append_printf(list, "%s%s", i > 0 ? ", " : "", keys[i].key);
  return g_string_free(g_steal_pointer(&list), FALSE);
}

static gboolean
read_keys(const Group *group, const Key *keys, guint count, gpointer to, GError **error)
{
  g_auto(GStrv) found = g_key_file_get_keys(group->file, group->group, NULL, NULL);
  for (char **at = found; at && *at; at++) {
    gboolean known = FALSE;
    for (guint i = 0; i < count; i++)
      known = known || strcmp(keys[i].key, *at) == 0;
    if (known)
      continue;
    g_autofree char *list = known_keys(keys, count);
    return doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE,
                                    "%s: there is no key \"%s\" in [%s]; there are: %s", group->path, *at,
                                    group->group, list);
  }
  for (guint i = 0; i < count; i++)
    if (!read_key(group, &keys[i], to, error))
      return FALSE;
  return TRUE;
}

static gboolean
add_model(EnergyModelFile *to, const Group *group, const char *called, GError **error)
{
  g_autoptr(EnergyModel) model = g_new0(EnergyModel, 1);
  model->name = g_strdup(called);
  model->file = g_strdup(group->path);
  model->idle_w = ENERGY_UNKNOWN;
  if (!read_keys(group, model_keys, G_N_ELEMENTS(model_keys), model, error))
    return FALSE;
  model->title = model->title ? model->title : g_strdup(called);
  char *key = model->name;
  g_hash_table_replace(to->models, key, g_steal_pointer(&model));
  return TRUE;
}

/* A tail comes after another one, and a way back out of it needs a tail. */
static gboolean
count_tails(EnergyRadio *radio, const Group *group, GError **error)
{
  while (radio->tail_count < ENERGY_TAILS && radio->tails[radio->tail_count].s > 0)
    radio->tail_count++;
  for (guint i = radio->tail_count; i < ENERGY_TAILS; i++)
    if (radio->tails[i].s > 0 || radio->tails[i].ramp_s > 0)
      return doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE,
                                      "%s: [%s] has keys of tail%u, but no tail%u-s", group->path,
                                      group->group, i + 1, radio->tail_count + 1);
  return TRUE;
}

static gboolean
add_radio(EnergyModelFile *to, const Group *group, const char *called, GError **error)
{
  g_autoptr(EnergyRadio) radio = g_new0(EnergyRadio, 1);
  radio->name = g_strdup(called);
  radio->file = g_strdup(group->path);
  if (!read_keys(group, radio_keys, G_N_ELEMENTS(radio_keys), radio, error) ||
      !count_tails(radio, group, error))
    return FALSE;
  radio->title = radio->title ? radio->title : g_strdup(called);
  char *key = radio->name;
  g_hash_table_replace(to->radios, key, g_steal_pointer(&radio));
  return TRUE;
}

static gboolean
add_use(EnergyModelFile *to, const Group *group, GError **error)
{
  g_clear_pointer(&to->use, g_free);
  return read_keys(group, use_keys, G_N_ELEMENTS(use_keys), &to->use, error);
}

static gboolean
add_group(EnergyModelFile *to, const Group *group, GError **error)
{
  static const struct {
    const char *prefix;
    gboolean (*add)(EnergyModelFile *to, const Group *group, const char *called, GError **error);
  } kinds[] = {{"device ", add_model}, {"radio ", add_radio}};
  if (strcmp(group->group, "use") == 0)
    return add_use(to, group, error);
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    const char *called = group->group + strlen(kinds[i].prefix);
    if (!g_str_has_prefix(group->group, kinds[i].prefix))
      continue;
    return is_name(called)
               ? kinds[i].add(to, group, called, error)
               : doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE, "%s: [%s]: after \"%s\" comes %s",
                                          group->path, group->group, kinds[i].prefix, name.allowed);
  }
  return doppel_error_set_foreign(
      error, DOPPEL_ERROR_USAGE,
      "%s: there is no group [%s]; there are [device NAME], [radio NAME] and [use]", group->path,
      group->group);
}

gboolean
energy_model_file_add(EnergyModelFile *file, GKeyFile *keys, const char *path, GError **error)
{
  g_auto(GStrv) groups = g_key_file_get_groups(keys, NULL);
  for (char **at = groups; *at; at++)
    if (!add_group(file, &(Group){keys, path, *at}, error))
      return FALSE;
  return TRUE;
}

gboolean
energy_model_file_read(EnergyModelFile *file, const char *path, GError **error)
{
  g_autoptr(GKeyFile) keys = g_key_file_new();
  g_autoptr(GError) problem = NULL;
  /* Else what a key in another language says would depend on the reader's. */
  if (!g_key_file_load_from_file(keys, path, G_KEY_FILE_KEEP_TRANSLATIONS, &problem)) {
    DoppelErrorCode code = problem->domain == G_KEY_FILE_ERROR ? DOPPEL_ERROR_USAGE
                           : g_error_matches(problem, G_FILE_ERROR, G_FILE_ERROR_NOENT)
                               ? DOPPEL_ERROR_NOT_FOUND
                               : DOPPEL_ERROR_FAILED;
    return doppel_error_set_foreign(error, code, "cannot read the power models %s (doppel-energy(1)): %s",
                                    path, problem->message);
  }
  return energy_model_file_add(file, keys, path, error);
}

void
energy_model_file_init(EnergyModelFile *file)
{
  *file = (EnergyModelFile){
      g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)energy_model_free),
      g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)energy_radio_free), NULL};
}

void
energy_model_file_clear(EnergyModelFile *file)
{
  g_clear_pointer(&file->models, g_hash_table_unref);
  g_clear_pointer(&file->radios, g_hash_table_unref);
  g_clear_pointer(&file->use, g_free);
}

#include "energy/models.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "energy/model_file.h"

struct EnergyModels {
  EnergyModelFile all;
  char *own;
};

/* ---- where they are ---- */

/* The build tree has it beside the programs as an installation has. */
static char *
table_path(GError **error)
{
  g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
  if (self) {
    g_autofree char *programs = g_path_get_dirname(self);
    g_autofree char *built = g_canonicalize_filename("../../share/doppel/power.ini", programs);
    if (access(built, R_OK) == 0)
      return g_steal_pointer(&built);
  }
  if (access(ENERGY_TABLE, R_OK) == 0)
    return g_strdup(ENERGY_TABLE);
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                   "the table of power models is missing: %s. Install doppel again, or build all of the tree",
                   ENERGY_TABLE);
  return NULL;
}

char *
energy_models_own_path(void)
{
  return g_build_filename(g_get_user_config_dir(), "doppel", "power.ini", NULL);
}

/* ---- reading ---- */

static gboolean
read_table(EnergyModelFile *all, const char *table, GError **error)
{
  g_autofree char *path = table ? g_strdup(table) : table_path(error);
  if (!path || !energy_model_file_read(all, path, error))
    return FALSE;
  if (!all->use)
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s: [use] is for the user's file only", path);
}

static gboolean
read_own(EnergyModelFile *all, const char *own, GError **error)
{
  g_autoptr(GError) problem = NULL;
  if (energy_model_file_read(all, own, &problem) ||
      g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&problem));
  return FALSE;
}

static gboolean
find_radios(EnergyModel *model, GHashTable *radios, GError **error)
{
  for (guint kind = 0; kind < ENERGY_RADIO_KINDS; kind++) {
    const char *name = model->radio_names[kind], *word = energy_radio_word(kind);
    if (!name)
      continue;
    const EnergyRadio *radio = model->radios[kind] = g_hash_table_lookup(radios, name);
    if (!radio)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s: [device %s] %s = %s: there is no [radio %s]",
                              model->file, model->name, word, name, name);
    if (radio->kind != kind)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                              "%s: [device %s] %s = %s: that radio's kind is %s (%s)", model->file,
                              model->name, word, name, energy_radio_word(radio->kind), radio->file);
  }
  return TRUE;
}

EnergyModels *
energy_models_load(const char *table, const char *own, GError **error)
{
  g_autoptr(EnergyModels) models = g_new0(EnergyModels, 1);
  energy_model_file_init(&models->all);
  models->own = own ? g_strdup(own) : energy_models_own_path();
  if (!read_table(&models->all, table, error) || !read_own(&models->all, models->own, error))
    return NULL;
  GHashTableIter iter;
  gpointer model;
  g_hash_table_iter_init(&iter, models->all.models);
  while (g_hash_table_iter_next(&iter, NULL, &model))
    if (!find_radios(model, models->all.radios, error))
      return NULL;
  return g_steal_pointer(&models);
}

void
energy_models_free(EnergyModels *models)
{
  if (!models)
    return;
  energy_model_file_clear(&models->all);
  g_free(models->own);
  g_free(models);
}

/* ---- asking ---- */

static int
compare(gconstpointer a, gconstpointer b)
{
  return strcmp((*(EnergyModel *const *)a)->name, (*(EnergyModel *const *)b)->name);
}

GPtrArray *
energy_models_list(const EnergyModels *models)
{
  GPtrArray *list = g_ptr_array_new();
  GHashTableIter iter;
  gpointer model;
  g_hash_table_iter_init(&iter, models->all.models);
  while (g_hash_table_iter_next(&iter, NULL, &model))
    g_ptr_array_add(list, model);
  g_ptr_array_sort(list, compare);
  return list;
}

static char *
names(const EnergyModels *models)
{
  g_autoptr(GPtrArray) list = energy_models_list(models);
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < list->len; i++)
    g_string_append_printf(text, "%s%s", i > 0 ? ", " : "", ((const EnergyModel *)list->pdata[i])->name);
  return g_string_free(g_steal_pointer(&text), FALSE);
}

const EnergyModel *
energy_models_find(const EnergyModels *models, const char *name, GError **error)
{
  const EnergyModel *found = g_hash_table_lookup(models->all.models, name);
  if (found)
    return found;
  g_autofree char *valid = g_utf8_make_valid(name, -1);
  g_autofree char *known = names(models);
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no power model \"%.64s\"; there are: %s", valid,
                   known);
  return NULL;
}

const EnergyModel *
energy_models_chosen(const EnergyModels *models, EnergyChoice *why, GError **error)
{
  const EnergyModel *calibrated = g_hash_table_lookup(models->all.models, ENERGY_MODEL_CALIBRATED);
  EnergyChoice choice = models->all.use ? ENERGY_CHOICE_CONFIGURED
                        : calibrated    ? ENERGY_CHOICE_CALIBRATED
                                        : ENERGY_CHOICE_DEFAULT;
  const char *name[] = {models->all.use, ENERGY_MODEL_CALIBRATED, ENERGY_MODEL_DEFAULT};
  const EnergyModel *found = energy_models_find(models, name[choice], error);
  if (!found && choice == ENERGY_CHOICE_CONFIGURED)
    g_prefix_error(error, "%s: [use] model: ", models->own);
  if (why)
    *why = choice;
  return found;
}

/* ---- the user's file ---- */

typedef void Change(GKeyFile *file, gconstpointer data);

static void
put_use(GKeyFile *file, gconstpointer name)
{
  if (name)
    g_key_file_set_value(file, "use", "model", name);
  else
    g_key_file_remove_group(file, "use", NULL);
}

static void
put_milliwatt(GKeyFile *file, const char *group, const char *key, double watt)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  if (watt >= 0)
    g_key_file_set_value(file, group, key, g_ascii_formatd(text, sizeof text, "%.3f", watt * 1e3));
}

static void
put_model(GKeyFile *file, gconstpointer data)
{
  const EnergyModel *model = data;
  g_autofree char *group = g_strconcat("device ", model->name, NULL);
  g_key_file_remove_group(file, group, NULL);
  g_key_file_set_value(file, group, "title", model->title);
  g_key_file_set_value(file, group, "source", model->source);
  put_milliwatt(file, group, "busy-mw", model->busy_w);
  put_milliwatt(file, group, "idle-mw", model->idle_w);
  for (guint kind = 0; kind < ENERGY_RADIO_KINDS; kind++)
    if (model->radio_names[kind])
      g_key_file_set_value(file, group, energy_radio_word(kind), model->radio_names[kind]);
}

/* Where only root may read what is measured by, root calibrates for a user (sudo): what it makes belongs to
 * whoever has the folder around it, or the user could not even read it. */
static gboolean
give_away(const char *path, GError **error)
{
  g_autofree char *around = g_path_get_dirname(path);
  struct stat folder;
  if (geteuid() != 0)
    return TRUE;
  if (stat(around, &folder) < 0 || (folder.st_uid != 0 && lchown(path, folder.st_uid, folder.st_gid) < 0))
    return doppel_error_errno(error, "cannot give %s to the user who has %s", path, around);
  return TRUE;
}

static gboolean
make_folder(const char *path, GError **error)
{
  if (g_file_test(path, G_FILE_TEST_IS_DIR))
    return TRUE;
  g_autofree char *around = g_path_get_dirname(path);
  if (!make_folder(around, error))
    return FALSE;
  if (mkdir(path, 0700) < 0)
    return errno == EEXIST || doppel_error_errno(error, "cannot make the directory %s", path);
  return give_away(path, error);
}

/* What else is in the file stays, comments too; it is replaced as a whole, and by nothing that could not be
 * read again. */
static gboolean
change_own(const char *own, Change *change, gconstpointer data, GError **error)
{
  g_autofree char *path = own ? g_strdup(own) : energy_models_own_path();
  g_autofree char *parent = g_path_get_dirname(path);
  g_autoptr(GKeyFile) file = g_key_file_new();
  g_autoptr(GError) problem = NULL;
  if (!g_key_file_load_from_file(file, path, G_KEY_FILE_KEEP_COMMENTS | G_KEY_FILE_KEEP_TRANSLATIONS,
                                 &problem) &&
      !g_error_matches(problem, G_FILE_ERROR, G_FILE_ERROR_NOENT))
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "cannot read %s: %s", path, problem->message);
  g_clear_error(&problem);
  change(file, data);
  g_auto(EnergyModelFile) changed;
  energy_model_file_init(&changed);
  if (!energy_model_file_add(&changed, file, path, error) || !make_folder(parent, error))
    return FALSE;
  if (!g_key_file_save_to_file(file, path, &problem))
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "cannot write %s: %s", path, problem->message);
  return give_away(path, error);
}

gboolean
energy_models_use(const char *own, const char *name, GError **error)
{
  return change_own(own, put_use, name, error);
}

gboolean
energy_models_keep(const char *own, const EnergyModel *model, GError **error)
{
  return change_own(own, put_model, model, error);
}

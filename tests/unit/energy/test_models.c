/* Files of power models: what they can say, what is answered to mistakes, which model counts, and that the
 * table that is installed is a good one. */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "energy/models.h"

#define DEFAULT_DEVICE "[device pixel-2-xl]\nsource=s\nbusy-mw=1\n"

typedef struct {
  char *directory, *table, *own;
} Place;

static void
set_up(Place *place, gconstpointer unused)
{
  place->directory = g_dir_make_tmp("doppel-energy-XXXXXX", NULL);
  place->table = g_build_filename(place->directory, "table.ini", NULL);
  place->own = g_build_filename(place->directory, "config", "doppel", "power.ini", NULL);
}

static void
tear_down(Place *place, gconstpointer unused)
{
  g_autofree char *doppel = g_path_get_dirname(place->own), *config = g_path_get_dirname(doppel);
  g_unlink(place->table);
  g_unlink(place->own);
  g_rmdir(doppel);
  g_rmdir(config);
  g_assert_cmpint(g_rmdir(place->directory), ==, 0);
  g_free(place->directory);
  g_free(place->table);
  g_free(place->own);
}

static void
put(const char *path, const char *text)
{
  g_autofree char *parent = g_path_get_dirname(path);
  g_assert_cmpint(g_mkdir_with_parents(parent, 0700), ==, 0);
  g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static EnergyModels *
load(Place *place, const char *table, const char *own)
{
  g_autoptr(GError) error = NULL;
  put(place->table, table);
  if (own)
    put(place->own, own);
  EnergyModels *models = energy_models_load(place->table, place->own, &error);
  g_assert_no_error(error);
  return models;
}

static const EnergyModel *
find(const EnergyModels *models, const char *name)
{
  g_autoptr(GError) error = NULL;
  const EnergyModel *model = energy_models_find(models, name, &error);
  g_assert_no_error(error);
  return model;
}

static void
is_near(double value, double expected)
{
  g_assert_cmpfloat_with_epsilon(value, expected, 1e-12 + 1e-9 * ABS(expected));
}

/* ---- what a file can say ---- */

static void
test_units(Place *place, gconstpointer unused)
{
  g_autoptr(EnergyModels) models =
      load(place,
           "[device a]\ntitle=A phone\nsource=Someone, 2010\nbusy-mw=433.88\nidle-mw=1e2\n"
           "lte = r\n"
           "[radio r]\nsource=t\nkind=lte\nactive-mw=1200\nup-mw-per-mbit=438.39\n"
           "down-mw-per-mbit=51.97\nair-mbit=54\nidle-mw=20\nramp-mw=1210\nramp-s=0.26\n"
           "tail1-mw=1060\ntail1-s=10\ntail2-mw=500\ntail2-s=2\ntail2-ramp-mw=700\n"
           "tail2-ramp-s=1.5\n",
           NULL);
  const EnergyModel *model = find(models, "a");
  g_assert_cmpstr(model->title, ==, "A phone");
  g_assert_cmpstr(model->source, ==, "Someone, 2010");
  g_assert_cmpstr(model->file, ==, place->table);
  is_near(model->busy_w, 0.43388);
  is_near(model->idle_w, 0.1);
  g_assert_null(model->radios[ENERGY_RADIO_WIFI]);
  g_assert_null(model->radios[ENERGY_RADIO_3G]);
  g_assert_null(model->radios[ENERGY_RADIO_WIRED]);
  const EnergyRadio *radio = model->radios[ENERGY_RADIO_LTE];
  g_assert_cmpstr(radio->name, ==, "r");
  g_assert_cmpstr(radio->title, ==, "r");
  is_near(radio->active_w, 1.2);
  is_near(radio->up_j * 1e6 / 8, 0.43839); /* a Mbit */
  is_near(radio->down_j * 1e6 / 8, 0.05197);
  is_near(radio->air_rate, 54e6 / 8);
  is_near(radio->idle.w, 0.02);
  is_near(radio->idle.ramp_w, 1.21);
  is_near(radio->idle.ramp_s, 0.26);
  g_assert_cmpuint(radio->tail_count, ==, 2);
  is_near(radio->tails[0].w, 1.06);
  is_near(radio->tails[0].s, 10);
  is_near(radio->tails[0].ramp_w, 0);
  is_near(radio->tails[1].w, 0.5);
  is_near(radio->tails[1].s, 2);
  is_near(radio->tails[1].ramp_w, 0.7);
  is_near(radio->tails[1].ramp_s, 1.5);
}

static void
test_unknown(Place *place, gconstpointer unused)
{
  g_autoptr(EnergyModels) models = load(place, "[device a]\nsource=s\nbusy-mw=0\n", NULL);
  g_assert_cmpfloat(find(models, "a")->idle_w, ==, ENERGY_UNKNOWN);
  g_autoptr(GError) error = NULL;
  g_assert_null(energy_models_find(models, "b", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_assert_cmpstr(error->message, ==, "there is no power model \"b\"; there are: a");
}

/* ---- the user's file ---- */

static void
test_own(Place *place, gconstpointer unused)
{
  g_autoptr(EnergyModels) models =
      load(place,
           "[device a]\nsource=s\nbusy-mw=1\nidle-mw=2\nwifi=w\n[device b]\nsource=s\nbusy-mw=3\nwifi=w\n"
           "[radio w]\nsource=s\nkind=wifi\nactive-mw=4\n",
           "[device a]\nsource=mine\nbusy-mw=10\n[device c]\nsource=mine\nbusy-mw=11\nwifi=w\n"
           "[radio w]\nsource=mine\nkind=wifi\nactive-mw=12\n");
  g_autoptr(GPtrArray) list = energy_models_list(models);
  g_assert_cmpuint(list->len, ==, 3);
  for (guint i = 0; i < list->len; i++)
    g_assert_cmpint(((const EnergyModel *)list->pdata[i])->name[0], ==, 'a' + (char)i);
  const EnergyModel *a = find(models, "a"), *b = find(models, "b"), *c = find(models, "c");
  is_near(a->busy_w, 0.010);
  g_assert_cmpfloat(a->idle_w, ==, ENERGY_UNKNOWN); /* the whole group counts, not a key of it */
  g_assert_null(a->radios[ENERGY_RADIO_WIFI]);
  g_assert_cmpstr(a->file, ==, place->own);
  g_assert_cmpstr(b->file, ==, place->table);
  is_near(b->radios[ENERGY_RADIO_WIFI]->active_w, 0.012);
  g_assert_true(b->radios[ENERGY_RADIO_WIFI] == c->radios[ENERGY_RADIO_WIFI]);
}

static void
chooses(Place *place, const char *name, EnergyChoice why)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EnergyModels) models = energy_models_load(place->table, place->own, &error);
  g_assert_no_error(error);
  EnergyChoice choice;
  const EnergyModel *model = energy_models_chosen(models, &choice, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(model->name, ==, name);
  g_assert_cmpint(choice, ==, why);
}

/* Configured, calibrated, default; and back again. */
static void
test_choice(Place *place, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EnergyModels) models =
      load(place,
           DEFAULT_DEVICE
           "[device other]\nsource=s\nbusy-mw=2\nwifi=w\n[radio w]\nsource=s\nkind=wifi\nactive-mw=1\n",
           NULL);
  chooses(place, "pixel-2-xl", ENERGY_CHOICE_DEFAULT);
  EnergyModel measured = *find(models, "other");
  measured.name = (char *)ENERGY_MODEL_CALIBRATED;
  measured.title = (char *)"This device";
  measured.source = (char *)"measured; with care = 100 %";
  measured.busy_w = 1.5;
  measured.idle_w = 0.25;
  g_assert_true(energy_models_keep(place->own, &measured, &error));
  chooses(place, "calibrated", ENERGY_CHOICE_CALIBRATED);
  g_assert_true(energy_models_use(place->own, "other", &error));
  chooses(place, "other", ENERGY_CHOICE_CONFIGURED);
  measured.busy_w = 2.5;
  measured.idle_w = ENERGY_UNKNOWN;
  g_assert_true(energy_models_keep(place->own, &measured, &error));
  chooses(place, "other", ENERGY_CHOICE_CONFIGURED);
  g_assert_true(energy_models_use(place->own, NULL, &error));
  g_assert_no_error(error);
  chooses(place, "calibrated", ENERGY_CHOICE_CALIBRATED);

  g_autoptr(EnergyModels) again = energy_models_load(place->table, place->own, &error);
  g_assert_no_error(error);
  const EnergyModel *kept = find(again, "calibrated");
  is_near(kept->busy_w, 2.5);
  g_assert_cmpfloat(kept->idle_w, ==, ENERGY_UNKNOWN); /* nothing of the one before stays */
  g_assert_cmpstr(kept->title, ==, "This device");
  g_assert_cmpstr(kept->source, ==, "measured; with care = 100 %");
  g_assert_cmpstr(kept->radios[ENERGY_RADIO_WIFI]->name, ==, "w");
}

/* What a user wrote stays. */
static void
test_kept_text(Place *place, gconstpointer unused)
{
  static const char *const pieces[] = {"# my board\n", "[device mine]\n#of a friend\nsource=s\nbusy-mw=1\n",
                                       "[use]\nmodel=mine\n"};
  g_autoptr(GError) error = NULL;
  g_autoptr(EnergyModels) models =
      load(place, DEFAULT_DEVICE, "# my board\n[device mine]\n#of a friend\nsource=s\nbusy-mw=1\n");
  g_assert_true(energy_models_use(place->own, "mine", &error));
  g_assert_no_error(error);
  g_autofree char *text = NULL;
  g_assert_true(g_file_get_contents(place->own, &text, NULL, NULL));
  for (gsize i = 0; i < G_N_ELEMENTS(pieces); i++)
    g_assert_nonnull(strstr(text, pieces[i]));
}

/* Root calibrates for a user: folders and file are the user's. */
static void
test_made_by_root(Place *place, gconstpointer unused)
{
  enum { USER = 1234 };
  g_autoptr(GError) error = NULL;
  g_autofree char *doppel = g_path_get_dirname(place->own), *config = g_path_get_dirname(doppel);
  const char *made[] = {config, doppel, place->own};
  if (geteuid() != 0 || chown(place->directory, USER, USER) < 0) {
    g_test_skip("only root can give files away");
    return;
  }
  g_assert_true(energy_models_use(place->own, "a", &error));
  g_assert_no_error(error);
  for (gsize i = 0; i < G_N_ELEMENTS(made); i++) {
    GStatBuf status;
    g_assert_cmpint(g_stat(made[i], &status), ==, 0);
    g_assert_cmpuint(status.st_uid, ==, USER);
    g_assert_cmpuint(status.st_gid, ==, USER);
  }
}

/* What could not be read again is not written. */
static void
test_beyond_bounds(Place *place, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  const EnergyModel measured = {.name = (char *)ENERGY_MODEL_CALIBRATED,
                                .title = (char *)"t",
                                .source = (char *)"s",
                                .busy_w = 1001,
                                .idle_w = 1};
  put(place->own, "[device a]\nsource=s\nbusy-mw=1\n");
  g_assert_false(energy_models_keep(place->own, &measured, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_assert_nonnull(strstr(error->message, "busy-mw = \"1001000.000\""));
  g_autofree char *text = NULL;
  g_assert_true(g_file_get_contents(place->own, &text, NULL, NULL));
  g_assert_cmpstr(text, ==, "[device a]\nsource=s\nbusy-mw=1\n");
}

static void
test_chosen_missing(Place *place, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EnergyModels) models = load(place, DEFAULT_DEVICE, "[use]\nmodel=gone\n");
  g_assert_null(energy_models_chosen(models, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_autofree char *expected =
      g_strconcat(place->own, ": [use] model: there is no power model \"gone\"; there are: pixel-2-xl", NULL);
  g_assert_cmpstr(error->message, ==, expected);
}

/* ---- mistakes ---- */

typedef struct {
  const char *name, *text;
  const char *says; /* after the file's name; or anywhere, where it begins with a star */
} Mistake;

#define DEVICE "[device a]\nsource=s\nbusy-mw=1\n"
#define RADIO  "[radio r]\nsource=s\nkind=wifi\nactive-mw=1\n"
#define MW     "it has to be a number of mW, from 0 to 1000000"
#define S      "it has to be a number of seconds, above 0 and up to 3600"
#define NAME   "a name of small letters, digits and \"-\""

static const Mistake mistakes[] = {
    {"line", DEVICE "a line of no sense\n", "*a line of no sense"},
    {"before-groups", "busy-mw=1\n", "*does not start with a group"},
    {"group", "[devices a]\n",
     "there is no group [devices a]; there are [device NAME], [radio NAME] and [use]"},
    {"no-name", "[device ]\n", "[device ]: after \"device \" comes " NAME},
    {"bad-name", "[device A b]\n", "[device A b]: after \"device \" comes " NAME},
    {"bad-radio-name", "[radio ../r]\n", "[radio ../r]: after \"radio \" comes " NAME},
    {"key", DEVICE "busy-w=1\n",
     "there is no key \"busy-w\" in [device a]; there are: title, source, busy-mw, idle-mw, wifi, lte, 3g, "
     "wired"},
    {"key-of-a-language", DEVICE "title[de]=x\n",
     "there is no key \"title[de]\" in [device a]; there are: title, source, busy-mw, idle-mw, wifi, lte, "
     "3g, "
     "wired"},
    {"no-source", "[device a]\nbusy-mw=1\n", "[device a] has no source, which it needs: text"},
    {"empty-source", "[device a]\nsource=\nbusy-mw=1\n", "[device a] source = \"\": it has to be text"},
    {"no-busy", "[device a]\nsource=s\n",
     "[device a] has no busy-mw, which it needs: a number of mW, from 0 to 1000000"},
    {"word", DEVICE "idle-mw=much\n", "[device a] idle-mw = \"much\": " MW},
    {"negative", DEVICE "idle-mw=-1\n", "[device a] idle-mw = \"-1\": " MW},
    {"unit", DEVICE "idle-mw=1 W\n", "[device a] idle-mw = \"1 W\": " MW},
    {"comma", DEVICE "idle-mw=1,5\n", "[device a] idle-mw = \"1,5\": " MW},
    {"infinite", DEVICE "idle-mw=inf\n", "[device a] idle-mw = \"inf\": " MW},
    {"overflow", DEVICE "idle-mw=1e999\n", "[device a] idle-mw = \"1e999\": " MW},
    {"nan", DEVICE "idle-mw=nan\n", "[device a] idle-mw = \"nan\": " MW},
    {"hexadecimal", DEVICE "idle-mw=0x10\n", "[device a] idle-mw = \"0x10\": " MW},
    {"too-much", DEVICE "idle-mw=1000001\n", "[device a] idle-mw = \"1000001\": " MW},
    {"empty", DEVICE "idle-mw=\n", "[device a] idle-mw = \"\": " MW},
    {"no-radio", DEVICE "wifi=r\n", "[device a] wifi = r: there is no [radio r]"},
    {"other-kind", DEVICE "lte=r\n" RADIO, "[device a] lte = r: that radio's kind is wifi (*)"},
    {"radio-kind", "[radio r]\nsource=s\nkind=5g\nactive-mw=1\n",
     "[radio r] kind = \"5g\": it has to be wifi, lte, 3g or wired"},
    {"no-kind", "[radio r]\nsource=s\nactive-mw=1\n",
     "[radio r] has no kind, which it needs: wifi, lte, 3g or wired"},
    {"no-tail", RADIO "tail1-s=0\ntail1-mw=1\n", "[radio r] tail1-s = \"0\": " S},
    {"half-a-tail", RADIO "tail1-mw=5\n", "[radio r] has tail1-mw, but no tail1-s, which belongs to it"},
    {"other-half", RADIO "tail1-s=5\n", "[radio r] has tail1-s, but no tail1-mw, which belongs to it"},
    {"gap", RADIO "tail2-mw=5\ntail2-s=1\n", "[radio r] has keys of tail2, but no tail1-s"},
    {"way-from-nowhere", RADIO "tail1-ramp-mw=5\ntail1-ramp-s=1\n",
     "[radio r] has keys of tail1, but no tail1-s"},
    {"half-a-ramp", RADIO "ramp-mw=5\n", "[radio r] has ramp-mw, but no ramp-s, which belongs to it"},
    {"air", RADIO "air-mbit=0\n",
     "[radio r] air-mbit = \"0\": it has to be a number of Mbit/s, above 0 and up to 1000000"},
    {"use", "[use]\nmodel=A B\n", "[use] model = \"A B\": it has to be " NAME},
    {"use-nothing", "[use]\n", "[use] has no model, which it needs: " NAME},
};

/* "*" is at the beginning, or for a path. */
static void
check_message(const GError *error, const char *path, const char *says)
{
  g_auto(GStrv) parts = g_strsplit(says, "*", 2);
  g_autofree char *begins = g_strconcat(path, ": ", parts[0], NULL);
  gboolean good = *says == '*' ? strstr(error->message, path) && strstr(error->message, parts[1])
                  : parts[1]
                      ? g_str_has_prefix(error->message, begins) && g_str_has_suffix(error->message, parts[1])
                      : strcmp(error->message, begins) == 0;
  if (!good)
    g_assert_cmpstr(error->message, ==, says);
}

static void
test_mistake(gconstpointer data)
{
  const Mistake *mistake = data;
  Place place;
  set_up(&place, NULL);
  put(place.table, DEFAULT_DEVICE);
  put(place.own, mistake->text);
  g_autoptr(GError) error = NULL;
  g_assert_null(energy_models_load(place.table, place.own, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  check_message(error, place.own, mistake->says);
  tear_down(&place, NULL);
}

static void
test_table_missing(Place *place, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(energy_models_load(place->table, place->own, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_assert_nonnull(strstr(error->message, place->table));
  g_clear_error(&error);
  put(place->table, DEFAULT_DEVICE "[use]\nmodel=pixel-2-xl\n");
  g_assert_null(energy_models_load(place->table, place->own, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
}

/* A file that has a mistake is not written over. */
static void
test_damaged_own(Place *place, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  put(place->own, "no key file\n");
  g_assert_false(energy_models_use(place->own, "a", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_nonnull(strstr(error->message, place->own));
  g_autofree char *text = NULL;
  g_assert_true(g_file_get_contents(place->own, &text, NULL, NULL));
  g_assert_cmpstr(text, ==, "no key file\n");
}

/* ---- what is installed ---- */

static void
test_installed(Place *place, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EnergyModels) models = energy_models_load(TABLE, place->own, &error);
  g_assert_no_error(error);
  EnergyChoice why;
  const EnergyModel *model = energy_models_chosen(models, &why, &error);
  g_assert_no_error(error);
  g_assert_cmpint(why, ==, ENERGY_CHOICE_DEFAULT);
  g_assert_cmpfloat(model->idle_w, >, 0);
  g_assert_nonnull(model->radios[ENERGY_RADIO_WIFI]);
  g_assert_nonnull(model->radios[ENERGY_RADIO_LTE]);
  g_assert_nonnull(model->radios[ENERGY_RADIO_3G]);
  g_autoptr(GPtrArray) list = energy_models_list(models);
  g_assert_cmpuint(list->len, >=, 6);
  for (guint i = 0; i < list->len; i++) {
    const EnergyModel *each = list->pdata[i];
    g_assert_cmpstr(each->title, !=, each->name);
    g_assert_cmpstr(each->name, !=, ENERGY_MODEL_CALIBRATED);
    g_assert_cmpfloat(each->busy_w, >, 0);
    g_assert_nonnull(each->radios[ENERGY_RADIO_WIFI]);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add(path, Place, NULL, set_up, function, tear_down)
  ADD("/energy/models/units", test_units);
  ADD("/energy/models/unknown", test_unknown);
  ADD("/energy/models/own", test_own);
  ADD("/energy/models/choice", test_choice);
  ADD("/energy/models/kept-text", test_kept_text);
  ADD("/energy/models/made-by-root", test_made_by_root);
  ADD("/energy/models/beyond-bounds", test_beyond_bounds);
  ADD("/energy/models/chosen-missing", test_chosen_missing);
  ADD("/energy/models/table-missing", test_table_missing);
  ADD("/energy/models/damaged-own", test_damaged_own);
  ADD("/energy/models/installed", test_installed);
  for (gsize i = 0; i < G_N_ELEMENTS(mistakes); i++) {
    g_autofree char *path = g_strconcat("/energy/models/mistake/", mistakes[i].name, NULL);
    g_test_add_data_func(path, &mistakes[i], test_mistake);
  }
  return g_test_run();
}

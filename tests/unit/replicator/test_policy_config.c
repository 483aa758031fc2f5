/* doppel.conf: what it can say, what is answered to mistakes, and that the manual tells all of it. */
#include <glib/gstdio.h>
#include <string.h>

#include "base/error.h"
#include "replicator/policy_config.h"

typedef struct {
  char *directory, *path;
} Place;

static void
set_up(Place *place, gconstpointer unused)
{
  place->directory = g_dir_make_tmp("doppel-config-XXXXXX", NULL);
  place->path = g_build_filename(place->directory, "doppel.conf", NULL);
}

static void
tear_down(Place *place, gconstpointer unused)
{
  g_unlink(place->path);
  g_assert_cmpint(g_rmdir(place->directory), ==, 0);
  g_free(place->path);
  g_free(place->directory);
}

static gboolean
load(Place *place, PolicyConfig *config, const char *text, gssize length, GError **error)
{
  g_assert_true(g_file_set_contents(place->path, text, length, NULL));
  return policy_config_load(config, place->path, error);
}

static void
test_absent(Place *place, gconstpointer unused)
{
  PolicyConfig config, untouched;
  policy_config_default(&config);
  policy_config_default(&untouched);
  g_autoptr(GError) error = NULL;
  g_assert_true(policy_config_load(&config, place->path, &error));
  g_assert_no_error(error);
  g_assert_cmpmem(&config, sizeof config, &untouched, sizeof untouched);
  g_assert_cmpint(config.every, ==, 4 * 3600);
  g_assert_cmpuint(config.metered_limit, ==, 5000000);
  g_assert_true(config.automatic);
  g_assert_cmpint(config.background.nice, ==, POLICY_NICE_NEVER);
  g_assert_cmpstr(config.background.programs.text, ==, "");
}

/* The last length that fits, and the first that does not. */
static void
test_names(Place *place, gconstpointer unused)
{
  PolicyConfig config;
  policy_config_default(&config);
  g_autofree char *fits = g_strnfill(sizeof config.background.programs.text - 1, 'n');
  g_autofree char *good = g_strdup_printf("[background]\nprograms=%s;\n", fits);
  g_autofree char *bad = g_strdup_printf("[background]\nprograms=%sn\n", fits);
  g_autoptr(GError) error = NULL;
  g_assert_true(load(place, &config, good, -1, NULL));
  g_assert_cmpstr(config.background.programs.text, ==, fits);
  g_assert_false(load(place, &config, bad, -1, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
}

static const char everything[] =
    "# a comment\n[sync]\nautomatic=false\nevery=90m\nbig=1G\nmetered-limit=unlimited\nbattery-limit=0\n"
    "battery-minimum=35\n[opportunistic]\nevery=1d\nlinks = wifi ; "
    "mobile;\ncharging=false\nhours=23:30-07:15\n"
    "patience=7d\n[fine]\nmetered=false\n[rate]\nwifi=1M\nethernet=10M\nmobile=64k\nother=5k\nmetered=32k\n"
    "on-demand=2M\n[compression]\nlevel=9\n"
    "[background]\nnice=10\nno-terminal=true\nscheduled=true\nprograms= clam* ;; /opt/*/index "
    ";\n[conditions]\nlink=mobile\nmetered=no\npower=battery\n"
    "battery-level=55\n";

static void
test_everything(Place *place, gconstpointer unused)
{
  PolicyConfig config;
  policy_config_default(&config);
  g_autoptr(GError) error = NULL;
  g_assert_true(load(place, &config, everything, -1, &error));
  g_assert_no_error(error);
  g_assert_false(config.automatic);
  g_assert_cmpint(config.every, ==, 5400);
  g_assert_cmpuint(config.big, ==, 1000000000);
  g_assert_cmpuint(config.metered_limit, ==, G_MAXUINT64);
  g_assert_cmpuint(config.battery_limit, ==, 0);
  g_assert_cmpint(config.battery_minimum, ==, 35);
  g_assert_cmpint(config.opportunity_every, ==, 86400);
  g_assert_cmpuint(config.opportunity_links, ==, 1 << CONDITION_LINK_WIFI | 1 << CONDITION_LINK_MOBILE);
  g_assert_false(config.opportunity_charging);
  g_assert_cmpint(config.opportunity_hours.from, ==, 23 * 60 + 30);
  g_assert_cmpint(config.opportunity_hours.to, ==, 7 * 60 + 15);
  g_assert_cmpint(config.patience, ==, 7 * 86400);
  g_assert_false(config.fine_metered);
  static const guint64 rates[] = {0, 1000000, 10000000, 64000, 5000};
  g_assert_cmpmem(config.rate, sizeof config.rate, rates, sizeof rates);
  g_assert_cmpuint(config.rate_metered, ==, 32000);
  g_assert_cmpuint(config.rate_on_demand, ==, 2000000);
  g_assert_cmpint(config.compression, ==, 9);
  g_assert_cmpint(config.background.nice, ==, 10);
  g_assert_true(config.background.no_terminal);
  g_assert_true(config.background.scheduled);
  g_assert_cmpstr(config.background.programs.text, ==, "clam*;/opt/*/index");
  g_assert_cmpint(conditions_get(&config.conditions, CONDITION_LINK), ==, CONDITION_LINK_MOBILE);
  g_assert_cmpint(conditions_get(&config.conditions, CONDITION_METERED), ==, 0);
  g_assert_cmpint(conditions_get(&config.conditions, CONDITION_ON_BATTERY), ==, 1);
  g_assert_cmpint(conditions_get(&config.conditions, CONDITION_CHARGING), ==, 0);
  g_assert_cmpint(conditions_get(&config.conditions, CONDITION_LEVEL), ==, 55);
  for (guint i = 0; policy_config_key(i); i++)
    g_assert_nonnull(strstr(everything, policy_config_key(i)->key));
}

/* The user's file counts over the system's, key by key, and can take a condition back. */
static void
test_layers(Place *place, gconstpointer unused)
{
  PolicyConfig config;
  policy_config_default(&config);
  g_assert_true(load(place, &config, everything, -1, NULL));
  g_assert_true(load(place, &config, "[sync]\nevery=2h\n[conditions]\npower=auto\nlink=auto\n", -1, NULL));
  g_assert_cmpint(config.every, ==, 7200);
  g_assert_cmpint(config.battery_minimum, ==, 35);
  g_assert_cmpint(conditions_get(&config.conditions, CONDITION_LINK), ==, -1);
  g_assert_cmpint(conditions_get(&config.conditions, CONDITION_ON_BATTERY), ==, -1);
  g_assert_cmpint(conditions_get(&config.conditions, CONDITION_METERED), ==, 0);
}

typedef struct {
  const char *text, *message; /* after the file's path */
} Mistake;

#define TIME "a time from 1m to 365d, as in 30m, 4h or 3d"
#define SIZE "a number of bytes from 1k, as in 500k, 20M or 4G, or 0, or unlimited"

static const Mistake mistakes[] = {
    {"[sync]\nevery=four\n", ": [sync] every = \"four\": it has to be " TIME},
    {"[sync]\nevery=0h\n", ": [sync] every = \"0h\": it has to be " TIME},
    {"[sync]\nevery=366d\n", ": [sync] every = \"366d\": it has to be " TIME},
    {"[sync]\nevery=99999999999999999999d\n",
     ": [sync] every = \"99999999999999999999d\": it has to be " TIME},
    {"[sync]\nevery=-4h\n", ": [sync] every = \"-4h\": it has to be " TIME},
    {"[sync]\nevery=\n", ": [sync] every = \"\": it has to be " TIME},
    {"[sync]\nautomatic=yes\n", ": [sync] automatic = \"yes\": it has to be true or false"},
    {"[sync]\nbig=10X\n", ": [sync] big = \"10X\": it has to be " SIZE},
    {"[sync]\nbig=nan\n", ": [sync] big = \"nan\": it has to be " SIZE},
    {"[sync]\nbattery-minimum=101\n",
     ": [sync] battery-minimum = \"101\": it has to be a number from 0 to 100"},
    {"[opportunistic]\nhours=22:00-24:00\n", ": [opportunistic] hours = \"22:00-24:00\": it has to be two "
                                             "different times of day, as in 22:00-06:00, or any"},
    {"[opportunistic]\nhours=06:00-06:00\n", ": [opportunistic] hours = \"06:00-06:00\": it has to be two "
                                             "different times of day, as in 22:00-06:00, or any"},
    {"[opportunistic]\nhours=22:00-06:00 \\n\n", ": [opportunistic] hours = \"22:00-06:00 \\n\": it has to "
                                                 "be two different times of day, as in 22:00-06:00, "
                                                 "or any"},
    {"[opportunistic]\nlinks=wifi;none\n", ": [opportunistic] links = \"wifi;none\": it has to be one or "
                                           "more of wifi, ethernet, mobile and other, with "
                                           "semicolons between them"},
    {"[opportunistic]\nlinks=\n",
     ": [opportunistic] links = \"\": it has to be one or more of wifi, ethernet, mobile and other, with "
     "semicolons between them"},
    {"[rate]\nwifi=fast\n", ": [rate] wifi = \"fast\": it has to be bytes a second from 1k, as in 500k or "
                            "2M, or 0, which is no limit"},
    {"[compression]\nlevel=22\n",
     ": [compression] level = \"22\": it has to be a level from 1 to 19, or auto"},
    {"[conditions]\nlink=dsl\n",
     ": [conditions] link = \"dsl\": it has to be auto, none, wifi, ethernet, mobile or other"},
    {"[conditions]\nmetered=perhaps\n", ": [conditions] metered = \"perhaps\": it has to be auto, yes or no"},
    {"[conditions]\npower=solar\n",
     ": [conditions] power = \"solar\": it has to be auto, battery or external"},
    {"[conditions]\nbattery-level=-1\n",
     ": [conditions] battery-level = \"-1\": it has to be a number from 0 to 100, or auto"},
    {"[sync]\nevry=4h\n",
     ": there is no key \"evry\" in [sync]; there are: automatic, every, big, metered-limit, "
     "battery-limit, battery-minimum"},
    {"[snyc]\n",
     ": there is no group [snyc]; there are: sync, opportunistic, fine, rate, compression, background, "
     "conditions"},
    {"[background]\nnice=20\n",
     ": [background] nice = \"20\": it has to be a nice level from -20 to 19, or never"},
    {"[sync]\nevery=\xff\xfe\n", ": [sync] every = \"\xef\xbf\xbd\xef\xbf\xbd\": it has to be " TIME},
};

static void
test_mistake(Place *place, gconstpointer data)
{
  const Mistake *mistake = data;
  PolicyConfig config, untouched;
  policy_config_default(&config);
  policy_config_default(&untouched);
  g_autoptr(GError) error = NULL;
  g_autofree char *text = g_strconcat("[fine]\nmetered=false\n", mistake->text, NULL);
  g_assert_false(load(place, &config, text, -1, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_autofree char *expected = g_strconcat(place->path, mistake->message, NULL);
  g_assert_cmpstr(error->message, ==, expected);
  g_assert_cmpmem(&config, sizeof config, &untouched, sizeof untouched);
}

static void
test_no_key_file(Place *place, gconstpointer unused)
{
  static const char *const texts[] = {"every=4h\n", "[sync\n", "[sync]\nevery\n",
                                      "\x7f"
                                      "ELF\x02"};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
    PolicyConfig config;
    policy_config_default(&config);
    g_autoptr(GError) error = NULL;
    g_assert_false(load(place, &config, texts[i], -1, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
    g_assert_nonnull(strstr(error->message, place->path));
  }
  PolicyConfig config;
  policy_config_default(&config);
  g_autoptr(GError) error = NULL;
  g_assert_false(policy_config_load(&config, place->directory, &error));
  g_assert_nonnull(strstr(error->message, place->directory));
}

/* Seeded noise and damaged files: read or refused, never half read. */
static void
test_noise(Place *place, gconstpointer unused)
{
  for (guint round = 0; round < 300; round++) {
    g_autofree char *text = g_strdup(everything);
    for (guint i = 0; i < 3; i++)
      text[g_test_rand_int_range(0, sizeof everything - 1)] = g_test_rand_int_range(1, 256);
    PolicyConfig config, before;
    policy_config_default(&config);
    before = config;
    g_autoptr(GError) error = NULL;
    if (!load(place, &config, text, -1, &error)) {
      g_assert_nonnull(error);
      g_assert_cmpmem(&config, sizeof config, &before, sizeof before);
    }
  }
}

/* The manual names each group and, with its default, each key. */
static void
test_manual(void)
{
  if (!g_getenv("G_TEST_SRCDIR")) {
    g_test_skip("G_TEST_SRCDIR does not tell where the sources are; \"meson test\" sets it");
    return;
  }
  g_autofree char *path = g_test_build_filename(G_TEST_DIST, "..", "..", "..", "man", "doppel.conf.5", NULL);
  g_autofree char *manual = NULL;
  g_autoptr(GError) error = NULL;
  g_file_get_contents(path, &manual, NULL, &error);
  g_assert_no_error(error);
  for (guint i = 0; policy_config_key(i); i++) {
    const PolicyKey *key = policy_config_key(i);
    g_autofree char *heading = g_strdup_printf(".SS [%s]\n", key->group);
    const char *section = strstr(manual, heading);
    g_assert_nonnull(section);
    const char *end = strstr(section + 1, "\n.S");
    g_assert_nonnull(end);
    g_autoptr(GString) entry = g_string_new(NULL);
    g_string_append_printf(entry, "\n.BR %s \" = %s\"\n", key->key, key->otherwise);
    g_string_replace(entry, "-", "\\-", 0);
    if (!g_strstr_len(section, end - section, entry->str))
      g_error("doppel.conf.5 does not have, in [%s]: %s", key->group, entry->str);
  }
}

static const PolicyKey *
key_named(const char *name)
{
  for (guint i = 0; policy_config_key(i); i++)
    if (strcmp(policy_config_key(i)->key, name) == 0)
      return policy_config_key(i);
  g_assert_not_reached();
}

static void
expect_said(const char *name, const char *value, const char *path)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *where = NULL, *said = policy_config_said(key_named(name), &where, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(said, ==, value);
  g_assert_cmpstr(where, ==, path);
}

/* Who has a file for the whole machine has no defaults to test. */
static gboolean
is_configured(void)
{
  if (!g_file_test(POLICY_CONFIG_SYSTEM, G_FILE_TEST_EXISTS))
    return FALSE;
  g_test_skip("this machine has a " POLICY_CONFIG_SYSTEM);
  return TRUE;
}

/* What is said is what was changed, and all else in the file stays. */
static void
test_change(void)
{
  if (is_configured())
    return;
  g_autofree char *path = policy_config_path(), *directory = g_path_get_dirname(path), *text = NULL;
  g_assert_true(g_str_has_prefix(path, g_getenv("XDG_CONFIG_HOME")));
  g_autoptr(GError) error = NULL;
  expect_said("nice", "never", NULL);
  g_assert_true(policy_config_change(key_named("nice"), NULL, &error));
  g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS)); /* nothing to take out */
  g_assert_true(policy_config_change(key_named("nice"), "10", &error));
  g_assert_no_error(error);
  expect_said("nice", "10", path);
  expect_said("programs", "", NULL);
  static const char mine[] =
      "# of mine\n[sync]\n# more\nevery=3h\n\n[background]\nnice=10\n# names\nprograms=a;b\n";
  g_assert_true(g_file_set_contents(path, mine, -1, NULL));
  g_assert_true(policy_config_change(key_named("programs"), "a;b;c d", &error));
  g_assert_true(policy_config_change(key_named("nice"), NULL, &error));
  g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
  /* GLib sees to the empty lines. */
  g_autoptr(GString) lines = g_string_new(text);
  while (g_string_replace(lines, "\n\n", "\n", 0) > 0)
    ;
  g_assert_cmpstr(lines->str, ==,
                  "# of mine\n[sync]\n# more\nevery=3h\n[background]\n# names\nprograms=a;b;c d\n");
  expect_said("nice", "never", NULL);
  expect_said("programs", "a;b;c d", path);
  g_unlink(path);
  g_assert_cmpint(g_rmdir(directory), ==, 0);
}

static void
must_stay(const char *name, const char *value, DoppelErrorCode code, const char *path, const char *text)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *after = NULL;
  g_assert_false(policy_config_change(key_named(name), value, &error));
  g_assert_error(error, DOPPEL_ERROR, (int)code);
  g_assert_true(g_file_get_contents(path, &after, NULL, NULL));
  g_assert_cmpstr(after, ==, text);
}

/* What cannot be, or cannot be read, changes nothing. */
static void
test_change_refused(void)
{
  if (is_configured())
    return;
  g_autofree char *path = policy_config_path(), *directory = g_path_get_dirname(path);
  g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
  static const char good[] = "[background]\nnice=3\n", bad[] = "[background]\nnice=often\n",
                    worse[] = "nice=3\n";
  g_assert_true(g_file_set_contents(path, good, -1, NULL));
  must_stay("nice", "often", DOPPEL_ERROR_USAGE, path, good);
  must_stay("programs", "a\n[sync]\nautomatic=false", DOPPEL_ERROR_USAGE, path, good);
  must_stay("no-terminal", "", DOPPEL_ERROR_USAGE, path, good);
  g_assert_true(g_file_set_contents(path, bad, -1, NULL));
  must_stay("no-terminal", "true", DOPPEL_ERROR_USAGE, path, bad);
  g_assert_true(g_file_set_contents(path, worse, -1, NULL));
  must_stay("no-terminal", "true", DOPPEL_ERROR_USAGE, path, worse);
  g_autoptr(GError) error = NULL;
  char *where = (char *)"";
  g_assert_null(policy_config_said(key_named("nice"), &where, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_assert_null(where);
  g_unlink(path);
  g_assert_cmpint(g_rmdir(directory), ==, 0);
}

int
main(int argc, char **argv)
{
  g_autofree char *own = g_dir_make_tmp("doppel-config-XXXXXX", NULL);
  g_setenv("XDG_CONFIG_HOME", own, TRUE);
  g_test_init(&argc, &argv, NULL);
  g_test_add("/policy/config/absent", Place, NULL, set_up, test_absent, tear_down);
  g_test_add("/policy/config/everything", Place, NULL, set_up, test_everything, tear_down);
  g_test_add("/policy/config/layers", Place, NULL, set_up, test_layers, tear_down);
  for (guint i = 0; i < G_N_ELEMENTS(mistakes); i++) {
    g_autofree char *name = g_strdup_printf("/policy/config/mistakes/%u", i);
    g_test_add(name, Place, &mistakes[i], set_up, test_mistake, tear_down);
  }
  g_test_add("/policy/config/no-key-file", Place, NULL, set_up, test_no_key_file, tear_down);
  g_test_add("/policy/config/names", Place, NULL, set_up, test_names, tear_down);
  g_test_add("/policy/config/noise", Place, NULL, set_up, test_noise, tear_down);
  g_test_add_func("/policy/config/manual", test_manual);
  g_test_add_func("/policy/config/change", test_change);
  g_test_add_func("/policy/config/change-refused", test_change_refused);
  int status = g_test_run();
  g_rmdir(own);
  return status;
}

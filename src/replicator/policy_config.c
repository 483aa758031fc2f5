#include "replicator/policy_config.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

#define FIELD(name) G_STRUCT_OFFSET(PolicyConfig, name)

static const PolicyKey keys[] = {
    {"sync", "automatic", &policy_value_boolean, FIELD(automatic), "true"},
    {"sync", "every", &policy_value_duration, FIELD(every), "4h"},
    {"sync", "big", &policy_value_size, FIELD(big), "100M"},
    {"sync", "metered-limit", &policy_value_size, FIELD(metered_limit), "5M"},
    {"sync", "battery-limit", &policy_value_size, FIELD(battery_limit), "500M"},
    {"sync", "battery-minimum", &policy_value_percent, FIELD(battery_minimum), "20"},

    {"opportunistic", "every", &policy_value_duration, FIELD(opportunity_every), "30m"},
    {"opportunistic", "links", &policy_value_links, FIELD(opportunity_links), "wifi;ethernet"},
    {"opportunistic", "charging", &policy_value_boolean, FIELD(opportunity_charging), "true"},
    {"opportunistic", "hours", &policy_value_hours, FIELD(opportunity_hours), "22:00-06:00"},
    {"opportunistic", "patience", &policy_value_duration, FIELD(patience), "3d"},

    {"fine", "metered", &policy_value_boolean, FIELD(fine_metered), "true"},

    {"rate", "wifi", &policy_value_rate, FIELD(rate[CONDITION_LINK_WIFI]), "0"},
    {"rate", "ethernet", &policy_value_rate, FIELD(rate[CONDITION_LINK_ETHERNET]), "0"},
    {"rate", "mobile", &policy_value_rate, FIELD(rate[CONDITION_LINK_MOBILE]), "250k"},
    {"rate", "other", &policy_value_rate, FIELD(rate[CONDITION_LINK_OTHER]), "0"},
    {"rate", "metered", &policy_value_rate, FIELD(rate_metered), "250k"},
    {"rate", "on-demand", &policy_value_rate, FIELD(rate_on_demand), "0"},

    {"compression", "level", &policy_value_compression, FIELD(compression), "auto"},

    {"background", "nice", &policy_value_nice, FIELD(background.nice), "never"},
    {"background", "no-terminal", &policy_value_boolean, FIELD(background.no_terminal), "false"},
    {"background", "scheduled", &policy_value_boolean, FIELD(background.scheduled), "false"},
    {"background", "programs", &policy_value_names, FIELD(background.programs), ""},

    {"conditions", "link", &policy_value_link, FIELD(conditions), "auto"},
    {"conditions", "metered", &policy_value_metered, FIELD(conditions), "auto"},
    {"conditions", "power", &policy_value_power, FIELD(conditions), "auto"},
    {"conditions", "battery-level", &policy_value_level, FIELD(conditions), "auto"},
};

const PolicyKey *
policy_config_key(guint index)
{
  return index < G_N_ELEMENTS(keys) ? &keys[index] : NULL;
}

static gboolean
set(PolicyConfig *config, const PolicyKey *key, const char *text)
{
  return key->kind->read(text, G_STRUCT_MEMBER_P(config, key->offset));
}

void
policy_config_default(PolicyConfig *config)
{
  memset(config, 0, sizeof *config);
  for (guint i = 0; i < G_N_ELEMENTS(keys); i++)
    g_assert(set(config, &keys[i], keys[i].otherwise));
}

/* The names of the groups, or of a group's keys: "sync, opportunistic". */
static char *
names(const char *group)
{
  g_autoptr(GString) list = g_string_new(NULL);
  for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
    gboolean wanted =
        group ? strcmp(keys[i].group, group) == 0 : i == 0 || strcmp(keys[i].group, keys[i - 1].group) != 0;
    if (wanted)
      g_string_append_printf(list, "%s%s", list->len ? ", " : "", group ? keys[i].key : keys[i].group);
  }
  return g_string_free(g_steal_pointer(&list), FALSE);
}

static gboolean
take(PolicyConfig *config, GKeyFile *file, const char *path, const char *group, const char *name,
     GError **error)
{
  const PolicyKey *key = NULL;
  for (guint i = 0; i < G_N_ELEMENTS(keys) && !key; i++)
    if (strcmp(keys[i].group, group) == 0 && strcmp(keys[i].key, name) == 0)
      key = &keys[i];
  if (!key) {
    g_autofree char *known = names(group);
    return doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE,
                                    "%s: there is no key \"%s\" in [%s]; there are: %s", path, name, group,
                                    known);
  }
  g_autofree char *text = g_key_file_get_value(file, group, name, NULL);
  if (text && set(config, key, g_strchomp(text)))
    return TRUE;
  return doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE, "%s: [%s] %s = \"%.80s\": it has to be %s", path,
                                  group, name, text ? text : "", key->kind->allowed);
}

static gboolean
take_group(PolicyConfig *config, GKeyFile *file, const char *path, const char *group, GError **error)
{
  gboolean known = FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(keys); i++)
    known = known || strcmp(keys[i].group, group) == 0;
  if (!known) {
    g_autofree char *groups = names(NULL);
    return doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE, "%s: there is no group [%s]; there are: %s",
                                    path, group, groups);
  }
  g_auto(GStrv) found = g_key_file_get_keys(file, group, NULL, NULL);
  for (char **name = found; name && *name; name++)
    if (!take(config, file, path, group, *name, error))
      return FALSE;
  return TRUE;
}

/* An empty one where there is no file. */
static GKeyFile *
load_file(const char *path, GKeyFileFlags flags, GError **error)
{
  g_autoptr(GKeyFile) file = g_key_file_new();
  g_autoptr(GError) problem = NULL;
  if (g_key_file_load_from_file(file, path, flags, &problem) ||
      g_error_matches(problem, G_FILE_ERROR, G_FILE_ERROR_NOENT))
    return g_steal_pointer(&file);
  DoppelErrorCode code = problem->domain == G_KEY_FILE_ERROR ? DOPPEL_ERROR_USAGE : DOPPEL_ERROR_FAILED;
  doppel_error_set_foreign(error, code, "cannot read the configuration %s (doppel.conf(5)): %s", path,
                           problem->message);
  return NULL;
}

static gboolean
take_all(PolicyConfig *config, GKeyFile *file, const char *path, GError **error)
{
  PolicyConfig taken = *config;
  g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
  for (char **group = groups; *group; group++)
    if (!take_group(&taken, file, path, *group, error))
      return FALSE;
  *config = taken;
  return TRUE;
}

gboolean
policy_config_load(PolicyConfig *config, const char *path, GError **error)
{
  g_autoptr(GKeyFile) file = load_file(path, G_KEY_FILE_NONE, error);
  return file && take_all(config, file, path, error);
}

char *
policy_config_path(void)
{
  return g_build_filename(g_get_user_config_dir(), "doppel", "doppel.conf", NULL);
}

gboolean
policy_config_read(PolicyConfig *config, GError **error)
{
  g_autofree char *path = policy_config_path();
  policy_config_default(config);
  return policy_config_load(config, POLICY_CONFIG_SYSTEM, error) && policy_config_load(config, path, error);
}

char *
policy_config_said(const PolicyKey *key, char **where, GError **error)
{
  PolicyConfig config;
  policy_config_default(&config);
  g_autofree char *own = policy_config_path();
  const char *paths[] = {own, POLICY_CONFIG_SYSTEM};
  g_autofree char *said = NULL;
  *where = NULL;
  for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
    g_autoptr(GKeyFile) file = load_file(paths[i], G_KEY_FILE_NONE, error);
    if (!file || !take_all(&config, file, paths[i], error)) {
      g_clear_pointer(where, g_free);
      return NULL;
    }
    g_autofree char *text = said ? NULL : g_key_file_get_value(file, key->group, key->key, NULL);
    if (text) {
      said = g_strdup(g_strchomp(text));
      *where = g_strdup(paths[i]);
    }
  }
  return said ? g_steal_pointer(&said) : g_strdup(key->otherwise);
}

gboolean
policy_config_change(const PolicyKey *key, const char *value, GError **error)
{
  PolicyConfig config;
  policy_config_default(&config);
  g_autofree char *path = policy_config_path(), *directory = g_path_get_dirname(path);
  if (value && (strpbrk(value, "\r\n") || !set(&config, key, value)))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s = \"%.80s\": it has to be %s", key->key, value,
                            key->kind->allowed);
  g_autoptr(GKeyFile) file = load_file(path, G_KEY_FILE_KEEP_COMMENTS | G_KEY_FILE_KEEP_TRANSLATIONS, error);
  if (!file || !take_all(&config, file, path, error))
    return FALSE;
  if (value)
    g_key_file_set_value(file, key->group, key->key, value);
  else if (!g_key_file_remove_key(file, key->group, key->key, NULL))
    return TRUE;
  g_autoptr(GError) problem = NULL;
  gsize length;
  g_autofree char *text = g_key_file_to_data(file, &length, NULL);
  if (g_mkdir_with_parents(directory, 0700) < 0)
    return doppel_error_set_foreign(error, DOPPEL_ERROR_FAILED, "cannot make %s: %s", directory,
                                    g_strerror(errno));
  return g_file_set_contents_full(path, text, (gssize)length,
                                  G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0644,
                                  &problem) ||
         doppel_error_set_foreign(error, DOPPEL_ERROR_FAILED, "%s", problem->message);
}

/* doppel rules: what makes programs background jobs without being told (doppel.conf(5), [background]). */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cmd/cmd.h"
#include "cmd/table.h"
#include "replicator/job_rules.h"

#define GROUP "background"

static const char summary[] =
    "Lists and changes the rules by which a plain \"doppel run PROGRAM\" makes the program a job in a paired "
    "clone, as\n--background does. Each holds by itself.\n\n"
    "Commands:\n"
    "  list                The rules, and where they are set (also without a command)\n"
    "  test PROGRAM        Whether PROGRAM would be a job if it were run here and now, and why\n"
    "  set RULE VALUE      Set a rule, in your own doppel.conf\n"
    "  unset RULE          Take it out again: then what the system's doppel.conf says counts\n"
    "  add PATTERN...      Let programs of such a name be jobs\n"
    "  remove PATTERN...   Let them be none any more";

static const char notes[] =
    "Rules:\n"
    "  nice          its nice level is at least this; \"never\": no level makes it a job\n"
    "  no-terminal   it has no controlling terminal\n"
    "  scheduled     cron, anacron, at or a timer of systemd started it\n"
    "  programs      it is called one of these, with semicolons between them and patterns as in a shell; "
    "what has a "
    "slash in it\n                is the whole path's\n\n"
    "Examples:\n"
    "  doppel rules set nice 10\n"
    "  doppel rules add 'clam*' updatedb\n"
    "  nice -n 15 doppel rules test clamscan\n"
    "  doppel run --foreground -- clamscan -r .     as if there were no rule";

/* ---- list ---- */

static const TableColumn columns[] = {
    {"RULE", "rule"}, {"VALUE", "value"}, {"SET IN", "file"}, {NULL, "default"}, {NULL, "allowed"}};

static gboolean
list_rules(char **words, gboolean json, GError **error)
{
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  const PolicyKey *key;
  for (guint i = 0; (key = policy_config_key(i)); i++) {
    if (strcmp(key->group, GROUP) != 0)
      continue;
    g_autofree char *where = NULL, *value = policy_config_said(key, &where, error);
    if (!value)
      return FALSE;
    const char *cells[] = {key->key, value, where, key->otherwise, key->kind->allowed};
    table_add(table, cells);
  }
  table_print(table, json, stdout);
  return TRUE;
}

/* ---- test ---- */

static void
print_json(const char *program, const GPtrArray *sentences, const char *by)
{
  g_autoptr(GString) json = g_string_new("{\"program\": ");
  json_append_string(json, program);
  g_string_append_printf(json, ", \"job\": %s, \"by\": ", by ? "true" : "false");
  if (by)
    json_append_string(json, by);
  else
    g_string_append(json, "null");
  g_string_append(json, ", \"rules\": [");
  for (guint i = 0; i < sentences->len; i++) {
    g_string_append(json, i ? ", " : "");
    json_append_string(json, sentences->pdata[i]);
  }
  g_string_append(json, "]}");
  puts(json->str);
}

static gboolean
test_program(char **words, gboolean json, GError **error)
{
  PolicyConfig config;
  if (!policy_config_read(&config, error))
    return FALSE;
  g_autofree char *found = g_find_program_in_path(words[0]);
  if (!found)
    return doppel_error_set_foreign(error, DOPPEL_ERROR_NOT_FOUND, "there is no program %s", words[0]);
  const char *by;
  g_autofree char *program = g_canonicalize_filename(found, NULL), *shown = g_filename_display_name(program);
  JobRulesFacts facts = job_rules_facts(program);
  g_autoptr(GPtrArray) sentences = job_rules_judge(&config.background, &facts, &by);
  if (json) {
    print_json(shown, sentences, by);
    return TRUE;
  }
  for (guint i = 0; i < sentences->len; i++) {
    g_autofree char *sentence = g_filename_display_name(sentences->pdata[i]);
    puts(sentence);
  }
  if (!sentences->len)
    puts("no rule is set");
  printf("%s %s\n", shown, by ? "would be a job, where there is a paired clone" : "would run here, as usual");
  return TRUE;
}

/* ---- set, unset, add, remove ---- */

static const PolicyKey *
find_rule(const char *name, GError **error)
{
  g_autoptr(GString) names = g_string_new(NULL);
  const PolicyKey *key;
  for (guint i = 0; (key = policy_config_key(i)); i++) {
    if (strcmp(key->group, GROUP) != 0)
      continue;
    if (strcmp(key->key, name) == 0)
      return key;
    g_string_append_printf(names, "%s%s", names->len ? ", " : "", key->key);
  }
  doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE, "there is no rule \"%.60s\"; there are: %s", name,
                           names->str);
  return NULL;
}

static gboolean
set_rule(char **words, gboolean json, GError **error)
{
  const PolicyKey *key = find_rule(words[0], error);
  return key && policy_config_change(key, words[1], error);
}

static gboolean
unset_rule(char **words, gboolean json, GError **error)
{
  const PolicyKey *key = find_rule(words[0], error);
  return key && policy_config_change(key, NULL, error);
}

static int
place_of(const GPtrArray *patterns, const char *pattern)
{
  for (guint i = 0; i < patterns->len; i++)
    if (strcmp(patterns->pdata[i], pattern) == 0)
      return (int)i;
  return -1;
}

static gboolean
change_one(GPtrArray *patterns, const char *pattern, gboolean wanted, GError **error)
{
  int at = place_of(patterns, pattern);
  if (!*pattern || strchr(pattern, ';'))
    return doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE,
                                    "a pattern has something in it, and no semicolon: \"%.60s\"", pattern);
  if (!wanted && at < 0)
    return doppel_error_set_foreign(error, DOPPEL_ERROR_NOT_FOUND,
                                    "%.60s is none of the rule's patterns: \"doppel rules\" lists them",
                                    pattern);
  if (wanted && at < 0)
    g_ptr_array_add(patterns, g_strdup(pattern));
  else if (!wanted)
    g_ptr_array_remove_index(patterns, (guint)at);
  return TRUE;
}

static gboolean
change_names(char **words, gboolean wanted, GError **error)
{
  const PolicyKey *key = find_rule("programs", error);
  g_autofree char *where = NULL, *now = key ? policy_config_said(key, &where, error) : NULL;
  if (!now)
    return FALSE;
  g_auto(GStrv) old = g_strsplit(now, ";", -1);
  g_autoptr(GPtrArray) patterns = g_ptr_array_new_with_free_func(g_free);
  for (char **word = old; *word; word++)
    if (*g_strstrip(*word))
      g_ptr_array_add(patterns, g_strdup(*word));
  for (char **word = words; *word; word++)
    if (!change_one(patterns, *word, wanted, error))
      return FALSE;
  g_ptr_array_add(patterns, NULL);
  g_autofree char *list = g_strjoinv(";", (char **)patterns->pdata);
  return policy_config_change(key, list, error);
}

static gboolean
add_names(char **words, gboolean json, GError **error)
{
  return change_names(words, TRUE, error);
}

static gboolean
remove_names(char **words, gboolean json, GError **error)
{
  return change_names(words, FALSE, error);
}

static const struct {
  const char *name, *words;
  int least, most; /* words after it */
  gboolean json;
  gboolean (*run)(char **words, gboolean json, GError **error);
} commands[] = {
    {"list", "", 0, 0, TRUE, list_rules},
    {"test", " PROGRAM", 1, 1, TRUE, test_program},
    {"set", " RULE VALUE", 2, 2, FALSE, set_rule},
    {"unset", " RULE", 1, 1, FALSE, unset_rule},
    {"add", " PATTERN...", 1, G_MAXINT, FALSE, add_names},
    {"remove", " PATTERN...", 1, G_MAXINT, FALSE, remove_names},
};

static gboolean
run(char **words, int count, gboolean json, GError **error)
{
  const char *command = count > 0 ? words[0] : "list";
  for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
    if (strcmp(commands[i].name, command) != 0)
      continue;
    int after = MAX(count - 1, 0);
    if (after < commands[i].least || after > commands[i].most)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "write \"doppel rules %s%s\"", command,
                              commands[i].words);
    if (json && !commands[i].json)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--json is not for \"%s\"", command);
    return commands[i].run(words + MIN(count, 1), json, error);
  }
  return doppel_error_set_foreign(error, DOPPEL_ERROR_USAGE,
                                  "there is no command \"%.60s\": \"doppel rules --help\" lists them",
                                  command);
}

int
cmd_rules(int argc, char **argv)
{
  gboolean json = FALSE;
  const GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "list, test: print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[COMMAND [ARGUMENT...]]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, G_MAXINT))
    return 2;
  g_autoptr(GError) error = NULL;
  return run(argv + 1, argc - 1, json, &error) ? 0 : cmd_fail("rules", error);
}

/* doppel name: who this device's user is in the network of clones. */
#include "cmd/name.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"

static const char summary[] =
    "Gives this device's user a name in the network of clones, so that other people's clones find this one's "
    "and can be sure\nwhose it is. The user's key is made here and never leaves this device.\n\n"
    "Commands:\n"
    "  show               Who the user is (also without a command)\n"
    "  claim NAME         Get NAME for the own clone, or give it another clone, directory or time: first "
    "come\n"
    "  renew              Renew the binding and tell the clone the list of directories now: by itself "
    "\"doppel "
    "sync\" and\n"
    "                     \"doppel agent\" do it when a quarter of the binding's time is over\n"
    "  succeed            Replace the user's key by a new one, which the old one signs\n"
    "  recover NAME       On a new device, or where the key was stolen: take the name back by the recovery "
    "phrase\n"
    "  revoke             Say that there is no clone any more: it is lost\n"
    "  directory [list]   The directories that are asked; the first is home to who says nothing else\n"
    "  directory add [NAME=]ADDRESS=KEY\n"
    "  directory remove NAME";

static const char notes[] =
    "A name has 1 to 64 bytes without capitals, spaces and \"/\"; e-mail addresses and phone numbers are "
    "names. It "
    "is yours until you\nclaim another one in that directory. The recovery phrase is the one that \"doppel "
    "pair\" "
    "has shown for the clone, or, where\nthat was before names were, one that \"claim\" shows once.\n\n"
    "Examples:\n"
    "  doppel name claim alice --directory directory.example.net:3678=KEY\n"
    "  doppel name show --json\n"
    "  doppel name recover alice --directory directory.example.net:3678=KEY";

enum { CLONE = 1 << 0, DIRECTORY = 1 << 1, EXPIRES = 1 << 2, PHRASE = 1 << 3, LOST = 1 << 4, JSON = 1 << 5 };

static const struct {
  const char *name;
  int least, most; /* words after it */
  guint options;
  gboolean (*run)(char **words, const NameOptions *options, GError **error);
} commands[] = {
    {"show", 0, 0, JSON, name_show},
    {"claim", 1, 1, CLONE | DIRECTORY | EXPIRES, name_claim},
    {"renew", 0, 0, EXPIRES, name_renew},
    {"succeed", 0, 0, EXPIRES, name_succeed},
    {"recover", 1, 1, CLONE | DIRECTORY | EXPIRES | PHRASE | LOST, name_recover},
    {"revoke", 0, 0, 0, name_revoke},
    {"directory", 0, 2, JSON, name_directory},
};

static void
options_clear(NameOptions *options)
{
  g_free(options->clone);
  g_free(options->directory);
  g_free(options->phrase_file);
  g_free(options->expires_text);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(NameOptions, options_clear)

static gboolean
check_options(const NameOptions *options, const char *command, guint allowed, GError **error)
{
  const struct {
    gboolean given;
    guint option;
    const char *name;
  } given[] = {{options->clone != NULL, CLONE, "--clone"},
               {options->directory != NULL, DIRECTORY, "--directory"},
               {options->expires_text != NULL, EXPIRES, "--expires"},
               {options->phrase_file != NULL, PHRASE, "--phrase-file"},
               {options->lost, LOST, "--lost"},
               {options->json, JSON, "--json"}};
  for (gsize i = 0; i < G_N_ELEMENTS(given); i++)
    if (given[i].given && !(given[i].option & allowed))
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s is not for \"%s\"", given[i].name, command);
  if (options->expires_text && options->expires == 0)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "--expires takes 1 to %d days, or a number with h, m or s behind it",
                            (int)(NAME_EXPIRES_MOST / NAME_DAY_S));
  if (options->lost && (options->clone || options->expires))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "--lost says that there is no clone: --clone and --expires are for one");
  return TRUE;
}

/* Seconds of "400", "400d", "36h", "90m" or "60s"; 0: none of them, or too much. */
static gint64
parse_expires(const char *text)
{
  static const struct {
    const char *unit;
    gint64 seconds;
  } units[] = {{"", NAME_DAY_S}, {"d", NAME_DAY_S}, {"h", 3600}, {"m", 60}, {"s", 1}};
  char *end;
  guint64 count = g_ascii_isdigit(*text) ? g_ascii_strtoull(text, &end, 10) : 0;
  for (gsize i = 0; count > 0 && i < G_N_ELEMENTS(units); i++)
    if (strcmp(end, units[i].unit) == 0)
      return count <= (guint64)(NAME_EXPIRES_MOST / units[i].seconds) ? (gint64)count * units[i].seconds : 0;
  return 0;
}

static gboolean
run(char **words, int count, const NameOptions *options, GError **error)
{
  const char *command = count > 0 ? words[0] : "show";
  for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
    if (strcmp(commands[i].name, command) != 0)
      continue;
    int after = MAX(count - 1, 0);
    if (after < commands[i].least || after > commands[i].most)
      return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                              "\"%s\" %s. \"doppel name --help\" shows what it takes", command,
                              after < commands[i].least ? "is to be followed by a name" : "takes less");
    return check_options(options, command, commands[i].options, error) &&
           commands[i].run(words + MIN(count, 1), options, error);
  }
  return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "there is no command \"%.60s\": \"doppel name --help\" lists them", command);
}

int
cmd_name(int argc, char **argv)
{
  g_auto(NameOptions) options = {0};
  const GOptionEntry entries[] = {
      {"clone", 'c', 0, G_OPTION_ARG_STRING, &options.clone,
       "claim, recover: of this clone; needed where there are "
       "several",
       "NAME"},
      {"directory", 'd', 0, G_OPTION_ARG_STRING, &options.directory,
       "claim, recover: in this directory, which enters the list; or one of the list (its first)",
       "ADDRESS=KEY"},
      {"expires", 0, 0, G_OPTION_ARG_STRING, &options.expires_text,
       "claim, recover, renew, succeed: until in so many days (400), or hours (36h), minutes (m), seconds "
       "(s); "
       "the name stays the user's after that, too",
       "DAYS"},
      {"phrase-file", 0, 0, G_OPTION_ARG_FILENAME, &options.phrase_file,
       "recover: read the phrase from there (-: standard input) instead of asking for it", "FILE"},
      {"lost", 0, 0, G_OPTION_ARG_NONE, &options.lost, "recover: there is no clone any more, either", NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "show, directory list: print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[COMMAND] [NAME]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 3))
    return 2;
  g_autoptr(GError) error = NULL;
  options.expires = options.expires_text ? parse_expires(options.expires_text) : 0;
  return run(argv + 1, argc - 1, &options, &error) ? 0 : cmd_fail("name", error);
}

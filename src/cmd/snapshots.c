/* doppel snapshots: which generations of this device's files a clone has, and which it keeps. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/clone_store.h"
#include "cmd/cmd.h"
#include "cmd/table.h"
#include "replicator/history.h"

static const char summary[] =
    "Lists the generations of this device's files that a clone keeps, and why: one for each synchronisation "
    "that found a change,\n"
    "fewer the older they are. Usually that is last=8,hourly=24,daily=7,weekly=4,monthly=12: the last 8, and "
    "of "
    "the last 24 hours,\n"
    "7 days, 4 weeks and 12 months that have any the last one each. --keep changes that; --pin keeps a "
    "generation whatever its age.\n"
    "What nothing keeps goes with the next synchronisation; the newest always stays.";

static const char notes[] = "Examples:\n"
                            "  doppel snapshots\n"
                            "  doppel snapshots --keep last=3,daily=30,monthly=24\n"
                            "  doppel snapshots --pin 12              before the upgrade, say\n"
                            "  doppel diff --from 12 --to 14          what changed between two of them\n"
                            "  doppel restore notes.txt@12 -o old.txt a file as it was then";

static const TableColumn columns[] = {
    {"GENERATION", "generation", TABLE_NUMBER},
    {"MADE", "made"},
    {NULL, "kept"},
    {"PATHS", "paths", TABLE_NUMBER},
    {"NEW CONTENTS", NULL, TABLE_NUMBER},
    {NULL, "bytes", TABLE_NUMBER},
    {"KEPT AS", "kept_as"},
};

/* The rules by their names. */
static const struct {
  const char *word;
  GenerationKept kept;
  gsize offset; /* in GenerationRetention; G_MAXSIZE: it has no number */
} rules[] = {
    {"newest", GENERATION_KEPT_NEWEST, G_MAXSIZE},
    {"last", GENERATION_KEPT_LAST, G_STRUCT_OFFSET(GenerationRetention, last)},
    {"hourly", GENERATION_KEPT_HOURLY, G_STRUCT_OFFSET(GenerationRetention, hours)},
    {"daily", GENERATION_KEPT_DAILY, G_STRUCT_OFFSET(GenerationRetention, days)},
    {"weekly", GENERATION_KEPT_WEEKLY, G_STRUCT_OFFSET(GenerationRetention, weeks)},
    {"monthly", GENERATION_KEPT_MONTHLY, G_STRUCT_OFFSET(GenerationRetention, months)},
    {"pinned", GENERATION_KEPT_PINNED, G_MAXSIZE},
};

static gboolean
parse_rule(const char *text, GenerationRetention *retention)
{
  const char *equals = strchr(text, '=');
  guint64 number;
  if (!equals || !g_ascii_string_to_unsigned(equals + 1, 10, 0, GENERATION_RETENTION_MOST, &number, NULL))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++)
    if (rules[i].offset != G_MAXSIZE && strlen(rules[i].word) == (gsize)(equals - text) &&
        strncmp(rules[i].word, text, equals - text) == 0) {
      G_STRUCT_MEMBER(guint, retention, rules[i].offset) = number;
      return TRUE;
    }
  return FALSE;
}

/* "last=3,daily=7"; what is not named keeps nothing. */
static gboolean
parse_rules(const char *text, GenerationRetention *retention, GError **error)
{
  g_auto(GStrv) words = g_strsplit(text, ",", -1);
  *retention = GENERATION_RETENTION_USUAL;
  if (strcmp(text, "usual") == 0)
    return TRUE;
  *retention = (GenerationRetention){0};
  for (char **word = words; *word; word++)
    if (!parse_rule(*word, retention))
      return doppel_error_set(
          error, DOPPEL_ERROR_USAGE,
          "--keep takes \"usual\" or rules like last=8,hourly=24,daily=7,weekly=4,monthly=12 "
          "(numbers up to %u), not \"%.60s\"",
          GENERATION_RETENTION_MOST, text);
  return words[0] != NULL ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE, "--keep takes rules like last=8,daily=7");
}

static gboolean
parse_numbers(char **words, const char *option, GArray *numbers, GError **error)
{
  for (; words && *words; words++) {
    guint64 number;
    if (!g_ascii_string_to_unsigned(*words, 10, 1, G_MAXINT64, &number, NULL))
      return doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s takes the number of a generation, not \"%.60s\"",
                              option, *words);
    g_array_append_val(numbers, number);
  }
  return TRUE;
}

static char *
reasons_in_words(guint reasons)
{
  g_autoptr(GPtrArray) words = g_ptr_array_new();
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++)
    if (reasons & rules[i].kept)
      g_ptr_array_add(words, (char *)rules[i].word);
  g_ptr_array_add(words, NULL);
  return words->len > 1 ? g_strjoinv(",", (char **)words->pdata) : NULL;
}

static void
add_row(Table *table, const HistoryGeneration *generation, gboolean json)
{
  g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, generation->number);
  g_autofree char *made = clone_store_time(generation->time_ns, json);
  g_autofree char *kept = clone_store_time(generation->kept_ns, json);
  g_autofree char *paths = g_strdup_printf("%" G_GUINT64_FORMAT, generation->nodes);
  g_autofree char *size = clone_store_size(generation->bytes);
  g_autofree char *bytes = g_strdup_printf("%" G_GUINT64_FORMAT, generation->bytes);
  g_autofree char *reasons = reasons_in_words(generation->reasons);
  const char *cells[] = {number, made, kept, paths, size, bytes, reasons ? reasons : json ? NULL : "(goes)"};
  table_add(table, cells);
}

typedef struct {
  char *clone, *keep;
  char **pin, **unpin;
  gboolean json;
} Options;

static void
options_clear(Options *options)
{
  g_free(options->clone);
  g_free(options->keep);
  g_strfreev(options->pin);
  g_strfreev(options->unpin);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static void
print(GArray *generations, gboolean json)
{
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (guint i = 0; i < generations->len; i++)
    add_row(table, &g_array_index(generations, HistoryGeneration, i), json);
  if (json || generations->len > 0)
    table_print(table, json, stdout);
  else
    fputs("The clone has no generation yet: \"doppel sync\" makes the first.\n", stderr);
}

static gboolean
list(const Options *options, GError **error)
{
  g_auto(GenerationRetention) retention = {0};
  g_autoptr(GArray) pin = g_array_new(FALSE, FALSE, sizeof(guint64));
  g_autoptr(GArray) unpin = g_array_new(FALSE, FALSE, sizeof(guint64));
  if ((options->keep && !parse_rules(options->keep, &retention, error)) ||
      !parse_numbers(options->pin, "--pin", pin, error) ||
      !parse_numbers(options->unpin, "--unpin", unpin, error))
    return FALSE;
  g_autoptr(Link) link = clone_store_reach(options->clone, NULL, error);
  g_autoptr(GArray) generations =
      link ? history_keep(link, options->keep ? &retention : NULL, pin, unpin, NULL, error) : NULL;
  if (!generations)
    return FALSE;
  print(generations, options->json);
  return TRUE;
}

int
cmd_snapshots(int argc, char **argv)
{
  g_auto(Options) options = {0};
  const GOptionEntry entries[] = {
      {"clone", 'c', 0, G_OPTION_ARG_STRING, &options.clone, "Of this clone; needed where there are several",
       "NAME"},
      {"keep", 0, 0, G_OPTION_ARG_STRING, &options.keep,
       "From now on keep so many: last=N,hourly=N,daily=N,weekly=N,monthly=N, or \"usual\"; of what is not "
       "named none",
       "RULES"},
      {"pin", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.pin,
       "Keep this generation until it is unpinned (may be repeated)", "N"},
      {"unpin", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.unpin, "Leave it to the rules again", "N"},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "Print JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new(NULL);
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 0))
    return 2;
  g_autoptr(GError) error = NULL;
  return list(&options, &error) ? 0 : cmd_fail("snapshots", error);
}

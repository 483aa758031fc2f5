/* doppeld base: contents that all clones of this host share, so that devices need not send them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cmd/table.h"
#include "daemon/daemon.h"
#include "daemon/public_base.h"
#include "daemon/state.h"

#define PACKAGE_SUFFIX ".deb"

typedef struct {
  char *state;
  gboolean json;
  char **words; /* behind the word that says what to do */
} Options;

static DaemonBase *
open_base(const Options *options, gboolean write, GError **error)
{
  g_autofree char *usual = options->state ? NULL : daemon_state_directory();
  g_autoptr(DaemonState) state = daemon_state_open(options->state ? options->state : usual, error);
  g_autofree char *directory = state ? daemon_state_base(state) : NULL;
  return directory ? daemon_base_open(directory, write, error) : NULL;
}

static char *
size_text(guint64 bytes)
{
  return g_format_size(bytes);
}

/* ---- progress ---- */

typedef struct {
  const char *word; /* what is being added, or "check" */
  gboolean wanted;
  int shown; /* characters of the line */
} Line;

static void
show_progress(gpointer user_data, const char *what, guint64 files, guint64 bytes)
{
  Line *line = user_data;
  g_autofree char *size = size_text(bytes);
  if (!line->wanted)
    return;
  g_autofree char *text = g_strdup_printf("%.100s: %" G_GUINT64_FORMAT " files, %s", line->word, files, size);
  int length = (int)g_utf8_strlen(text, -1);
  fprintf(stderr, "\r%s%*s", text, MAX(line->shown - length, 0), "");
  line->shown = length;
}

static void
end_progress(Line *line)
{
  if (line->shown > 0)
    fprintf(stderr, "\r%*s\r", line->shown, "");
  line->shown = 0;
}

/* ---- add ---- */

static gboolean
add_one(DaemonBase *base, const char *word, gboolean quiet, DaemonBaseAdded *added, GError **error)
{
  Line line = {.word = word, .wanted = !quiet && isatty(STDERR_FILENO)};
  const DaemonBaseProgress progress = {show_progress, &line};
  gboolean is_package = g_str_has_suffix(word, PACKAGE_SUFFIX) && !g_file_test(word, G_FILE_TEST_IS_DIR);
  gboolean good = is_package ? daemon_base_add_package(base, word, &progress, added, error)
                             : daemon_base_add_directory(base, word, &progress, added, error);
  end_progress(&line);
  if (!good)
    g_prefix_error(error, "%s: ", word);
  return good;
}

static void
add_row(Table *table, const char *word, const DaemonBaseAdded *added, gboolean json)
{
  g_autofree char *files = g_strdup_printf("%" G_GUINT64_FORMAT, added->files);
  g_autofree char *private = g_strdup_printf("%" G_GUINT64_FORMAT, added->private);
  g_autofree char *small = g_strdup_printf("%" G_GUINT64_FORMAT, added->small);
  g_autofree char *fresh = g_strdup_printf("%" G_GUINT64_FORMAT, added->fresh);
  g_autofree char *bytes =
      json ? g_strdup_printf("%" G_GUINT64_FORMAT, added->bytes) : size_text(added->bytes);
  const char *cells[] = {word, files, small, private, fresh, bytes};
  table_add(table, cells);
}

static gboolean
add(const Options *options, GError **error)
{
  static const TableColumn columns[] = {{"SOURCE", "source"},
                                        {"FILES", "files", TABLE_NUMBER},
                                        {"TOO SMALL", "too_small", TABLE_NUMBER},
                                        {"PRIVATE", "private", TABLE_NUMBER},
                                        {"NEW", "new", TABLE_NUMBER},
                                        {"SIZE", "bytes", TABLE_NUMBER}};
  g_autoptr(DaemonBase) base = open_base(options, TRUE, error);
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  gboolean good = base != NULL;
  for (char **word = options->words; good && *word; word++) {
    DaemonBaseAdded added;
    good = add_one(base, *word, options->json, &added, error);
    if (good)
      add_row(table, *word, &added, options->json);
  }
  if (table_rows(table) > 0 || (good && options->json))
    table_print(table, options->json, stdout);
  return good;
}

/* ---- list ---- */

static const char *const kinds[] = {"directory", "package"};

static void
list_row(Table *table, const DaemonBaseSource *source, gboolean json)
{
  g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(source->added);
  g_autofree char *added = g_date_time_format(time, "%FT%TZ");
  g_autofree char *files = g_strdup_printf("%" G_GUINT64_FORMAT, source->files);
  g_autofree char *contents = g_strdup_printf("%" G_GUINT64_FORMAT, source->contents);
  g_autofree char *bytes =
      json ? g_strdup_printf("%" G_GUINT64_FORMAT, source->bytes) : size_text(source->bytes);
  g_autofree char *missing = g_strdup_printf("%" G_GUINT64_FORMAT, source->missing);
  const char *cells[] = {source->name, source->kind < G_N_ELEMENTS(kinds) ? kinds[source->kind] : NULL,
                         added,        files,
                         contents,     bytes,
                         missing};
  table_add(table, cells);
}

static gboolean
list(const Options *options, GError **error)
{
  static const TableColumn columns[] = {{"NAME", "name"},
                                        {"KIND", "kind"},
                                        {"ADDED", "added"},
                                        {"FILES", "files", TABLE_NUMBER},
                                        {"CONTENTS", "contents", TABLE_NUMBER},
                                        {"SIZE", "bytes", TABLE_NUMBER},
                                        {"MISSING", "missing", TABLE_NUMBER}};
  g_autoptr(DaemonBase) base = open_base(options, FALSE, error);
  g_autoptr(GPtrArray) sources = base ? daemon_base_sources(base, error) : NULL;
  if (!sources)
    return FALSE;
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (guint i = 0; i < sources->len; i++)
    list_row(table, sources->pdata[i], options->json);
  if (sources->len > 0 || options->json)
    table_print(table, options->json, stdout);
  else
    g_printerr("This host has no public base. \"doppeld base add\" puts packages and directories there.\n");
  return TRUE;
}

/* ---- remove ---- */

static gboolean
remove_sources(const Options *options, GError **error)
{
  g_autoptr(DaemonBase) base = open_base(options, TRUE, error);
  for (char **word = options->words; base && *word; word++) {
    guint64 bytes;
    if (!daemon_base_remove(base, *word, &bytes, error))
      return FALSE;
    g_autofree char *size = size_text(bytes);
    if (!options->json)
      printf("%s is removed, with contents of %s that nothing else has.\n", *word, size);
  }
  return base != NULL;
}

/* ---- check ---- */

static void
report_check(const DaemonBaseChecked *checked, gboolean json)
{
  g_autofree char *size = size_text(checked->bytes);
  if (json) {
    printf("{\"contents\": %" G_GUINT64_FORMAT ", \"bytes\": %" G_GUINT64_FORMAT
           ", \"damaged\": %" G_GUINT64_FORMAT ", \"missing\": %" G_GUINT64_FORMAT "}\n",
           checked->contents, checked->bytes, checked->damaged, checked->missing);
    return;
  }
  printf("%" G_GUINT64_FORMAT " contents of %s are as they should be.\n", checked->contents, size);
  if (checked->damaged || checked->missing)
    printf("%" G_GUINT64_FORMAT " were damaged and %" G_GUINT64_FORMAT
           " missing: devices send what was in them again.\n",
           checked->damaged, checked->missing);
  for (guint i = 0; i < checked->sources->len; i++)
    printf("%s lacks some: add it again.\n", (const char *)checked->sources->pdata[i]);
}

static gboolean
check(const Options *options, GError **error)
{
  Line line = {.word = "check", .wanted = !options->json && isatty(STDERR_FILENO)};
  const DaemonBaseProgress progress = {show_progress, &line};
  g_auto(DaemonBaseChecked) checked = {0};
  g_autoptr(DaemonBase) base = open_base(options, TRUE, error);
  gboolean good = base && daemon_base_check(base, &progress, &checked, error);
  end_progress(&line);
  if (!good)
    return FALSE;
  report_check(&checked, options->json);
  return (!checked.damaged && !checked.missing) ||
         doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "the public base was damaged");
}

/* ---- the verb ---- */

static const struct {
  const char *name;
  gboolean takes_words;
  gboolean (*function)(const Options *options, GError **error);
} actions[] = {
    {"add", TRUE, add}, {"list", FALSE, list}, {"remove", TRUE, remove_sources}, {"check", FALSE, check}};

static gboolean
act(const char *name, const Options *options, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS(actions); i++) {
    if (!g_str_equal(name, actions[i].name))
      continue;
    if (!!*options->words == actions[i].takes_words)
      return actions[i].function(options, error);
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            *options->words ? "\"%s\" takes no words" : "say what to %s", name);
  }
  return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "there is no \"base %.40s\": say add, list, remove or check", name);
}

int
daemon_base(int argc, char **argv)
{
  Options options = {0};
  g_autofree char *state = NULL;
  GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "Print JSON", NULL},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &state, DAEMON_STATE_HELP, "DIR"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context =
      g_option_context_new("add DIRECTORY|PACKAGE.deb... | list | remove NAME... | check");
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(
      context,
      "Keeps the public base of this host: contents of files that devices then need not send, as "
      "the files of\na distribution's packages. A device that synchronises names what it has and the "
      "base has, too.\n\n"
      "  add     take the contents of a directory's files, or of a package's; again, to bring them up "
      "to date\n"
      "  list    what was added\n"
      "  remove  give a source up, with the contents that nothing else has\n"
      "  check   read everything, and give up what is damaged (exit status 1 where something was)");
  g_option_context_set_description(
      context, "Who has a clone here can get everything that is in the base: add nothing that is not "
               "everybody's. Of a directory\nonly files are taken that every user may read, and nothing of "
               "other file systems.\n\n"
               "Examples:\n"
               "  doppeld base add /var/cache/apt/archives/*.deb    packages\n"
               "  doppeld base add /srv/debian-12                   a root, as debootstrap makes one\n"
               "  doppeld base list --json\n"
               "  doppeld base remove /srv/debian-12");
  int status;
  if (!daemon_parse(context, &argc, &argv, -1, &status))
    return status;
  options.state = state;
  options.words = argv + 2;
  return act(argv[1], &options, &error) ? 0 : daemon_fail("base", error);
}

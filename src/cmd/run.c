/* doppel run */
#include <stdio.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "controller/run.h"

static gboolean
parse_place(const char *name, RunPlace *place, GError **error)
{
  static const char *const names[] = {"auto", "device", "clone"};
  for (guint i = 0; name && i < G_N_ELEMENTS(names); i++)
    if (g_str_equal(name, names[i])) {
      *place = i;
      return TRUE;
    }
  return !name ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE, "--place is auto, device or clone, not '%s'", name);
}

static const char summary[] =
    "Runs PROGRAM. Calls of the functions named with -f run in a clone; its output, files and exit status "
    "are the same as\n"
    "without doppel. If the clone, the network or the function itself does not allow it, they run here.\n"
    "\n"
    "FUNCTION is a symbol (sqlite3_step), LIB:SYMBOL (libsqlite3:sqlite3_step), a C++ name "
    "(ns::Class::method), or an\n"
    "address (0x1234, LIB:0x1234). \"doppel symbols PROGRAM\" lists what can be named. With --whole auto "
    "means clone.";

static const char description[] =
    "Examples:\n"
    "  doppel run -f sqlite3_step --stats -- sqlite3 big.db 'SELECT ...'\n"
    "  doppel run -f sqlite3_step --place clone --stats=said.json -- sqlite3 big.db 'SELECT ...'\n"
    "  doppel run --whole -- convert in.jpg -blur 0x8 out.jpg\n"
    "  doppel run --clone desk -f tesseract::TessBaseAPI::Recognize -- tesseract page.png out\n"
    "\n"
    "Exit status: the program's own; 2 for a wrong command line, 127 where the program cannot be started.";

static gboolean
stats_option(const char *name, const char *value, gpointer data, GError **error)
{
  char **stats = data;
  g_free(*stats);
  *stats = g_strdup(value ? value : "-");
  return TRUE;
}

static char *stats_value;

static gboolean
take_stats(const char *name, const char *value, gpointer data, GError **error)
{
  return stats_option(name, value, &stats_value, error);
}

int
cmd_run(int argc, char **argv)
{
  RunOptions options = {.resume_ms = 30000, .keep_s = 120};
  g_auto(GStrv) functions = NULL;
  g_autofree char *place = NULL, *clone = NULL, *track = NULL;
  int resume = 30;
  const GOptionEntry entries[] = {
      {"function", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &functions,
       "Off-load calls of FUNCTION (may be given again)", "FUNCTION"},
      {"whole", 'w', 0, G_OPTION_ARG_NONE, &options.whole,
       "Run the whole program in the clone from its start", NULL},
      {"place", 'p', 0, G_OPTION_ARG_STRING, &place,
       "Where calls run: auto (the default: measure, take the faster), device, clone", "PLACE"},
      {"clone", 'c', 0, G_OPTION_ARG_STRING, &clone,
       "The clone to use: local (default), or one that is paired", "NAME"},
      {"stats", 's', G_OPTION_FLAG_OPTIONAL_ARG, G_OPTION_ARG_CALLBACK, take_stats,
       "Say afterwards what ran where: a table on standard error, or JSON in FILE", "FILE"},
      {"explain", 'e', 0, G_OPTION_ARG_NONE, &options.explain,
       "Say why something runs on the device after all", NULL},
      {"resume-timeout", 0, 0, G_OPTION_ARG_INT, &resume,
       "Seconds that a broken link may take to come back (30)", "SECONDS"},
      {"keep", 0, 0, G_OPTION_ARG_INT, &options.keep_s,
       "Seconds that a connection stays ready after --whole, for the next run "
       "(120; 0: none)",
       "SECONDS"},
      {"track", 0, 0, G_OPTION_ARG_STRING, &track,
       "How changed memory is found: auto, pagemap, soft-dirty, hash", "WAY"},
      {"check", 0, 0, G_OPTION_ARG_NONE, &options.check,
       "Compare both twins after each block (slow; for tests)", NULL},
      {NULL}};
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("[--] PROGRAM [ARGUMENT...]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, description);
  g_option_context_set_strict_posix(context, TRUE);
  g_option_context_add_main_entries(context, entries, NULL);
  gboolean right =
      g_option_context_parse(context, &argc, &argv, &error) && parse_place(place, &options.place, &error);
  if (right && track && !mirror_track_parse(track, &options.track))
    right = doppel_error_set(&error, DOPPEL_ERROR_USAGE,
                             "--track is auto, pagemap, soft-dirty or hash, not '%s'", track);
  if (right && (options.keep_s < 0 || resume < 0))
    right = doppel_error_set(&error, DOPPEL_ERROR_USAGE, "--keep and --resume-timeout take seconds, from 0");
  if (right && argc > 1 && g_str_equal(argv[1], "--"))
    argv++, argc--;
  if (right && argc < 2)
    right = doppel_error_set(&error, DOPPEL_ERROR_USAGE, "which program? (doppel run --help)");
  if (!right) {
    fprintf(stderr, "doppel run: %s\n", error->message);
    return 2;
  }
  options.functions = functions;
  options.clone = clone;
  options.stats = stats_value;
  options.resume_ms = resume * 1000;
  if (resume != 30)
    options.keep_s = 0; /* a kept session has the usual time */
  options.argv = argv + 1;
  int status = controller_run(&options, &error);
  if (status >= 0)
    return status;
  fprintf(stderr, "doppel run: %s\n", error->message);
  return g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE) ||
                 g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)
             ? 2
             : 127;
}

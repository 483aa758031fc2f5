#include "cmd/run_options.h"

#include <stdio.h>

#include "base/error.h"
#include "cmd/clone_where.h"

enum { SECONDS_MAX = 1000000 }; /* whose milliseconds an int holds */

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

/* As text, before it is judged. */
static struct {
  char **functions;
  char *place, *clone, *track, *stats, *without, *objective;
  int resume_s;
} said = {.resume_s = 30};

static gboolean
take_stats(const char *name, const char *value, gpointer data, GError **error)
{
  g_free(said.stats);
  said.stats = g_strdup(value ? value : "-");
  return TRUE;
}

static gboolean
parse_words(const RunVerb *verb, int *argc, char ***argv, RunOptions *options, GError **error)
{
  const GOptionEntry entries[] = {
      {"function", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &said.functions,
       "Off-load calls of FUNCTION (may be given again)", "FUNCTION"},
      {"whole", 'w', 0, G_OPTION_ARG_NONE, &options->whole,
       "Run the whole program in the clone from its start", NULL},
      {"place", 'p', 0, G_OPTION_ARG_STRING, &said.place,
       "Where calls run: auto (the default: wherever they cost less), device, clone", "PLACE"},
      {"objective", 0, 0, G_OPTION_ARG_STRING, &said.objective,
       "What auto saves: time (the default), energy or money", "WHAT"},
      {"clone", 'c', 0, G_OPTION_ARG_STRING, &said.clone,
       "The clone to use: local (default), or one that is paired", "NAME"},
      {"stats", 's', G_OPTION_FLAG_OPTIONAL_ARG, G_OPTION_ARG_CALLBACK, take_stats,
       "Say afterwards what ran where and what it moved: tables on standard error, or JSON in FILE", "FILE"},
      {"explain", 'e', 0, G_OPTION_ARG_NONE, &options->explain,
       "Say why something runs where it does, and from which numbers", NULL},
      {"resume-timeout", 0, 0, G_OPTION_ARG_INT, &said.resume_s,
       "Seconds that a broken link may take to come back (30)", "SECONDS"},
      {"keep", 0, 0, G_OPTION_ARG_INT, &options->keep_s,
       "Seconds that a connection stays ready after --whole, for the next run "
       "(120; 0: none)",
       "SECONDS"},
      {"track", 0, 0, G_OPTION_ARG_STRING, &said.track,
       "How changed memory is found: auto, pagemap, soft-dirty, hash", "WAY"},
      {"without", 0, 0, G_OPTION_ARG_STRING, &said.without,
       "Switch off ways to send less: pull, push, known, changes (to see what each is worth)", "LIST"},
      {"lazy-return", 0, 0, G_OPTION_ARG_NONE, &options->lazy_return,
       "Leave memory that a block wrote in the clone until the program touches it (the clone has to stay "
       "reachable)",
       NULL},
      {"check", 0, 0, G_OPTION_ARG_NONE, &options->check,
       "Compare both twins after each block (slow; for tests)", NULL},
      {NULL}};
  g_autoptr(GOptionContext) context = g_option_context_new("[--] PROGRAM [ARGUMENT...]");
  g_option_context_set_summary(context, verb->summary);
  g_option_context_set_description(context, verb->description);
  g_option_context_set_strict_posix(context, TRUE);
  if (verb->more)
    g_option_context_add_main_entries(context, verb->more, NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  return g_option_context_parse(context, argc, argv, error);
}

static gboolean
judge(const RunVerb *verb, int *argc, char ***argv, RunOptions *options, GError **error)
{
  if (!parse_place(said.place, &options->place, error))
    return FALSE;
  if (said.track && !mirror_track_parse(said.track, &options->track))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "--track is auto, pagemap, soft-dirty or hash, not '%s'", said.track);
  if (said.objective && !policy_objective_parse(said.objective, &options->objective))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--objective is time, energy or money, not '%s'",
                            said.objective);
  if (said.without && !run_without_parse(said.without, &options->without, error))
    return FALSE;
  if (options->keep_s < 0 || said.resume_s < 0 || said.resume_s > SECONDS_MAX ||
      options->keep_s > SECONDS_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--keep and --resume-timeout take seconds, 0 to %d",
                            SECONDS_MAX);
  if (*argc > 1 && g_str_equal((*argv)[1], "--"))
    (*argv)++, (*argc)--;
  return *argc > 1 ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE, "which program? (doppel %s --help)", verb->verb);
}

gboolean
run_options_parse(const RunVerb *verb, int *argc, char ***argv, RunOptions *options)
{
  g_autoptr(GError) error = NULL;
  *options = (RunOptions){.keep_s = 120};
  if (!parse_words(verb, argc, argv, options, &error) || !judge(verb, argc, argv, options, &error)) {
    fprintf(stderr, "doppel %s: %s\n", verb->verb, error->message);
    return FALSE;
  }
  options->functions = said.functions;
  options->clone = said.clone;
  options->stats = said.stats;
  options->resume_ms = said.resume_s * 1000;
  if (said.resume_s != 30)
    options->keep_s = 0; /* a kept session has the usual time */
  options->argv = *argv + 1;
  return TRUE;
}

gboolean
run_options_plain(const RunOptions *options)
{
  return !options->functions && !options->whole && options->place == RUN_PLACE_AUTO && !options->stats &&
         !options->check && !options->lazy_return && !said.track && !said.without && !said.objective;
}

int
run_options_run(const RunVerb *verb, const RunOptions *options)
{
  g_autoptr(GError) error = NULL;
  if (options->clone && strcmp(options->clone, "local") != 0 && !options->reach)
    clone_where_check_kept(options->clone);
  int status = controller_run(options, &error);
  if (status >= 0)
    return status;
  fprintf(stderr, "doppel %s: %s\n", verb->verb, error->message);
  return g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE) ||
                 g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)
             ? 2
             : 127;
}

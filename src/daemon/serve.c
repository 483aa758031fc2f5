/* doppeld serve: what the command line says of it (daemon/server.h does it). */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/daemon.h"
#include "daemon/listener.h"
#include "daemon/server.h"

/* What the command line said. */
typedef struct {
  char *root, *tmp, *state;
  char **listen, **c2c_address;
  char *job_output, *job_changes, *job_reserve;
  JobBounds jobs;
} Options;

static void
options_clear(Options *options)
{
  g_free(options->root);
  g_free(options->tmp);
  g_free(options->state);
  g_strfreev(options->listen);
  g_strfreev(options->c2c_address);
  g_free(options->job_output);
  g_free(options->job_changes);
  g_free(options->job_reserve);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static gboolean
check_root(Options *options, GError **error)
{
  struct stat status;
  g_autofree char *root = realpath(options->root, NULL);
  if (!root)
    return doppel_error_errno(error, "cannot use %s as the clones' root", options->root);
  if (stat(root, &status) < 0 || !S_ISDIR(status.st_mode))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "the clones' root %s is not a directory",
                            options->root);
  g_free(options->root);
  options->root = g_strdup(root);
  return TRUE;
}

/* What is not said stays. */
static gboolean
check_bound(const char *name, const char *text, const char *word, guint64 value, guint64 *bound,
            GError **error)
{
  if (!text)
    return TRUE;
  if (strcmp(text, word) == 0)
    *bound = value;
  else if (!job_bounds_parse(text, G_MAXINT64, bound))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "--%s takes bytes, with K, M or G where wanted, or %s: not '%s'", name, word,
                            text);
  return TRUE;
}

static gboolean
check_bounds(Options *options, GError **error)
{
  options->jobs = (JobBounds)JOB_BOUNDS_DEFAULT;
  return check_bound("job-output", options->job_output, "any", JOB_BOUNDS_NONE, &options->jobs.output_bytes,
                     error) &&
         check_bound("job-changes", options->job_changes, "any", JOB_BOUNDS_NONE,
                     &options->jobs.changes_bytes, error) &&
         check_bound("job-reserve", options->job_reserve, "0", 0, &options->jobs.reserve_bytes, error);
}

static gboolean
check_options(Options *options, GError **error)
{
  if (!options->root && geteuid() != 0)
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "say with --root which directory is the clones' root: only for root it can be what each "
        "device synchronised");
  if ((options->root && !check_root(options, error)) || !check_bounds(options, error))
    return FALSE;
  if (!options->state)
    options->state = daemon_state_directory();
  if (!options->tmp)
    options->tmp = g_build_filename(options->state, "sessions", NULL);
  return TRUE;
}

static gboolean
make_tmp(Options *options, GError **error)
{
  if (g_mkdir_with_parents(options->tmp, 0700) < 0 || access(options->tmp, W_OK | X_OK) < 0)
    return doppel_error_errno(error, "cannot keep sessions' files in %s", options->tmp);
  char *absolute = g_canonicalize_filename(options->tmp, NULL);
  g_free(options->tmp);
  options->tmp = absolute;
  return TRUE;
}

static gboolean
serve(Options *options, DaemonSessionMain run, GError **error)
{
  if (!check_options(options, error))
    return FALSE;
  g_autoptr(DaemonState) state = daemon_state_open(options->state, error);
  if (!state || !make_tmp(options, error))
    return FALSE;
  g_autofree char *place = realpath(options->state, NULL);
  if (!place)
    return doppel_error_errno(error, "cannot find the state directory %s", options->state);
  g_autoptr(GError) problem = NULL;
  if (!daemon_state_sweep(state, &problem))
    g_printerr("doppeld: %s\n", problem->message);
  g_autoptr(DaemonPrograms) programs = daemon_programs_new();
  const DaemonWorkplace workplace = {.state = state,
                                     .programs = programs,
                                     .state_directory = place,
                                     .root = options->root,
                                     .tmp = options->tmp,
                                     .jobs = options->jobs,
                                     .c2c_addresses = options->c2c_address,
                                     .run = run};
  return daemon_server_run(&workplace, (const char *const *)options->listen, error);
}

int
daemon_serve(int argc, char **argv)
{
  g_auto(Options) options = {0};
  GOptionEntry entries[] = {
      {"root", 0, 0, G_OPTION_ARG_FILENAME, &options.root,
       "The root file system that all clones have (each what its device synchronised)", "DIR"},
      {"listen", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.listen,
       "Where to listen (may be repeated; [::]:" DAEMON_PORT ")", "ADDR:PORT"},
      {"c2c-address", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.c2c_address,
       "Where other people's clones reach this host (may be repeated; where it listens)", "ADDR:PORT"},
      {"state", 0, 0, G_OPTION_ARG_FILENAME, &options.state, DAEMON_STATE_HELP, "DIR"},
      {"tmp", 0, 0, G_OPTION_ARG_FILENAME, &options.tmp,
       "Where sessions keep files while they last (STATE/sessions)", "DIR"},
      {"job-output", 0, 0, G_OPTION_ARG_STRING, &options.job_output,
       "What a job may write to its standard output and error (1G; any: no limit)", "BYTES"},
      {"job-changes", 0, 0, G_OPTION_ARG_STRING, &options.job_changes,
       "The disk that a job may take with files (any: no limit, the default)", "BYTES"},
      {"job-reserve", 0, 0, G_OPTION_ARG_STRING, &options.job_reserve,
       "The disk that jobs leave free (a twentieth of it, at most 1G; 0: none)", "BYTES"},
      {NULL},
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  g_option_context_set_summary(
      context, "Runs clones for the devices that are paired with this host, until SIGTERM. A "
               "clone's root is a view of DIR,\nwhich is never written to; or, without --root, of "
               "the newest generation of files that its device\nsynchronised (\"doppel sync\").");
  g_option_context_set_description(context,
                                   "DIR holds the programs that the devices run; \"/\" is this machine's own "
                                   "tree.\n\n"
                                   "Example: doppeld serve --root /srv/phone --listen 192.0.2.7:3677");
  int status;
  if (!daemon_parse(context, &argc, &argv, 0, &status))
    return status;
  signal(SIGPIPE, SIG_IGN);
  return serve(&options, daemon_session_main(), &error) ? 0 : daemon_fail("serve", error);
}

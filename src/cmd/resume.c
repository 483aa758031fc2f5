/* doppel resume: a program goes on from its newest checkpoint. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "cmd/checkpoint_words.h"
#include "cmd/cmd.h"
#include "cmd/job_words.h"
#include "replicator/checkpoint_here.h"

static const char summary[] =
    "Goes on with a program from its newest checkpoint (\"doppel run --checkpoint\"): in the clone, as a "
    "background\njob whose number is printed, or with --here on this device, which need not be the one that "
    "it ran on.\nWithout ID it is the program of this device's with the newest checkpoint."
    "\nOne of another device's is named.";

static const char notes[] =
    "Examples:\n"
    "  doppel resume                     then \"doppel logs -f\", \"doppel wait\"\n"
    "  doppel resume 3f9c --here\n"
    "\n"
    "What was the program's terminal is the job's output, or with --here this terminal; its standard input "
    "is "
    "at its end.\nA checkpoint is resumed once, and not while its program still runs as far as the clone "
    "knows.\n"
    "Exit status: 0; with --here the program's own.\n";

/* ---- here ---- */

static volatile pid_t runner;

/* The program gets what doppel gets. */
static void
pass_on(int number)
{
  if (runner > 0)
    kill(runner, SIGTERM);
}

static void
listen_for_signals(void)
{
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++)
    sigaction(numbers[i], &action, NULL);
}

static gboolean
print_bytes(guint64 offset, const guint8 *bytes, gsize length, gpointer user, GError **error)
{
  return io_write_all(STDOUT_FILENO, bytes, length) || doppel_error_errno(error, "writing the output");
}

/* Until the program is over, and what it did to files is where it belongs. */
static int
accompany(CheckpointHere *here, guint64 job, gboolean *over)
{
  g_autoptr(GError) error = NULL;
  guint64 offset = 0;
  listen_for_signals();
  g_autoptr(JobMessage) end = job_client_logs(here->client, job, TRUE, JOB_LOGS_STDOUT | JOB_LOGS_STDERR,
                                              &offset, print_bytes, NULL, NULL, &error)
                                  ? job_client_wait(here->client, job, NULL, &error)
                                  : NULL;
  if (!end)
    return cmd_fail("resume", error);
  job_words_tell("resume", end->summary);
  if (!job_words_collect("resume", here->client, end->summary))
    return JOB_WORDS_NO_RESULT;
  *over = end->summary->state->phase == DOPPEL__WIRE__JOB_STATE__PHASE__ENDED && !end->summary->state->signal;
  return job_words_status(end->summary->state);
}

static int
resume_here(CheckpointClient *client, const guint8 *run, gboolean force, gboolean again)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(CheckpointHere) here = checkpoint_here_open(&error);
  gboolean over = FALSE;
  if (!here)
    return cmd_fail("resume", error);
  /* What a killed one left. */
  job_words_collect_others("resume", here->client);
  pid_t process = 0;
  guint64 job = checkpoint_here_resume(here, client, run, force, again, &process, &error);
  if (!job)
    return cmd_fail("resume", error);
  runner = process;
  int status = accompany(here, job, &over);
  if (over) {
    checkpoint_here_forget(here, run);
    /* Where the clone is out of reach by now, "doppel checkpoints --remove" does it. */
    checkpoint_client_remove(client, run, TRUE, NULL);
  }
  return status;
}

/* ---- which ---- */

/* What another device ran goes on here only where it is meant. */
static const Doppel__Wire__CheckpointSummary *
find_own(const GPtrArray *list, GError **error)
{
  g_autoptr(GPtrArray) own = g_ptr_array_new();
  g_autoptr(GString) others = g_string_new(NULL);
  for (guint i = 0; i < list->len; i++) {
    const Doppel__Wire__CheckpointSummary *run = ((const CheckpointMessage *)list->pdata[i])->summary;
    if (!run->foreign) {
      g_ptr_array_add(own, list->pdata[i]);
    } else if (run->chain->n_link) {
      g_autofree char *id = checkpoint_run_text(run->run.data);
      g_string_append_printf(others, "%s%s", others->len ? ", " : "", id);
    }
  }
  g_autoptr(GError) problem = NULL;
  const Doppel__Wire__CheckpointSummary *found = checkpoint_client_find(own, NULL, &problem);
  if (!found && others->len)
    doppel_error_set(
        error, DOPPEL_ERROR_NOT_FOUND,
        "all checkpoints that the clone keeps are of another device's programs; name the one that is "
        "meant: \"doppel resume ID\" with %s",
        others->str);
  else if (!found)
    g_propagate_error(error, g_steal_pointer(&problem));
  return found;
}

static const Doppel__Wire__CheckpointSummary *
find(const GPtrArray *list, const char *id, GError **error)
{
  return id ? checkpoint_client_find(list, id, error) : find_own(list, error);
}

int
cmd_resume(int argc, char **argv)
{
  gboolean here = FALSE, force = FALSE, again = FALSE;
  g_autofree char *clone = NULL;
  const GOptionEntry options[] = {
      {"here", 0, 0, G_OPTION_ARG_NONE, &here, "On this device, not in the clone", NULL},
      {"force", 0, 0, G_OPTION_ARG_NONE, &force, "Although the program may still run where it ran", NULL},
      {"again", 0, 0, G_OPTION_ARG_NONE, &again, "Although it was resumed already", NULL},
      CHECKPOINT_CLONE_OPTION(&clone),
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[ID]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 1))
    return 2;
  g_autoptr(GError) error = NULL;
  g_autoptr(CheckpointClient) client = checkpoint_words_open("resume", clone, &error);
  g_autoptr(GPtrArray) list = client ? checkpoint_client_list(client, &error) : NULL;
  const Doppel__Wire__CheckpointSummary *run = list ? find(list, argc > 1 ? argv[1] : NULL, &error) : NULL;
  if (!run)
    return cmd_fail("resume", error);
  if (here)
    return resume_here(client, run->run.data, force, again);
  guint64 job = checkpoint_client_resume(client, run->run.data, force, again, &error);
  if (!job)
    return cmd_fail("resume", error);
  printf("%" G_GUINT64_FORMAT "\n", job);
  return 0;
}

/* doppel kill: ends background jobs. */
#include <stdio.h>

#include "cmd/cmd.h"
#include "cmd/job_words.h"

static const char summary[] =
    "Ends jobs: their programs get SIGTERM. What a job did to files until then comes "
    "home as if it had ended by itself.\nJobs of the clone's other devices can be ended, too; what those did "
    "comes home to their own.";

static const char notes[] = "Examples:\n"
                            "  doppel kill 7\n"
                            "  doppel kill --now 7 8     one that does not listen\n";

static gboolean
kill_all(JobClient *client, char **words, gboolean now)
{
  gboolean all = TRUE;
  for (; *words; words++) {
    g_autoptr(GError) error = NULL;
    guint64 number;
    if (job_words_number("kill", *words, &number) && job_client_kill(client, number, now, &error))
      continue;
    cmd_fail("kill", error);
    all = FALSE;
  }
  return all;
}

int
cmd_kill(int argc, char **argv)
{
  gboolean now = FALSE;
  g_autofree char *clone = NULL;
  const GOptionEntry options[] = {
      {"now", 0, 0, G_OPTION_ARG_NONE, &now, "SIGKILL, to all of their processes", NULL},
      JOB_CLONE_OPTION(&clone),
      {NULL},
  };
  GOptionContext *context = g_option_context_new("JOB...");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, G_MAXINT))
    return 2;
  int status;
  g_autoptr(JobClient) client = job_words_open("kill", clone, argv + 1, &status);
  return !client ? status : kill_all(client, argv + 1, now) ? 0 : 1;
}

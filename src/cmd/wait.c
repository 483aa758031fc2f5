/* doppel wait: until background jobs are over. */
#include <stdio.h>

#include "cmd/cmd.h"
#include "cmd/job_words.h"

static const char summary[] =
    "Waits until the jobs are over, through whatever happens to the network, and brings home what they did "
    "to "
    "files.\nWhat a job of another device of the clone's did stays for that one, unless --adopt says that it "
    "is "
    "wanted here.\n"
    "Exit status: the last job's own; 128 and the number of the signal that killed it; 125 where it has no "
    "result.";

static const char notes[] = "Examples:\n"
                            "  doppel wait 7 && doppel logs 7\n"
                            "  doppel wait 7 8 9\n"
                            "  doppel wait --adopt 7     a job of the device that was lost\n";

static int
wait_for(JobClient *client, guint64 number, gboolean adopt)
{
  g_autoptr(GError) error = NULL;
  if (adopt && !job_client_adopt(client, number, &error))
    return cmd_fail("wait", error);
  g_autoptr(JobMessage) over = job_client_wait(client, number, job_words_lost, &error);
  if (!over)
    return cmd_fail("wait", error);
  job_words_tell("wait", over->summary);
  while (!job_words_collect("wait", client, over->summary)) {
    if (link_state(client->link) != LINK_DEAD)
      return JOB_WORDS_NO_RESULT;
    job_message_free(over);
    over = job_client_wait(client, number, job_words_lost, &error);
    if (!over)
      return cmd_fail("wait", error);
  }
  return job_words_status(over->summary->state);
}

int
cmd_wait(int argc, char **argv)
{
  gboolean adopt = FALSE;
  g_autofree char *clone = NULL;
  const GOptionEntry options[] = {
      {"adopt", 0, 0, G_OPTION_ARG_NONE, &adopt,
       "Although another device began them: they are this one's now", NULL},
      JOB_CLONE_OPTION(&clone),
      {NULL},
  };
  GOptionContext *context = g_option_context_new("JOB...");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, G_MAXINT))
    return 2;
  int status = 0;
  guint64 number;
  g_autoptr(JobClient) client = job_words_open("wait", clone, argv + 1, &status);
  for (char **word = argv + 1; client && *word; word++)
    if (job_words_number("wait", *word, &number))
      status = wait_for(client, number, adopt);
  return status;
}

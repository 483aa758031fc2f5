/* doppel logs: what a background job has written. */
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "cmd/cmd.h"
#include "cmd/job_words.h"

static const char summary[] =
    "Prints what a job has written to its standard output and standard error, in the "
    "order in which it did.\nOf any of the clone's jobs, also those of another device.";

static const char notes[] = "Examples:\n"
                            "  doppel logs 7\n"
                            "  doppel logs -f 7          as it is written, until the job is over\n"
                            "  doppel logs --stderr 7    without its standard output\n";

static gboolean
print_bytes(guint64 offset, const guint8 *bytes, gsize length, gpointer user, GError **error)
{
  return io_write_all(STDOUT_FILENO, bytes, length) || doppel_error_errno(error, "writing the output");
}

int
cmd_logs(int argc, char **argv)
{
  gboolean follow = FALSE, out = FALSE, err = FALSE;
  g_autofree char *clone = NULL;
  const GOptionEntry options[] = {
      {"follow", 'f', 0, G_OPTION_ARG_NONE, &follow, "Go on until the job is over", NULL},
      {"stdout", 0, 0, G_OPTION_ARG_NONE, &out, "Only its standard output", NULL},
      {"stderr", 0, 0, G_OPTION_ARG_NONE, &err, "Only its standard error", NULL},
      JOB_CLONE_OPTION(&clone),
      {NULL},
  };
  GOptionContext *context = g_option_context_new("JOB");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, 1))
    return 2;
  int status = 2;
  guint64 number, offset = 0;
  g_autoptr(GError) error = NULL;
  g_autoptr(JobClient) client = job_words_open("logs", clone, argv + 1, &status);
  if (!client || !job_words_number("logs", argv[1], &number))
    return status;
  guint streams = (out ? JOB_LOGS_STDOUT : 0) | (err ? JOB_LOGS_STDERR : 0);
  if (!job_client_logs(client, number, follow, streams, &offset, print_bytes, NULL, job_words_lost, &error))
    return cmd_fail("logs", error);
  job_words_collect_others("logs", client);
  return 0;
}

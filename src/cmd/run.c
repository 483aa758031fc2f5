/* doppel run */
#include <stdio.h>

#include "base/error.h"
#include "cmd/background.h"
#include "cmd/checkpoint_words.h"
#include "cmd/cmd.h"
#include "cmd/run_on.h"
#include "cmd/run_options.h"

int
cmd_run(int argc, char **argv)
{
  gboolean background = FALSE, foreground = FALSE, as_is = FALSE, keep = FALSE;
  g_autofree char *limit = NULL, *checkpoint = NULL, *rate = NULL, *on = NULL;
  const GOptionEntry more[] = {
      {"background", 'b', 0, G_OPTION_ARG_NONE, &background,
       "Run the program as a job in the clone, print its number and return at once", NULL},
      {"foreground", 0, 0, G_OPTION_ARG_NONE, &foreground,
       "Do not look at the rules that make programs jobs (doppel.conf(5), [background])", NULL},
      {"on", 0, 0, G_OPTION_ARG_STRING, &on,
       "Run the whole program in the clone of USER, who has to allow it (doppel allow YOU run)", "USER"},
      {"no-sync", 0, 0, G_OPTION_ARG_NONE, &as_is,
       "Start a job over the clone's files as they are: not synchronised first", NULL},
      {"limit", 0, 0, G_OPTION_ARG_STRING, &limit, BACKGROUND_LIMIT_HELP, "LIST"},
      {"checkpoint", 0, 0, G_OPTION_ARG_STRING, &checkpoint,
       "Run the program here, and send a checkpoint of it to the clone every TIME (60s, 5m), which \"doppel "
       "resume\" goes on from",
       "TIME"},
      {"checkpoint-rate", 0, 0, G_OPTION_ARG_STRING, &rate,
       "Send checkpoints no faster than RATE bytes a second (500k, 2M)", "RATE"},
      {"keep-checkpoints", 0, 0, G_OPTION_ARG_NONE, &keep,
       "Keep the last checkpoint also when the program has ended by itself", NULL},
      {NULL},
  };
  const RunVerb verb = {
      .verb = "run",
      .summary = "Runs PROGRAM. " RUN_TRANSPARENT "\n" RUN_FUNCTION,
      .description =
          "Examples:\n"
          "  doppel run -f sqlite3_step --stats -- sqlite3 big.db 'SELECT ...'\n"
          "  doppel run -f sqlite3_step --place clone --stats=said.json -- sqlite3 big.db 'SELECT ...'\n"
          "  doppel run --whole -- convert in.jpg -blur 0x8 out.jpg\n"
          "  doppel run --clone desk -f tesseract::TessBaseAPI::Recognize -- tesseract page.png out\n"
          "  doppel run --background --clone desk -- clamscan -r /home      see \"doppel jobs\"\n"
          "  doppel run --on alice -- simulate input            in a friend's clone\n"
          "  doppel run --checkpoint 60s -- simulate input      see \"doppel resume\"\n"
          "\n" RUN_EXIT_STATUS,
      .more = more,
  };
  RunOptions options;
  if (!run_options_parse(&verb, &argc, &argv, &options))
    return 2;
  if (background && foreground) {
    fputs("doppel run: --background and --foreground contradict each other\n", stderr);
    return 2;
  }
  g_autoptr(GError) error = NULL;
  if (background && checkpoint)
    doppel_error_set(&error, DOPPEL_ERROR_USAGE, "--checkpoint is for a program that runs on this device");
  if (on && (background || checkpoint || options.clone || options.functions))
    doppel_error_set(&error, DOPPEL_ERROR_USAGE,
                     "--on runs the whole program in a friend's clone: without --background, --checkpoint, "
                     "--clone and -f");
  if (error || !checkpoint_words_options(checkpoint, rate, keep, &options, &error))
    return cmd_fail("run", error);
  if (on)
    return run_on(&verb, &options, on);
  if (background)
    return background_run(&options, limit, !as_is);
  if (limit || as_is) {
    fputs("doppel run: --limit and --no-sync are for --background\n", stderr);
    return 2;
  }
  int status;
  if (!foreground && !checkpoint && run_options_plain(&options) && background_by_rule(&options, &status))
    return status;
  return run_options_run(&verb, &options);
}

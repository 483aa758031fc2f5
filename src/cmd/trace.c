/* doppel trace */
#include "cmd/cmd.h"
#include "cmd/run_options.h"

int
cmd_trace(int argc, char **argv)
{
  static char *output;
  static const GOptionEntry entries[] = {{"output", 'o', 0, G_OPTION_ARG_FILENAME, &output,
                                          "Where the timeline goes (doppel-trace.json)", "FILE"},
                                         {NULL}};
  static const RunVerb verb = {
      .verb = "trace",
      .summary =
          "Runs PROGRAM as \"doppel run\" does, with the same options, and writes a timeline of the run: "
          "where "
          "the program\n"
          "ran, each block and its parts (stop, capture, send, wait, apply on the device; apply, run, "
          "capture, "
          "send in the\n"
          "clone), sessions being opened, forwarded calls, questions about files, bytes on the wire, and why "
          "blocks were cut\n"
          "or aborted. https://ui.perfetto.dev and chrome://tracing open the file; what a run was writing "
          "when it was\n"
          "killed is opened too.\n"
          "\n" RUN_FUNCTION,
      .description =
          "Examples:\n"
          "  doppel trace --place clone -f sqlite3_step -- sqlite3 big.db 'SELECT ...'\n"
          "  doppel trace -o /tmp/blur.json --clone desk --whole -- convert in.jpg -blur 0x8 out.jpg\n"
          "\n" RUN_EXIT_STATUS,
      .more = entries,
  };
  RunOptions options;
  if (!run_options_parse(&verb, &argc, &argv, &options))
    return 2;
  options.trace = output ? output : "doppel-trace.json";
  return run_options_run(&verb, &options);
}

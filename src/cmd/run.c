/* doppel run */
#include "cmd/cmd.h"
#include "cmd/run_options.h"

int
cmd_run(int argc, char **argv)
{
  static const RunVerb verb = {
      .verb = "run",
      .summary = "Runs PROGRAM. " RUN_TRANSPARENT "\n" RUN_FUNCTION,
      .description =
          "Examples:\n"
          "  doppel run -f sqlite3_step --stats -- sqlite3 big.db 'SELECT ...'\n"
          "  doppel run -f sqlite3_step --place clone --stats=said.json -- sqlite3 big.db 'SELECT ...'\n"
          "  doppel run --whole -- convert in.jpg -blur 0x8 out.jpg\n"
          "  doppel run --clone desk -f tesseract::TessBaseAPI::Recognize -- tesseract page.png out\n"
          "\n" RUN_EXIT_STATUS,
  };
  RunOptions options;
  return run_options_parse(&verb, &argc, &argv, &options) ? run_options_run(&verb, &options) : 2;
}

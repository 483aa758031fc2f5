/* The options of `doppel run`, which other verbs that run a program have too. */
#pragma once

#include "controller/run.h"

typedef struct {
  const char *verb;                  /* for errors: "run" */
  const char *summary, *description; /* of --help */
  const GOptionEntry *more;          /* the verb's own options; NULL: none */
} RunVerb;

/* Parses them, and the program with its arguments behind them. FALSE after telling the user that something is
 * wrong: return 2 then. What *options points to lives as long as the process. */
gboolean run_options_parse(const RunVerb *verb, int *argc, char ***argv, RunOptions *options);

/* Whether nothing was said of how the program is to run or to be watched: neither what is off-loaded, nor
 * where, nor what is measured. */
gboolean run_options_plain(const RunOptions *options);

/* Runs the program. The verb's exit status; errors are told. */
int run_options_run(const RunVerb *verb, const RunOptions *options);

/* Of a verb's description: what its exit status says. */
#define RUN_EXIT_STATUS                                                                                      \
  "Exit status: the program's own; 2 for a wrong command line, 127 where the program cannot be started."
/* Of its summary: what it does with PROGRAM, and what a FUNCTION is. */
#define RUN_TRANSPARENT                                                                                      \
  "Calls of the functions named with -f run in a clone; its output, files and exit status are the same as\n" \
  "without doppel. If the clone, the network or the function itself does not allow it, they run here.\n"
#define RUN_FUNCTION                                                                                         \
  "FUNCTION is a symbol (sqlite3_step), LIB:SYMBOL (libsqlite3:sqlite3_step), a C++ name "                   \
  "(ns::Class::method), or an\n"                                                                             \
  "address (0x1234, LIB:0x1234). \"doppel symbols PROGRAM\" lists what can be named. With --whole auto "     \
  "means clone.\n"                                                                                           \
  "Without either, calls of the functions that PROGRAM and its libraries mark themselves "                   \
  "(DOPPEL_OFFLOAD(3)) are off-loaded."

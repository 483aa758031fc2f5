/* The verbs of the command line, one per file. Each gets the arguments from its own name on, prints its own
 * errors, and returns the exit status: 0 done, 1 not done, 2 misused. `doppel run` returns what the program
 * returned. */
#pragma once

#include <glib.h>

int cmd_run(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_pair(int argc, char **argv);
int cmd_clones(int argc, char **argv);
int cmd_unpair(int argc, char **argv);
int cmd_keep(int argc, char **argv);
int cmd_symbols(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

/* Prints "doppel VERB: message" and returns the exit status that the error's code means. */
int cmd_fail(const char *verb, const GError *error);

/* Parses the options of a verb's `context`, which it frees; between `minimum` and `maximum` words stay in
 * argv[1]... FALSE, after telling the user, when there are more or fewer or the options are wrong: return 2
 * then. */
gboolean cmd_parse(GOptionContext *context, int *argc, char ***argv, int minimum, int maximum);

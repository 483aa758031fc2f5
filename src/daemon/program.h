/* What programs with verbs (doppeld, cloneds) have in common. */
#pragma once

#include <glib.h>

/* Gets the arguments from its own name on, prints its own errors, and returns the exit status: 0 done, 1 not
 * done, 2 misused. */
typedef struct {
  const char *name;
  int (*function)(int argc, char **argv);
  const char *description;
} ProgramVerb;

typedef struct {
  const char *name;
  const ProgramVerb *verbs;
  gsize count;
  const char *about;   /* lines between the usage and the verbs */
  const char *example; /* lines after them */
} Program;

/* All of the program: the verb, or help, or the version. */
int program_main(const Program *program, int argc, char **argv);

/* Parses the options of a verb of the program `name`. FALSE, with *status, where the verb is over: help was
 * shown, or misuse. Exactly `words` words stay from argv[1] on; where it is negative, as many or more. */
gboolean program_parse(const char *name, GOptionContext *context, int *argc, char ***argv, int words,
                       int *status);

/* Prints "NAME VERB: message" and returns the exit status that the error's code means. */
int program_fail(const char *name, const char *verb, const GError *error);

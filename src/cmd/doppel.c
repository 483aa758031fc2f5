/* doppel: everything that the device's owner types. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"

static int print_help(int argc, char **argv);
static int print_version(int argc, char **argv);

static const struct {
  const char *name;
  int (*function)(int argc, char **argv);
  const char *description;
} verbs[] = {
    {"run", cmd_run, "Run a program, the expensive part of it in a clone"},
    {"trace", cmd_trace, "Run a program and write a timeline of it, for Perfetto or chrome://tracing"},
    {"symbols", cmd_symbols, "List the functions of a program that \"run -f\" can name"},
    {"doctor", cmd_doctor, "Try what this kernel and processor offer, and say what is used instead"},
    {"pair", cmd_pair, "Accept a clone host's invitation"},
    {"clones", cmd_clones, "List the paired clones"},
    {"keep", cmd_keep, "Keep a connection to a clone ready, so that whole programs start at once"},
    {"unpair", cmd_unpair, "Forget a clone"},
    {"help", print_help, "Show this, or the help of a verb"},
    {"version", print_version, "Show the version"},
};

static const char usage[] = "Usage: doppel VERB [OPTION...] [ARGUMENT...]\n"
                            "\n"
                            "Runs unmodified programs so that their expensive functions execute in a clone "
                            "of this device: a sandbox on this machine\n"
                            "when nothing is configured, or a paired machine that you trust.\n"
                            "\n";

static const char examples[] =
    "\n"
    "Examples:\n"
    "  doppel symbols sqlite3 step                      what can be named?\n"
    "  doppel run -f sqlite3_step --stats -- sqlite3 big.db 'SELECT ...'\n"
    "  doppel run --whole -- convert in.jpg -blur 0x8 out.jpg\n"
    "  doppel trace -f sqlite3_step -- sqlite3 big.db 'SELECT ...'   where did the time go?\n"
    "  doppel pair INVITATION                           printed by \"doppeld invite\" on the other machine\n"
    "  doppel run --clone NAME -f FUNCTION -- PROGRAM ARGUMENT...\n"
    "\n"
    "\"doppel help VERB\" or \"doppel VERB --help\" tells the rest; so does man doppel.\n";

static int
print_version(int argc, char **argv)
{
  puts("doppel " DOPPEL_VERSION);
  return 0;
}

static int
call_verb(int index, int argc, char **argv)
{
  /* The verb's help and its errors are to say "doppel VERB". */
  g_autofree char *name = g_strconcat("doppel ", verbs[index].name, NULL);
  g_set_prgname(name);
  return verbs[index].function(argc, argv);
}

static int
find_verb(const char *name)
{
  for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++)
    if (g_str_equal(verbs[i].name, name))
      return i;
  return -1;
}

static int
unknown_verb(const char *name)
{
  fprintf(stderr, "doppel: there is no verb \"%s\"; there are", name);
  for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++)
    fprintf(stderr, "%s %s", i > 0 ? "," : "", verbs[i].name);
  fprintf(stderr, ". To run a program write: doppel run -- %s\n", name);
  return 2;
}

static int
print_help(int argc, char **argv)
{
  if (argc > 1) {
    int index = find_verb(argv[1]);
    if (index < 0)
      return unknown_verb(argv[1]);
    if (verbs[index].function != print_help && verbs[index].function != print_version) {
      char help[] = "--help";
      char *arguments[] = {argv[1], help, NULL};
      return call_verb(index, 2, arguments);
    }
  }
  fputs(usage, stdout);
  for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++)
    printf("  %-9s %s\n", verbs[i].name, verbs[i].description);
  fputs(examples, stdout);
  return 0;
}

int
cmd_fail(const char *verb, const GError *error)
{
  fprintf(stderr, "doppel %s: %s\n", verb, error->message);
  gboolean usage_error =
      g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE) || error->domain == G_OPTION_ERROR;
  return usage_error ? 2 : 1;
}

gboolean
cmd_parse(GOptionContext *context, int *argc, char ***argv, int minimum, int maximum)
{
  g_autoptr(GError) error = NULL;
  const char *verb = (*argv)[0];
  gboolean good = g_option_context_parse(context, argc, argv, &error);
  g_option_context_free(context);
  if (!good) {
    fprintf(stderr, "doppel %s: %s. \"doppel %s --help\" lists the options.\n", verb, error->message, verb);
    return FALSE;
  }
  if (*argc > 1 && g_str_equal((*argv)[1], "--")) {
    memmove(*argv + 1, *argv + 2, (*argc - 1) * sizeof **argv);
    *argc -= 1;
  }
  if (*argc - 1 < minimum || *argc - 1 > maximum) {
    fprintf(stderr, "doppel %s: %s. \"doppel %s --help\" shows what it takes.\n", verb,
            *argc - 1 < minimum ? "an argument is missing" : "there are too many arguments", verb);
    return FALSE;
  }
  return TRUE;
}

int
main(int argc, char **argv)
{
  setlocale(LC_ALL, "");
  if (argc < 2) {
    print_help(0, NULL);
    return 2;
  }
  if (g_str_equal(argv[1], "--help") || g_str_equal(argv[1], "-h"))
    return print_help(argc - 1, argv + 1);
  if (g_str_equal(argv[1], "--version"))
    return print_version(argc - 1, argv + 1);
  int index = find_verb(argv[1]);
  return index < 0 ? unknown_verb(argv[1]) : call_verb(index, argc - 1, argv + 1);
}

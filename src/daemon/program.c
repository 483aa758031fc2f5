#include "daemon/program.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

static void
print_usage(const Program *program, FILE *file)
{
  fprintf(file, "Usage: %s VERB [OPTION...] [ARGUMENT...]\n\n%s\n", program->name, program->about);
  for (gsize i = 0; i < program->count; i++)
    fprintf(file, "  %-8s %s\n", program->verbs[i].name, program->verbs[i].description);
  fprintf(file, "\nExample:\n%s\n\"%s VERB --help\" tells the rest; so does man %s.\n", program->example,
          program->name, program->name);
}

int
program_main(const Program *program, int argc, char **argv)
{
  setlocale(LC_ALL, "");
  const char *verb = argc > 1 ? argv[1] : "--help";
  for (gsize i = 0; i < program->count; i++)
    if (g_str_equal(verb, program->verbs[i].name))
      return program->verbs[i].function(argc - 1, argv + 1);
  if (g_str_equal(verb, "--help") || g_str_equal(verb, "help") || g_str_equal(verb, "-h")) {
    print_usage(program, argc > 1 ? stdout : stderr);
    return argc > 1 ? 0 : 2;
  }
  if (g_str_equal(verb, "--version") || g_str_equal(verb, "version")) {
    printf("%s %s\n", program->name, DOPPEL_VERSION);
    return 0;
  }
  g_printerr("%s: there is no verb \"%s\"\n\n", program->name, verb);
  print_usage(program, stderr);
  return 2;
}

gboolean
program_parse(const char *name, GOptionContext *context, int *argc, char ***argv, int words, int *status)
{
  g_autoptr(GError) error = NULL;
  const char *verb = (*argv)[0];
  g_autofree char *words_of_it = g_strconcat(name, " ", verb, NULL);
  g_set_prgname(words_of_it);
  gboolean good = g_option_context_parse(context, argc, argv, &error);
  gboolean few = *argc < ABS(words) + 1, many = words >= 0 && *argc > words + 1;
  if (good && (few || many))
    good = doppel_error_set(&error, DOPPEL_ERROR_USAGE,
                            many ? "\"%s\" is one word too many" : "%sit lacks a word",
                            many ? (*argv)[words + 1] : "");
  if (!good) {
    *status = program_fail(name, verb, error);
    g_printerr("Try \"%s %s --help\".\n", name, verb);
  }
  return good;
}

int
program_fail(const char *name, const char *verb, const GError *error)
{
  g_printerr("%s %s: %s\n", name, verb, error->message);
  return g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE) || error->domain == G_OPTION_ERROR ? 2 : 1;
}

/* The table of doppeld's verbs. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "daemon/daemon.h"

static const struct {
  const char *name;
  int (*function)(int argc, char **argv, DaemonSessionMain run);
  const char *description;
} verbs[] = {
    {"serve", daemon_serve, "Run clones for the devices that are paired with this host"},
    {"invite", daemon_invite, "Print an invitation for one device"},
    {"clones", daemon_clones, "List the clones of this host"},
    {"revoke", daemon_revoke, "Take a clone away from its device"},
};

static void
print_usage(FILE *file)
{
  fputs("Usage: doppeld VERB [OPTION...] [ARGUMENT...]\n"
        "\n"
        "Runs clones: sandboxes in which other people's devices, or your own, have programs executed.\n\n",
        file);
  for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++)
    fprintf(file, "  %-8s %s\n", verbs[i].name, verbs[i].description);
  fputs("\n"
        "Example:\n"
        "  doppeld serve --root /srv/clone &     a clone sees the tree /srv/clone as its root\n"
        "  doppeld invite                        give what it prints to \"doppel pair\" on the device\n"
        "\n"
        "\"doppeld VERB --help\" tells the rest; so does man doppeld.\n",
        file);
}

int
daemon_fail(const char *verb, const GError *error)
{
  g_printerr("doppeld %s: %s\n", verb, error->message);
  return g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE) || error->domain == G_OPTION_ERROR ? 2 : 1;
}

gboolean
daemon_parse(GOptionContext *context, int *argc, char ***argv, int words, int *status)
{
  g_autoptr(GError) error = NULL;
  const char *verb = (*argv)[0];
  g_autofree char *program = g_strconcat("doppeld ", verb, NULL);
  g_set_prgname(program);
  gboolean good = g_option_context_parse(context, argc, argv, &error);
  if (good && *argc != words + 1)
    good = doppel_error_set(&error, DOPPEL_ERROR_USAGE,
                            *argc > words + 1 ? "\"%s\" is one word too many" : "%sit lacks a word",
                            *argc > words + 1 ? (*argv)[words + 1] : "");
  if (!good) {
    *status = daemon_fail(verb, error);
    g_printerr("Try \"doppeld %s --help\".\n", verb);
  }
  return good;
}

int
daemon_main(int argc, char **argv, DaemonSessionMain run)
{
  setlocale(LC_ALL, "");
  const char *verb = argc > 1 ? argv[1] : "--help";
  for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++)
    if (g_str_equal(verb, verbs[i].name))
      return verbs[i].function(argc - 1, argv + 1, run);
  if (g_str_equal(verb, "--help") || g_str_equal(verb, "help") || g_str_equal(verb, "-h")) {
    print_usage(argc > 1 ? stdout : stderr);
    return argc > 1 ? 0 : 2;
  }
  if (g_str_equal(verb, "--version") || g_str_equal(verb, "version")) {
    puts("doppeld " DOPPEL_VERSION);
    return 0;
  }
  g_printerr("doppeld: there is no verb \"%s\"\n\n", verb);
  print_usage(stderr);
  return 2;
}

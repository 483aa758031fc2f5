/* doppel: everything that the device's owner types. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "profiler/observe.h"

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
    {"jobs", cmd_jobs, "List the background jobs of a clone"},
    {"logs", cmd_logs, "Print what a background job has written"},
    {"wait", cmd_wait, "Wait until background jobs are over"},
    {"kill", cmd_kill, "End background jobs"},
    {"checkpoints", cmd_checkpoints, "List the programs of which a clone keeps checkpoints"},
    {"resume", cmd_resume, "Go on with a program from its newest checkpoint"},
    {"sync", cmd_sync, "Bring a clone's copy of this device's files up to date"},
    {"agent", cmd_agent, "Keep the clones' copies current in the background"},
    {"status", cmd_status, "Tell how current the clones are, and what is waited for"},
    {"snapshots", cmd_snapshots, "List the generations of this device's files that a clone keeps"},
    {"diff", cmd_diff, "List what changed between two generations"},
    {"restore", cmd_restore, "Bring a file back as it was, or all of a lost device"},
    {"send", cmd_send, "Send files to another user"},
    {"outbox", cmd_outbox, "List what was sent, and how it stands"},
    {"inbox", cmd_inbox, "List and get what others have sent"},
    {"share", cmd_share, "Let others search in directories, and get files from them"},
    {"unshare", cmd_unshare, "Share directories no more"},
    {"shares", cmd_shares, "List what is shared"},
    {"search", cmd_search, "Search in what others share"},
    {"get", cmd_get, "Get a file that another user shares"},
    {"whois", cmd_whois, "Tell who a user is, and where their clone is"},
    {"peers", cmd_peers, "List the clones that the own one is linked with, or all that there are"},
    {"allow", cmd_allow, "Let a user use a service of the clone"},
    {"deny", cmd_deny, "Keep a user from a service of the clone"},
    {"contacts", cmd_contacts, "List whom names mean, add and forget them"},
    {"group", cmd_group, "Keep groups of users"},
    {"doc", cmd_doc, "Write documents together with others, through a server that nobody trusts"},
    {"forward", cmd_forward, "Reach a TCP port of a friend's device through both clones, or offer one"},
    {"gateway", cmd_gateway, "Connect this device's programs with the network of clones"},
    {"plan", cmd_plan, "Choose which functions of a program to off-load, by its profile"},
    {"energy", cmd_energy, "Say by which power model this device's energy is estimated, or measure it"},
    {"profile", cmd_profile, "Find out in the clone what a program does, to decide by"},
    {"rules", cmd_rules, "List and change what makes programs background jobs by itself"},
    {"unpair", cmd_unpair, "Forget a clone"},
    {"name", cmd_name, "Have a name in the network of clones"},
    {"demo", cmd_demo, "Show on this machine what takes several: the network of clones"},
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
    "  doppel run --background --clone NAME -- PROGRAM ARGUMENT...   goes on while this device is off\n"
    "  doppel run --checkpoint 60s -- PROGRAM ARGUMENT...   can be gone on with when this device is lost\n"
    "  doppel sync                                      a copy of this device's files, in the clone\n"
    "  doppel agent                                     keeps that copy current; \"doppel status\" tells "
    "how\n"
    "  doppel restore letters/plan.txt@12               a file as it was then\n"
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
    printf("  %-11s %s\n", verbs[i].name, verbs[i].description);
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
  if (profiler_observe_is_wanted(argv))
    return profiler_observe_main(argc, argv);
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

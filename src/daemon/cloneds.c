/* cloneds, the directory of users and clones (Clone2Clone section 4): the table of its verbs. */
#include <signal.h>

#include "daemon/cloneds.h"
#include "daemon/program.h"

static const ProgramVerb verbs[] = {
    {"serve", cloneds_serve, "Answer: register users' clones, and find them"},
    {"key", cloneds_key, "Print what users need to know of this directory"},
    {"list", cloneds_list, "List the users that are registered"},
    {"show", cloneds_show, "Show all that is known of one user"},
    {"peer", cloneds_peer, "Say which other directories this one keeps together with"},
    {"check", cloneds_check, "Verify every record and recompute the log"},
};

static const Program cloneds = {
    .name = "cloneds",
    .verbs = verbs,
    .count = G_N_ELEMENTS(verbs),
    .about = "The directory of a network of clones: who has which clone, and where it is. Records certify\n"
             "themselves, so a directory can withhold, but not forge; and what it shows to all is one list,\n"
             "which it signs.\n",
    .example =
        "  cloneds serve &      listens on port 3678\n"
        "  cloneds key          give what it prints to \"doppel name claim NAME --directory\" on a device\n"
        "  cloneds list         who has registered\n",
};

int
cloneds_fail(const char *verb, const GError *error)
{
  return program_fail(cloneds.name, verb, error);
}

gboolean
cloneds_parse(GOptionContext *context, int *argc, char ***argv, int words, int *status)
{
  return program_parse(cloneds.name, context, argc, argv, words, status);
}

int
main(int argc, char **argv)
{
  signal(SIGPIPE, SIG_IGN);
  return program_main(&cloneds, argc, argv);
}

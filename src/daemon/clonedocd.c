/* clonedocd, the ordering server of documents (Clone2Clone section 5): the table of its verbs. */
#include <signal.h>

#include "daemon/clonedocd.h"
#include "daemon/program.h"

static const ProgramVerb verbs[] = {
    {"serve", clonedocd_serve, "Answer: put documents' entries in order, and hand them out"},
    {"key", clonedocd_key, "Print what clients need to know of this server"},
    {"list", clonedocd_list, "List the documents"},
    {"check", clonedocd_check, "Verify every entry and recompute the histories"},
};

static const Program clonedocd = {
    .name = "clonedocd",
    .verbs = verbs,
    .count = G_N_ELEMENTS(verbs),
    .about =
        "The ordering server of shared documents. It gives each entry of a document a number and signs how\n"
        "long the history is; it can read nothing of it, and members find out whatever else it does.\n",
    .example = "  clonedocd serve &      listens on port 3679\n"
               "  clonedocd key          what it prints is all that members need to know of it\n"
               "  clonedocd list         which documents there are, by their names' hashes\n",
};

int
clonedocd_fail(const char *verb, const GError *error)
{
  return program_fail(clonedocd.name, verb, error);
}

gboolean
clonedocd_parse(GOptionContext *context, int *argc, char ***argv, int words, int *status)
{
  return program_parse(clonedocd.name, context, argc, argv, words, status);
}

int
main(int argc, char **argv)
{
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a limit of a file's size is told like a full disk */
  return program_main(&clonedocd, argc, argv);
}

/* The table of doppeld's verbs. */
#include "daemon/daemon.h"

static const ProgramVerb verbs[] = {
    {"serve", daemon_serve, "Run clones for the devices that are paired with this host"},
    {"invite", daemon_invite, "Print an invitation for one device"},
    {"clones", daemon_clones, "List the clones of this host"},
    {"base", daemon_base, "Keep contents that devices need not send: packages, directories"},
    {"revoke", daemon_revoke, "Take a clone away from its device"},
};

static const Program doppeld = {
    .name = "doppeld",
    .verbs = verbs,
    .count = G_N_ELEMENTS(verbs),
    .about = "Runs clones: sandboxes in which other people's devices, or your own, have programs executed.\n",
    .example =
        "  doppeld serve --root /srv/clone &     a clone sees the tree /srv/clone as its root\n"
        "  doppeld invite                        give what it prints to \"doppel pair\" on the device\n",
};

static DaemonSessionMain session_main;

DaemonSessionMain
daemon_session_main(void)
{
  return session_main;
}

int
daemon_fail(const char *verb, const GError *error)
{
  return program_fail(doppeld.name, verb, error);
}

gboolean
daemon_parse(GOptionContext *context, int *argc, char ***argv, int words, int *status)
{
  return program_parse(doppeld.name, context, argc, argv, words, status);
}

int
daemon_main(int argc, char **argv, DaemonSessionMain run)
{
  session_main = run;
  return program_main(&doppeld, argc, argv);
}

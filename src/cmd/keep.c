/* doppel keep: a connection to a clone that outlives a run. */
#include <stdio.h>

#include "base/error.h"
#include "cmd/cmd.h"
#include "controller/keeper.h"
#include "identity/paired.h"

static const char summary[] =
    "Keeps a connection to the clone NAME ready, so that \"doppel run --whole --clone NAME\" needs one round "
    "trip where it would\n"
    "need three. \"doppel run\" starts this by itself in the background (see its --keep); run it by hand to "
    "see why it fails.";

static const char description[] = "Examples:\n"
                                  "  doppel keep --idle 3600 desk &     for an hour after the last run\n"
                                  "  doppel keep --stop desk            end it; runs that use it go on\n";

int
cmd_keep(int argc, char **argv)
{
  gboolean stop = FALSE, inherit = FALSE;
  int idle = 120;
  const GOptionEntry options[] = {
      {"idle", 0, 0, G_OPTION_ARG_INT, &idle, "End when no run has come for so long (120)", "SECONDS"},
      {"stop", 0, 0, G_OPTION_ARG_NONE, &stop, "End the connection that is kept", NULL},
      {"inherit", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &inherit, NULL, NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("NAME");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, description);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 1, 1))
    return 2;
  if (idle < 1) {
    fprintf(stderr, "doppel keep: --idle takes a number of seconds from 1, not %d\n", idle);
    return 2;
  }
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = paired_find(argv[1], &error);
  const KeeperInherited inherited = {3, 4};
  if (clone && (stop ? keeper_stop(clone->name, &error)
                     : keeper_run(clone->name, idle, inherit ? &inherited : NULL, &error)))
    return 0;
  return cmd_fail("keep", error);
}

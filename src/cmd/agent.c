/* doppel agent: keeps the clones current. */
#include <stdio.h>

#include "agent/agent.h"
#include "agent/agent_client.h"
#include "cmd/agent_work.h"
#include "cmd/cmd.h"
#include "mirror/probe.h"

static const char summary[] =
    "Keeps the clones of this user's files current: notices what changes, waits for a good moment "
    "(doppel.conf(5) says what is one), brings the clones\nup to date, and brings home what background jobs "
    "did. It stays in the foreground, says what it does on standard error, and ends with SIGTERM or\n"
    "Ctrl-C; a synchronisation that it was in the middle of goes on the next time. What has been "
    "synchronised once (\"doppel sync\") is kept current.\nWho has a name in the network of clones (\"doppel "
    "name\") "
    "has the gateway there as long as the agent runs.";

static const char description[] =
    "One agent runs for each user; \"doppel status\" tells what it does and why it waits. SIGHUP makes it "
    "read its files again, which it does\nby itself within a minute, too.\n\n"
    "Examples:\n"
    "  doppel agent                                     here and now\n"
    "  systemctl --user enable --now doppel-agent       this user's files, from now on\n"
    "  systemctl enable --now doppel-agent              root's: all of this device\n";

static void
print_message(const char *domain, GLogLevelFlags level, const char *message, gpointer unused)
{
  fprintf(stderr, "doppel agent: %s\n", message);
}

int
cmd_agent(int argc, char **argv)
{
  g_autofree char *work = NULL;
  gboolean stop = FALSE;
  const GOptionEntry options[] = {
      {"stop", 0, 0, G_OPTION_ARG_NONE, &stop, "End the agent that runs", NULL},
      {"work", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_STRING, &work, NULL, NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new(NULL);
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, description);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 1))
    return 2;
  if (work && argc == 2)
    return agent_work(work, argv[1]);
  if (work || argc > 1) {
    fprintf(stderr, "doppel agent: there are too many arguments: it takes none. \"doppel agent --help\" "
                    "tells more.\n");
    return 2;
  }
  g_autoptr(GError) error = NULL;
  if (stop)
    return agent_client_stop(&error) ? 0 : cmd_fail("agent", error);
  g_log_set_default_handler(print_message, NULL);
  TreeWatchWays ways = (probe_has(PROBE_FANOTIFY) ? TREE_WATCH_FANOTIFY : 0) |
                       (probe_has(PROBE_INOTIFY) ? TREE_WATCH_INOTIFY : 0);
  return agent_run(ways, &error) ? 0 : cmd_fail("agent", error);
}

/* The agent: keeps a user's clones current in the background (CloneCloud section 4: periodic and
 * opportunistic synchronisation). It notices what changes in the trees (replica/tree_watch.h), what the
 * device's situation is (replicator/conditions_watch.h), asks the policies (replicator/policy.h), and lets
 * processes of its own look and synchronise: what they do is what "doppel sync" does, so that whoever asks
 * for a synchronisation gets from the agent what it knows, and the agent's own gives way to it.
 * docs/decisions/0017-agent.md. */
#pragma once

#include <glib.h>

#include "replica/tree_watch.h"

/* Runs until SIGTERM or SIGINT, then TRUE. FALSE with an error: GONE where this user's agent runs already,
 * USAGE for a mistake in the configuration. */
gboolean agent_run(TreeWatchWays ways, GError **error);

/* What a process of the agent's own is started for, as "doppel agent --work=NAME CLONE", and how it ends. */
#define AGENT_WORK_SYNC    "sync"    /* look, or synchronise: the agent's Scope says which */
#define AGENT_WORK_JOBS    "jobs"    /* bring home what jobs did */
#define AGENT_WORK_GATEWAY "gateway" /* of no clone's: the way to the network of clones */
enum { AGENT_WORK_DONE = 0, AGENT_WORK_FAILED = 1, AGENT_WORK_BUSY = 3 /* another process has the index */ };

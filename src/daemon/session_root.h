/* The root file system of a clone's session. */
#pragma once

#include "daemon/state.h"
#include "replica/generation_lease.h"

typedef struct {
  char *path;
  GenerationLease *lease; /* of what is mounted there; goes with the process */
} DaemonSessionRoot;

void daemon_session_root_clear(DaemonSessionRoot *root);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DaemonSessionRoot, daemon_session_root_clear)

/* With `given`, the directory that doppeld was started with, it is that. Otherwise it is the newest
 * generation of what the clone's device synchronised, mounted where only the calling process, in a mount
 * namespace of its own from then on, and its children see it: what is synchronised while the session lasts is
 * the next session's. Needs root. FALSE with an error, and then nothing is at the path: NOT_FOUND where
 * nothing was synchronised yet. */
gboolean daemon_session_root(const DaemonState *state, const DaemonClone *clone, const char *given,
                             DaemonSessionRoot *root, GError **error);

/* The way of programs in a clone's sandboxes to its node (c2c/node_guests.c): a socket on which streams can
 * be opened and services offered, and nothing else asked. doppeld holds it, so that who connects while a node
 * is begun anew is heard by that; docs/decisions/0031-programs-in-sandboxes.md. */
#pragma once

#include "daemon/state.h"

typedef struct DaemonPrograms DaemonPrograms;

DaemonPrograms *daemon_programs_new(void);
void daemon_programs_free(DaemonPrograms *programs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DaemonPrograms, daemon_programs_free)

/* The clone's, which listens; made where it is not there. It stays `programs`'s. -1 with an error. */
int daemon_programs_socket(DaemonPrograms *programs, const DaemonState *state, const DaemonClone *clone,
                           GError **error);

/* In a process that begins jobs, with a root that nobody else shares: puts it into `root`, that of the clone,
 * at LOCAL_CLONE_SOCKET, where a sandbox over the root shows it. `own`: the caller's mount namespace is its
 * own already. Nothing for a clone that has no part in the network, or whose host is not root. FALSE with an
 * error where the root has no place for it, or it cannot be mounted: jobs can do without. */
gboolean daemon_programs_show(const DaemonState *state, const DaemonClone *clone, const char *root,
                              gboolean own, GError **error);

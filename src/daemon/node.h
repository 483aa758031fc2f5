/* doppeld's part in the network of clones (c2c/node.h): a process for each clone that has a place there,
 * begun again when it ends, and the way of other clones' sockets and of the clone's own devices to it. */
#pragma once

#include "daemon/worker.h"

/* Forks the node's process for `clone`. NULL with an error. */
DaemonWorker *daemon_node_start(const DaemonWorkplace *place, const DaemonClone *clone, GError **error);

/* Hands a socket of another clone, whose preamble was read, to the node. Takes `fd`. */
void daemon_node_pass(const DaemonWorker *node, int fd, const LinkPreamble *preamble);

/* Whether the clone has asked for a place in the network. */
gboolean daemon_node_wanted(const DaemonState *state, const DaemonClone *clone);

/* How long to wait before the node of a clone is begun again that has ended so often, in ns. */
gint64 daemon_node_patience(guint failures);

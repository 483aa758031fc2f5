/* The clone host's server: accepts connections, reads whom they want, and hands them to processes. It holds
 * no secret and does no cryptography itself, and no peer can make it wait. */
#pragma once

#include "daemon/worker.h"

/* Listens on `listen` (NULL: everywhere) and serves until SIGTERM or SIGINT, which are blocked from then on;
 * then every worker has ended. FALSE with an error where it cannot begin. */
gboolean daemon_server_run(const DaemonWorkplace *place, const char *const *listen, GError **error);

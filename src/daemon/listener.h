/* The sockets that doppeld listens on. */
#pragma once

#include <glib.h>

#define DAEMON_PORT "3677"

/* Listens on "address:port" ("[::]:port" is every address of both families; port 0: any), MPTCP where the
 * kernel has it. Appends descriptors to `fds` (of int) and what they are bound to, in text, to `names`. */
gboolean daemon_listen(const char *address, GArray *fds, GPtrArray *names, GError **error);

/* The default: every address, port DAEMON_PORT, also where the kernel has no IPv6. */
gboolean daemon_listen_everywhere(GArray *fds, GPtrArray *names, GError **error);

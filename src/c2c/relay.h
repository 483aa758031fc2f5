/* The clone host's end of a device's gateway (c2c/gateway.h): passes the device's streams on to the clone's
 * node, and the node's to the device. */
#pragma once

#include "link/link.h"

#define RELAY_STREAMS_MAX 256u /* at a time */

/* Serves the device until its link is dead. Takes `link`, which is up. `control_fd`: where the later sockets
 * of the session come from (link/pass.h), -1: none; `node`: the path of the node's local socket. The exit
 * status of the session's process. */
int relay_serve(Link *link, int control_fd, const char *node);

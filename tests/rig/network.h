/* Two network namespaces, "device" and "host", each with one end of the link: a TUN device named `link`. */
#pragma once

#include <glib.h>

#define NETWORK_DEVICE_ADDRESS "10.77.0.1"
#define NETWORK_HOST_ADDRESS   "10.77.0.2"

typedef enum { NETWORK_DEVICE, NETWORK_HOST } NetworkSide;

typedef struct {
  int namespaces[2]; /* descriptors, by NetworkSide */
  int tuns[2];
} Network;

/* Makes both; the caller stays in its own namespace. Without privilege it first moves this process (which
 * must have one thread) into a user namespace of its own. `network` holds descriptors that the caller closes.
 */
gboolean network_make(Network *network, GError **error);

/* Moves the calling thread into a side's namespace. */
gboolean network_enter(const Network *network, NetworkSide side, GError **error);

/* Gives a side another address in place of its old one (a /24). The calling thread is moved there and back.
 */
gboolean network_set_address(const Network *network, NetworkSide side, const char *address, GError **error);

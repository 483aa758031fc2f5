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

/* A link of a star: its device has a namespace of its own, and `device_address`; the host's namespace, which
 * all share, has one TUN device for each, and on it `host_address`. Devices reach one another over the host.
 */
typedef struct {
  int space; /* the device's */
  int tuns[2];
  char device_address[16], host_address[16];
} NetworkRay;

/* Makes `count` of them (250 at most) and `host`, a descriptor of the host's namespace. The caller (who has
 * one thread, and is privileged) stays in its own, and closes all descriptors. */
gboolean network_make_star(NetworkRay *rays, guint count, int *host, GError **error);

/* Moves the calling thread into a side's namespace. */
gboolean network_enter(const Network *network, NetworkSide side, GError **error);

/* Gives a side another address in place of its old one (a /24). The calling thread is moved there and back.
 */
gboolean network_set_address(const Network *network, NetworkSide side, const char *address, GError **error);

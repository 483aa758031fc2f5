/* What a middle box does that has lost its state. */
#pragma once

#include <glib.h>

/* Makes of a segment the reset that its sender gets: `reply` has room for `length` bytes. Its length; 0 for
 * what opens a connection, is no acknowledgement, or no TCP at all. */
gsize tcp_reset_reply(const guint8 *packet, gsize length, guint8 *reply);

/* Turns an IPv4 or IPv6 TCP segment into a reset of its connection, for its receiver. The new length; other
 * packets and segments that open a connection stay as they are. */
gsize tcp_reset(guint8 *packet, gsize length);

/* Joins two connected stream sockets: what one says the other hears, both ways, with half-close. */
#pragma once

#include <glib.h>

typedef struct {
  guint64 there, back; /* bytes that b was given, and a */
} BridgeCounters;

/* Blocks until both have ended. FALSE with errno where one was lost before: the other is to be cut off then,
 * not ended. The descriptors stay the caller's; they do not block afterwards. */
gboolean bridge(int a, int b, BridgeCounters *counters);

/* Closes a socket so that a TCP peer sees a reset (tcp(7), SO_LINGER): what it had sent or heard is not all.
 */
void bridge_cut(int fd);

/* Where others find this host, judging by where it listens. */
#pragma once

#include <glib.h>

/* At most `most` of "host:port", the caller's: what it listens on, and in place of a wildcard the addresses
 * of this machine that others can use now (not loopback, not link-local; 127.0.0.1 where there is none). */
char **daemon_own_addresses(const char *const *listening, guint most);

/* A descriptor at which there is something to read when that may have changed (rtnetlink(7)), not blocking;
 * what is read says nothing else. -1 with an error. */
int daemon_own_addresses_watch(GError **error);

/* The extended attributes of a file that travel with it: user.*, POSIX ACLs, file capabilities.
 *
 * A set of them is one GBytes in a canonical form, so that two sets are equal when their bytes are: for each
 * attribute, in the order of the names, the name's length (2 bytes, big endian), the name, the value's length
 * (4 bytes, big endian), the value. NULL is the empty set. overlayfs's own marks (user.overlay.*) are never
 * part of a set. */
#pragma once

#include <glib.h>

#define REPLICA_XATTRS_MAX (128u << 10) /* bytes of one set; a file with more cannot be replicated */

/* Reads the set of what `proc` names (a path of procfs, see replica_path_proc(); the last component is not
 * followed). 0, or an errno: E2BIG for too much. A file system without attributes has the empty set. */
int replica_xattrs_read(const char *proc, GBytes **set);

/* Makes the set of what `proc` names equal to `set`: adds, changes, removes. 0, or an errno. */
int replica_xattrs_write(const char *proc, GBytes *set);

/* A set from outside: NULL where these bytes are not the canonical form of one (and for none: `length` 0 with
 * *valid TRUE). */
GBytes *replica_xattrs_parse(const guint8 *data, gsize length, gboolean *valid);

gboolean replica_xattrs_equal(GBytes *a, GBytes *b);

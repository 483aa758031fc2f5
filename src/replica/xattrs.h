/* The extended attributes of a file that travel with it: user.*, POSIX ACLs, file capabilities; or all that
 * there are, trusted.* and security.* as well, for whoever keeps a file rather than lets programs use it.
 *
 * A set of them is one GBytes in a canonical form, so that two sets are equal when their bytes are: for each
 * attribute, in the order of the names, the name's length (2 bytes, big endian), the name, the value's length
 * (4 bytes, big endian), the value. NULL is the empty set. The marks of overlayfs (user.overlay.*,
 * trusted.overlay.*) and of the clone's store (user.doppel.*) are never part of a set. */
#pragma once

#include <glib.h>

#define REPLICA_XATTRS_MAX (128u << 10) /* bytes of one set; a file with more cannot be replicated */

/* Reads the set of what `proc` names (a path of procfs, see replica_path_proc(); the last component is not
 * followed). 0, or an errno: E2BIG for too much. A file system without attributes has the empty set. */
int replica_xattrs_read(const char *proc, gboolean all, GBytes **set);

/* Makes the set of what `proc` names equal to `set`: adds, changes, removes; of `all`, what is refused does
 * not keep the others from being set. 0, or the first errno. */
int replica_xattrs_write(const char *proc, gboolean all, GBytes *set);

/* A set from outside: NULL where these bytes are not the canonical form of one (and for none: `length` 0 with
 * *valid TRUE). */
GBytes *replica_xattrs_parse(const guint8 *data, gsize length, gboolean all, gboolean *valid);

gboolean replica_xattrs_equal(GBytes *a, GBytes *b);

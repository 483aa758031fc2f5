/* What the verbs about a clone's files have in common: reaching the clone, and the tree that it has a copy
 * of. */
#pragma once

#include "identity/paired.h"
#include "link/link.h"

/* Where this device keeps what it knows of the clone's files (replicator/clone_index.h). */
char *clone_store_directory(const char *clone);

/* A link to the clone, on its way (link_dial_later()): what is asked over it first fails where it does not
 * come up. NULL with an error. */
Link *clone_store_dial(const PairedClone *clone, GError **error);

/* The same, which compresses what is sent as hard as zstd's level says; 0: as fast as it goes. */
Link *clone_store_dial_packing(const PairedClone *clone, int compression, GError **error);

/* The same for the clone that `name` says (NULL: the only one there is), with the root that is replicated to
 * it. */
Link *clone_store_reach(const char *name, char **root, GError **error);

/* A path that was typed, as a path below `root` ("" is the root itself). Links on the way to it are followed,
 * the last component is not; what is not there (any more) is taken as it is written. NULL with USAGE where it
 * is elsewhere. */
char *clone_store_path(const char *root, const char *word, GError **error);

/* A number of bytes for people, with decimal units. */
char *clone_store_size(guint64 bytes);

/* A moment for people, or for programs ("2026-11-22T12:00:00Z"). */
char *clone_store_time(gint64 time_ns, gboolean machine);

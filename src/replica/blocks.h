/* The content of a file as blocks of 4 KiB: which of them differ from what they were.
 *
 * What a file was is known either from another file (the layer below) or from digests that were kept. Digests
 * are XXH3-128 under a secret of this process: they recognise a file's own changes, quickly, and never leave
 * the process. */
#pragma once

#include <glib.h>

#define REPLICA_BLOCK 4096 /* bytes */

typedef struct ReplicaBlocks
    ReplicaBlocks; /* the digests of one file's content; reference counted, immutable */
ReplicaBlocks *replica_blocks_ref(ReplicaBlocks *blocks);
void replica_blocks_unref(ReplicaBlocks *blocks);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaBlocks, replica_blocks_unref)

typedef struct {
  guint64 offset, length; /* bytes; whole blocks but for a file's last */
  gboolean zeros;         /* nothing but zeros: a hole will do */
} ReplicaRange;

/* What a content is compared with. At most one of the two; neither: with nothing, all of it is new. */
typedef struct {
  int fd;                      /* a file to compare with, -1 for none */
  guint64 size;                /* its size */
  const ReplicaBlocks *blocks; /* digests to compare with, or NULL */
} ReplicaBasis;

/* Reads all of `fd`. Appends to `ranges` (of ReplicaRange, ascending, adjacent ones merged; NULL: not wanted)
 * what must be written over the basis, once that is cut or extended to the same size, to make it equal.
 * Returns the digests of what was read, its size in *size; NULL with errno. The offsets of the descriptors
 * stay. */
ReplicaBlocks *replica_blocks_read(int fd, const ReplicaBasis *basis, GArray *ranges, guint64 *size);

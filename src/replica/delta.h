/* What a block did to the file tree: an ordered list of changes, one for each path (the file side of
 * CloneCloud section 3's state transfer). Captured from a session's overlay (capture.c), sent as messages
 * (pack.h), applied on the device (apply.h).
 *
 * The inodes are kept apart as the programs see them: a file that was written in place keeps its inode on the
 * device, so that descriptors and hard links there see the change; a file that was renamed is renamed; only
 * what is new is new. Directories are known by their path alone. */
#pragma once

#include <glib.h>

#include "replica/baseline.h"

typedef enum {
  REPLICA_REMOVE, /* the path is gone, and so is its inode unless another entry moves it */
  REPLICA_MAKE,   /* a new inode is at the path; a file's content follows whole */
  REPLICA_KEEP,   /* the same inode, changed in place: what `set` says, content as ranges */
  REPLICA_MOVE, /* the inode that was at `from`, and nowhere else now but where LINKs say; changed in place as
                   with KEEP */
  REPLICA_LINK, /* one more name of the inode that is at `from` once the delta is applied */
} ReplicaChange;

typedef struct {
  ReplicaChange change;
  char *path;          /* "" for the root (KEEP only) */
  char *from;          /* of MOVE and LINK, else NULL */
  ReplicaFacts before; /* what the block found at `path`; REPLICA_ABSENT for nothing */
  ReplicaFacts source; /* of MOVE: what it found at `from` */
  ReplicaFacts after;  /* what `path` is to be; REPLICA_ABSENT for REMOVE */
  guint set;           /* of REPLICA_FACT_*: what of `after` to set; SIZE is the content */
  GArray *ranges;      /* of ReplicaRange: the content that travels; NULL on the receiving side */
} ReplicaEntry;
void replica_entry_free(ReplicaEntry *entry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaEntry, replica_entry_free)

typedef struct {
  GPtrArray *entries; /* of ReplicaEntry, in ascending order of the paths' bytes: a parent comes before what
                         is in it */
  ReplicaNode *after; /* the picture in which it was captured */
} ReplicaDelta;
void replica_delta_free(ReplicaDelta *delta);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaDelta, replica_delta_free)

/* What the caller knows about the block, and the layer cannot tell. Both are sets of paths (strings), or
 * NULL. */
typedef struct {
  /* Content may have changed without the times having done so: files that some process has mapped shared and
   * writable. */
  GHashTable *suspects;
  /* All names that the block gave by rename(2), files' and directories'. NULL: unknown. An overlay that was
   * mounted without privileges keeps no better record of what a changed file was before; without this, blocks
   * that both change and remove files are often refused. */
  GHashTable *renamed;
  /* Where inodes of the upper layer (replica_inode_read()) were copied up from: the path of each below.
   * Better than any guess; NULL or without some of them: what the marks say. */
  GHashTable *origins;
  /* Nobody has watched the programs, and their inodes matter to nobody: what cannot be told to be the inode
   * that was at its path is a new one, and nothing is refused. Of files with several hard links only the
   * names that were written through change. Sockets and device nodes, which cannot travel, are left out:
   * their paths are appended to `left_out` (of strings). */
  gboolean by_path;
  GPtrArray *left_out;
} ReplicaCaptureOptions;

/* What the block changed in `layer` since `baseline`. The mirror stands still meanwhile and until the delta
 * is packed. `options` may be NULL. NULL with an error; UNSUPPORTED where the layer cannot tell what the
 * block meant (it changed or renamed a file that has several hard links below; see `renamed`), or the device
 * cannot do it: the block is to be aborted. */
ReplicaDelta *replica_capture(const ReplicaLayer *layer, const ReplicaBaseline *baseline,
                              const ReplicaCaptureOptions *options, GError **error);

/* The device has applied the delta: what it captured is the new baseline. */
void replica_delta_commit(ReplicaDelta *delta, ReplicaBaseline *baseline);

/* Bytes of content that the delta carries. */
guint64 replica_delta_bytes(const ReplicaDelta *delta);

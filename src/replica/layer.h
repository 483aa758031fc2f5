/* A session's overlay: the merged view that the mirror sees, the upper layer that takes its changes, the
 * layer below. It is to be mounted with redirect_dir=off, metacopy=off and index=off.
 *
 * The marks in the upper layer are those of the kernel's Documentation/filesystems/overlayfs.rst: whiteouts,
 * opaque directories, and `origin`, the file handle of the lower inode that was copied up. */
#pragma once

#include <glib.h>

#include "replica/facts.h"

typedef struct {
  int merged;         /* the mount point, -1 where a caller has none: then replica_fix() cannot be used */
  int upper, lower;   /* the directories; several lower layers: a read-only mount that shows them merged */
  gboolean userxattr; /* mounted with -o userxattr: marks are user.overlay.*, else trusted.overlay.* */
} ReplicaLayer;

/* To be called before the overlay is mounted: gives `upper`, empty yet, the metadata of `lower`, since the
 * merged view's root shows the upper one's. */
gboolean replica_layer_prepare(int upper, int lower, GError **error);

/* Takes copies of the descriptors. Checks that `upper` keeps the marks' kind of extended attribute: without
 * them a changed file cannot be told from a new one, and the layer is refused (UNSUPPORTED). */
ReplicaLayer *replica_layer_new(int merged, int upper, int lower, gboolean userxattr, GError **error);
void replica_layer_free(ReplicaLayer *layer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaLayer, replica_layer_free)

/* What the upper layer has at one name. */
typedef struct {
  ReplicaFacts facts;
  gboolean whiteout;   /* nothing is there, whatever is below */
  gboolean opaque;     /* a directory: what is below does not show */
  gboolean xwhiteouts; /* a directory: its empty files with a mark are whiteouts too */
  GBytes *inode;       /* identifies the upper inode for as long as the layer lives */
  GBytes *origin; /* identifies the lower inode that it was copied from; empty: some inode, unknown which;
                     NULL: none */
} ReplicaMark;
void replica_mark_clear(ReplicaMark *mark);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ReplicaMark, replica_mark_clear)

/* Reads it: `name` in `directory`, which lies in the upper layer. `xwhiteouts` is that of the directory. 0,
 * or an errno; EOPNOTSUPP for a layer with metacopy or redirect_dir, which is not understood. */
int replica_mark_read(const ReplicaLayer *layer, int directory, const char *name, gboolean xwhiteouts,
                      ReplicaMark *mark);

/* What identifies the inode of `name` in `directory`, in the same form as `inode` and `origin`. NULL with
 * errno. */
GBytes *replica_inode_read(int directory, const char *name);

/* A picture of a session's upper layer: how it was when device and clone last agreed.
 *
 * What the block did is what differs between two pictures over the same lower layer, so that neither what was
 * pulled from the device nor what an earlier block has already shipped counts as a change
 * (docs/decisions/0003-file-delta.md). */
#pragma once

#include <glib.h>

#include "replica/blocks.h"
#include "replica/layer.h"

/* What the upper layer had at one path. Reference counted; nodes that did not change are shared by pictures.
 */
typedef struct {
  gint refs;
  ReplicaMark mark;
  gboolean through; /* a directory that a fix passed through after the block had copied it up: its own facts
                       are the lower ones */
  gint64 read_ns;   /* replica_now_ns() before it was read */
  ReplicaBlocks *blocks; /* of files, once read: the content */
  GHashTable *children;  /* of directories: name to ReplicaNode */
} ReplicaNode;

ReplicaNode *replica_node_ref(ReplicaNode *node);
void replica_node_unref(ReplicaNode *node);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaNode, replica_node_unref)

/* NULL where there is none; also for a NULL node. */
ReplicaNode *replica_node_child(const ReplicaNode *node, const char *name);

typedef struct {
  ReplicaNode *root;
} ReplicaBaseline;

/* The baseline of a session whose upper layer is as `layer` has it now: nothing in it is a change of a block.
 */
ReplicaBaseline *replica_baseline_new(const ReplicaLayer *layer, GError **error);
void replica_baseline_free(ReplicaBaseline *baseline);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ReplicaBaseline, replica_baseline_free)

/* Reads the whole upper layer. Nodes whose inode is as in `last` (or NULL) are taken from there, unless they
 * are racy or their path is in `suspects` (a set of strings, or NULL). NULL with an error. */
ReplicaNode *replica_picture_read(const ReplicaLayer *layer, const ReplicaNode *last, GHashTable *suspects,
                                  GError **error);

/* How much of the way to `path` exists in the upper layer: components from the root, all of them if it is
 * there itself. -1 with errno. */
int replica_baseline_depth(const ReplicaLayer *layer, const char *path);

/* Declares what is at `path` now to be agreed upon with the device. `depth` is what replica_baseline_depth()
 * said before it was changed: parents below it came with the change and are agreed upon too. */
gboolean replica_baseline_note(ReplicaBaseline *baseline, const ReplicaLayer *layer, const char *path,
                               int depth, GError **error);

/* Whether what is at `path`, changed or not, is the inode that was there when both last agreed. */
gboolean replica_baseline_same_inode(const ReplicaBaseline *baseline, const ReplicaLayer *layer,
                                     const char *path);

/* Whether the block changed what is at `path`, or replaced a directory on the way: then the device cannot be
 * asked about it, the clone's own state is the truth. An error counts as touched, with errno. */
gboolean replica_baseline_touched(const ReplicaBaseline *baseline, const ReplicaLayer *layer,
                                  const char *path);

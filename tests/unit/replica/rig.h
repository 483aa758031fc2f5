/* A device, and a clone of it with an overlay, on a file system of their own; and a comparison of trees that
 * shares no code with what is tested. */
#pragma once

#include <glib.h>

#include "replica/apply.h"
#include "replica/fix.h"
#include "replica/pack.h"
#include "replica/pull.h"

typedef struct {
  char *base;   /* everything is in here */
  char *device; /* the device's tree */
  char *merged; /* what the mirror sees */
  int device_fd, merged_fd, upper_fd, lower_fd, state_fd;
  ReplicaLayer *layer;
  ReplicaBaseline *baseline;
  ReplicaSeen *seen;
  GHashTable *renamed; /* names given in the merged view by rig_rename() since the last commit */
  GRand *rand;
  guint32 seed;
  gboolean linked; /* the lower tree has hard links */
} Rig;

/* Enters a mount namespace (and, with --userxattr or without root, a user namespace). NULL, or why that is
 * impossible here. */
const char *rig_enter(int *argc, char ***argv);

/* Whether the merged view's inode numbers say what is one inode: within a user namespace overlayfs cannot
 * always tell. */
gboolean rig_numbers_inodes(void);

/* The number of seeds that a model test runs, and the first: DOPPEL_TEST_SEEDS and DOPPEL_TEST_SEED, or
 * these; a third of the number under sanitizers. */
guint rig_seeds(guint otherwise);
guint32 rig_first_seed(void);

/* `fill` makes the lower tree; the device's is a copy of it. `device_size`: bytes of a file system of its own
 * for the device, 0 for none. NULL (test skipped) where the mount is refused. */
typedef void (*RigFill)(Rig *rig, const char *root);
Rig *rig_new(guint32 seed, RigFill fill, guint64 device_size);
void rig_free(Rig *rig);

/* Captures, packs, unpacks, applies, and commits the baseline. FALSE with an error. */
gboolean rig_commit(Rig *rig, GPtrArray *conflicts, GError **error);

/* Captures, and returns the messages (of GBytes). */
GPtrArray *rig_messages(Rig *rig, ReplicaDelta **delta);

/* Hands out the GBytes of a GPtrArray, one after the other. */
typedef struct {
  GPtrArray *messages;
  guint next;
} RigSource;
GBytes *rig_source_next(gpointer source, GError **error);

/* Asks the device and fixes or pulls `path`. */
void rig_refresh(Rig *rig, const char *path);

/* An empty directory, with a memory file system of its own (unless DOPPEL_TEST_ON_DISK is set); and its end.
 */
char *rig_make_base(void);
void rig_remove_base(const char *base);

/* Paths below `root`, sorted (of strings). */
GPtrArray *rig_list(const char *root);

/* One line for each path: everything that must be equal. Without `links`: no hard link groups. */
char *rig_describe(const char *root, gboolean links);

/* Fails the test with the first differing line, unless the trees are equal. */
void rig_assert_same(Rig *rig, const char *a, const char *b, gboolean links);

/* Renames one full path to another. */
gboolean rig_rename(Rig *rig, const char *from, const char *to);

void rig_write(const char *root, const char *path, const char *text);
char *rig_read(const char *root, const char *path);
char *rig_path(const char *root, const char *path);
guint64 rig_inode(const char *root, const char *path);
void rig_run(const char *first, ...) G_GNUC_NULL_TERMINATED; /* a program, which must succeed */

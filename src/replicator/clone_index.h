/* What a device keeps of one clone, to know without asking what the clone's copy is like: the index of its
 * tree (replica/tree_index.h) and how far the two agreed last. A directory with an index, a lock, and the
 * root that is replicated. */
#pragma once

#include "base/io.h"
#include "replica/tree_index.h"

#define CLONE_INDEX_IDENTITY 16

typedef struct {
  guint8 store[CLONE_INDEX_IDENTITY]; /* the clone's store; zeros: none yet */
  guint64 head;                       /* the generation that the index is of; 0: none */
  gint64 head_time_ns;                /* since 1970, when it was made */
  guint64 attempting;                 /* the generation that is being told; 0: none */
  guint8 attempt[CLONE_INDEX_IDENTITY];
  gint64 commit_time_ns; /* of the COMMIT that was told; 0: none was */
  guint64 commit_nodes;
  guint64 heard; /* mismatches of this attempt that the index knows of */
} CloneIndexState;

typedef struct {
  char *directory;
  Fd lock;
  TreeIndex *tree;
  CloneIndexState state; /* written down by clone_index_save() */
} CloneIndex;

/* Where this device keeps the index of the paired clone of that name. */
char *clone_index_directory(const char *clone);

/* Opens or makes it. An index that is damaged, or another version's, is made anew, empty, with the state of
 * one that knows nothing; one that cannot be opened for another reason stays as it is. NULL with an error:
 * GONE where another process has it. */
CloneIndex *clone_index_open(const char *directory, GError **error);
/* Opens it for looking only, though another process may be changing it: what it says is as of now, roughly.
 * Nothing of it can be changed. NULL with an error: NOT_FOUND where there is none yet. */
CloneIndex *clone_index_look(const char *directory, GError **error);
void clone_index_free(CloneIndex *index);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CloneIndex, clone_index_free)

/* Forgets everything: the index is empty, the state zeros. */
gboolean clone_index_reset(CloneIndex *index, GError **error);

/* Writes state and tree down. */
gboolean clone_index_save(CloneIndex *index, GError **error);

/* The root that is replicated to the clone whose directory this is: an absolute path; "/" where none was set.
 */
char *clone_index_root(const char *directory);
gboolean clone_index_set_root(const char *directory, const char *root, GError **error);

/* The generation that the device is being restored to, from a clone (replicator/device_restore.h), and the
 * tree that this is to be in the end (NULL: does not matter); 0: it is not. As long as it is, that tree lacks
 * most of what the clone has, and must not be synchronised. */
guint64 clone_index_restoring(const char *directory, char **root);
gboolean clone_index_set_restoring(const char *directory, guint64 generation, const char *root,
                                   GError **error);

/* Whether the tree may be synchronised. FALSE with USAGE while it is being restored. */
gboolean clone_index_is_complete(const CloneIndex *index, GError **error);

/* The top layer of a stack, written without mounting it: what is done here, overlayfs shows as done to the
 * tree (generation_stack.h has the rules).
 *
 * Why not through a mounted overlay: it needs neither root nor namespaces; what moves, or gets a further
 * name, is linked from the layer below instead of being copied (overlayfs refuses to rename such a directory,
 * EXDEV, and copies such a file); and an inode that has several names below keeps them.
 *
 * An inode that has another name, in the tree or in another layer, is never changed: it is copied first. So
 * what is set at one name parts it from the others, wherever they are. A directory's times change only where
 * they are set: not by what is made, replaced or removed in it, since the device's did not change by every
 * such thing (a file written in place, a name of a hard link). Nobody else may write to the layer meanwhile,
 * nor is it crash-safe: its owner makes it anew.
 *
 * Paths count from the layers' own root. Functions return 0 or an errno; ENOENT and ENOTDIR say that the tree
 * is not what the caller believes. After one the layer may hold half of what was to be done. */
#pragma once

#include "replica/generation_facts.h"
#include "replica/generation_stack.h"

typedef struct {
  GenerationStack *stack; /* the layer is its first */
  int base;               /* the layer; borrowed from the stack */
  GenerationLosses losses;
  guint64 nodes; /* in the tree, by what is done here; whoever makes the writer sets where it begins */
  char *near_path;
  GenerationDirectory near; /* the directory opened last: steps come in the order of paths */
} GenerationUpper;

/* Writes to the first layer of `stack`, which becomes the writer's. */
GenerationUpper *generation_upper_new(GenerationStack *stack);
void generation_upper_free(GenerationUpper *upper);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationUpper, generation_upper_free)

/* Opens the directory that holds `path` and looks at what is there, which may be nothing. With `make` the
 * directory has a part in the layer after that. The directory is the writer's, until the next call. */
int generation_upper_look(GenerationUpper *upper, const char *path, gboolean make,
                          const GenerationDirectory **directory, const char **name, GenerationEntry *entry);

/* Nothing is at `path` any more, nor in it. What already is not there is no error. */
int generation_upper_remove(GenerationUpper *upper, const char *path);

/* What is at `from` is at `to`; what was there is gone. */
int generation_upper_move(GenerationUpper *upper, const char *from, const char *to);

/* `path` is a further name of the inode at `to`; EISDIR where that is a directory. */
int generation_upper_link(GenerationUpper *upper, const char *path, const char *to);

/* Makes a directory at `path`, or takes the one that is there, and sets its metadata. */
int generation_upper_directory(GenerationUpper *upper, const char *path, const ReplicaFacts *facts);

/* Makes the node that is no directory, or takes the same one that is there, and sets its metadata; it is an
 * inode of one name then. A regular file must be there: ENOENT otherwise. */
int generation_upper_node(GenerationUpper *upper, const char *path, const ReplicaFacts *facts);

/* The names, in the layer's root, of the file that a content is written to, and of what is made before it is
 * put in its place. */
#define GENERATION_CONTENT "content"
#define GENERATION_FRESH   "fresh"

/* Gives that file the facts' metadata, and puts it at `path`. */
int generation_upper_content(GenerationUpper *upper, const char *path, const ReplicaFacts *facts);

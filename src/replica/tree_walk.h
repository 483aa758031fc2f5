/* Ways through the device's own tree, of any length, that never follow a symbolic link. */
#pragma once

#include "replica/facts.h"

#define TREE_DEPTH_MAX 4000u /* of directories in each other: a bound on the stack of whoever goes down */

/* A name in a directory, with what lstat(2) says of it. */
typedef struct {
  char *name;
  struct stat status;
} TreeEntry;

/* All entries of the open directory, in the order of their names' bytes: an array of TreeEntry. Names that
 * vanish meanwhile are left out. NULL with errno. */
GArray *tree_walk_list(int directory);

/* Opens the directory `path` ("" is the root itself) for looking up names and, with `list`, for listing them.
 * Mounts below the root are crossed. A descriptor, or -1 with errno. */
int tree_walk_open(int root, const char *path, gboolean list);

/* The directory that was asked for last, kept open: neighbours mostly come one after the other. */
typedef struct {
  int root; /* not its own */
  char *path;
  int fd;
} TreeNear;

void tree_near_clear(TreeNear *near);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TreeNear, tree_near_clear)

/* The directory that holds `path`, as a descriptor of `near`; *name points at the last component ("." for the
 * root). -1 with errno. */
int tree_near_parent(TreeNear *near, const char *path, const char **name);

/* What is at `path`, without the content. 0, or an errno. */
int tree_near_facts(TreeNear *near, const char *path, ReplicaFacts *facts);

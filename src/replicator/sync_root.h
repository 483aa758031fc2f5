/* The directory that a tree begins with, and that a file system may have to be mounted at. */
#pragma once

#include "replicator/clone_index.h"

/* Whether `root` is empty and, by device and inode, another directory than the index has it: a mount point,
 * most likely, at which nothing is mounted. FALSE where it cannot be read, or is not in the index yet. */
gboolean sync_root_is_bare(CloneIndex *index, const char *root);

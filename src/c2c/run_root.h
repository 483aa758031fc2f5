/* What somebody else's program sees of a clone: the directories that programs and libraries are in, of the
 * newest generation, and nothing of its owner's. */
#pragma once

#include "replica/generation_lease.h"

typedef struct {
  char *path;
  GenerationLease *lease; /* of what is mounted there; NULL: nothing was synchronised */
} RunRoot;
void run_root_clear(RunRoot *root);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RunRoot, run_root_clear)

/* Mounts it below `directory`, in a mount namespace that is the calling process's own from then on. `replica`
 * is the store of the clone's generations. Needs root. FALSE with an error. */
gboolean run_root_make(const char *directory, const char *replica, RunRoot *root, GError **error);

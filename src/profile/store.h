/* What programs were seen to do in all their runs, on disk (SQLite).
 *
 * A profile belongs to the program's contents, known by its build-id (profile/object.h), and is good while
 * the files that it has functions of are what they were. It adds up over runs and inputs; `runs` says how
 * many.
 *
 * Only speed depends on it, so nothing here is an error for the user: a store that is damaged, or of another
 * version, is made anew, and one that cannot be written remembers nothing. */
#pragma once

#include "profile/graph.h"
#include "profile/observed.h"

typedef struct ProfileStore ProfileStore;

/* Opens or makes the store at `path`. Never NULL. */
ProfileStore *profile_store_open(const char *path);
void profile_store_close(ProfileStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProfileStore, profile_store_close)

/* Adds a graph to what is known of the program, or puts it in its place where that is stale. Of many programs
 * those that were not used for longest are forgotten. Whether it is kept. */
gboolean profile_store_add(ProfileStore *store, const ProfileObject *program, const ProfileGraph *graph);

/* What is known of the program. NULL: nothing, or it is stale, and then *changed is the path of a file that
 * has changed since, to be freed; else NULL. */
ProfileGraph *profile_store_find(ProfileStore *store, const ProfileObject *program, char **changed);

/* The same for what the engine observed of the program's blocks, which lies beside the graph, may come before
 * it, and is stale when it is. */
gboolean profile_store_observe(ProfileStore *store, const ProfileObject *program,
                               const ProfileObserved *observed);
ProfileObserved *profile_store_find_observed(ProfileStore *store, const ProfileObject *program,
                                             char **changed);

/* doppel profile: which functions are worth looking at, and what the engine saw of them. */
#pragma once

#include "cmd/profile.h"
#include "profile/observed.h"
#include "profiler/seen.h"

/* The functions of a program whose calls are worth a look, at most `most`, of guint: those that cost most,
 * in blocks that are neither too many to be tried nor too small to be worth their journey. */
GArray *profile_observe_candidates(const ProfileGraph *graph, guint most);

/* Has the clone look at them. Of ProfilerSeen, as far as it came; FALSE with an error where not all. */
gboolean profile_observe(ProfilerClient *client, const ProfileGraph *graph, const GArray *candidates,
                         guint seconds, const ProfilerWatcher *watcher, GPtrArray **seen, GError **error);

/* What is kept of them beside the profile. */
ProfileObserved *profile_observe_sums(const ProfileGraph *graph, const GPtrArray *seen);

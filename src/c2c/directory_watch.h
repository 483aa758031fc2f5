/* Finding out a directory that shows different lists to different people: heads of one directory have to be
 * of one log. Each head that is seen, in answers or at peers, is held against those that are known; two that
 * contradict each other are kept as evidence, which everybody can verify. */
#pragma once

#include "c2c/directory_cache.h"
#include "c2c/directory_call.h"

/* A head, verified. What can be told from heads alone is told at once: TRUE, also where it became evidence.
 * The first head of a directory is what later ones have to extend. */
gboolean directory_watch_saw(DirectoryCache *cache, const DirectoryHead *head, GError **error);

/* Has the directory extend the lower to the higher of the heads that are known (CHANGES, recomputed). FALSE
 * with an error where it does not answer; a contradiction is evidence, and TRUE. */
gboolean directory_watch_ask(DirectoryCache *cache, DirectoryCall *call, const IdentityPublic *directory,
                             int timeout_ms, GError **error);

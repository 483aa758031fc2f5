/* One synchronisation, whoever asks for it: tried again where the index turned out to be wrong, and
 * remembered (replicator/sync_memory.h). */
#pragma once

#include "identity/paired.h"
#include "replicator/sync.h"

/* `again` (may be NULL) is called when it is tried again, with the reason. `result` need not be initialised,
 * and is set in any case. */
gboolean sync_once(const PairedClone *clone, CloneIndex *index, const ReplicatorOptions *options,
                   int compression, void (*again)(const GError *why, gpointer data), gpointer data,
                   ReplicatorResult *result, GError **error);

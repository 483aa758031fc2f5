/* Before a synchronisation: what the device's index says of the clone's copy, and what the clone says. */
#pragma once

#include "replicator/clone_index.h"
#include "replicator/conversation.h"

/* Makes the index agree with the clone that said `welcome`: it goes on after the last durable step of their
 * attempt, goes back to where both were, or, where neither is possible, is built anew from what the clone
 * has. *durable is the last durable step, 0 without an attempt to go on with. FALSE with an error. */
gboolean replicator_agree(Link *link, CloneIndex *index, const Doppel__Sync__Welcome *welcome,
                          guint64 *durable, GError **error);

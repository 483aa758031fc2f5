/* Tables of those who ask, by LinkCallerSource: an address's, or what stands for a key. */
#pragma once

#include "identity/key.h"
#include "link/callers.h"

/* For g_hash_table_new(). Keyed anew in each process (SipHash), since strangers choose what is hashed: nobody
 * can bring many of theirs into one chain. */
guint link_caller_source_hash(gconstpointer source);
gboolean link_caller_source_is_same(gconstpointer a, gconstpointer b);

/* What stands for a key that was proved. */
LinkCallerSource link_caller_source_of_key(const IdentityPublic *key);

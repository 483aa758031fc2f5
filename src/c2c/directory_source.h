/* Tables of those who ask a directory, by LinkCallerSource: an address's, or what stands for a key. */
#pragma once

#include "link/callers.h"

/* For g_hash_table_new(). Keyed anew in each process (SipHash), since strangers choose what is hashed: nobody
 * can bring many of theirs into one chain. */
guint directory_source_hash(gconstpointer source);
gboolean directory_source_equal(gconstpointer a, gconstpointer b);

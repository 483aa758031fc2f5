/* What a device remembers of its synchronisations with one clone, beside the index: for deciding about the
 * next one, and for telling about the last. A small text file (GKeyFile) in the index's directory; one that
 * is missing or damaged says nothing. */
#pragma once

#include "replicator/sync.h"

typedef struct {
  guint64 generation; /* the newest; 0: none */
  gint64 time;        /* when it was made: s since 1970 */
  guint64 nodes, bytes, sent;
  double seconds; /* it took */

  guint failures; /* attempts that failed since, one after the other */
  gint64 last_failure;
  char *failure; /* what the last one said; NULL: none failed */

  guint64 big_entries, big_bytes; /* that were put off */
  gint64 big_since;               /* since when the first of them waits; 0: none does */
  gint64 walked;                  /* when all of the tree was last looked at; 0: never */
} SyncMemory;

void sync_memory_clear(SyncMemory *memory);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SyncMemory, sync_memory_clear)

/* Fills `memory`, which need not be initialised. */
void sync_memory_load(SyncMemory *memory, const char *directory);

/* FALSE with an error where the disk does not let it: nothing depends on it but when the next one is. */
gboolean sync_memory_save(const SyncMemory *memory, const char *directory, GError **error);

/* What a synchronisation came to; `error` is NULL where it succeeded. */
void sync_memory_note(SyncMemory *memory, const ReplicatorResult *result, const GError *error);

#include "cmd/sync_once.h"

#include <stdio.h>

#include "base/error.h"
#include "base/heap.h"
#include "cmd/clone_store.h"
#include "replicator/sync_memory.h"

static gboolean
attempt(const PairedClone *clone, CloneIndex *index, const ReplicatorOptions *options, int compression,
        ReplicatorResult *result, GError **error)
{
  *result = (ReplicatorResult){0};
  g_autoptr(Link) link = clone_store_dial_packing(clone, compression, error);
  return link && replicator_sync(link, index, options, result, error);
}

gboolean
sync_once(const PairedClone *clone, CloneIndex *index, const ReplicatorOptions *options, int compression,
          void (*again)(const GError *why, gpointer data), gpointer data, ReplicatorResult *result,
          GError **error)
{
  g_autoptr(GError) problem = NULL, unsaved = NULL;
  g_auto(SyncMemory) memory = {0};
  heap_keep_freed();
  gboolean good = attempt(clone, index, options, compression, result, &problem);
  if (g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH)) {
    if (again)
      again(problem, data);
    g_clear_error(&problem);
    replicator_result_clear(result);
    good = attempt(clone, index, options, compression, result, &problem);
  }
  sync_memory_load(&memory, index->directory);
  sync_memory_note(&memory, result, good ? NULL : problem);
  if (!sync_memory_save(&memory, index->directory, &unsaved))
    fprintf(stderr, "doppel: what came of the synchronisation %s\n", unsaved->message);
  if (!good)
    g_propagate_error(error, g_steal_pointer(&problem));
  return good;
}

#include "replica/delta.h"

void
replica_entry_free(ReplicaEntry *entry)
{
  g_free(entry->path);
  g_free(entry->from);
  replica_facts_clear(&entry->before);
  replica_facts_clear(&entry->source);
  replica_facts_clear(&entry->after);
  g_clear_pointer(&entry->ranges, g_array_unref);
  g_free(entry);
}

void
replica_delta_free(ReplicaDelta *delta)
{
  g_clear_pointer(&delta->entries, g_ptr_array_unref);
  g_clear_pointer(&delta->after, replica_node_unref);
  g_free(delta);
}

void
replica_delta_commit(ReplicaDelta *delta, ReplicaBaseline *baseline)
{
  replica_node_unref(baseline->root);
  baseline->root = replica_node_ref(delta->after);
}

guint64
replica_delta_bytes(const ReplicaDelta *delta)
{
  guint64 bytes = 0;
  for (guint i = 0; i < delta->entries->len; i++) {
    const ReplicaEntry *entry = delta->entries->pdata[i];
    for (guint r = 0; entry->ranges && r < entry->ranges->len; r++) {
      const ReplicaRange *range = &g_array_index(entry->ranges, ReplicaRange, r);
      bytes += range->zeros ? 0 : range->length;
    }
  }
  return bytes;
}

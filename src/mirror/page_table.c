#include "mirror/page_table.h"

#include "mirror/copies.h"

GHashTable *
mirror_page_table_new(void)
{
  return g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
}

void
mirror_page_table_drop(GHashTable *table, guint64 start, guint64 end)
{
  if ((end - start) / COPIES_PAGE < g_hash_table_size(table)) {
    for (guint64 at = start; at < end; at += COPIES_PAGE)
      g_hash_table_remove(table, &at);
    return;
  }
  GHashTableIter iterator;
  gpointer key;
  g_hash_table_iter_init(&iterator, table);
  while (g_hash_table_iter_next(&iterator, &key, NULL))
    if (*(const guint64 *)key >= start && *(const guint64 *)key < end)
      g_hash_table_iter_remove(&iterator);
}

#include "c2c/directory_store.h"

#include <string.h>

#include "base/error.h"

static const DirectoryStoreKind *const kinds[] = {
    &directory_sqlite,
    &directory_etcd,
};

void
directory_entry_free(DirectoryEntry *entry)
{
  if (entry)
    g_clear_pointer(&entry->record, g_bytes_unref);
  g_free(entry);
}

void
directory_row_free(DirectoryRow *row)
{
  if (!row)
    return;
  g_clear_pointer(&row->record, g_bytes_unref);
  g_clear_pointer(&row->update, g_bytes_unref);
  g_free(row);
}

DirectoryStore *
directory_store_open(const char *uri, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    gsize length = strlen(kinds[i]->scheme);
    if (strncmp(uri, kinds[i]->scheme, length) == 0 && uri[length] == ':')
      return kinds[i]->open(uri + length + 1, error);
  }
  doppel_error_set(error, DOPPEL_ERROR_USAGE,
                   "\"%s\" is no store: write sqlite:PATH, or etcd://HOST:PORT[,HOST:PORT...]/PREFIX", uri);
  return NULL;
}

void
directory_store_close(DirectoryStore *store)
{
  if (store)
    store->kind->close(store);
}

gboolean
directory_store_state(DirectoryStore *store, DirectoryState *state, GError **error)
{
  return store->kind->state(store, state, error);
}

DirectoryOutcome
directory_store_commit(DirectoryStore *store, const DirectoryState *expected, const DirectoryState *next,
                       const DirectoryPut *puts, guint count, GError **error)
{
  if (count > DIRECTORY_BATCH_MAX) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "%u records are too many for one commit", count);
    return DIRECTORY_FAILED;
  }
  return store->kind->commit(store, expected, next, puts, count, error);
}

int
directory_store_get(DirectoryStore *store, const IdentityPublic *origin, DirectoryRow **row, GError **error)
{
  return store->kind->get(store, origin, row, error);
}

GArray *
directory_store_find(DirectoryStore *store, const char *name, const IdentityPublic *home, GError **error)
{
  return store->kind->find(store, name, home, error);
}

GPtrArray *
directory_store_page(DirectoryStore *store, const IdentityPublic *home, const IdentityPublic *after,
                     guint count, GError **error)
{
  return store->kind->page(store, home, after, count, error);
}

GArray *
directory_store_seen(DirectoryStore *store, const IdentityPublic *home, guint8 bucket, GError **error)
{
  return store->kind->seen(store, home, bucket, error);
}

GPtrArray *
directory_store_changes(DirectoryStore *store, guint64 since, gsize bytes, GError **error)
{
  return store->kind->changes(store, since, bytes, error);
}

int
directory_store_chain(DirectoryStore *store, guint64 number, guint8 chain[DIRECTORY_CHAIN_LENGTH],
                      GError **error)
{
  return store->kind->chain(store, number, chain, error);
}

gboolean
directory_store_count(DirectoryStore *store, guint64 *count, GError **error)
{
  return store->kind->count(store, count, error);
}

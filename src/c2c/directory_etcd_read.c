/* Looking up in the directory in etcd. Reads are linearizable, but each for itself: what is put together of
 * several is checked to belong together. */
#include <string.h>

#include "c2c/directory_etcd_private.h"

/* Keys with hashes in one answer. */
#define SEEN_AT_ONCE 8192u

/* Appends what there is of these users, in their order; NULL to rows where there is none. */
static gboolean
read_rows(EtcdStore *store, const IdentityPublic *origins, guint count, GPtrArray *rows, GError **error)
{
  g_autoptr(EtcdTxn) txn = etcd_txn_new();
  for (guint i = 0; i < count; i++) {
    g_autoptr(GBytes) key = etcd_key_user(store->prefix, &origins[i]);
    etcd_range(txn, key);
  }
  g_autoptr(EtcdAnswer) answer = etcd_ask(store, txn, error);
  for (guint i = 0; answer && i < count; i++) {
    const EtcdPair *pair = etcd_only_pair(answer, i);
    g_auto(EtcdUserValue) user = {0};
    if (pair && !etcd_value_read_user(pair->value, &origins[i], &user))
      return etcd_damaged(store, error);
    g_ptr_array_add(rows, g_steal_pointer(&user.row));
  }
  return answer != NULL;
}

static GPtrArray *
rows_new(void)
{
  return g_ptr_array_new_with_free_func((GDestroyNotify)directory_row_free);
}

int
etcd_get(DirectoryStore *base, const IdentityPublic *origin, DirectoryRow **row, GError **error)
{
  g_autoptr(GPtrArray) rows = rows_new();
  if (!read_rows((EtcdStore *)base, origin, 1, rows, error))
    return -1;
  *row = rows->pdata[0];
  rows->pdata[0] = NULL;
  return *row != NULL;
}

/* The keys that begin with `start`, after `from`, `limit` (0: all) of them, end with origins: appended. The
 * number of keys, or -1. `skip`: bytes between `start` and the origin. */
static int
read_origins(EtcdStore *store, GBytes *start, GBytes *from, guint limit, gsize skip, GArray *origins,
             GError **error)
{
  g_autoptr(EtcdTxn) txn = etcd_txn_new();
  g_autoptr(GBytes) end = etcd_key_end(start);
  etcd_txn_range(txn, from, end, limit, ETCD_KEYS);
  g_autoptr(EtcdAnswer) answer = etcd_ask(store, txn, error);
  if (!answer)
    return -1;
  GPtrArray *pairs = etcd_result(answer, 0)->pairs;
  gsize length = g_bytes_get_size(start) + skip;
  for (guint i = 0; i < pairs->len; i++) {
    GBytes *key = ((const EtcdPair *)pairs->pdata[i])->key;
    IdentityPublic origin;
    g_autoptr(GBytes) before =
        g_bytes_get_size(key) >= length ? g_bytes_new_from_bytes(key, 0, length) : NULL;
    if (!before || !etcd_key_origin(key, before, &origin)) {
      etcd_damaged(store, error);
      return -1;
    }
    g_array_append_val(origins, origin);
  }
  return (int)pairs->len;
}

static int
by_origin(gconstpointer a, gconstpointer b)
{
  return memcmp(a, b, sizeof(IdentityPublic));
}

GArray *
etcd_find(DirectoryStore *base, const char *name, const IdentityPublic *home, GError **error)
{
  EtcdStore *store = (EtcdStore *)base;
  g_autoptr(GBytes) start = etcd_key_name(store->prefix, name, home, NULL);
  g_autoptr(GArray) origins = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  if (read_origins(store, start, start, 0, home ? 0 : sizeof *home, origins, error) < 0)
    return NULL;
  g_array_sort(origins, by_origin);
  return g_steal_pointer(&origins);
}

static gboolean
page_of_all(EtcdStore *store, const IdentityPublic *after, guint count, GPtrArray *rows, GError **error)
{
  g_autoptr(GBytes) start = etcd_key_user(store->prefix, NULL);
  g_autoptr(GBytes) end = etcd_key_end(start);
  g_autoptr(GBytes) last = after ? etcd_key_user(store->prefix, after) : NULL;
  while (rows->len < count) {
    g_autoptr(GBytes) from = last ? etcd_key_after(last) : g_bytes_ref(start);
    g_autoptr(EtcdTxn) txn = etcd_txn_new();
    etcd_txn_range(txn, from, end, MIN(ROWS_AT_ONCE, count - rows->len), ETCD_PAIRS);
    g_autoptr(EtcdAnswer) answer = etcd_ask(store, txn, error);
    if (!answer)
      return FALSE;
    GPtrArray *pairs = etcd_result(answer, 0)->pairs;
    for (guint i = 0; i < pairs->len; i++) {
      const EtcdPair *pair = pairs->pdata[i];
      g_auto(EtcdUserValue) user = {0};
      IdentityPublic origin;
      if (!etcd_key_origin(pair->key, start, &origin) || !etcd_value_read_user(pair->value, &origin, &user))
        return etcd_damaged(store, error);
      g_ptr_array_add(rows, g_steal_pointer(&user.row));
      g_clear_pointer(&last, g_bytes_unref);
      last = g_bytes_ref(pair->key);
    }
    if (pairs->len == 0)
      return TRUE;
  }
  return TRUE;
}

static gboolean
page_of_home(EtcdStore *store, const IdentityPublic *home, const IdentityPublic *after, guint count,
             GPtrArray *rows, GError **error)
{
  g_autoptr(GBytes) start = etcd_key_home(store->prefix, home, NULL);
  g_autoptr(GBytes) last = after ? etcd_key_home(store->prefix, home, after) : NULL;
  while (rows->len < count) {
    g_autoptr(GArray) origins = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
    g_autoptr(GBytes) from = last ? etcd_key_after(last) : g_bytes_ref(start);
    int found = read_origins(store, start, from, MIN(ROWS_AT_ONCE, count - rows->len), 0, origins, error);
    if (found <= 0)
      return found == 0;
    const IdentityPublic *all = (const IdentityPublic *)(void *)origins->data;
    g_autoptr(GPtrArray) some = rows_new();
    if (!read_rows(store, all, origins->len, some, error))
      return FALSE;
    for (guint i = 0; i < some->len; i++) {
      DirectoryRow *row = some->pdata[i];
      /* One that has just moved to another home is no longer of this page. */
      if (!row || !identity_public_equal(&row->home, home))
        continue;
      some->pdata[i] = NULL;
      g_ptr_array_add(rows, row);
    }
    g_clear_pointer(&last, g_bytes_unref);
    last = etcd_key_home(store->prefix, home, &all[origins->len - 1]);
  }
  return TRUE;
}

GPtrArray *
etcd_page(DirectoryStore *base, const IdentityPublic *home, const IdentityPublic *after, guint count,
          GError **error)
{
  EtcdStore *store = (EtcdStore *)base;
  g_autoptr(GPtrArray) rows = rows_new();
  if (home ? page_of_home(store, home, after, count, rows, error)
           : page_of_all(store, after, count, rows, error))
    return g_steal_pointer(&rows);
  return NULL;
}

GArray *
etcd_seen(DirectoryStore *base, const IdentityPublic *home, guint8 bucket, GError **error)
{
  EtcdStore *store = (EtcdStore *)base;
  g_autoptr(GBytes) start = etcd_key_home(store->prefix, home, NULL);
  g_autoptr(GBytes) end = etcd_key_bucket_end(store->prefix, home, bucket);
  g_autoptr(GBytes) from = etcd_key_bucket(store->prefix, home, bucket);
  g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(DirectorySeen));
  for (guint got = SEEN_AT_ONCE; got == SEEN_AT_ONCE;) {
    g_autoptr(EtcdTxn) txn = etcd_txn_new();
    etcd_txn_range(txn, from, end, SEEN_AT_ONCE, ETCD_PAIRS);
    g_autoptr(EtcdAnswer) answer = etcd_ask(store, txn, error);
    if (!answer)
      return NULL;
    GPtrArray *pairs = etcd_result(answer, 0)->pairs;
    got = pairs->len;
    for (guint i = 0; i < got; i++) {
      const EtcdPair *pair = pairs->pdata[i];
      DirectorySeen seen;
      if (!etcd_key_origin(pair->key, start, &seen.origin) ||
          g_bytes_get_size(pair->value) != sizeof seen.hash) {
        etcd_damaged(store, error);
        return NULL;
      }
      memcpy(seen.hash, g_bytes_get_data(pair->value, NULL), sizeof seen.hash);
      g_array_append_val(all, seen);
      if (i == got - 1) {
        g_bytes_unref(from);
        from = etcd_key_after(pair->key);
      }
    }
  }
  return g_steal_pointer(&all);
}

/* Some of the log after `since`: EtcdLogValue, without gaps. */
static GArray *
read_log(EtcdStore *store, guint64 since, guint limit, GError **error)
{
  g_autoptr(GArray) log = g_array_new(FALSE, FALSE, sizeof(EtcdLogValue));
  g_autoptr(GBytes) from = etcd_key_log(store->prefix, since + 1);
  g_autoptr(GBytes) last = etcd_key_log(store->prefix, G_MAXINT64);
  g_autoptr(EtcdTxn) txn = etcd_txn_new();
  etcd_txn_range(txn, from, last, limit, ETCD_PAIRS);
  g_autoptr(EtcdAnswer) answer = etcd_ask(store, txn, error);
  for (guint i = 0; answer && i < etcd_result(answer, 0)->pairs->len; i++) {
    const EtcdPair *pair = etcd_result(answer, 0)->pairs->pdata[i];
    EtcdLogValue value = {.number = since + 1 + i};
    g_autoptr(GBytes) key = etcd_key_log(store->prefix, value.number);
    if (!g_bytes_equal(key, pair->key) || !etcd_value_read_log(pair->value, &value)) {
      etcd_damaged(store, error);
      return NULL;
    }
    g_array_append_val(log, value);
  }
  return answer ? g_steal_pointer(&log) : NULL;
}

/* Appends entries until the records of all have `bytes`. */
static gboolean
add_entries(EtcdStore *store, const GArray *log, gsize bytes, gsize *together, GPtrArray *entries,
            GError **error)
{
  IdentityPublic origins[ROWS_AT_ONCE];
  g_autoptr(GPtrArray) rows = rows_new();
  for (guint i = 0; i < log->len; i++)
    origins[i] = g_array_index(log, EtcdLogValue, i).origin;
  if (!read_rows(store, origins, log->len, rows, error))
    return FALSE;
  for (guint i = 0; i < log->len && (entries->len == 0 || *together < bytes); i++) {
    const EtcdLogValue *value = &g_array_index(log, EtcdLogValue, i);
    const DirectoryRow *row = rows->pdata[i];
    DirectoryEntry *entry = g_new0(DirectoryEntry, 1);
    entry->number = value->number;
    memcpy(entry->hash, value->hash, sizeof entry->hash);
    memcpy(entry->chain, value->chain, sizeof entry->chain);
    if (row && row->number == value->number)
      entry->record = g_bytes_ref(row->record);
    *together += entry->record ? g_bytes_get_size(entry->record) : 0;
    g_ptr_array_add(entries, entry);
  }
  return TRUE;
}

GPtrArray *
etcd_changes(DirectoryStore *base, guint64 since, gsize bytes, GError **error)
{
  EtcdStore *store = (EtcdStore *)base;
  g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func((GDestroyNotify)directory_entry_free);
  gsize together = 0;
  while (since < G_MAXINT64 - 1 && entries->len < DIRECTORY_ENTRIES_MAX &&
         (entries->len == 0 || together < bytes)) {
    g_autoptr(GArray) log =
        read_log(store, since, MIN(ROWS_AT_ONCE, DIRECTORY_ENTRIES_MAX - entries->len), error);
    if (!log)
      return NULL;
    if (log->len == 0)
      break;
    if (!add_entries(store, log, bytes, &together, entries, error))
      return NULL;
    since += log->len;
  }
  return g_steal_pointer(&entries);
}

int
etcd_chain(DirectoryStore *base, guint64 number, guint8 chain[DIRECTORY_CHAIN_LENGTH], GError **error)
{
  EtcdStore *store = (EtcdStore *)base;
  memset(chain, 0, DIRECTORY_CHAIN_LENGTH);
  if (number == 0 || number > G_MAXINT64 - 1)
    return number == 0;
  g_autoptr(GArray) log = read_log(store, number - 1, 1, error);
  if (!log || log->len == 0)
    return log ? 0 : -1;
  memcpy(chain, g_array_index(log, EtcdLogValue, 0).chain, DIRECTORY_CHAIN_LENGTH);
  return 1;
}

gboolean
etcd_count(DirectoryStore *base, guint64 *count, GError **error)
{
  EtcdStore *store = (EtcdStore *)base;
  g_autoptr(GBytes) start = etcd_key_user(store->prefix, NULL);
  g_autoptr(GBytes) end = etcd_key_end(start);
  g_autoptr(EtcdTxn) txn = etcd_txn_new();
  etcd_txn_range(txn, start, end, 0, ETCD_COUNT);
  g_autoptr(EtcdAnswer) answer = etcd_ask(store, txn, error);
  *count = answer ? etcd_result(answer, 0)->count : 0;
  return answer != NULL;
}

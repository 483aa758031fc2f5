/* A directory's records in an SQLite file: WAL, and every commit on the disk before it is answered. */
#include <string.h>

#include "base/database.h"
#include "base/error.h"
#include "c2c/directory_chain.h"
#include "c2c/directory_store.h"

#define BUSY_MS 10000
/* Of a million users nearly every registration changes a page of its own in each index. The pages of a commit
 * have to have room in memory, or they go to the disk twice; and the longer a checkpoint waits, the more
 * changes of a page it writes as one. */
#define CACHE_PAGES      4096 /* of 4 KiB */
#define CHECKPOINT_PAGES 16384

static const DatabaseLayout layout = {
    .application = 0x646f7044, /* "dopD" */
    .version = 1,
    .what = "a directory's",
    .program = "cloneds",
    .tables = "CREATE TABLE record("
              " id INTEGER PRIMARY KEY, origin BLOB NOT NULL UNIQUE, home BLOB NOT NULL, name TEXT NOT NULL,"
              " number INTEGER NOT NULL, hash BLOB NOT NULL, bytes BLOB NOT NULL, told BLOB);"
              "CREATE INDEX record_name ON record(name, home);"
              "CREATE INDEX record_home ON record(home, origin, hash);"
              "CREATE TABLE log("
              " number INTEGER PRIMARY KEY, origin BLOB NOT NULL, hash BLOB NOT NULL, chain BLOB NOT NULL);",
};

typedef struct {
  DirectoryStore store;
  sqlite3 *db;
  DatabaseStatements *statements;
  char *path;
} SqliteStore;

/* Of what SQLite says, damage and a full disk want other deeds than trying again. */
static gboolean
explain(SqliteStore *store, GError **error)
{
  if (!error || !*error)
    return FALSE;
  switch (sqlite3_errcode(store->db)) {
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    g_clear_error(error);
    return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                            "the directory's database %s is damaged: put a copy in its place; without one "
                            "move it away, and the directory begins anew (users' clones register again)",
                            store->path);
  case SQLITE_FULL:
    g_clear_error(error);
    return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                            "the disk with the directory's database %s is full: make room", store->path);
  default:
    return FALSE;
  }
}

static gboolean
damaged_row(SqliteStore *store, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                          "an entry of the directory's database %s is damaged: see \"cloneds check\"",
                          store->path);
}

static void
sqlite_close(DirectoryStore *base)
{
  SqliteStore *store = (SqliteStore *)base;
  database_statements_free(store->statements);
  sqlite3_close(store->db);
  g_free(store->path);
  g_free(store);
}

static DirectoryStore *
sqlite_open(const char *path, GError **error)
{
  if (!path[0]) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "the store sqlite: lacks a path: write sqlite:PATH");
    return NULL;
  }
  SqliteStore *store = g_new0(SqliteStore, 1);
  g_autoptr(DirectoryStore) made = &store->store;
  store->store.kind = &directory_sqlite;
  store->path = g_canonicalize_filename(path, NULL);
  GError *why = NULL;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
  if (sqlite3_open_v2(store->path, &store->db, flags, NULL) != SQLITE_OK) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "cannot open the directory's database %s: %s", store->path,
                     store->db ? sqlite3_errmsg(store->db) : "no memory");
    return NULL;
  }
  sqlite3_busy_timeout(store->db, BUSY_MS);
  if (database_run(store->db, &why, "PRAGMA journal_mode = WAL", "") &&
      database_run(store->db, &why, "PRAGMA synchronous = FULL", "") &&
      database_run(store->db, &why, "PRAGMA cache_size = " G_STRINGIFY(CACHE_PAGES), "") &&
      database_run(store->db, &why, "PRAGMA wal_autocheckpoint = " G_STRINGIFY(CHECKPOINT_PAGES), "") &&
      database_lay_out(store->db, &layout, &why)) {
    store->statements = database_statements_new(store->db);
    return g_steal_pointer(&made);
  }
  explain(store, &why);
  g_propagate_error(error, why);
  return NULL;
}

static gboolean
read_state(SqliteStore *store, DirectoryState *state, GError **error)
{
  g_autoptr(DatabaseUse) statement = database_statements_use(
      store->statements, error, "SELECT number, chain FROM log ORDER BY number DESC LIMIT 1", "");
  int step = statement ? database_step(statement, error) : -1;
  *state = (DirectoryState){0};
  if (step <= 0)
    return step == 0;
  state->number = (guint64)sqlite3_column_int64(statement, 0);
  return database_blob(statement, 1, state->chain, sizeof state->chain) || damaged_row(store, error);
}

static gboolean
sqlite_state(DirectoryStore *base, DirectoryState *state, GError **error)
{
  SqliteStore *store = (SqliteStore *)base;
  return read_state(store, state, error) || explain(store, error);
}

static gboolean
put(SqliteStore *store, const DirectoryPut *put, GError **error)
{
  const Record *record = put->record;
  gsize length, told_length = 0;
  const void *bytes = g_bytes_get_data(record->bytes, &length);
  const void *told = put->update ? g_bytes_get_data(put->update, &told_length) : NULL;
  return database_statements_run(
             store->statements, error,
             "INSERT INTO record(origin, home, name, number, hash, bytes, told) VALUES(?, ?, ?, ?, ?, ?, ?)"
             " ON CONFLICT(origin) DO UPDATE SET home = excluded.home, name = excluded.name,"
             " number = excluded.number, hash = excluded.hash, bytes = excluded.bytes, told = excluded.told",
             "bbtibbb", record->origin.bytes, (gsize)IDENTITY_PUBLIC_LENGTH, record->directory.bytes,
             (gsize)IDENTITY_PUBLIC_LENGTH, record->name, (gint64)put->number, record->hash,
             (gsize)RECORD_HASH_LENGTH, bytes, length, told, told_length) &&
         (put->number == 0 ||
          database_statements_run(store->statements, error, "INSERT INTO log VALUES(?, ?, ?, ?)", "ibbb",
                                  (gint64)put->number, record->origin.bytes, (gsize)IDENTITY_PUBLIC_LENGTH,
                                  record->hash, (gsize)RECORD_HASH_LENGTH, put->chain,
                                  (gsize)DIRECTORY_CHAIN_LENGTH));
}

/* Within a transaction. */
static DirectoryOutcome
put_all(SqliteStore *store, const DirectoryState *expected, const DirectoryState *next,
        const DirectoryPut *puts, guint count, GError **error)
{
  DirectoryState state;
  if (!read_state(store, &state, error))
    return DIRECTORY_FAILED;
  if (!directory_state_equal(&state, expected))
    return DIRECTORY_CONFLICT;
  for (guint i = 0; i < count; i++)
    if (!put(store, &puts[i], error))
      return DIRECTORY_FAILED;
  if (!read_state(store, &state, error))
    return DIRECTORY_FAILED;
  if (directory_state_equal(&state, next))
    return DIRECTORY_DONE;
  doppel_error_set(error, DOPPEL_ERROR_FAILED, "the batch does not make the state that it claims");
  return DIRECTORY_FAILED;
}

static DirectoryOutcome
sqlite_commit(DirectoryStore *base, const DirectoryState *expected, const DirectoryState *next,
              const DirectoryPut *puts, guint count, GError **error)
{
  SqliteStore *store = (SqliteStore *)base;
  GError *why = NULL;
  DirectoryOutcome outcome = DIRECTORY_FAILED;
  if (database_statements_run(store->statements, &why, "BEGIN IMMEDIATE", ""))
    outcome = put_all(store, expected, next, puts, count, &why);
  if (outcome == DIRECTORY_DONE && !database_statements_run(store->statements, &why, "COMMIT", ""))
    outcome = DIRECTORY_FAILED;
  if (outcome == DIRECTORY_DONE)
    return outcome;
  explain(store, &why);
  /* A full disk may have ended the transaction already. */
  if (!sqlite3_get_autocommit(store->db))
    database_statements_run(store->statements, NULL, "ROLLBACK", "");
  if (why)
    g_propagate_error(error, why);
  return outcome;
}

static GBytes *
column_bytes(sqlite3_stmt *statement, int column)
{
  const void *bytes = sqlite3_column_blob(statement, column);
  return g_bytes_new(bytes, (gsize)sqlite3_column_bytes(statement, column));
}

#define ROW_COLUMNS "SELECT origin, home, number, hash, bytes, told FROM record "

static DirectoryRow *
read_row(SqliteStore *store, sqlite3_stmt *statement, GError **error)
{
  g_autoptr(DirectoryRow) row = g_new0(DirectoryRow, 1);
  row->number = (guint64)sqlite3_column_int64(statement, 2);
  row->record = column_bytes(statement, 4);
  if (sqlite3_column_type(statement, 5) != SQLITE_NULL)
    row->update = column_bytes(statement, 5);
  if (database_blob(statement, 0, row->origin.bytes, sizeof row->origin.bytes) &&
      database_blob(statement, 1, row->home.bytes, sizeof row->home.bytes) &&
      database_blob(statement, 3, row->hash, sizeof row->hash) && g_bytes_get_size(row->record) <= RECORD_MAX)
    return g_steal_pointer(&row);
  damaged_row(store, error);
  return NULL;
}

static int
sqlite_get(DirectoryStore *base, const IdentityPublic *origin, DirectoryRow **row, GError **error)
{
  SqliteStore *store = (SqliteStore *)base;
  g_autoptr(DatabaseUse) statement = database_statements_use(
      store->statements, error, ROW_COLUMNS "WHERE origin = ?", "b", origin->bytes, sizeof origin->bytes);
  int step = statement ? database_step(statement, error) : -1;
  if (step < 0)
    explain(store, error);
  if (step <= 0)
    return step;
  *row = read_row(store, statement, error);
  return *row ? 1 : -1;
}

/* Left to itself SQLite may walk through all users of the directory, because they come in the right order. */
static GArray *
sqlite_find(DirectoryStore *base, const char *name, const IdentityPublic *home, GError **error)
{
  SqliteStore *store = (SqliteStore *)base;
  g_autoptr(DatabaseUse) statement =
      home
          ? database_statements_use(
                store->statements, error,
                "SELECT origin FROM record INDEXED BY record_name WHERE name = ? AND home = ? "
                "ORDER BY origin",
                "tb", name, home->bytes, sizeof home->bytes)
          : database_statements_use(
                store->statements, error,
                "SELECT origin FROM record INDEXED BY record_name WHERE name = ? ORDER BY origin", "t", name);
  g_autoptr(GArray) origins = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    IdentityPublic origin;
    if (!database_blob(statement, 0, origin.bytes, sizeof origin.bytes)) {
      damaged_row(store, error);
      return NULL;
    }
    g_array_append_val(origins, origin);
  }
  if (step == 0)
    return g_steal_pointer(&origins);
  explain(store, error);
  return NULL;
}

static GPtrArray *
sqlite_page(DirectoryStore *base, const IdentityPublic *home, const IdentityPublic *after, guint count,
            GError **error)
{
  SqliteStore *store = (SqliteStore *)base;
  const guint8 *from = after ? after->bytes : (const guint8 *)"";
  gsize length = after ? sizeof after->bytes : 0;
  g_autoptr(DatabaseUse) statement =
      home ? database_statements_use(store->statements, error,
                                     ROW_COLUMNS "WHERE home = ? AND origin > ? ORDER BY origin LIMIT ?",
                                     "bbi", home->bytes, sizeof home->bytes, from, length, (gint64)count)
           : database_statements_use(store->statements, error,
                                     ROW_COLUMNS "WHERE origin > ? ORDER BY origin LIMIT ?", "bi", from,
                                     length, (gint64)count);
  g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)directory_row_free);
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    DirectoryRow *row = read_row(store, statement, error);
    if (!row)
      return NULL;
    g_ptr_array_add(rows, row);
  }
  if (step == 0)
    return g_steal_pointer(&rows);
  explain(store, error);
  return NULL;
}

static GArray *
sqlite_seen(DirectoryStore *base, const IdentityPublic *home, guint8 bucket, GError **error)
{
  SqliteStore *store = (SqliteStore *)base;
  guint8 first[IDENTITY_PUBLIC_LENGTH] = {bucket}, last[IDENTITY_PUBLIC_LENGTH];
  memset(last, 0xff, sizeof last);
  last[0] = bucket;
  g_autoptr(DatabaseUse) statement = database_statements_use(
      store->statements, error,
      "SELECT origin, hash FROM record WHERE home = ? AND origin BETWEEN ? AND ? ORDER BY origin", "bbb",
      home->bytes, sizeof home->bytes, first, sizeof first, last, sizeof last);
  g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(DirectorySeen));
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    DirectorySeen seen;
    if (!database_blob(statement, 0, seen.origin.bytes, sizeof seen.origin.bytes) ||
        !database_blob(statement, 1, seen.hash, sizeof seen.hash)) {
      damaged_row(store, error);
      return NULL;
    }
    g_array_append_val(all, seen);
  }
  if (step == 0)
    return g_steal_pointer(&all);
  explain(store, error);
  return NULL;
}

static DirectoryEntry *
read_entry(SqliteStore *store, sqlite3_stmt *statement, GError **error)
{
  g_autoptr(DirectoryEntry) entry = g_new0(DirectoryEntry, 1);
  entry->number = (guint64)sqlite3_column_int64(statement, 0);
  if (sqlite3_column_type(statement, 3) != SQLITE_NULL)
    entry->record = column_bytes(statement, 3);
  if (database_blob(statement, 1, entry->hash, sizeof entry->hash) &&
      database_blob(statement, 2, entry->chain, sizeof entry->chain))
    return g_steal_pointer(&entry);
  damaged_row(store, error);
  return NULL;
}

static GPtrArray *
sqlite_changes(DirectoryStore *base, guint64 since, gsize bytes, GError **error)
{
  SqliteStore *store = (SqliteStore *)base;
  g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func((GDestroyNotify)directory_entry_free);
  if (since > G_MAXINT64)
    return g_steal_pointer(&entries);
  g_autoptr(DatabaseUse) statement =
      database_statements_use(store->statements, error,
                              "SELECT log.number, log.hash, log.chain, record.bytes FROM log LEFT JOIN record"
                              " ON record.origin = log.origin AND record.number = log.number"
                              " WHERE log.number > ? ORDER BY log.number LIMIT ?",
                              "ii", (gint64)since, (gint64)DIRECTORY_ENTRIES_MAX);
  gsize together = 0;
  int step = statement ? 1 : -1;
  while (step > 0 && (entries->len == 0 || together < bytes) &&
         (step = database_step(statement, error)) > 0) {
    DirectoryEntry *entry = read_entry(store, statement, error);
    if (!entry)
      return NULL;
    together += entry->record ? g_bytes_get_size(entry->record) : 0;
    g_ptr_array_add(entries, entry);
  }
  if (step >= 0)
    return g_steal_pointer(&entries);
  explain(store, error);
  return NULL;
}

static int
sqlite_chain(DirectoryStore *base, guint64 number, guint8 chain[DIRECTORY_CHAIN_LENGTH], GError **error)
{
  SqliteStore *store = (SqliteStore *)base;
  memset(chain, 0, DIRECTORY_CHAIN_LENGTH);
  if (number == 0 || number > G_MAXINT64)
    return number == 0;
  g_autoptr(DatabaseUse) statement = database_statements_use(
      store->statements, error, "SELECT chain FROM log WHERE number = ?", "i", (gint64)number);
  int step = statement ? database_step(statement, error) : -1;
  if (step < 0)
    explain(store, error);
  if (step <= 0 || database_blob(statement, 0, chain, DIRECTORY_CHAIN_LENGTH))
    return step;
  damaged_row(store, error);
  return -1;
}

static gboolean
sqlite_count(DirectoryStore *base, guint64 *count, GError **error)
{
  SqliteStore *store = (SqliteStore *)base;
  gint64 found = 0;
  gboolean good = database_number(store->db, error, "SELECT count(*) FROM record", &found);
  *count = (guint64)found;
  return good || explain(store, error);
}

const DirectoryStoreKind directory_sqlite = {
    .scheme = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .state = sqlite_state,
    .commit = sqlite_commit,
    .get = sqlite_get,
    .find = sqlite_find,
    .page = sqlite_page,
    .seen = sqlite_seen,
    .changes = sqlite_changes,
    .chain = sqlite_chain,
    .count = sqlite_count,
};

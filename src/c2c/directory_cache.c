#include "c2c/directory_cache.h"

#include <string.h>

#include "base/clock.h"
#include "base/database.h"
#include "base/error.h"

#define BUSY_MS        5000
#define UNLINKED_MAX   64 /* heads of a directory that wait to be looked at */
#define EVIDENCE_MAX   64 /* of a directory: one is enough, and a liar has many */
#define COMPLAINTS_MAX 64 /* of a directory: the last ones */

static const char layout[] =
    "CREATE TABLE IF NOT EXISTS record("
    " origin BLOB PRIMARY KEY NOT NULL, name TEXT NOT NULL, home BLOB NOT NULL, bytes BLOB NOT NULL,"
    " told INTEGER NOT NULL, found BLOB, directory BLOB);"
    "CREATE INDEX IF NOT EXISTS record_name ON record(name);"
    "CREATE TABLE IF NOT EXISTS head("
    " directory BLOB NOT NULL, number INTEGER NOT NULL, chain BLOB NOT NULL, time INTEGER NOT NULL,"
    " linked INTEGER NOT NULL, proof BLOB NOT NULL, PRIMARY KEY(directory, number, chain)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS evidence("
    " id INTEGER PRIMARY KEY, directory BLOB NOT NULL, noticed INTEGER NOT NULL, words TEXT NOT NULL,"
    " first BLOB NOT NULL, second BLOB NOT NULL, UNIQUE(directory, first, second));"
    "CREATE TABLE IF NOT EXISTS pass("
    " directory BLOB NOT NULL, key BLOB NOT NULL, pass BLOB NOT NULL, PRIMARY KEY(directory, key));"
    "CREATE TABLE IF NOT EXISTS complaint("
    " directory BLOB NOT NULL, origin BLOB NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,"
    " witness BLOB NOT NULL, noticed INTEGER NOT NULL, last INTEGER NOT NULL,"
    " PRIMARY KEY(directory, origin)) WITHOUT ROWID;";

struct DirectoryCache {
  gint references;
  GRecMutex lock; /* one sequence of statements at a time */
  sqlite3 *db;
};

#define LOCKED(cache) g_autoptr(GRecMutexLocker) locker = g_rec_mutex_locker_new(&(cache)->lock)

DirectoryCache *
directory_cache_ref(DirectoryCache *cache)
{
  g_atomic_int_inc(&cache->references);
  return cache;
}

void
directory_cache_close(DirectoryCache *cache)
{
  if (!cache || !g_atomic_int_dec_and_test(&cache->references))
    return;
  sqlite3_close(cache->db);
  g_rec_mutex_clear(&cache->lock);
  g_free(cache);
}

GRecMutexLocker *
directory_cache_lock(DirectoryCache *cache)
{
  return g_rec_mutex_locker_new(&cache->lock);
}

DirectoryCache *
directory_cache_open(const char *path, GError **error)
{
  g_autoptr(DirectoryCache) cache = g_new0(DirectoryCache, 1);
  cache->references = 1;
  g_rec_mutex_init(&cache->lock);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
  if (sqlite3_open_v2(path, &cache->db, flags, NULL) != SQLITE_OK) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "cannot open %s, what is remembered of directories: %s",
                     path, cache->db ? sqlite3_errmsg(cache->db) : "no memory");
    return NULL;
  }
  sqlite3_busy_timeout(cache->db, BUSY_MS);
  /* Evidence is to outlive whatever happens; records could be asked for again. */
  if (database_run(cache->db, error, "PRAGMA journal_mode = WAL", "") &&
      database_run(cache->db, error, "PRAGMA synchronous = FULL", "") &&
      (sqlite3_exec(cache->db, layout, NULL, NULL, NULL) == SQLITE_OK || database_fail(cache->db, error)))
    return g_steal_pointer(&cache);
  g_prefix_error(error, "what is remembered of directories (%s; it may be removed): ", path);
  return NULL;
}

static gboolean
column_signed(sqlite3_stmt *statement, int column, DirectorySigned *proof)
{
  return sqlite3_column_type(statement, column) != SQLITE_NULL &&
         directory_signed_unpack(sqlite3_column_blob(statement, column),
                                 (gsize)sqlite3_column_bytes(statement, column), proof, NULL);
}

/* What a file says is proved like what the network says. NULL for what is damaged: as if it was not there. */
static DirectoryResult *
read_result(sqlite3_stmt *statement)
{
  g_autoptr(DirectoryResult) result = g_new0(DirectoryResult, 1);
  result->record =
      record_decode(sqlite3_column_blob(statement, 0), (gsize)sqlite3_column_bytes(statement, 0), NULL, NULL);
  result->cached = TRUE;
  if (column_signed(statement, 2, &result->found) &&
      database_blob(statement, 3, result->directory.bytes, sizeof result->directory.bytes))
    result->told = sqlite3_column_int64(statement, 1);
  return result->record ? g_steal_pointer(&result) : NULL;
}

/* A record proves whose it is; that its row is that user's, nothing does. */
static gboolean
is_of(const Record *record, const char *name, const IdentityPublic *origin, const IdentityPublic *home)
{
  return (name ? strcmp(record->name, name) == 0 : identity_public_equal(&record->origin, origin)) &&
         (!home || identity_public_equal(home, &record->directory));
}

#define RESULT_COLUMNS "SELECT bytes, told, found, directory FROM record WHERE "

GPtrArray *
directory_cache_find(DirectoryCache *cache, const char *name, const IdentityPublic *origin,
                     const IdentityPublic *home, GError **error)
{
  LOCKED(cache);
  g_autoptr(DatabaseStatement) statement =
      name ? database_prepare(cache->db, error, RESULT_COLUMNS "name = ? ORDER BY origin", "t", name)
           : database_prepare(cache->db, error, RESULT_COLUMNS "origin = ?", "b", origin->bytes,
                              sizeof origin->bytes);
  g_autoptr(GPtrArray) results = g_ptr_array_new_with_free_func((GDestroyNotify)directory_result_free);
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    g_autoptr(DirectoryResult) result = read_result(statement);
    if (result && is_of(result->record, name, origin, home))
      g_ptr_array_add(results, g_steal_pointer(&result));
  }
  return step == 0 ? g_steal_pointer(&results) : NULL;
}

static gboolean
write_record(DirectoryCache *cache, const Record *record, const DirectoryFound *found,
             const DirectorySigned *proof, GError **error)
{
  gsize length, proof_length = 0;
  const void *bytes = g_bytes_get_data(record->bytes, &length);
  g_autoptr(GBytes) packed = found ? directory_signed_pack(proof) : NULL;
  const void *proof_bytes = packed ? g_bytes_get_data(packed, &proof_length) : NULL;
  return database_run(
      cache->db, error, "INSERT OR REPLACE INTO record VALUES(?, ?, ?, ?, ?, ?, ?)", "btbbibb",
      record->origin.bytes, sizeof record->origin.bytes, record->name, record->directory.bytes,
      sizeof record->directory.bytes, bytes, length, found ? found->time : (gint64)0, proof_bytes,
      proof_length, found ? found->directory.bytes : NULL, found ? sizeof found->directory.bytes : (gsize)0);
}

int
directory_cache_put(DirectoryCache *cache, Record *record, const DirectoryFound *found,
                    const DirectorySigned *proof, Record **newer, GError **error)
{
  LOCKED(cache);
  g_autoptr(GPtrArray) known = directory_cache_find(cache, NULL, &record->origin, NULL, error);
  if (!known)
    return -1;
  const DirectoryResult *before = known->len > 0 ? known->pdata[0] : NULL;
  gboolean same = before && memcmp(before->record->hash, record->hash, sizeof record->hash) == 0;
  if (before && !same && !record_supersedes(record, before->record)) {
    if (newer)
      *newer = record_ref(before->record);
    return 0;
  }
  if (same && (!found || found->time <= before->told))
    return 1;
  return write_record(cache, record, found, proof, error) ? 1 : -1;
}

static void
head_clear(DirectoryHead *head)
{
  directory_head_clear(head);
}

GArray *
directory_heads_new(void)
{
  GArray *heads = g_array_new(FALSE, TRUE, sizeof(DirectoryHead));
  g_array_set_clear_func(heads, (GDestroyNotify)head_clear);
  return heads;
}

#define HEAD_COLUMNS "SELECT proof FROM head WHERE "

/* 1, 0 after the last, -1. Damaged ones are passed over. */
static int
next_head(sqlite3_stmt *statement, DirectoryHead *head, GError **error)
{
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    DirectorySigned proof = {0};
    gboolean good = column_signed(statement, 0, &proof) && directory_head_verify(&proof, NULL, head, NULL);
    directory_signed_clear(&proof);
    if (good)
      return 1;
  }
  return step;
}

int
directory_cache_anchor(DirectoryCache *cache, const IdentityPublic *directory, DirectoryHead *head,
                       GError **error)
{
  LOCKED(cache);
  g_autoptr(DatabaseStatement) statement =
      database_prepare(cache->db, error, HEAD_COLUMNS "directory = ? AND linked ORDER BY number DESC LIMIT 1",
                       "b", directory->bytes, sizeof directory->bytes);
  return next_head(statement, head, error);
}

int
directory_cache_other_head(DirectoryCache *cache, const DirectoryHead *head, DirectoryHead *other,
                           GError **error)
{
  LOCKED(cache);
  g_autoptr(DatabaseStatement) statement =
      database_prepare(cache->db, error, HEAD_COLUMNS "directory = ? AND number = ? AND chain <> ?", "bib",
                       head->directory.bytes, sizeof head->directory.bytes, (gint64)head->state.number,
                       head->state.chain, sizeof head->state.chain);
  return next_head(statement, other, error);
}

static GArray *
all_heads(sqlite3_stmt *statement, GError **error)
{
  g_autoptr(GArray) heads = directory_heads_new();
  DirectoryHead head;
  int step;
  while ((step = next_head(statement, &head, error)) > 0)
    g_array_append_val(heads, head);
  return step == 0 ? g_steal_pointer(&heads) : NULL;
}

GArray *
directory_cache_unlinked(DirectoryCache *cache, const IdentityPublic *directory, GError **error)
{
  LOCKED(cache);
  g_autoptr(DatabaseStatement) statement =
      database_prepare(cache->db, error, HEAD_COLUMNS "directory = ? AND NOT linked ORDER BY number", "b",
                       directory->bytes, sizeof directory->bytes);
  return all_heads(statement, error);
}

GArray *
directory_cache_heads(DirectoryCache *cache, GError **error)
{
  LOCKED(cache);
  g_autoptr(DatabaseStatement) statement =
      database_prepare(cache->db, error,
                       "SELECT proof FROM head AS h WHERE number ="
                       " (SELECT max(number) FROM head WHERE directory = h.directory) GROUP BY directory",
                       "");
  return all_heads(statement, error);
}

gboolean
directory_cache_link(DirectoryCache *cache, const DirectoryHead *head, GError **error)
{
  LOCKED(cache);
  return database_run(cache->db, error,
                      "UPDATE head SET linked = 1 WHERE directory = ? AND number = ? AND chain = ?", "bib",
                      head->directory.bytes, sizeof head->directory.bytes, (gint64)head->state.number,
                      head->state.chain, sizeof head->state.chain) &&
         database_run(cache->db, error,
                      "DELETE FROM head WHERE directory = ?1 AND linked AND number <"
                      " (SELECT max(number) FROM head WHERE directory = ?1 AND linked)",
                      "b", head->directory.bytes, sizeof head->directory.bytes);
}

gboolean
directory_cache_drop_head(DirectoryCache *cache, const DirectoryHead *head, GError **error)
{
  LOCKED(cache);
  return database_run(cache->db, error,
                      "DELETE FROM head WHERE directory = ? AND number = ? AND chain = ? AND NOT linked",
                      "bib", head->directory.bytes, sizeof head->directory.bytes, (gint64)head->state.number,
                      head->state.chain, sizeof head->state.chain);
}

gboolean
directory_cache_add_head(DirectoryCache *cache, const DirectoryHead *head, gboolean linked, GError **error)
{
  LOCKED(cache);
  g_autoptr(GBytes) packed = directory_signed_pack(&head->proof);
  gsize length;
  const void *bytes = g_bytes_get_data(packed, &length);
  if (head->state.number > G_MAXINT64)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a directory's head has a number that is too high");
  if (!database_run(cache->db, error,
                    "INSERT INTO head VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " proof = CASE WHEN excluded.time > time THEN excluded.proof ELSE proof END,"
                    " time = max(time, excluded.time), linked = max(linked, excluded.linked)",
                    "bibiib", head->directory.bytes, sizeof head->directory.bytes, (gint64)head->state.number,
                    head->state.chain, sizeof head->state.chain, head->time, (gint64)linked, bytes, length))
    return FALSE;
  if (linked)
    return directory_cache_link(cache, head, error);
  return database_run(cache->db, error,
                      "DELETE FROM head WHERE directory = ?1 AND NOT linked AND number NOT IN"
                      " (SELECT number FROM head WHERE directory = ?1 AND NOT linked"
                      "  ORDER BY number DESC LIMIT ?2)",
                      "bi", head->directory.bytes, sizeof head->directory.bytes, (gint64)UNLINKED_MAX);
}

gboolean
directory_cache_add_evidence(DirectoryCache *cache, const IdentityPublic *directory,
                             const DirectorySigned *first, const DirectorySigned *second, const char *words,
                             GError **error)
{
  LOCKED(cache);
  g_autoptr(GBytes) a = directory_signed_pack(first);
  g_autoptr(GBytes) b = directory_signed_pack(second);
  gsize a_length, b_length;
  const void *a_bytes = g_bytes_get_data(a, &a_length), *b_bytes = g_bytes_get_data(b, &b_length);
  return database_run(cache->db, error,
                      "INSERT OR IGNORE INTO evidence(directory, noticed, words, first, second)"
                      " SELECT ?1, ?2, ?3, ?4, ?5 WHERE"
                      " (SELECT count(*) FROM evidence WHERE directory = ?1) < ?6",
                      "bitbbi", directory->bytes, sizeof directory->bytes, clock_unix_time(), words, a_bytes,
                      a_length, b_bytes, b_length, (gint64)EVIDENCE_MAX);
}

GPtrArray *
directory_cache_evidence(DirectoryCache *cache, const IdentityPublic *directory, GError **error)
{
  LOCKED(cache);
  g_autoptr(DatabaseStatement) statement = database_prepare(
      cache->db, error,
      "SELECT directory, noticed, words, first, second FROM evidence WHERE ?1 IS NULL OR directory = ?1"
      " ORDER BY id",
      "b", directory ? directory->bytes : NULL, directory ? sizeof directory->bytes : (gsize)0);
  g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)directory_evidence_free);
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    DirectoryEvidence *evidence = g_new0(DirectoryEvidence, 1);
    evidence->noticed = sqlite3_column_int64(statement, 1);
    evidence->words = g_strdup((const char *)sqlite3_column_text(statement, 2));
    if (database_blob(statement, 0, evidence->directory.bytes, sizeof evidence->directory.bytes) &&
        column_signed(statement, 3, &evidence->first) && column_signed(statement, 4, &evidence->second))
      g_ptr_array_add(all, evidence);
    else
      directory_evidence_free(evidence);
  }
  return step == 0 ? g_steal_pointer(&all) : NULL;
}

gboolean
directory_cache_complain(DirectoryCache *cache, const DirectoryComplaint *complaint, GError **error)
{
  LOCKED(cache);
  return database_run(
             cache->db, error,
             "INSERT INTO complaint VALUES(?, ?, ?, ?, ?, ?6, ?6) ON CONFLICT DO UPDATE SET"
             " name = excluded.name, kind = excluded.kind, witness = excluded.witness, last = excluded.last",
             "bbtibi", complaint->directory.bytes, sizeof complaint->directory.bytes, complaint->origin.bytes,
             sizeof complaint->origin.bytes, complaint->name, (gint64)complaint->kind,
             complaint->witness.bytes, sizeof complaint->witness.bytes, complaint->last) &&
         database_run(cache->db, error,
                      "DELETE FROM complaint WHERE directory = ?1 AND origin NOT IN"
                      " (SELECT origin FROM complaint WHERE directory = ?1 ORDER BY last DESC LIMIT ?2)",
                      "bi", complaint->directory.bytes, sizeof complaint->directory.bytes,
                      (gint64)COMPLAINTS_MAX);
}

gboolean
directory_cache_uncomplain(DirectoryCache *cache, const IdentityPublic *directory,
                           const IdentityPublic *origin, GError **error)
{
  LOCKED(cache);
  return database_run(cache->db, error, "DELETE FROM complaint WHERE directory = ? AND origin = ?", "bb",
                      directory->bytes, sizeof directory->bytes, origin->bytes, sizeof origin->bytes);
}

GPtrArray *
directory_cache_complaints(DirectoryCache *cache, const IdentityPublic *origin, GError **error)
{
  LOCKED(cache);
  g_autoptr(DatabaseStatement) statement =
      database_prepare(cache->db, error,
                       "SELECT directory, origin, witness, name, kind, noticed, last FROM complaint"
                       " WHERE ?1 IS NULL OR origin = ?1 ORDER BY noticed",
                       "b", origin ? origin->bytes : NULL, origin ? sizeof origin->bytes : (gsize)0);
  g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)directory_complaint_free);
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    DirectoryComplaint *complaint = g_new0(DirectoryComplaint, 1);
    complaint->name = g_strdup((const char *)sqlite3_column_text(statement, 3));
    complaint->kind = sqlite3_column_int(statement, 4);
    complaint->noticed = sqlite3_column_int64(statement, 5);
    complaint->last = sqlite3_column_int64(statement, 6);
    if (database_blob(statement, 0, complaint->directory.bytes, sizeof complaint->directory.bytes) &&
        database_blob(statement, 1, complaint->origin.bytes, sizeof complaint->origin.bytes) &&
        database_blob(statement, 2, complaint->witness.bytes, sizeof complaint->witness.bytes))
      g_ptr_array_add(all, complaint);
    else
      directory_complaint_free(complaint);
  }
  return step == 0 ? g_steal_pointer(&all) : NULL;
}

int
directory_cache_pass(DirectoryCache *cache, const IdentityPublic *directory, const IdentityPublic *key,
                     DirectoryPass *pass, GError **error)
{
  LOCKED(cache);
  g_autoptr(DatabaseStatement) statement =
      database_prepare(cache->db, error, "SELECT pass FROM pass WHERE directory = ? AND key = ?", "bb",
                       directory->bytes, sizeof directory->bytes, key->bytes, sizeof key->bytes);
  int step = statement ? database_step(statement, error) : -1;
  return step > 0 ? database_blob(statement, 0, pass->bytes, sizeof pass->bytes) : step;
}

gboolean
directory_cache_keep_pass(DirectoryCache *cache, const IdentityPublic *directory, const IdentityPublic *key,
                          const DirectoryPass *pass, GError **error)
{
  LOCKED(cache);
  return database_run(cache->db, error, "INSERT OR REPLACE INTO pass VALUES(?, ?, ?)", "bbb",
                      directory->bytes, sizeof directory->bytes, key->bytes, sizeof key->bytes, pass->bytes,
                      sizeof pass->bytes);
}

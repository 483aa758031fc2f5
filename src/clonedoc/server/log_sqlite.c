/* Documents' entries in an SQLite file of one server: WAL, and every append on the disk before it is
 * answered.
 *
 * The file is FOLDER/documents.db. A document's entries lie beside one another, so that a range of them is
 * read in one walk; `bytes` of a document is the sum of its entries' lengths. */
#include <errno.h>
#include <glib/gstdio.h>

#include "base/database.h"
#include "base/error.h"
#include "clonedoc/server/log.h"

#define FILE_NAME "documents.db"
#define BUSY_MS   10000
#define CHECKPOINT_PAGES                                                                                     \
  8192 /* of 4 KiB: a page that many appends change is written once by a checkpoint                          \
        */

static const DatabaseLayout layout = {
    .application = 0x646f704c, /* "dopL" */
    .version = 1,
    .what = "a log of documents",
    .program = "clonedocd",
    .tables = "CREATE TABLE document("
              " id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, length INTEGER NOT NULL, bytes INTEGER "
              "NOT NULL);"
              "CREATE TABLE entry("
              " document INTEGER NOT NULL, number INTEGER NOT NULL, bytes BLOB NOT NULL,"
              " PRIMARY KEY(document, number)) WITHOUT ROWID;",
};

typedef struct {
  DocLog log;
  sqlite3 *db;
  DatabaseStatements *statements;
  char *path;
} SqliteLog;

/* Damage and a full disk want other deeds than trying again. */
static gboolean
explain(SqliteLog *log, GError **error)
{
  if (!error || !*error)
    return FALSE;
  switch (sqlite3_errcode(log->db)) {
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
    g_clear_error(error);
    return doppel_error_set(
        error, DOPPEL_ERROR_FAILED,
        "the log of documents %s is damaged: put a copy in its place (what came after the "
        "copy the members submit again)",
        log->path);
  case SQLITE_FULL:
    g_clear_error(error);
    return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                            "the disk with the log of documents %s is full: make room", log->path);
  case SQLITE_IOERR: /* a quota or a limit of a file's size, too */
    g_clear_error(error);
    return doppel_error_set(
        error, DOPPEL_ERROR_FAILED,
        "the log of documents %s cannot be written or read: make room on its disk, or see "
        "whether it is broken",
        log->path);
  default:
    return FALSE;
  }
}

static gboolean
damaged(SqliteLog *log, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                          "the log of documents %s is damaged: entries that it counts are not there",
                          log->path);
}

static void
sqlite_free(DocLog *base)
{
  SqliteLog *log = (SqliteLog *)base;
  database_statements_free(log->statements);
  sqlite3_close(log->db);
  g_free(log->path);
  g_free(log);
}

static DocLog *
sqlite_open(const char *where, GError **error)
{
  if (!where[0] || g_mkdir_with_parents(where, 0700) != 0) {
    doppel_error_errno(error, "cannot make the folder \"%s\" for the log of documents", where);
    return NULL;
  }
  SqliteLog *log = g_new0(SqliteLog, 1);
  g_autoptr(DocLog) made = &log->log;
  log->log.kind = &doc_log_sqlite;
  g_autofree char *folder = g_canonicalize_filename(where, NULL);
  log->path = g_build_filename(folder, FILE_NAME, NULL);
  GError *why = NULL;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(log->path, &log->db, flags, NULL) != SQLITE_OK) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "cannot open the log of documents %s: %s", log->path,
                     log->db ? sqlite3_errmsg(log->db) : "no memory");
    return NULL;
  }
  sqlite3_busy_timeout(log->db, BUSY_MS);
  if (database_run(log->db, &why, "PRAGMA journal_mode = WAL", "") &&
      database_run(log->db, &why, "PRAGMA synchronous = FULL", "") &&
      database_run(log->db, &why, "PRAGMA wal_autocheckpoint = " G_STRINGIFY(CHECKPOINT_PAGES), "") &&
      database_lay_out(log->db, &layout, &why)) {
    log->statements = database_statements_new(log->db);
    return g_steal_pointer(&made);
  }
  explain(log, &why);
  g_propagate_error(error, why);
  return NULL;
}

/* The document's row: 1; 0: there is none; -1 with an error. */
static int
find(SqliteLog *log, const DocName *document, gint64 *id, guint64 *length, GError **error)
{
  g_autoptr(DatabaseUse) statement =
      database_statements_use(log->statements, error, "SELECT id, length FROM document WHERE name = ?", "b",
                              document->bytes, sizeof document->bytes);
  int step = statement ? database_step(statement, error) : -1;
  *id = step > 0 ? sqlite3_column_int64(statement, 0) : 0;
  *length = step > 0 ? (guint64)sqlite3_column_int64(statement, 1) : 0;
  return step;
}

static gboolean
insert(SqliteLog *log, const DocLogPut *put, gint64 id, GError **error)
{
  gsize size;
  const void *bytes = g_bytes_get_data(put->entry, &size);
  if (id == 0) {
    if (!database_statements_run(log->statements, error,
                                 "INSERT INTO document(name, length, bytes) VALUES(?, 0, 0)", "b",
                                 put->document.bytes, sizeof put->document.bytes))
      return FALSE;
    id = sqlite3_last_insert_rowid(log->db);
  }
  return database_statements_run(log->statements, error, "INSERT INTO entry VALUES(?, ?, ?)", "iib", id,
                                 (gint64)put->number, bytes, size) &&
         database_statements_run(log->statements, error,
                                 "UPDATE document SET length = length + 1, bytes = bytes + ? WHERE id = ?",
                                 "ii", (gint64)size, id);
}

/* Within a transaction. */
static gboolean
put_one(SqliteLog *log, DocLogPut *put, GError **error)
{
  gint64 id;
  guint64 length;
  if (find(log, &put->document, &id, &length, error) < 0)
    return FALSE;
  if (put->number <= length) {
    put->outcome = DOC_LOG_TAKEN;
    return TRUE;
  }
  if (put->number > length + 1)
    return doppel_error_set(
        error, DOPPEL_ERROR_MISMATCH,
        "the log of documents %s has lost entries of a document: there are %" G_GUINT64_FORMAT
        ", and entry %" G_GUINT64_FORMAT " was to be the next",
        log->path, length, put->number);
  put->outcome = DOC_LOG_DONE;
  return insert(log, put, id, error);
}

/* Whether an earlier put of the same document was too late. */
static gboolean
is_behind_taken(const DocLogPut *puts, guint which)
{
  for (guint i = which; i-- > 0;)
    if (doc_name_equal(&puts[i].document, &puts[which].document))
      return puts[i].outcome == DOC_LOG_TAKEN;
  return FALSE;
}

static gboolean
put_all(SqliteLog *log, DocLogPut *puts, guint count, GError **error)
{
  for (guint i = 0; i < count; i++)
    if (is_behind_taken(puts, i))
      puts[i].outcome = DOC_LOG_TAKEN;
    else if (!put_one(log, &puts[i], error))
      return FALSE;
  return TRUE;
}

/* All of a batch go to the disk at once, or none. */
static gboolean
sqlite_append(DocLog *base, DocLogPut *puts, guint count, GError **error)
{
  SqliteLog *log = (SqliteLog *)base;
  GError *why = NULL;
  if (database_statements_run(log->statements, &why, "BEGIN IMMEDIATE", "") &&
      put_all(log, puts, count, &why) && database_statements_run(log->statements, &why, "COMMIT", ""))
    return TRUE;
  explain(log, &why);
  /* A full disk may have ended the transaction already. */
  if (!sqlite3_get_autocommit(log->db))
    database_statements_run(log->statements, NULL, "ROLLBACK", "");
  for (guint i = 0; i < count; i++)
    puts[i].outcome = DOC_LOG_FAILED;
  g_propagate_error(error, why);
  return FALSE;
}

static GPtrArray *
sqlite_read(DocLog *base, const DocName *document, guint64 from, guint count, gsize bytes, GError **error)
{
  SqliteLog *log = (SqliteLog *)base;
  g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  gint64 id;
  guint64 length;
  if (find(log, document, &id, &length, error) < 0) {
    explain(log, error);
    return NULL;
  }
  /* Beyond what SQLite counts in there is nothing. */
  if (from > length)
    return g_steal_pointer(&entries);
  g_autoptr(DatabaseUse) statement = database_statements_use(
      log->statements, error,
      "SELECT number, bytes FROM entry WHERE document = ? AND number >= ? ORDER BY number LIMIT ?", "iii", id,
      (gint64)from, (gint64)count);
  int step = statement ? 1 : -1;
  for (gsize sum = 0; step > 0 && sum < MAX(bytes, 1) && (step = database_step(statement, error)) > 0;) {
    if ((guint64)sqlite3_column_int64(statement, 0) != from + entries->len) {
      damaged(log, error);
      return NULL;
    }
    const void *entry = sqlite3_column_blob(statement, 1);
    gsize size = (gsize)sqlite3_column_bytes(statement, 1);
    g_ptr_array_add(entries, g_bytes_new(entry, size));
    sum += size;
  }
  if (step < 0) {
    explain(log, error);
    return NULL;
  }
  if (entries->len > 0 || count == 0)
    return g_steal_pointer(&entries);
  damaged(log, error);
  return NULL;
}

static gboolean
sqlite_length(DocLog *base, const DocName *document, guint64 *length, GError **error)
{
  SqliteLog *log = (SqliteLog *)base;
  gint64 id;
  return find(log, document, &id, length, error) >= 0 || explain(log, error);
}

static gboolean
sqlite_size(DocLog *base, guint64 *documents, guint64 *bytes, GError **error)
{
  SqliteLog *log = (SqliteLog *)base;
  g_autoptr(DatabaseUse) statement = database_statements_use(
      log->statements, error, "SELECT count(*), coalesce(sum(bytes), 0) FROM document", "");
  if (!statement || database_step(statement, error) <= 0)
    return explain(log, error);
  *documents = (guint64)sqlite3_column_int64(statement, 0);
  *bytes = (guint64)sqlite3_column_int64(statement, 1);
  return TRUE;
}

static GArray *
sqlite_documents(DocLog *base, const DocName *after, guint count, GError **error)
{
  SqliteLog *log = (SqliteLog *)base;
  g_autoptr(GArray) documents = g_array_new(FALSE, FALSE, sizeof(DocLogDocument));
  g_autoptr(DatabaseUse) statement = database_statements_use(
      log->statements, error, "SELECT name, length, bytes FROM document WHERE name > ? ORDER BY name LIMIT ?",
      "bi", after ? after->bytes : (const guint8 *)"", after ? sizeof after->bytes : (gsize)0, (gint64)count);
  int step = -1;
  while (statement && (step = database_step(statement, error)) > 0) {
    DocLogDocument document = {.length = (guint64)sqlite3_column_int64(statement, 1),
                               .bytes = (guint64)sqlite3_column_int64(statement, 2)};
    if (!database_blob(statement, 0, document.name.bytes, sizeof document.name.bytes)) {
      damaged(log, error);
      return NULL;
    }
    g_array_append_val(documents, document);
  }
  if (step == 0)
    return g_steal_pointer(&documents);
  explain(log, error);
  return NULL;
}

const DocLogKind doc_log_sqlite = {
    .open = sqlite_open,
    .free = sqlite_free,
    .append = sqlite_append,
    .read = sqlite_read,
    .length = sqlite_length,
    .size = sqlite_size,
    .documents = sqlite_documents,
};

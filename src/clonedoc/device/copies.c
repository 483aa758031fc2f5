#include <glib/gstdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/error.h"
#include "clonedoc/device/copies_struct.h"

#define FILE_NAME "documents.db"
#define BUSY_MS   30000
#define LAYOUT    1

/* `text` is the text after change number `at`; the later ones follow in `change`. `pair` (clonedoc/pair.h)
 * has what came from the clone, and of what was edited here the changes up to `paired`. `kept`: a clone's
 * text has come at least once. */
static const char layout[] =
    "CREATE TABLE document("
    " id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, title TEXT NOT NULL, row BLOB NOT NULL,"
    " kept INTEGER NOT NULL DEFAULT 0, text BLOB NOT NULL DEFAULT x'', at INTEGER NOT NULL DEFAULT 0,"
    " last INTEGER NOT NULL DEFAULT 0, copy BLOB NOT NULL DEFAULT (randomblob(16)),"
    " begun INTEGER NOT NULL DEFAULT 0, pair BLOB NOT NULL DEFAULT x'', paired INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE change("
    " document INTEGER NOT NULL REFERENCES document(id) ON DELETE CASCADE, number INTEGER NOT NULL,"
    " op BLOB NOT NULL, PRIMARY KEY(document, number)) WITHOUT ROWID;";

gboolean
doc_copies_begin(DocCopies *copies, GError **error)
{
  return database_run(copies->db, error, "BEGIN IMMEDIATE", "");
}

gboolean
doc_copies_end(DocCopies *copies, gboolean good, GError **error)
{
  if (good && database_run(copies->db, error, "COMMIT", ""))
    return TRUE;
  database_run(copies->db, NULL, "ROLLBACK", "");
  return FALSE;
}

static gboolean
make_layout(DocCopies *copies, GError **error)
{
  if (!doc_copies_begin(copies, error))
    return FALSE;
  gint64 found = -1;
  {
    g_autoptr(DatabaseStatement) version = database_prepare(copies->db, error, "PRAGMA user_version", "");
    if (version && database_step(version, error) > 0)
      found = sqlite3_column_int64(version, 0);
  }
  gboolean good = found >= 0;
  if (good && found > LAYOUT)
    good = doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "%s/" FILE_NAME " was written by a later version of doppel: use that one",
                            copies->folder);
  else if (good && found == 0)
    good = (sqlite3_exec(copies->db, layout, NULL, NULL, NULL) == SQLITE_OK ||
            database_fail(copies->db, error)) &&
           database_run(copies->db, error, "PRAGMA user_version = " G_STRINGIFY(LAYOUT), "");
  return doc_copies_end(copies, good, error);
}

static gboolean
open_database(DocCopies *copies, GError **error)
{
  g_autofree char *path = g_build_filename(copies->folder, FILE_NAME, NULL);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path, &copies->db, flags, NULL) != SQLITE_OK)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "cannot open the documents of this device, %s: %s",
                            path, copies->db ? sqlite3_errmsg(copies->db) : "no memory");
  sqlite3_busy_timeout(copies->db, BUSY_MS);
  copies->statements = database_statements_new(copies->db);
  return database_run(copies->db, error, "PRAGMA journal_mode = WAL", "") &&
         database_run(copies->db, error, "PRAGMA synchronous = FULL", "") &&
         database_run(copies->db, error, "PRAGMA foreign_keys = ON", "") && make_layout(copies, error);
}

DocCopies *
doc_copies_open(const char *folder, GError **error)
{
  g_autoptr(DocCopies) copies = g_new0(DocCopies, 1);
  copies->folder = g_strdup(folder);
  copies->watch = -1;
  if (g_mkdir_with_parents(folder, 0700) != 0) {
    doppel_error_errno(error, "cannot make the folder %s for this device's documents", folder);
    return NULL;
  }
  copies->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (copies->watch < 0 || inotify_add_watch(copies->watch, folder, IN_MODIFY) < 0) {
    doppel_error_errno(error, "cannot watch %s", folder);
    return NULL;
  }
  if (open_database(copies, error))
    return g_steal_pointer(&copies);
  g_prefix_error(error, "%s: ", folder);
  return NULL;
}

void
doc_copies_free(DocCopies *copies)
{
  if (!copies)
    return;
  if (copies->statements)
    database_statements_free(copies->statements);
  sqlite3_close(copies->db);
  io_close(&copies->watch);
  g_free(copies->folder);
  g_free(copies);
}

const char *
doc_copies_folder(const DocCopies *copies)
{
  return copies->folder;
}

int
doc_copies_fd(const DocCopies *copies)
{
  return copies->watch;
}

void
doc_copies_heed(DocCopies *copies)
{
  char buffer[4096];
  while (read(copies->watch, buffer, sizeof buffer) > 0)
    ;
}

void
doc_known_free(DocKnown *known)
{
  if (!known)
    return;
  g_free(known->title);
  g_bytes_unref(known->row);
  g_free(known);
}

static void
known_destroy(gpointer known)
{
  doc_known_free(known);
}

GPtrArray *
doc_copies_list(DocCopies *copies, GError **error)
{
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(known_destroy);
  g_autoptr(DatabaseUse) rows = database_statements_use(
      copies->statements, error, "SELECT name, title, row FROM document ORDER BY title, name", "");
  int step = -1;
  while (rows && (step = database_step(rows, error)) > 0) {
    DocName document;
    if (!database_blob(rows, 0, document.bytes, sizeof document.bytes))
      continue;
    DocKnown *known = g_new0(DocKnown, 1);
    known->document = document;
    known->title = g_strdup((const char *)sqlite3_column_text(rows, 1));
    known->row = g_bytes_new(sqlite3_column_blob(rows, 2), sqlite3_column_bytes(rows, 2));
    g_ptr_array_add(list, known);
  }
  return step == 0 ? g_steal_pointer(&list) : NULL;
}

gboolean
doc_copies_add(DocCopies *copies, const DocKnown *known, GError **error)
{
  gsize length;
  const void *row = g_bytes_get_data(known->row, &length);
  return database_statements_run(
      copies->statements, error,
      "INSERT INTO document(name, title, row) VALUES(?, ?, ?)"
      " ON CONFLICT(name) DO UPDATE SET title = excluded.title, row = excluded.row",
      "btb", known->document.bytes, sizeof known->document.bytes, known->title, row ? row : "", length);
}

static gboolean
is_among(const GPtrArray *known, const DocName *document)
{
  for (guint i = 0; i < known->len; i++)
    if (memcmp(((DocKnown *)known->pdata[i])->document.bytes, document->bytes, sizeof document->bytes) == 0)
      return TRUE;
  return FALSE;
}

gboolean
doc_copies_know(DocCopies *copies, const GPtrArray *known, GError **error)
{
  if (!doc_copies_begin(copies, error))
    return FALSE;
  g_autoptr(GPtrArray) old = doc_copies_list(copies, error);
  gboolean good = old != NULL;
  for (guint i = 0; good && i < old->len; i++) {
    const DocKnown *each = old->pdata[i];
    if (!is_among(known, &each->document))
      good = database_statements_run(copies->statements, error,
                                     "DELETE FROM document WHERE name = ? AND paired = last", "b",
                                     each->document.bytes, sizeof each->document.bytes);
  }
  for (guint i = 0; good && i < known->len; i++)
    good = doc_copies_add(copies, known->pdata[i], error);
  return doc_copies_end(copies, good, error);
}

gboolean
doc_copies_forget(DocCopies *copies, const DocName *document, GError **error)
{
  return database_statements_run(copies->statements, error, "DELETE FROM document WHERE name = ?", "b",
                                 document->bytes, sizeof document->bytes);
}

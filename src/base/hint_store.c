#include "base/hint_store.h"

#include <unistd.h>

#include "base/error.h"

#define BUSY_MS 1000 /* another process that writes a program's hints is over by then */

static gboolean
make_layout(HintStore *store, GError **error)
{
  gint64 tables, version;
  g_autofree char *sql =
      g_strdup_printf("%s;PRAGMA user_version = %d", store->layout->tables, store->layout->version);
  if (!database_number(store->db, error, "SELECT count(*) FROM sqlite_master", &tables))
    return FALSE;
  if (tables == 0)
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK || database_fail(store->db, error);
  /* Another process may just have made them. FALSE without an error: it is of another version. */
  return database_number(store->db, error, "PRAGMA user_version", &version) &&
         version == store->layout->version;
}

static gboolean
try_open(HintStore *store, GError **error)
{
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  gint64 version;
  if (sqlite3_open_v2(store->path, &store->db, flags, NULL) != SQLITE_OK)
    return database_fail(store->db, error);
  sqlite3_busy_timeout(store->db, BUSY_MS);
  if (!database_run(store->db, error, "PRAGMA journal_mode = WAL", "") ||
      !database_run(store->db, error, "PRAGMA synchronous = NORMAL", "") ||
      !database_run(store->db, error, "PRAGMA foreign_keys = ON", "") ||
      !database_number(store->db, error, "PRAGMA user_version", &version))
    return FALSE;
  if (version == store->layout->version)
    return TRUE;
  return database_run(store->db, error, "BEGIN IMMEDIATE", "") && make_layout(store, error) &&
         database_run(store->db, error, "COMMIT", "");
}

static gboolean
is_damaged(sqlite3 *db, const char *question)
{
  int code = sqlite3_exec(db, question, NULL, NULL, NULL);
  g_autoptr(DatabaseStatement) check =
      code == SQLITE_OK ? database_prepare(db, NULL, "PRAGMA quick_check(1)", "") : NULL;
  if (!check)
    return code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_ERROR;
  return sqlite3_step(check) == SQLITE_ROW && g_strcmp0(hint_text(check, 0), "ok") != 0;
}

static void
close_database(HintStore *store)
{
  sqlite3_close(store->db);
  store->db = NULL;
}

static void
open_anew(HintStore *store)
{
  g_autoptr(GError) error = NULL;
  close_database(store);
  static const char *const parts[] = {"", "-wal", "-shm"};
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
    g_autofree char *part = g_strconcat(store->path, parts[i], NULL);
    unlink(part);
  }
  if (try_open(store, &error))
    return;
  g_info("%s are not remembered: %s", store->layout->what, error ? error->message : store->path);
  close_database(store);
}

void
hint_store_open(HintStore *store, const char *path, const HintLayout *layout)
{
  g_autoptr(GError) error = NULL;
  *store = (HintStore){.layout = layout, .path = g_strdup(path)};
  if (try_open(store, &error))
    return;
  if (!error || is_damaged(store->db, "SELECT 1 FROM sqlite_master LIMIT 0")) {
    g_info("the %s that were remembered are given up: %s", layout->what,
           error ? error->message : "another version");
    open_anew(store);
  } else {
    g_info("%s are not remembered: %s", layout->what, error->message);
    close_database(store);
  }
}

void
hint_store_close(HintStore *store)
{
  close_database(store);
  g_clear_pointer(&store->path, g_free);
}

gboolean
hint_store_mend(HintStore *store)
{
  if (!store->db || !is_damaged(store->db, store->layout->trial))
    return FALSE;
  open_anew(store);
  return store->db != NULL;
}

guint64
hint_number(sqlite3_stmt *row, int column, gboolean *good)
{
  gint64 number = sqlite3_column_int64(row, column);
  *good = *good && number >= 0 && sqlite3_column_type(row, column) == SQLITE_INTEGER;
  return (guint64)number;
}

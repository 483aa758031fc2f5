#include "profile/stored.h"

#include <unistd.h>

#include "base/database.h"
#include "base/error.h"
#include "profile/object.h"

enum { BUSY_MS = 5000 };

static void
close_database(sqlite3 *db)
{
  sqlite3_close(db);
}
typedef sqlite3 StoredDatabase;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoredDatabase, close_database)

/* NULL without an error: there is none. */
static sqlite3 *
open_store(const char *path, GError **error)
{
  g_autoptr(StoredDatabase) db = NULL;
  if (access(path, F_OK) < 0)
    return NULL;
  if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
    database_fail(db, error);
    return NULL;
  }
  sqlite3_busy_timeout(db, BUSY_MS);
  return database_run(db, error, "PRAGMA foreign_keys = ON", "") ? g_steal_pointer(&db) : NULL;
}

static void
stored_free(ProfileStored *stored)
{
  g_free(stored->path);
  g_free(stored->changed);
  g_free(stored);
}

static char *
text_of(sqlite3_stmt *row, int column)
{
  return g_strdup((const char *)sqlite3_column_text(row, column));
}

/* FALSE with an error. */
static gboolean
find_changed(sqlite3 *db, gint64 program, char **changed, GError **error)
{
  g_autoptr(DatabaseStatement) row = database_prepare(
      db, error, "SELECT path, build_id, size, mtime, hash FROM object WHERE program = ?", "i", program);
  int step = row ? 0 : -1;
  while (row && !*changed && (step = database_step(row, error)) > 0) {
    g_autoptr(ProfileObject) object = g_new0(ProfileObject, 1);
    object->path = text_of(row, 0);
    object->build_id = text_of(row, 1);
    object->size = (guint64)sqlite3_column_int64(row, 2);
    object->mtime_ns = sqlite3_column_int64(row, 3);
    object->hash = text_of(row, 4);
    if (object->path && !profile_object_is_current(object))
      *changed = g_strdup(object->path);
  }
  return step >= 0;
}

GPtrArray *
profile_stored_list(const char *store, GError **error)
{
  g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)stored_free);
  g_autoptr(GError) problem = NULL;
  g_autoptr(StoredDatabase) db = open_store(store, &problem);
  g_autoptr(DatabaseStatement) row =
      db ? database_prepare(db, &problem,
                            "SELECT id, path, runs, used, count(self), elsewhere + total(self)"
                            " FROM program LEFT JOIN function ON function.program = program.id"
                            " GROUP BY id ORDER BY path",
                            "")
         : NULL;
  int step = 0;
  while (row && (step = database_step(row, &problem)) > 0) {
    ProfileStored *stored = g_new0(ProfileStored, 1);
    g_ptr_array_add(list, stored);
    stored->path = text_of(row, 1);
    stored->runs = (guint64)sqlite3_column_int64(row, 2);
    stored->used = sqlite3_column_int64(row, 3);
    stored->functions = (guint64)sqlite3_column_int64(row, 4);
    stored->instructions = (guint64)sqlite3_column_int64(row, 5);
    if (!find_changed(db, sqlite3_column_int64(row, 0), &stored->changed, &problem))
      break;
  }
  if (!problem)
    return g_steal_pointer(&list);
  g_propagate_prefixed_error(error, g_steal_pointer(&problem), "the profiles in %s cannot be read: ", store);
  return NULL;
}

gboolean
profile_stored_forget(const char *store, const char *path, GError **error)
{
  g_autoptr(StoredDatabase) db = open_store(store, error);
  return db && database_run(db, error, "DELETE FROM program WHERE path = ?", "t", path) &&
         sqlite3_changes(db) > 0;
}

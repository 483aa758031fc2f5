#include "base/database.h"

#include <string.h>

#include "base/error.h"

gboolean
database_fail(sqlite3 *database, GError **error)
{
  const char *path = sqlite3_db_filename(database, "main");
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "the database %s cannot be used: %s", path ? path : "",
                          sqlite3_errmsg(database));
}

static int
bind_all(sqlite3_stmt *statement, const char *kinds, va_list values)
{
  int result = SQLITE_OK;
  for (int i = 1; *kinds && result == SQLITE_OK; kinds++, i++) {
    if (*kinds == 'i') {
      result = sqlite3_bind_int64(statement, i, va_arg(values, gint64));
    } else if (*kinds == 't') {
      result = sqlite3_bind_text(statement, i, va_arg(values, const char *), -1, SQLITE_STATIC);
    } else {
      const void *bytes = va_arg(values, const void *);
      result = sqlite3_bind_blob(statement, i, bytes, va_arg(values, gsize), SQLITE_STATIC);
    }
  }
  return result;
}

static sqlite3_stmt *
prepare(sqlite3 *database, GError **error, const char *sql, const char *kinds, va_list values)
{
  sqlite3_stmt *statement = NULL;
  int result = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
  if (result == SQLITE_OK)
    result = bind_all(statement, kinds, values);
  if (result == SQLITE_OK)
    return statement;
  database_fail(database, error);
  sqlite3_finalize(statement);
  return NULL;
}

sqlite3_stmt *
database_prepare(sqlite3 *database, GError **error, const char *sql, const char *kinds, ...)
{
  va_list values;
  va_start(values, kinds);
  sqlite3_stmt *statement = prepare(database, error, sql, kinds, values);
  va_end(values);
  return statement;
}

int
database_step(sqlite3_stmt *statement, GError **error)
{
  int result = sqlite3_step(statement);
  if (result == SQLITE_ROW)
    return 1;
  if (result == SQLITE_DONE)
    return 0;
  database_fail(sqlite3_db_handle(statement), error);
  return -1;
}

gboolean
database_run(sqlite3 *database, GError **error, const char *sql, const char *kinds, ...)
{
  va_list values;
  va_start(values, kinds);
  g_autoptr(DatabaseStatement) statement = prepare(database, error, sql, kinds, values);
  va_end(values);
  int step = statement ? 1 : -1;
  while (step > 0)
    step = database_step(statement, error);
  return step == 0;
}

gboolean
database_number(sqlite3 *database, GError **error, const char *sql, gint64 *number)
{
  g_autoptr(DatabaseStatement) statement = database_prepare(database, error, sql, "");
  if (!statement || database_step(statement, error) <= 0)
    return FALSE;
  *number = sqlite3_column_int64(statement, 0);
  return TRUE;
}

gboolean
database_begin(sqlite3 *database, GError **error)
{
  return database_run(database, error, "BEGIN IMMEDIATE", "");
}

gboolean
database_end(sqlite3 *database, gboolean good, GError **error)
{
  if (good && database_run(database, error, "COMMIT", ""))
    return TRUE;
  database_run(database, NULL, "ROLLBACK", "");
  return FALSE;
}

static gboolean
is_later(sqlite3 *database, const char *program, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                          "%s was written by a later version of %s: use that one",
                          sqlite3_db_filename(database, "main"), program);
}

static gboolean
make_tables(sqlite3 *database, const DatabaseLayout *layout, GError **error)
{
  g_autofree char *sql = g_strdup_printf("%s PRAGMA application_id = %d; PRAGMA user_version = %d",
                                         layout->tables, layout->application, layout->version);
  return sqlite3_exec(database, sql, NULL, NULL, NULL) == SQLITE_OK || database_fail(database, error);
}

static gboolean
check_tables(sqlite3 *database, const DatabaseLayout *layout, gint64 version, GError **error)
{
  gint64 application;
  if (!database_number(database, error, "PRAGMA application_id", &application))
    return FALSE;
  if (application != layout->application)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s is a database, but not %s: name another one",
                            sqlite3_db_filename(database, "main"), layout->what);
  return version <= layout->version || is_later(database, layout->program, error);
}

/* Who closes it undoes what was begun; until then SQLite says why it failed. */
gboolean
database_lay_out(sqlite3 *database, const DatabaseLayout *layout, GError **error)
{
  gint64 version, tables;
  return database_begin(database, error) &&
         database_number(database, error, "PRAGMA user_version", &version) &&
         database_number(database, error, "SELECT count(*) FROM sqlite_master", &tables) &&
         (version == 0 && tables == 0 ? make_tables(database, layout, error)
                                      : check_tables(database, layout, version, error)) &&
         database_run(database, error, "COMMIT", "");
}

static gboolean
run_steps(sqlite3 *database, const char *const *steps, guint count, const char *program, GError **error)
{
  gint64 version;
  if (!database_number(database, error, "PRAGMA user_version", &version))
    return FALSE;
  for (gint64 i = MAX(version, 0); i < count; i++)
    if (sqlite3_exec(database, steps[i], NULL, NULL, NULL) != SQLITE_OK)
      return database_fail(database, error);
  return version <= count || is_later(database, program, error);
}

gboolean
database_update(sqlite3 *database, const char *const *steps, guint count, const char *program, GError **error)
{
  gint64 version;
  if (!database_number(database, error, "PRAGMA user_version", &version))
    return FALSE;
  if (version == count) /* who writes to it may take their time */
    return TRUE;
  return database_begin(database, error) &&
         database_end(database, run_steps(database, steps, count, program, error), error);
}

struct DatabaseStatements {
  sqlite3 *database;
  GHashTable *prepared; /* const char * -> sqlite3_stmt */
};

static void
finalize(gpointer statement)
{
  sqlite3_finalize(statement);
}

DatabaseStatements *
database_statements_new(sqlite3 *database)
{
  DatabaseStatements *statements = g_new0(DatabaseStatements, 1);
  statements->database = database;
  statements->prepared = g_hash_table_new_full(NULL, NULL, NULL, finalize);
  return statements;
}

void
database_statements_free(DatabaseStatements *statements)
{
  if (!statements)
    return;
  g_hash_table_unref(statements->prepared);
  g_free(statements);
}

static sqlite3_stmt *
use(DatabaseStatements *statements, GError **error, const char *sql, const char *kinds, va_list values)
{
  sqlite3_stmt *statement = g_hash_table_lookup(statements->prepared, sql);
  int result = SQLITE_OK;
  if (!statement) {
    result = sqlite3_prepare_v3(statements->database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (result == SQLITE_OK)
      g_hash_table_insert(statements->prepared, (gpointer)sql, statement);
  }
  if (result == SQLITE_OK)
    result = bind_all(statement, kinds, values);
  if (result == SQLITE_OK)
    return statement;
  database_fail(statements->database, error);
  return NULL;
}

sqlite3_stmt *
database_statements_use(DatabaseStatements *statements, GError **error, const char *sql, const char *kinds,
                        ...)
{
  va_list values;
  va_start(values, kinds);
  sqlite3_stmt *statement = use(statements, error, sql, kinds, values);
  va_end(values);
  return statement;
}

gboolean
database_statements_run(DatabaseStatements *statements, GError **error, const char *sql, const char *kinds,
                        ...)
{
  va_list values;
  va_start(values, kinds);
  g_autoptr(DatabaseUse) statement = use(statements, error, sql, kinds, values);
  va_end(values);
  int step = statement ? 1 : -1;
  while (step > 0)
    step = database_step(statement, error);
  return step == 0;
}

gboolean
database_blob(sqlite3_stmt *statement, int column, void *bytes, gsize length)
{
  if (sqlite3_column_bytes(statement, column) != length)
    return FALSE;
  if (length > 0)
    memcpy(bytes, sqlite3_column_blob(statement, column), length);
  return TRUE;
}

/* SQLite with the house's manners: one call per statement, errors as GError. */
#pragma once

#include <glib.h>
#include <sqlite3.h>

/* A statement that is finalised at the end of its scope. */
typedef sqlite3_stmt DatabaseStatement;
static inline void
database_finalize(sqlite3_stmt *statement)
{
  sqlite3_finalize(statement);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DatabaseStatement, database_finalize)

/* Prepares `sql` and binds one value per letter of `kinds`: 'i' a gint64, 't' a const char *, 'b' a const
 * void * and a gsize (neither copied: they must live until the statement is gone). NULL with an error. */
sqlite3_stmt *database_prepare(sqlite3 *database, GError **error, const char *sql, const char *kinds, ...);

/* Statements that are prepared once. SQL is known by its address: a literal, of one place in a program. */
typedef struct DatabaseStatements DatabaseStatements;
DatabaseStatements *database_statements_new(sqlite3 *database);
void database_statements_free(DatabaseStatements *statements); /* before the database is closed */

/* As database_prepare(); the result is used once at a time, and stays the statements'. */
sqlite3_stmt *database_statements_use(DatabaseStatements *statements, GError **error, const char *sql,
                                      const char *kinds, ...);

/* As database_run(). */
gboolean database_statements_run(DatabaseStatements *statements, GError **error, const char *sql,
                                 const char *kinds, ...);

/* One of them, which is reset at the end of its scope: else its reading would hold up checkpoints. */
typedef sqlite3_stmt DatabaseUse;
static inline void
database_use_end(sqlite3_stmt *statement)
{
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DatabaseUse, database_use_end)

/* The next row: 1; 0 after the last; -1 with an error. */
int database_step(sqlite3_stmt *statement, GError **error);

/* Prepares, binds and runs to the end. */
gboolean database_run(sqlite3 *database, GError **error, const char *sql, const char *kinds, ...);

/* The first column of the first row of what it gives. */
gboolean database_number(sqlite3 *database, GError **error, const char *sql, gint64 *number);

/* A transaction that writes; and its end, which undoes all of it where it was not `good`, or cannot be kept.
 */
gboolean database_begin(sqlite3 *database, GError **error);
gboolean database_end(sqlite3 *database, gboolean good, GError **error);

/* What is in a database. */
typedef struct {
  gint32 application; /* so that nobody else's is taken for one of these */
  int version;
  const char *tables;  /* SQL that makes them */
  const char *what;    /* "a log of documents": what others are not */
  const char *program; /* that writes such */
} DatabaseLayout;

/* Makes the tables in a new file, or holds what is there against the layout; two processes may be at it.
 * USAGE where it is something else, UNSUPPORTED where a later version wrote it. FALSE: it is to be closed. */
gboolean database_lay_out(sqlite3 *database, const DatabaseLayout *layout, GError **error);

/* Runs those of the steps (SQL) that it lacks: each sets the user_version to its number, from 1 on.
 * UNSUPPORTED where a later version of the program wrote it. */
gboolean database_update(sqlite3 *database, const char *const *steps, guint count, const char *program,
                         GError **error);

/* Sets `error` from the database's last failure. FALSE. */
gboolean database_fail(sqlite3 *database, GError **error);

/* Copies a blob of exactly `length` bytes. FALSE where it is another length. */
gboolean database_blob(sqlite3_stmt *statement, int column, void *bytes, gsize length);

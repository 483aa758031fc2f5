/* Whose a database is, and of which version. */
#include <glib/gstdio.h>

#include "base/database.h"
#include "base/error.h"

typedef struct {
  char *folder, *path;
  sqlite3 *db;
} Bed;

static const DatabaseLayout layout = {
    .application = 0x646f7054,
    .version = 2,
    .tables = "CREATE TABLE thing(number INTEGER);",
    .what = "a test's",
    .program = "the test",
};
static const char *const steps[] = {
    "CREATE TABLE thing(number INTEGER); PRAGMA user_version = 1;",
    "ALTER TABLE thing ADD COLUMN name TEXT; PRAGMA user_version = 2;",
};

static void
reopen(Bed *bed)
{
  sqlite3_close(bed->db);
  g_assert_cmpint(sqlite3_open(bed->path, &bed->db), ==, SQLITE_OK);
}

static void
set_up(Bed *bed, gconstpointer data)
{
  bed->folder = g_dir_make_tmp("doppel-database-XXXXXX", NULL);
  bed->path = g_build_filename(bed->folder, "it.db", NULL);
  reopen(bed);
}

static void
tear_down(Bed *bed, gconstpointer data)
{
  sqlite3_close(bed->db);
  g_unlink(bed->path);
  g_rmdir(bed->folder);
  g_free(bed->path);
  g_free(bed->folder);
}

static void
run(Bed *bed, const char *sql)
{
  g_assert_cmpint(sqlite3_exec(bed->db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
}

static gint64
number(Bed *bed, const char *sql)
{
  g_autoptr(GError) error = NULL;
  gint64 found = -1;
  g_assert_true(database_number(bed->db, &error, sql, &found));
  g_assert_no_error(error);
  return found;
}

static void
test_layout(Bed *bed, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  for (guint i = 0; i < 2; i++) {
    g_assert_true(database_lay_out(bed->db, &layout, &error));
    g_assert_no_error(error);
    g_assert_cmpint(number(bed, "PRAGMA application_id"), ==, layout.application);
    g_assert_cmpint(number(bed, "PRAGMA user_version"), ==, layout.version);
    g_assert_cmpint(number(bed, "SELECT count(*) FROM thing"), ==, i);
    run(bed, "INSERT INTO thing VALUES(1)");
    reopen(bed);
  }
}

static void
test_foreign(Bed *bed, gconstpointer data)
{
  static const struct {
    const char *sql;
    DoppelErrorCode code;
  } cases[] = {
      {"CREATE TABLE other(number INTEGER)", DOPPEL_ERROR_USAGE},
      {"PRAGMA application_id = 1; PRAGMA user_version = 2", DOPPEL_ERROR_USAGE},
      {"PRAGMA application_id = -1; PRAGMA user_version = -1", DOPPEL_ERROR_USAGE},
      {"PRAGMA application_id = 1685024852; PRAGMA user_version = 3", DOPPEL_ERROR_UNSUPPORTED},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    run(bed, cases[i].sql);
    gint64 tables = number(bed, "SELECT count(*) FROM sqlite_master");
    g_assert_false(database_lay_out(bed->db, &layout, &error));
    g_assert_error(error, DOPPEL_ERROR, (int)cases[i].code);
    reopen(bed);
    g_assert_cmpint(number(bed, "SELECT count(*) FROM sqlite_master"), ==, tables);
  }
}

static void
test_update(Bed *bed, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  for (guint count = 1; count <= G_N_ELEMENTS(steps); count++)
    for (guint i = 0; i < 2; i++) {
      g_assert_true(database_update(bed->db, steps, count, "the test", &error));
      g_assert_no_error(error);
      g_assert_cmpint(number(bed, "PRAGMA user_version"), ==, count);
    }
  run(bed, "INSERT INTO thing VALUES(1, 'one')");
  g_assert_false(database_update(bed->db, steps, 1, "the test", &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
}

/* A step that fails takes those before it with it. */
static void
test_update_fails(Bed *bed, gconstpointer data)
{
  static const char *const wrong[] = {"CREATE TABLE thing(number INTEGER); PRAGMA user_version = 1;",
                                      "CREATE TABLE thing(number INTEGER); PRAGMA user_version = 2;"};
  g_autoptr(GError) error = NULL;
  g_assert_false(database_update(bed->db, wrong, G_N_ELEMENTS(wrong), "the test", &error));
  g_assert_nonnull(error);
  g_assert_cmpint(number(bed, "PRAGMA user_version"), ==, 0);
  g_assert_cmpint(number(bed, "SELECT count(*) FROM sqlite_master"), ==, 0);
}

static void
test_end(Bed *bed, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  run(bed, "CREATE TABLE thing(number INTEGER)");
  for (guint good = 0; good < 2; good++) {
    g_assert_true(database_begin(bed->db, &error));
    run(bed, "INSERT INTO thing VALUES(1)");
    g_assert_cmpint(database_end(bed->db, good, &error), ==, good);
    g_assert_no_error(error);
    g_assert_true(sqlite3_get_autocommit(bed->db));
    g_assert_cmpint(number(bed, "SELECT count(*) FROM thing"), ==, good);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add("/database/layout", Bed, NULL, set_up, test_layout, tear_down);
  g_test_add("/database/foreign", Bed, NULL, set_up, test_foreign, tear_down);
  g_test_add("/database/update", Bed, NULL, set_up, test_update, tear_down);
  g_test_add("/database/update-fails", Bed, NULL, set_up, test_update_fails, tear_down);
  g_test_add("/database/end", Bed, NULL, set_up, test_end, tear_down);
  return g_test_run();
}

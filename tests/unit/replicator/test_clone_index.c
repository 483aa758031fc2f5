/* The index that a device keeps of one clone: what makes it be forgotten, and what does not. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "replicator/clone_index.h"
#include "replicator/sync_root.h"
#include "rig.h"

#define HEAD 7u

typedef struct {
  char *directory, *path, *root;
} Fixture;

static CloneIndex *
open_it(Fixture *fixture)
{
  g_autoptr(GError) error = NULL;
  CloneIndex *index = clone_index_open(fixture->directory, &error);
  g_assert_no_error(error);
  return index;
}

/* Runs statements of a test's own. */
static void
run(sqlite3 *db, const char *text)
{
  g_assert_cmpint(sqlite3_exec(db, text, NULL, NULL, NULL), ==, SQLITE_OK);
}

static sqlite3 *
open_database(Fixture *fixture)
{
  sqlite3 *db;
  g_assert_cmpint(sqlite3_open(fixture->path, &db), ==, SQLITE_OK);
  sqlite3_busy_timeout(db, 60000);
  return db;
}

/* One in which something was told, and whose contents are not found by the database yet. */
static void
set_up(Fixture *fixture, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  fixture->directory = g_dir_make_tmp("doppel-index-XXXXXX", NULL);
  fixture->path = g_build_filename(fixture->directory, "index", NULL);
  fixture->root = g_build_filename(fixture->directory, "root", NULL);
  g_assert_cmpint(g_mkdir(fixture->root, 0700), ==, 0);
  CloneIndex *index = open_it(fixture);
  index->state.head = HEAD;
  TreeNode node = {.id = TREE_NONE, .parent = TREE_NONE, .name = (char *)""};
  node.facts.type = REPLICA_DIRECTORY;
  node.facts.dev = node.facts.ino = G_MAXINT32;
  g_assert_cmpint(tree_index_put(index->tree, 1, &node), ==, TREE_ROOT);
  g_assert_true(clone_index_save(index, &error));
  g_assert_no_error(error);
  clone_index_free(index);
  sqlite3 *db = open_database(fixture);
  run(db, "DROP INDEX IF EXISTS by_content");
  sqlite3_close(db);
}

static void
tear_down(Fixture *fixture, gconstpointer unused)
{
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", fixture->directory);
  g_assert_cmpint(system(command), ==, 0);
  g_free(fixture->directory);
  g_free(fixture->path);
  g_free(fixture->root);
}

static void
assert_kept(Fixture *fixture, gboolean kept)
{
  g_autoptr(CloneIndex) index = open_it(fixture);
  g_assert_cmpuint(index->state.head, ==, kept ? HEAD : 0);
}

/* Somebody else of this user's looks into it: nothing is lost, whether they let this one in or not. */
static void
test_locked(Fixture *fixture, gconstpointer unused)
{
  sqlite3 *db = open_database(fixture);
  g_autoptr(GError) error = NULL;
  run(db, "BEGIN IMMEDIATE"); /* that contents are found faster can wait */
  assert_kept(fixture, TRUE);
  run(db, "COMMIT");
  sqlite3_close(db);
  db = open_database(fixture);
  run(db, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; INSERT INTO things VALUES('x', 'y');");
  g_assert_null(clone_index_open(fixture->directory, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  run(db, "COMMIT");
  sqlite3_close(db);
  assert_kept(fixture, TRUE);
}

static void
test_full(Fixture *fixture, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *filler = g_build_filename(fixture->directory, "mounted", NULL);
  g_autofree char *copy = g_strdup_printf("cp '%s' '%s'", fixture->path, filler);
  g_autofree char *fill = g_strdup_printf("cat /dev/zero > '%s/filler' 2> /dev/null", filler);
  g_assert_cmpint(g_mkdir(filler, 0700), ==, 0);
  if (mount("tmpfs", filler, "tmpfs", 0, "size=1m") < 0) {
    g_test_skip("needs to mount");
    return;
  }
  Fixture full = {.directory = filler, .path = g_build_filename(filler, "index", NULL)};
  g_assert_cmpint(system(copy), ==, 0);
  g_autofree char *lock = g_build_filename(filler, "lock", NULL);
  g_assert_true(g_file_set_contents(lock, "x", -1, NULL));
  g_assert_cmpint(system(fill), !=, 0);
  g_assert_null(clone_index_open(filler, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_autofree char *file = g_build_filename(filler, "filler", NULL);
  g_assert_cmpint(g_unlink(file), ==, 0);
  assert_kept(&full, TRUE);
  g_free(full.path);
  g_assert_cmpint(umount2(filler, MNT_DETACH), ==, 0);
}

static void
test_damaged(Fixture *fixture, gconstpointer unused)
{
  g_assert_true(
      g_file_set_contents(fixture->path, "this is no database, and long enough to be seen", -1, NULL));
  assert_kept(fixture, FALSE);
}

static void
test_version(Fixture *fixture, gconstpointer unused)
{
  sqlite3 *db = open_database(fixture);
  run(db, "UPDATE things SET value=CAST('0' AS BLOB) WHERE name='version'");
  sqlite3_close(db);
  assert_kept(fixture, FALSE);
}

static void
test_other_tables(Fixture *fixture, gconstpointer unused)
{
  sqlite3 *db = open_database(fixture);
  run(db, "DROP INDEX by_id; ALTER TABLE nodes RENAME COLUMN id TO number");
  sqlite3_close(db);
  assert_kept(fixture, FALSE);
}

/* A look neither waits for who changes it nor changes it. */
static void
test_look(Fixture *fixture, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  sqlite3 *db = open_database(fixture);
  run(db, "BEGIN IMMEDIATE; INSERT INTO things VALUES('x', 'y');");
  CloneIndex *index;
  gint64 took = G_MAXINT64;
  /* One that waits does each time, a machine that is busy does not stand still each time. */
  for (guint i = 0; i < 5 && took >= 4 * G_USEC_PER_SEC; i++) {
    gint64 begun = g_get_monotonic_time();
    index = clone_index_look(fixture->directory, &error);
    g_assert_no_error(error);
    took = g_get_monotonic_time() - begun;
    g_assert_cmpuint(index->state.head, ==, HEAD);
    clone_index_free(index);
  }
  g_assert_cmpint(took, <, 4 * G_USEC_PER_SEC);
  run(db, "COMMIT");
  index = clone_index_look(fixture->directory, &error);
  g_assert_no_error(error);
  tree_index_told(index->tree, 9);
  g_assert_false(clone_index_save(index, &error));
  clone_index_free(index);
  run(db, "CREATE INDEX by_content ON nodes(size)"); /* it is not there yet */
  sqlite3_close(db);
}

/* One that is begun this very moment. */
static void
test_look_early(Fixture *fixture, gconstpointer unused)
{
  static const char *const states[] = {
      "", "CREATE TABLE things(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID"};
  for (guint i = 0; i < G_N_ELEMENTS(states); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(g_unlink(fixture->path), ==, 0);
    g_assert_true(g_file_set_contents(fixture->path, "", 0, NULL));
    sqlite3 *db = open_database(fixture);
    run(db, states[i]);
    sqlite3_close(db);
    g_assert_null(clone_index_look(fixture->directory, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  }
}

/* The root is another directory than was told, and nothing is in it. */
static void
test_bare_root(Fixture *fixture, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *file = g_build_filename(fixture->root, "file", NULL);
  struct stat status;
  g_autoptr(CloneIndex) index = open_it(fixture);
  g_assert_true(sync_root_is_bare(index, fixture->root));
  g_assert_true(g_file_set_contents(file, "x", -1, NULL));
  g_assert_false(sync_root_is_bare(index, fixture->root));
  g_assert_cmpint(g_unlink(file), ==, 0);
  g_assert_cmpint(stat(fixture->root, &status), ==, 0);
  g_auto(TreeNode) node = {0};
  g_assert_true(tree_index_node(index->tree, TREE_ROOT, &node));
  node.facts.ino = status.st_ino;
  tree_index_touch(index->tree, &node);
  g_assert_false(sync_root_is_bare(index, fixture->root));
  g_assert_true(clone_index_reset(index, &error));
  g_assert_false(sync_root_is_bare(index, fixture->root));
}

int
main(int argc, char **argv)
{
  const char *why = rig_enter(&argc, &argv);
  g_test_init(&argc, &argv, NULL);
  if (why) {
    g_print("1..0 # SKIP %s\n", why);
    return 0;
  }
#define INDEX(name, function) g_test_add("/clone-index/" name, Fixture, NULL, set_up, function, tear_down)
  INDEX("locked", test_locked);
  INDEX("full", test_full);
  INDEX("damaged", test_damaged);
  INDEX("version", test_version);
  INDEX("other-tables", test_other_tables);
  INDEX("look", test_look);
  INDEX("look-early", test_look_early);
  INDEX("bare-root", test_bare_root);
  return g_test_run();
}

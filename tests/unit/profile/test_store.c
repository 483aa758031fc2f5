#include <fcntl.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#include "profile/store.h"
#include "rig.h"

typedef struct {
  char *folder, *store, *program, *library;
} Bed;

static void
copy(const char *fixture, const char *to)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *from = g_build_filename(g_getenv("FIXTURES"), fixture, NULL);
  g_autofree char *contents = NULL;
  gsize length;
  g_file_get_contents(from, &contents, &length, &error);
  g_assert_no_error(error);
  g_file_set_contents(to, contents, length, &error);
  g_assert_no_error(error);
}

/* A program without a build-id and a library with one (any ELF file is as good). */
static void
set_up(Bed *bed, gconstpointer unused)
{
  bed->folder = g_dir_make_tmp("doppel-store-XXXXXX", NULL);
  bed->store = g_build_filename(bed->folder, "profiles", NULL);
  bed->program = g_build_filename(bed->folder, "program", NULL);
  bed->library = g_build_filename(bed->folder, "library", NULL);
  copy("subject-nameless", bed->program);
  copy("subject", bed->library);
}

static void
tear_down(Bed *bed, gconstpointer unused)
{
  g_autoptr(GDir) folder = g_dir_open(bed->folder, 0, NULL);
  for (const char *name; (name = g_dir_read_name(folder));) {
    g_autofree char *path = g_build_filename(bed->folder, name, NULL);
    g_remove(path);
  }
  g_rmdir(bed->folder);
  g_free(bed->folder);
  g_free(bed->store);
  g_free(bed->program);
  g_free(bed->library);
}

static ProfileObject *
object(const char *path)
{
  g_autoptr(GError) error = NULL;
  ProfileObject *read = profile_object_read(path, &error);
  g_assert_no_error(error);
  return read;
}

/* One run: main calls the library's helper so often, and with another input something else as well. */
static ProfileGraph *
run_of(const Bed *bed, guint calls, gboolean more)
{
  g_autoptr(ProfileObject) program = object(bed->program);
  g_autoptr(ProfileObject) library = object(bed->library);
  ProfileGraph *graph = profile_graph_new();
  graph->runs = 1;
  graph->elsewhere = 5;
  guint first = profile_graph_add_object(graph, program), second = profile_graph_add_object(graph, library);
  guint from = profile_graph_add_function(graph, first, 0x1000, "main");
  guint to = profile_graph_add_function(graph, second, 0x500, NULL);
  *profile_graph_function(graph, from) =
      (ProfileFunction){first, 0x1000, profile_graph_function(graph, from)->name, 10, 1, 0, 10 + calls};
  *profile_graph_function(graph, to) = (ProfileFunction){second, 0x500, NULL, calls, calls, 2, calls};
  *profile_graph_add_arc(graph, from, to) = (ProfileArc){from, to, calls, 2, calls};
  if (more) {
    guint other = profile_graph_add_function(graph, first, 0x2000, "other");
    profile_graph_function(graph, other)->self = profile_graph_function(graph, other)->inclusive = 7;
    profile_graph_function(graph, other)->calls = 1;
  }
  return graph;
}

static gboolean
add(const Bed *bed, const ProfileGraph *graph)
{
  g_autoptr(ProfileStore) store = profile_store_open(bed->store);
  g_autoptr(ProfileObject) program = object(bed->program);
  return profile_store_add(store, program, graph);
}

static gboolean
add_run(const Bed *bed, guint calls, gboolean more)
{
  g_autoptr(ProfileGraph) graph = run_of(bed, calls, more);
  return add(bed, graph);
}

static ProfileGraph *
find(const Bed *bed, char **changed)
{
  g_autofree char *unused = NULL;
  g_autoptr(ProfileStore) store = profile_store_open(bed->store);
  g_autoptr(ProfileObject) program = object(bed->program);
  return profile_store_find(store, program, changed ? changed : &unused);
}

static guint
known_runs(const Bed *bed)
{
  g_autoptr(ProfileGraph) graph = find(bed, NULL);
  return graph ? graph->runs : 0;
}

/* Nothing is found, and since this file changed (NULL: for no such reason). */
static void
expect_stale(const Bed *bed, const char *path)
{
  g_autofree char *changed = NULL;
  g_autoptr(ProfileGraph) graph = find(bed, &changed);
  g_assert_null(graph);
  g_assert_cmpstr(changed, ==, path);
}

static void
test_kept(Bed *bed, gconstpointer unused)
{
  expect_stale(bed, NULL);
  g_autoptr(ProfileGraph) graph = run_of(bed, 3, TRUE);
  g_assert_true(add(bed, graph));
  g_autoptr(ProfileGraph) found = find(bed, NULL);
  g_assert_nonnull(found);
  g_autofree char *expected = rig_text(graph), *text = rig_text(found);
  g_assert_cmpstr(text, ==, expected);
}

static void
test_runs_add_up(Bed *bed, gconstpointer unused)
{
  g_assert_true(add_run(bed, 3, FALSE));
  g_assert_true(add_run(bed, 40, TRUE));
  g_autoptr(ProfileGraph) found = find(bed, NULL);
  g_assert_cmpuint(found->runs, ==, 2);
  g_assert_cmpuint(found->elsewhere, ==, 10);
  rig_expect(found, "main", 20, 2, 0, 63);
  rig_expect(found, "0x500", 43, 43, 4, 43);
  rig_expect(found, "other", 7, 1, 0, 7);
  rig_expect_arc(found, "main", "0x500", 43, 4, 43);
  g_assert_cmpuint(found->functions->len, ==, 3);
  g_assert_cmpuint(found->objects->len, ==, 2);
}

static void
test_largest_numbers(Bed *bed, gconstpointer unused)
{
  g_autoptr(ProfileGraph) graph = run_of(bed, 3, FALSE);
  profile_graph_function(graph, 0)->self = G_MAXINT64 - 1;
  g_assert_true(add(bed, graph));
  g_assert_true(add(bed, graph));
  g_autoptr(ProfileGraph) found = find(bed, NULL);
  g_assert_cmpuint(rig_find(found, "main")->self, ==, G_MAXINT64);
}

static void
append(const char *path, const char *bytes)
{
  g_autofree char *contents = NULL;
  gsize length;
  g_assert_true(g_file_get_contents(path, &contents, &length, NULL));
  g_autoptr(GString) longer = g_string_new_len(contents, length);
  g_string_append(longer, bytes);
  g_assert_true(g_file_set_contents(path, longer->str, longer->len, NULL));
}

static void
set_time(const char *path, gint64 seconds)
{
  struct timespec times[] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
  g_assert_cmpint(utimensat(AT_FDCWD, path, times, 0), ==, 0);
}

/* Without a build-id: size and contents. Another time alone is no change. */
static void
test_program_changes(Bed *bed, gconstpointer unused)
{
  g_assert_true(add_run(bed, 3, FALSE));
  set_time(bed->program, 1000);
  g_assert_cmpuint(known_runs(bed), ==, 1);
  append(bed->program, "x");
  expect_stale(bed, bed->program);
  g_assert_true(add_run(bed, 3, FALSE));
  g_assert_cmpuint(known_runs(bed), ==, 1);
  append(bed->program, "y");
  copy("subject-nameless", bed->program);
  append(bed->program, "z");
  set_time(bed->program, 2000);
  expect_stale(bed, bed->program);
}

/* With a build-id, that counts: not the time, nor what strip(1) takes away. */
static void
test_library_changes(Bed *bed, gconstpointer unused)
{
  g_assert_true(add_run(bed, 3, FALSE));
  set_time(bed->library, 1000);
  copy("subject-stripped", bed->library);
  g_assert_cmpuint(known_runs(bed), ==, 1);
  copy("subject-nameless", bed->library);
  append(bed->library, "x");
  expect_stale(bed, bed->library);
  g_assert_true(add_run(bed, 8, FALSE));
  g_autoptr(ProfileGraph) found = find(bed, NULL);
  g_assert_cmpuint(found->runs, ==, 1);
  rig_expect(found, "0x500", 8, 8, 2, 8);
  g_assert_cmpint(g_remove(bed->library), ==, 0);
  expect_stale(bed, bed->library);
}

/* Files that were made reproducibly may have one length and time, whatever is in them. */
static void
test_library_changes_unseen(Bed *bed, gconstpointer unused)
{
  set_time(bed->library, 1000);
  g_assert_true(add_run(bed, 3, FALSE));
  g_assert_cmpuint(known_runs(bed), ==, 1);
  g_autofree char *contents = NULL;
  gsize length;
  g_assert_true(g_file_get_contents(bed->library, &contents, &length, NULL));
  char *note = memmem(contents, length, "\x03\0\0\0GNU", 8);
  g_assert_nonnull(note);
  note[8] ^= 1; /* the build-id's first byte */
  g_assert_true(g_file_set_contents(bed->library, contents, length, NULL));
  set_time(bed->library, 1000);
  expect_stale(bed, bed->library);
}

/* A program is its contents, wherever it lies. */
static void
test_moved(Bed *bed, gconstpointer unused)
{
  g_assert_true(add_run(bed, 3, FALSE));
  g_autofree char *moved = g_build_filename(bed->folder, "moved", NULL);
  g_assert_cmpint(g_rename(bed->program, moved), ==, 0);
  g_free(bed->program);
  bed->program = g_steal_pointer(&moved);
  g_assert_cmpuint(known_runs(bed), ==, 1);
  g_assert_true(add_run(bed, 4, FALSE));
  g_autoptr(ProfileGraph) found = find(bed, NULL);
  g_assert_cmpuint(found->runs, ==, 2);
  g_assert_cmpuint(found->functions->len, ==, 2);
  rig_expect(found, "main", 20, 2, 0, 27);
}

/* A store that cannot be read costs its contents and no more: the next profile is kept. */
static void
expect_new_start(const Bed *bed)
{
  g_assert_cmpuint(known_runs(bed), ==, 0);
  g_assert_true(add_run(bed, 3, FALSE));
  g_assert_cmpuint(known_runs(bed), ==, 1);
}

static void
test_no_database(Bed *bed, gconstpointer unused)
{
  g_assert_true(
      g_file_set_contents(bed->store, "This is no database, it is a text of some length.", -1, NULL));
  expect_new_start(bed);
}

static void
run_sql(const Bed *bed, const char *sql)
{
  sqlite3 *db;
  g_assert_cmpint(sqlite3_open(bed->store, &db), ==, SQLITE_OK);
  g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
  sqlite3_close(db);
}

static void
test_other_version(Bed *bed, gconstpointer unused)
{
  g_assert_true(add_run(bed, 3, FALSE));
  run_sql(bed, "PRAGMA user_version = 99");
  expect_new_start(bed);
  run_sql(bed, "DROP TABLE arc");
  expect_new_start(bed);
}

/* Every page overwritten in turn: whatever is found then, it is no crash and no error, and can be added to.
 */
static void
test_damaged_pages(Bed *bed, gconstpointer unused)
{
  guint lost = 0;
  g_assert_true(add_run(bed, 3, TRUE));
  run_sql(bed, "PRAGMA wal_checkpoint(TRUNCATE)");
  g_autofree char *whole = NULL;
  gsize length;
  g_assert_true(g_file_get_contents(bed->store, &whole, &length, NULL));
  for (gsize at = 0; at + 512 <= length; at += 512) {
    g_autofree char *damaged = g_memdup2(whole, length);
    memset(damaged + at, 0xa5, 512);
    g_assert_true(g_file_set_contents(bed->store, damaged, length, NULL));
    lost += known_runs(bed) == 0;
    g_assert_true(add_run(bed, 3, FALSE));
    g_assert_cmpuint(known_runs(bed), >=, 1);
  }
  g_test_message("%u of %" G_GSIZE_FORMAT " damages cost the contents", lost, length / 512);
  g_assert_cmpuint(lost, >, 0);
}

/* Rows that name what is not there, or numbers that are none. */
static void
test_senseless_rows(Bed *bed, gconstpointer unused)
{
  static const char *const damages[] = {
      "UPDATE arc SET callee = 7",
      "UPDATE arc SET calls = -1",
      "UPDATE arc SET nested = calls + 1",
      "UPDATE function SET object = 9",
      "UPDATE function SET calls = 'many'",
      "UPDATE function SET self = 1e300",
      "UPDATE object SET path = 'same'",
      "UPDATE object SET build_id = NULL, hash = NULL",
      "UPDATE program SET runs = 0",
      "UPDATE program SET elsewhere = -5",
      "UPDATE function SET offset = 1, object = 0",
  };
  for (guint i = 0; i < G_N_ELEMENTS(damages); i++) {
    g_assert_true(add_run(bed, 3, FALSE));
    g_assert_cmpuint(known_runs(bed), ==, 1);
    run_sql(bed, damages[i]);
    g_test_message("%s", damages[i]);
    expect_new_start(bed);
    run_sql(bed, "DELETE FROM program; DELETE FROM object; DELETE FROM function; DELETE FROM arc");
  }
}

/* Where nothing can be written, nothing is remembered. */
static void
test_no_place(Bed *bed, gconstpointer unused)
{
  g_assert_cmpint(g_mkdir(bed->store, 0700), ==, 0);
  g_assert_false(add_run(bed, 3, FALSE));
  g_assert_cmpuint(known_runs(bed), ==, 0);
  g_assert_cmpint(g_rmdir(bed->store), ==, 0);
}

/* Another process that writes for longer than one waits: that run is not remembered, and nothing is lost. */
static void
test_busy(Bed *bed, gconstpointer unused)
{
  g_assert_true(add_run(bed, 3, FALSE));
  sqlite3 *db;
  g_assert_cmpint(sqlite3_open(bed->store, &db), ==, SQLITE_OK);
  g_assert_cmpint(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), ==, SQLITE_OK);
  g_assert_false(add_run(bed, 3, FALSE));
  g_assert_cmpint(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), ==, SQLITE_OK);
  sqlite3_close(db);
  g_assert_cmpuint(known_runs(bed), ==, 1);
}

/* The store does not grow for ever. */
static void
test_many_programs(Bed *bed, gconstpointer unused)
{
  g_autoptr(ProfileStore) store = profile_store_open(bed->store);
  g_autoptr(ProfileGraph) graph = run_of(bed, 3, FALSE);
  g_autofree char *changed = NULL;
  for (guint i = 0; i < 600; i++) {
    g_autofree char *id = g_strdup_printf("%08x", i), *path = g_strdup_printf("/opt/%u", i);
    ProfileObject program = {.path = path, .build_id = id};
    g_assert_true(profile_store_add(store, &program, graph));
  }
  g_autoptr(ProfileGraph) oldest = profile_store_find(
      store, &(ProfileObject){.path = (char *)"/opt/0", .build_id = (char *)"00000000"}, &changed);
  g_autoptr(ProfileGraph) newest = profile_store_find(
      store, &(ProfileObject){.path = (char *)"/opt/599", .build_id = (char *)"00000257"}, &changed);
  g_assert_null(oldest);
  g_assert_nonnull(newest);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  static const struct {
    const char *name;
    void (*test)(Bed *bed, gconstpointer unused);
  } tests[] = {
      {"/store/kept", test_kept},
      {"/store/runs-add-up", test_runs_add_up},
      {"/store/largest-numbers", test_largest_numbers},
      {"/store/program-changes", test_program_changes},
      {"/store/library-changes", test_library_changes},
      {"/store/library-changes-unseen", test_library_changes_unseen},
      {"/store/moved", test_moved},
      {"/store/no-database", test_no_database},
      {"/store/other-version", test_other_version},
      {"/store/damaged-pages", test_damaged_pages},
      {"/store/senseless-rows", test_senseless_rows},
      {"/store/no-place", test_no_place},
      {"/store/busy", test_busy},
      {"/store/many-programs", test_many_programs},
  };
  for (guint i = 0; i < G_N_ELEMENTS(tests); i++)
    g_test_add(tests[i].name, Bed, NULL, set_up, tests[i].test, tear_down);
  return g_test_run();
}

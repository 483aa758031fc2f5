/* What the engine observed of blocks: how it adds up, and how it is kept beside the profile. */
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>

#include "profile/store.h"

typedef struct {
  char *folder, *store, *library;
} Bed;

static void
copy(const char *fixture, const char *to)
{
  g_autofree char *from = g_build_filename(g_getenv("FIXTURES"), fixture, NULL);
  g_autofree char *contents = NULL;
  gsize length;
  g_assert_true(g_file_get_contents(from, &contents, &length, NULL));
  g_assert_true(g_file_set_contents(to, contents, length, NULL));
}

/* A program that is known by its build-id alone, and a library that is a file. */
static void
set_up(Bed *bed, gconstpointer unused)
{
  bed->folder = g_dir_make_tmp("doppel-observed-XXXXXX", NULL);
  bed->store = g_build_filename(bed->folder, "profiles", NULL);
  bed->library = g_build_filename(bed->folder, "library", NULL);
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
  g_free(bed->library);
}

static ProfileObject program = {.path = (char *)"/opt/program", .build_id = (char *)"aa01"};

static ProfileObject *
library_of(const Bed *bed)
{
  g_autoptr(GError) error = NULL;
  ProfileObject *object = profile_object_read(bed->library, &error);
  g_assert_no_error(error);
  return object;
}

/* A run: `blocks` later blocks of the library's function, of 100 bytes out each, and so many that failed. */
static ProfileObserved *
run_of(const ProfileObject *object, guint blocks, guint failed)
{
  ProfileObserved *observed = profile_observed_new();
  ProfileObservation *seen = profile_observed_add(observed, object, 0x500, "helper");
  seen->first = (ProfileBlocks){1, 5000, 300, 7, 8, 4};
  seen->later = (ProfileBlocks){blocks, 100 * blocks, 10 * blocks, 2 * blocks, 3 * blocks, blocks};
  seen->forwarded = 2 * blocks;
  seen->failed = failed;
  profile_observation_reason(seen, "it reads a socket", failed);
  return observed;
}

static gboolean
observe(const Bed *bed, guint blocks, guint failed)
{
  g_autoptr(ProfileObject) library = library_of(bed);
  g_autoptr(ProfileObserved) observed = run_of(library, blocks, failed);
  g_autoptr(ProfileStore) store = profile_store_open(bed->store);
  return profile_store_observe(store, &program, observed);
}

static gboolean
profile(const Bed *bed)
{
  g_autoptr(ProfileObject) library = library_of(bed);
  g_autoptr(ProfileGraph) graph = profile_graph_new();
  g_autoptr(ProfileStore) store = profile_store_open(bed->store);
  graph->runs = 1;
  profile_graph_function(
      graph, profile_graph_add_function(graph, profile_graph_add_object(graph, library), 0x500, "helper"))
      ->self = 9;
  return profile_store_add(store, &program, graph);
}

static ProfileObserved *
find(const Bed *bed, char **changed)
{
  g_autofree char *unused = NULL;
  g_autoptr(ProfileStore) store = profile_store_open(bed->store);
  return profile_store_find_observed(store, &program, changed ? changed : &unused);
}

static guint
profiled_runs(const Bed *bed)
{
  g_autofree char *changed = NULL;
  g_autoptr(ProfileStore) store = profile_store_open(bed->store);
  g_autoptr(ProfileGraph) graph = profile_store_find(store, &program, &changed);
  return graph ? graph->runs : 0;
}

static void
expect_blocks(const Bed *bed, guint64 first, guint64 later, guint64 failed)
{
  g_autoptr(ProfileObserved) observed = find(bed, NULL);
  g_autoptr(ProfileObject) library = library_of(bed);
  if (first == 0) {
    g_assert_null(observed);
    return;
  }
  g_assert_nonnull(observed);
  const ProfileObservation *seen = profile_observed_find(observed, library, 0x500);
  g_assert_nonnull(seen);
  g_assert_cmpuint(seen->first.blocks, ==, first);
  g_assert_cmpuint(seen->first.bytes_out, ==, 5000 * first);
  g_assert_cmpuint(seen->first.bytes_in, ==, 300 * first);
  g_assert_cmpuint(seen->first.device_ns, ==, 7 * first);
  g_assert_cmpuint(seen->first.clone_ns, ==, 8 * first);
  g_assert_cmpuint(seen->first.round_trips, ==, 4 * first);
  g_assert_cmpuint(seen->later.blocks, ==, later);
  g_assert_cmpuint(seen->later.bytes_out, ==, 100 * later);
  g_assert_cmpuint(seen->later.bytes_in, ==, 10 * later);
  g_assert_cmpuint(seen->later.device_ns, ==, 2 * later);
  g_assert_cmpuint(seen->later.clone_ns, ==, 3 * later);
  g_assert_cmpuint(seen->later.round_trips, ==, later);
  g_assert_cmpuint(seen->forwarded, ==, 2 * later);
  g_assert_cmpuint(seen->failed, ==, failed);
  g_assert_cmpuint(seen->reasons[0].count, ==, failed);
}

static void
test_runs_add_up(Bed *bed, gconstpointer unused)
{
  expect_blocks(bed, 0, 0, 0);
  g_assert_true(observe(bed, 10, 1));
  expect_blocks(bed, 1, 10, 1);
  g_assert_true(observe(bed, 5, 2));
  expect_blocks(bed, 2, 15, 3);
}

/* Neither of the two takes the other away, whichever comes first. */
static void
test_beside_the_profile(Bed *bed, gconstpointer unused)
{
  g_assert_true(observe(bed, 10, 1));
  g_assert_cmpuint(profiled_runs(bed), ==, 0);
  g_assert_true(profile(bed));
  expect_blocks(bed, 1, 10, 1);
  g_assert_true(observe(bed, 10, 1));
  g_assert_true(profile(bed));
  g_assert_cmpuint(profiled_runs(bed), ==, 2);
  expect_blocks(bed, 2, 20, 2);
}

/* The library that both are of is another one: both are stale, and what is new begins from nothing. */
static void
test_stale_with_the_profile(Bed *bed, gconstpointer unused)
{
  g_autofree char *changed = NULL;
  g_assert_true(observe(bed, 10, 1));
  g_assert_true(profile(bed));
  copy("subject-nameless", bed->library);
  g_autoptr(ProfileObserved) observed = find(bed, &changed);
  g_assert_null(observed);
  g_assert_cmpstr(changed, ==, bed->library);
  g_assert_cmpuint(profiled_runs(bed), ==, 0);
  g_assert_true(profile(bed));
  g_assert_cmpuint(profiled_runs(bed), ==, 1);
  expect_blocks(bed, 0, 0, 0);
}

static void
test_largest_numbers(Bed *bed, gconstpointer unused)
{
  g_autoptr(ProfileObject) library = library_of(bed);
  g_autoptr(ProfileObserved) left = run_of(library, 1, 0), right = run_of(library, 1, 0);
  g_array_index(left->functions, ProfileObservation, 0).later.device_ns = G_MAXINT64 - 1;
  g_assert_true(profile_observed_merge(left, right));
  g_assert_cmpuint(profile_observed_find(left, library, 0x500)->later.device_ns, ==, G_MAXINT64);
}

/* One path with other contents: two programs' blocks are not to be mixed. */
static void
test_other_contents(Bed *bed, gconstpointer unused)
{
  ProfileObject one = {.path = (char *)"/lib/x", .build_id = (char *)"01"};
  ProfileObject other = {.path = (char *)"/lib/x", .build_id = (char *)"02"};
  ProfileObject moved = {.path = (char *)"/opt/x", .build_id = (char *)"01"};
  g_autoptr(ProfileObserved) left = run_of(&one, 1, 0), right = run_of(&other, 1, 0),
                             third = run_of(&moved, 1, 0);
  g_assert_false(profile_observed_merge(left, right));
  g_assert_null(profile_observed_add(left, &other, 0x500, NULL));
  g_assert_true(profile_observed_merge(left, third));
  g_assert_cmpuint(left->functions->len, ==, 1);
  g_assert_cmpuint(profile_observed_find(left, &moved, 0x500)->later.blocks, ==, 2);
}

static void
test_reasons(Bed *bed, gconstpointer unused)
{
  ProfileObject object = {.path = (char *)"/lib/x", .build_id = (char *)"01"};
  g_autoptr(ProfileObserved) observed = profile_observed_new();
  ProfileObservation *seen = profile_observed_add(observed, &object, 1, NULL);
  for (guint i = 1; i <= 100; i++) {
    g_autofree char *text = g_strdup_printf("reason %u", i);
    profile_observation_reason(seen, text, i == 50 ? 1000 : 1);
  }
  profile_observation_reason(seen, "reason 50", 5);
  g_assert_cmpstr(seen->reasons[0].text, ==, "reason 50");
  g_assert_cmpuint(seen->reasons[0].count, ==, 1005);
  g_autofree char *longest = g_strnfill(100000, 'x');
  profile_observation_reason(seen, longest, 2000);
  g_assert_cmpuint(strlen(seen->reasons[0].text), ==, PROFILE_REASON_LENGTH);
  profile_observation_reason(seen, "\xff\xfe", 3000);
  g_assert_true(g_utf8_validate(seen->reasons[0].text, -1, NULL));
}

/* However many functions a hostile clone names. */
static void
test_bounded(Bed *bed, gconstpointer unused)
{
  ProfileObject object = {.path = (char *)"/lib/x", .build_id = (char *)"01"};
  g_autoptr(ProfileObserved) observed = profile_observed_new();
  for (guint64 i = 0; i < PROFILE_OBSERVED_LIMIT; i++)
    g_assert_nonnull(profile_observed_add(observed, &object, i, NULL));
  g_assert_null(profile_observed_add(observed, &object, PROFILE_OBSERVED_LIMIT, NULL));
  g_assert_nonnull(profile_observed_add(observed, &object, 7, NULL));
}

static void
run_sql(const Bed *bed, const char *sql)
{
  sqlite3 *db;
  g_assert_cmpint(sqlite3_open(bed->store, &db), ==, SQLITE_OK);
  g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
  sqlite3_close(db);
}

/* Rows that make no sense cost what was observed, and not the profile. */
static void
test_senseless_rows(Bed *bed, gconstpointer unused)
{
  static const char *const damages[] = {
      "UPDATE observed SET object = 9",
      "UPDATE observed SET later_blocks = -1",
      "UPDATE observed SET failed = 'many'",
      "UPDATE observed SET forwarded = 1e300",
      "UPDATE observed_reason SET function = 4",
      "UPDATE observed_reason SET count = -1",
      "UPDATE observed_object SET build_id = NULL, hash = NULL",
      "DELETE FROM observed_object",
      "INSERT INTO observed SELECT program, 1, object, offset, name, 1,1,1,1,1,1, 1,1,1,1,1,1, 1,1,1 FROM "
      "observed",
  };
  for (guint i = 0; i < G_N_ELEMENTS(damages); i++) {
    g_test_message("%s", damages[i]);
    run_sql(bed, i == 0 ? "SELECT 1" : "PRAGMA foreign_keys = ON; DELETE FROM program");
    g_assert_true(profile(bed));
    g_assert_true(observe(bed, 10, 1));
    run_sql(bed, damages[i]);
    expect_blocks(bed, 0, 0, 0);
    g_assert_cmpuint(profiled_runs(bed), ==, 1);
    g_assert_true(observe(bed, 10, 1));
    expect_blocks(bed, 1, 10, 1);
  }
}

/* A store that lost a table is made anew. */
static void
test_missing_table(Bed *bed, gconstpointer unused)
{
  g_assert_true(observe(bed, 10, 1));
  run_sql(bed, "DROP TABLE observed");
  expect_blocks(bed, 0, 0, 0);
  g_assert_true(observe(bed, 10, 1));
  expect_blocks(bed, 1, 10, 1);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  static const struct {
    const char *name;
    void (*test)(Bed *bed, gconstpointer unused);
  } tests[] = {
      {"/observed/runs-add-up", test_runs_add_up},
      {"/observed/beside-the-profile", test_beside_the_profile},
      {"/observed/stale-with-the-profile", test_stale_with_the_profile},
      {"/observed/largest-numbers", test_largest_numbers},
      {"/observed/other-contents", test_other_contents},
      {"/observed/reasons", test_reasons},
      {"/observed/bounded", test_bounded},
      {"/observed/senseless-rows", test_senseless_rows},
      {"/observed/missing-table", test_missing_table},
  };
  for (guint i = 0; i < G_N_ELEMENTS(tests); i++)
    g_test_add(tests[i].name, Bed, NULL, set_up, tests[i].test, tear_down);
  return g_test_run();
}

/* Plans and speeds on disk. */
#include <glib/gstdio.h>
#include <math.h>
#include <sqlite3.h>
#include <string.h>

#include "plan/store.h"
#include "rig.h"

typedef struct {
  char *folder, *store, *library;
} Bed;

/* A program that is known by its build-id, and this test's own file as a library of it. */
static void
copy_self(const char *to, const char *more)
{
  g_autofree char *contents = NULL;
  gsize length;
  g_assert_true(g_file_get_contents("/proc/self/exe", &contents, &length, NULL));
  g_autoptr(GString) text = g_string_new_len(contents, (gssize)length);
  g_string_append(text, more);
  g_assert_true(g_file_set_contents(to, text->str, (gssize)text->len, NULL));
}

static void
set_up(Bed *bed, gconstpointer unused)
{
  bed->folder = g_dir_make_tmp("doppel-plans-XXXXXX", NULL);
  bed->store = g_build_filename(bed->folder, "plans", NULL);
  bed->library = g_build_filename(bed->folder, "library", NULL);
  copy_self(bed->library, "");
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

/* The library as a file without a build-id: its contents count. */
static ProfileGraph *
graph_of(const Bed *bed)
{
  ProfileGraph *graph = rig_graph();
  g_autoptr(ProfileObject) library = profile_object_read(bed->library, NULL);
  g_autofree char *contents = NULL;
  gsize length;
  g_assert_true(g_file_get_contents(bed->library, &contents, &length, NULL));
  g_clear_pointer(&library->build_id, g_free);
  g_free(library->hash);
  library->hash = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)contents, length);
  profile_graph_add_object(graph, library);
  return graph;
}

static gboolean
keep_of(const Bed *bed, const ProfileObject *program, PolicyObjective objective)
{
  g_autoptr(ProfileGraph) graph = graph_of(bed);
  g_autoptr(ProfileObserved) observed = rig_observed();
  PlanInput input = rig_input(graph, observed, objective);
  g_autoptr(GPtrArray) plans = plan_make(&input, policy_profiles, POLICY_PROFILES, NULL);
  g_assert_nonnull(plans);
  g_autoptr(PlanStore) store = plan_store_open(bed->store);
  return plan_store_keep(store, program, graph, plans);
}

static gboolean
keep(const Bed *bed)
{
  return keep_of(bed, &rig_program, POLICY_TIME);
}

static GPtrArray *
find(const Bed *bed, PolicyObjective objective, char **changed)
{
  g_autofree char *unused = NULL;
  g_autoptr(PlanStore) store = plan_store_open(bed->store);
  return plan_store_find(store, &rig_program, objective, changed ? changed : &unused);
}

static guint
count(const Bed *bed, PolicyObjective objective)
{
  g_autoptr(GPtrArray) plans = find(bed, objective, NULL);
  return plans->len;
}

static void
expect_same_cost(const PlanCost *left, const PlanCost *right)
{
  g_assert_cmpmem(left, sizeof *left, right, sizeof *right);
}

static void
test_kept(Bed *bed, gconstpointer unused)
{
  g_autoptr(ProfileGraph) graph = graph_of(bed);
  g_autoptr(ProfileObserved) observed = rig_observed();
  PlanInput input = rig_input(graph, observed, POLICY_TIME);
  g_autoptr(GPtrArray) made = plan_make(&input, policy_profiles, POLICY_PROFILES, NULL);
  g_assert_cmpuint(count(bed, POLICY_TIME), ==, 0);
  g_assert_true(keep(bed));
  g_autoptr(GPtrArray) found = find(bed, POLICY_TIME, NULL);
  g_assert_cmpuint(found->len, ==, made->len);
  for (guint i = 0; i < found->len; i++) {
    const Plan *left = found->pdata[i], *right = made->pdata[i];
    g_assert_cmpstr(left->condition, ==, right->condition);
    g_assert_cmpstr(left->model, ==, right->model);
    g_assert_cmpint(left->objective, ==, right->objective);
    g_assert_cmpuint(left->runs, ==, right->runs);
    g_assert_true(left->proven == right->proven && left->possible == right->possible);
    g_assert_true(left->energy_known == right->energy_known);
    g_assert_cmpfloat(left->alone_value, ==, right->alone_value);
    g_assert_cmpfloat(left->planned_value, ==, right->planned_value);
    g_assert_cmpfloat(left->speeds.clone.ns, ==, right->speeds.clone.ns);
    g_assert_cmpint(left->speeds.clone.source, ==, right->speeds.clone.source);
    expect_same_cost(&left->alone, &right->alone);
    expect_same_cost(&left->planned, &right->planned);
    g_assert_cmpuint(left->functions->len, ==, right->functions->len);
    g_assert_cmpuint(left->functions->len, >, 0);
    for (guint j = 0; j < left->functions->len; j++) {
      const PlanFunction *a = left->functions->pdata[j], *b = right->functions->pdata[j];
      g_assert_true(profile_object_same(a->object, b->object));
      g_assert_cmpstr(a->object->path, ==, b->object->path);
      g_assert_cmpuint(a->offset, ==, b->offset);
      g_assert_cmpstr(a->name, ==, b->name);
      g_assert_true(a->share.chosen == b->share.chosen && a->share.observed == b->share.observed);
      g_assert_cmpfloat(a->share.blocks, ==, b->share.blocks);
      expect_same_cost(&a->share.local, &b->share.local);
      expect_same_cost(&a->share.block, &b->share.block);
      expect_same_cost(&a->share.first, &b->share.first);
    }
  }
}

/* One objective's plans take no others away, and are in the place of earlier ones. */
static void
test_objectives(Bed *bed, gconstpointer unused)
{
  g_assert_true(keep(bed));
  g_assert_true(keep_of(bed, &rig_program, POLICY_ENERGY));
  g_assert_true(keep(bed));
  g_assert_cmpuint(count(bed, POLICY_TIME), ==, POLICY_PROFILES);
  g_assert_cmpuint(count(bed, POLICY_ENERGY), ==, POLICY_PROFILES);
  g_assert_cmpuint(count(bed, POLICY_MONEY), ==, 0);
}

/* A file that the plans are of is another one: all of them are stale, and new ones begin anew. */
static void
test_stale(Bed *bed, gconstpointer unused)
{
  g_autofree char *changed = NULL;
  g_assert_true(keep(bed));
  g_assert_true(keep_of(bed, &rig_program, POLICY_ENERGY));
  copy_self(bed->library, "another");
  g_autoptr(GPtrArray) plans = find(bed, POLICY_TIME, &changed);
  g_assert_cmpuint(plans->len, ==, 0);
  g_assert_cmpstr(changed, ==, bed->library);
  g_assert_true(keep(bed));
  g_assert_cmpuint(count(bed, POLICY_TIME), ==, POLICY_PROFILES);
  g_assert_cmpuint(count(bed, POLICY_ENERGY), ==, 0);
}

static void
test_forgotten(Bed *bed, gconstpointer unused)
{
  g_assert_true(keep(bed));
  g_autoptr(PlanStore) store = plan_store_open(bed->store);
  plan_store_forget(store, &rig_program);
  g_assert_cmpuint(count(bed, POLICY_TIME), ==, 0);
}

/* A program that the device cannot run alone. */
static void
test_impossible_alone(Bed *bed, gconstpointer unused)
{
  g_autoptr(ProfileGraph) graph = graph_of(bed);
  g_autoptr(ProfileObserved) observed = rig_observed();
  rig_observation(observed, 0x2000)->out_of_memory = 1;
  PlanInput input = rig_input(graph, observed, POLICY_TIME);
  g_autoptr(GPtrArray) made = plan_make(&input, policy_profiles, 1, NULL);
  g_autoptr(PlanStore) store = plan_store_open(bed->store);
  g_autofree char *changed = NULL;
  g_assert_true(plan_store_keep(store, &rig_program, graph, made));
  g_autoptr(GPtrArray) found = plan_store_find(store, &rig_program, POLICY_TIME, &changed);
  g_assert_cmpuint(found->len, ==, 1);
  g_assert_false(((const Plan *)found->pdata[0])->possible);
  g_assert_true(isinf(((const Plan *)found->pdata[0])->alone_value));
}

/* ---- damages ---- */

static void
run_sql(const Bed *bed, const char *sql)
{
  sqlite3 *db;
  g_assert_cmpint(sqlite3_open(bed->store, &db), ==, SQLITE_OK);
  g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
  sqlite3_close(db);
}

static void
expect_new_start(const Bed *bed)
{
  g_assert_cmpuint(count(bed, POLICY_TIME), ==, 0);
  g_assert_true(keep(bed));
  g_assert_cmpuint(count(bed, POLICY_TIME), ==, POLICY_PROFILES);
}

static void
test_senseless_rows(Bed *bed, gconstpointer unused)
{
  static const char *const damages[] = {
      "UPDATE plan SET device_source = 77",
      "UPDATE plan SET planned_value = 'much'",
      "UPDATE plan SET clone_ns = 9e999",
      "UPDATE plan SET proven = 2",
      "UPDATE plan SET runs = -1",
      "UPDATE function SET object = 9",
      "UPDATE function SET calls = -1.0",
      "UPDATE cost SET function = function + 99 WHERE kind = 'block'",
      "UPDATE cost SET kind = 'other' WHERE kind = 'first'",
      "UPDATE cost SET seconds = 9e999",
      "UPDATE cost SET joules = -1.0",
      "UPDATE file SET build_id = NULL, hash = NULL",
      "UPDATE file SET path = 'same'",
      "DELETE FROM file",
      "DROP TABLE cost",
      "PRAGMA user_version = 99",
  };
  for (guint i = 0; i < G_N_ELEMENTS(damages); i++) {
    g_assert_true(keep(bed));
    g_assert_cmpuint(count(bed, POLICY_TIME), ==, POLICY_PROFILES);
    g_test_message("%s", damages[i]);
    run_sql(bed, damages[i]);
    expect_new_start(bed);
  }
}

static void
test_damaged_pages(Bed *bed, gconstpointer unused)
{
  guint lost = 0;
  g_assert_true(keep(bed));
  run_sql(bed, "PRAGMA wal_checkpoint(TRUNCATE)");
  g_autofree char *whole = NULL;
  gsize length;
  g_assert_true(g_file_get_contents(bed->store, &whole, &length, NULL));
  for (gsize at = 0; at + 1024 <= length; at += 1024) {
    g_autofree char *damaged = g_memdup2(whole, length);
    memset(damaged + at, 0xa5, 1024);
    g_assert_true(g_file_set_contents(bed->store, damaged, (gssize)length, NULL));
    lost += count(bed, POLICY_TIME) == 0;
    g_assert_true(keep(bed));
    g_assert_cmpuint(count(bed, POLICY_TIME), ==, POLICY_PROFILES);
  }
  g_assert_cmpuint(lost, >, 0);
}

static void
test_no_place(Bed *bed, gconstpointer unused)
{
  g_assert_cmpint(g_mkdir(bed->store, 0700), ==, 0);
  g_assert_false(keep(bed));
  g_assert_cmpuint(count(bed, POLICY_TIME), ==, 0);
  g_assert_cmpint(g_rmdir(bed->store), ==, 0);
}

/* The store does not grow for ever. */
static void
test_many_programs(Bed *bed, gconstpointer unused)
{
  g_autoptr(ProfileGraph) graph = rig_graph();
  PlanInput input = rig_input(graph, NULL, POLICY_TIME);
  g_autoptr(GPtrArray) plans = plan_make(&input, policy_profiles, 1, NULL);
  g_autoptr(PlanStore) store = plan_store_open(bed->store);
  for (guint i = 0; i < 530; i++) {
    g_autofree char *id = g_strdup_printf("%08x", i);
    ProfileObject program = {.path = (char *)"/opt/program", .build_id = id};
    g_assert_true(plan_store_keep(store, &program, graph, plans));
  }
  sqlite3 *db;
  sqlite3_stmt *row;
  g_assert_cmpint(sqlite3_open(bed->store, &db), ==, SQLITE_OK);
  g_assert_cmpint(
      sqlite3_prepare_v2(db, "SELECT count(*), (SELECT count(*) FROM plan) FROM program", -1, &row, NULL), ==,
      SQLITE_OK);
  g_assert_cmpint(sqlite3_step(row), ==, SQLITE_ROW);
  g_assert_cmpint(sqlite3_column_int(row, 0), ==, 512);
  g_assert_cmpint(sqlite3_column_int(row, 1), ==, 512);
  sqlite3_finalize(row);
  sqlite3_close(db);
}

/* ---- speeds ---- */

static void
test_speeds(Bed *bed, gconstpointer unused)
{
  g_autoptr(PlanStore) store = plan_store_open(bed->store);
  PlanSpeedsMeasured none = plan_store_speeds(store, "home", &rig_program);
  g_assert_cmpfloat(none.place_device + none.place_clone + none.program_device + none.program_clone, ==, 0);
  g_assert_true(plan_store_keep_speed(store, PLAN_PLACE_DEVICE, 4));
  g_assert_true(plan_store_keep_speed(store, PLAN_PLACE_DEVICE, 5));
  g_assert_true(plan_store_keep_speed(store, "home", 1));
  g_assert_true(plan_store_keep_program_speed(store, "home", &rig_program, 1, 1e9));
  g_assert_true(plan_store_keep_program_speed(store, "home", &rig_program, 5, 1e9));
  PlanSpeedsMeasured found = plan_store_speeds(store, "home", &rig_program);
  rig_expect_near(found.place_device, 5);
  rig_expect_near(found.place_clone, 1);
  rig_expect_near(found.program_device, 0);
  rig_expect_near(found.program_clone, 3);
  /* The clone on this machine is as fast as this machine. */
  g_assert_true(plan_store_keep_speed(store, PLAN_PLACE_LOCAL, 9));
  PlanSpeedsMeasured local = plan_store_speeds(store, PLAN_PLACE_LOCAL, &rig_program);
  rig_expect_near(local.place_clone, 5);
  rig_expect_near(local.place_device, 5);
}

static void
test_senseless_speeds(Bed *bed, gconstpointer unused)
{
  g_autoptr(PlanStore) store = plan_store_open(bed->store);
  static const double senseless[] = {0, -1, NAN, INFINITY};
  for (guint i = 0; i < G_N_ELEMENTS(senseless); i++) {
    g_assert_false(plan_store_keep_speed(store, "home", senseless[i]));
    g_assert_false(plan_store_keep_program_speed(store, "home", &rig_program, 1, senseless[i]));
  }
  g_assert_true(plan_store_keep_speed(store, "home", 1));
  run_sql(bed, "UPDATE speed SET seconds = 'fast'");
  rig_expect_near(plan_store_speeds(store, "home", &rig_program).place_clone, 0);
  run_sql(bed, "UPDATE speed SET seconds = 1.0, instructions = 0.0");
  rig_expect_near(plan_store_speeds(store, "home", &rig_program).place_clone, 0);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  static const struct {
    const char *name;
    void (*test)(Bed *bed, gconstpointer unused);
  } tests[] = {
      {"/plans/kept", test_kept},
      {"/plans/objectives", test_objectives},
      {"/plans/stale", test_stale},
      {"/plans/forgotten", test_forgotten},
      {"/plans/impossible-alone", test_impossible_alone},
      {"/plans/senseless-rows", test_senseless_rows},
      {"/plans/damaged-pages", test_damaged_pages},
      {"/plans/no-place", test_no_place},
      {"/plans/many-programs", test_many_programs},
      {"/plans/speeds", test_speeds},
      {"/plans/senseless-speeds", test_senseless_speeds},
  };
  for (guint i = 0; i < G_N_ELEMENTS(tests); i++)
    g_test_add(tests[i].name, Bed, NULL, set_up, tests[i].test, tear_down);
  return g_test_run();
}

#include "plan/store.h"

#include <math.h>

#include "base/clock.h"
#include "base/error.h"
#include "identity/key.h"
#include "plan/store_rows.h"
#include "profile/object_rows.h"

#define PROGRAM_LIMIT   512
#define PLACE_LIMIT     512
#define TEXT_OF(number) G_STRINGIFY(number)

#define OF_PROGRAM "program INTEGER NOT NULL REFERENCES program ON DELETE CASCADE"
#define OF_PLAN    "plan INTEGER NOT NULL REFERENCES plan ON DELETE CASCADE"

/* A cost's function counts where the kind is one of functions; a speed's program is "" for the fixed work. */
static const HintLayout layout = {
    .version = 1,
    .what = "plans",
    .trial = "SELECT 1 FROM program, file, plan, function, cost, speed LIMIT 0",
    .tables =
        "CREATE TABLE program(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, made INTEGER NOT NULL);"
        "CREATE TABLE file(" OF_PROGRAM ", " PROFILE_OBJECT_COLUMNS
        ", PRIMARY KEY(program, number)) WITHOUT ROWID;"
        "CREATE TABLE plan(id INTEGER PRIMARY KEY, " OF_PROGRAM ", objective TEXT NOT NULL,"
        " number INTEGER NOT NULL, condition TEXT NOT NULL, model TEXT NOT NULL, device_ns REAL NOT NULL,"
        " device_source INTEGER NOT NULL, clone_ns REAL NOT NULL, clone_source INTEGER NOT NULL,"
        " runs INTEGER NOT NULL, energy_known INTEGER NOT NULL, proven INTEGER NOT NULL,"
        " possible INTEGER NOT NULL, alone_value REAL NOT NULL, planned_value REAL NOT NULL);"
        "CREATE INDEX plan_of ON plan(program, objective);"
        "CREATE TABLE function(" OF_PLAN ", number INTEGER NOT NULL, object INTEGER NOT NULL,"
        " offset INTEGER NOT NULL, name TEXT, chosen INTEGER NOT NULL, observed INTEGER NOT NULL,"
        " no_local INTEGER NOT NULL, calls REAL NOT NULL, executions REAL NOT NULL, blocks REAL NOT NULL,"
        " PRIMARY KEY(plan, number)) WITHOUT ROWID;"
        "CREATE TABLE cost(" OF_PLAN ", function INTEGER NOT NULL, kind TEXT NOT NULL, seconds REAL NOT NULL,"
        " processor_s REAL NOT NULL, up REAL NOT NULL, down REAL NOT NULL, round_trips REAL NOT NULL,"
        " clone_s REAL NOT NULL, joules REAL NOT NULL, PRIMARY KEY(plan, function, kind)) WITHOUT ROWID;"
        "CREATE TABLE speed(place TEXT NOT NULL, program TEXT NOT NULL, seconds REAL NOT NULL,"
        " instructions REAL NOT NULL, made INTEGER NOT NULL, PRIMARY KEY(place, program)) WITHOUT ROWID",
};

struct PlanStore {
  HintStore hints;
};

static char *
path_of(const char *name)
{
  g_autofree char *directory = identity_directory();
  return g_build_filename(directory, name, NULL);
}

char *
plan_store_path(void)
{
  return path_of("plans.db");
}

char *
plan_store_profiles_path(void)
{
  return path_of("profiles.db");
}

PlanStore *
plan_store_open(const char *path)
{
  PlanStore *store = g_new0(PlanStore, 1);
  hint_store_open(&store->hints, path, &layout);
  return store;
}

void
plan_store_close(PlanStore *store)
{
  if (!store)
    return;
  hint_store_close(&store->hints);
  g_free(store);
}

/* What writes a row or several; once more where only a new store can take it. */
typedef gboolean (*Writer)(sqlite3 *db, gconstpointer data, GError **error);

static gboolean
try_write(PlanStore *store, Writer writer, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  sqlite3 *db = store->hints.db;
  gboolean good =
      database_begin(db, &error) && database_end(db, writer(db, data, &error), error ? NULL : &error);
  if (!good)
    g_info("a plan is not remembered: %s", error ? error->message : "");
  return good;
}

static gboolean
write_all(PlanStore *store, Writer writer, gconstpointer data)
{
  return store->hints.db && (try_write(store, writer, data) ||
                             (hint_store_mend(&store->hints) && try_write(store, writer, data)));
}

/* ---- plans ---- */

/* The id of the program's row; 0: there is none; -1 with an error. */
static gint64
find_program(sqlite3 *db, const ProfileObject *program, GError **error)
{
  g_autofree char *key = profile_object_key(program);
  g_autoptr(DatabaseStatement) row =
      database_prepare(db, error, "SELECT id FROM program WHERE key = ?", "t", key);
  int step = row ? database_step(row, error) : -1;
  return step > 0 ? sqlite3_column_int64(row, 0) : step;
}

/* The files that a program's plans are of. NULL with an error; without one where they make no sense. */
static ProfileGraph *
read_files(sqlite3 *db, gint64 id, GError **error)
{
  g_autoptr(ProfileGraph) files = profile_graph_new();
  g_autoptr(DatabaseStatement) row = database_prepare(
      db, error, "SELECT path, build_id, size, mtime, hash FROM file WHERE program = ? ORDER BY number", "i",
      id);
  int step = -1;
  while (row && (step = database_step(row, error)) > 0)
    if (!profile_object_row_read(files, row))
      return NULL;
  return step == 0 ? g_steal_pointer(&files) : NULL;
}

/* Whether plans of these files may lie beside new ones of those. */
static gboolean
same_files(const ProfileGraph *left, const ProfileGraph *right)
{
  if (left->objects->len != right->objects->len)
    return FALSE;
  for (guint i = 0; i < left->objects->len; i++) {
    const ProfileObject *a = left->objects->pdata[i], *b = right->objects->pdata[i];
    if (!g_str_equal(a->path, b->path) || !profile_object_same(a, b))
      return FALSE;
  }
  return TRUE;
}

typedef struct {
  const ProfileObject *program;
  const ProfileGraph *graph;
  const GPtrArray *plans;
} Keeping;

static gint64
new_program(sqlite3 *db, const Keeping *keeping, GError **error)
{
  g_autofree char *key = profile_object_key(keeping->program);
  if (!database_run(db, error, "DELETE FROM program WHERE key = ?", "t", key) ||
      !database_run(db, error, "INSERT INTO program(key, made) VALUES(?, ?)", "ti", key, clock_unix_time()))
    return -1;
  gint64 id = sqlite3_last_insert_rowid(db);
  return profile_object_rows_write(db, "INSERT INTO file VALUES(?, ?, ?, ?, ?, ?, ?)", id, keeping->graph,
                                   error)
             ? id
             : -1;
}

/* The program's row, which is as good as new: its plans for the other objectives are of the same files. */
static gint64
claim_program(sqlite3 *db, const Keeping *keeping, const char *objective, GError **error)
{
  gint64 id = find_program(db, keeping->program, error);
  g_autoptr(ProfileGraph) files = id > 0 ? read_files(db, id, NULL) : NULL;
  if (id < 0)
    return -1;
  if (!files || !same_files(files, keeping->graph))
    return new_program(db, keeping, error);
  return database_run(db, error, "UPDATE program SET made = ? WHERE id = ?", "ii", clock_unix_time(), id) &&
                 database_run(db, error, "DELETE FROM plan WHERE program = ? AND objective = ?", "it", id,
                              objective)
             ? id
             : -1;
}

static gboolean
write_plans(sqlite3 *db, gconstpointer data, GError **error)
{
  const Keeping *keeping = data;
  const Plan *first = keeping->plans->pdata[0];
  gint64 id = claim_program(db, keeping, policy_objective_word(first->objective), error);
  if (id < 0)
    return FALSE;
  for (guint i = 0; i < keeping->plans->len; i++)
    if (!plan_row_write(db, id, i, keeping->plans->pdata[i], keeping->graph, error))
      return FALSE;
  return database_run(db, error,
                      "DELETE FROM program WHERE id IN (SELECT id FROM program ORDER BY made DESC, id DESC"
                      " LIMIT -1 OFFSET " TEXT_OF(PROGRAM_LIMIT) ")",
                      "");
}

gboolean
plan_store_keep(PlanStore *store, const ProfileObject *program, const ProfileGraph *graph,
                const GPtrArray *plans)
{
  Keeping keeping = {program, graph, plans};
  return plans->len > 0 && write_all(store, write_plans, &keeping);
}

static GPtrArray *
load(sqlite3 *db, const ProfileObject *program, PolicyObjective objective, char **changed, GError **error)
{
  gint64 id = find_program(db, program, error);
  g_autoptr(ProfileGraph) files = id > 0 ? read_files(db, id, error) : NULL;
  if (!files)
    return NULL;
  *changed = g_strdup(profile_graph_changed(files, program));
  return *changed ? NULL : plan_rows_read(db, id, objective, files, error);
}

GPtrArray *
plan_store_find(PlanStore *store, const ProfileObject *program, PolicyObjective objective, char **changed)
{
  g_autoptr(GError) error = NULL;
  *changed = NULL;
  GPtrArray *plans = store->hints.db ? load(store->hints.db, program, objective, changed, &error) : NULL;
  if (error) {
    g_info("what was planned for %s cannot be used: %s", program->path, error->message);
    hint_store_mend(&store->hints);
  }
  return plans ? plans : g_ptr_array_new_with_free_func((GDestroyNotify)plan_free);
}

static gboolean
delete_program(sqlite3 *db, gconstpointer data, GError **error)
{
  g_autofree char *key = profile_object_key(data);
  return database_run(db, error, "DELETE FROM program WHERE key = ?", "t", key);
}

void
plan_store_forget(PlanStore *store, const ProfileObject *program)
{
  write_all(store, delete_program, program);
}

/* ---- speeds ---- */

typedef struct {
  const char *place, *program;
  double seconds, instructions;
} Speed;

static gboolean
is_measure(double number)
{
  return isfinite(number) && number > 0;
}

static gboolean
write_speed(sqlite3 *db, gconstpointer data, GError **error)
{
  const Speed *speed = data;
  /* What the fixed work took counts anew each time; what a program took adds up. */
  static const char *const sql[] = {
      "INSERT OR REPLACE INTO speed(place, program, made, seconds, instructions) VALUES(?, ?, ?, ?, ?)",
      "INSERT INTO speed(place, program, made, seconds, instructions) VALUES(?, ?, ?, ?, ?)"
      " ON CONFLICT DO UPDATE SET seconds = seconds + excluded.seconds,"
      " instructions = instructions + excluded.instructions, made = excluded.made",
  };
  g_autoptr(DatabaseStatement) row = database_prepare(db, error, sql[*speed->program != '\0'], "tti",
                                                      speed->place, speed->program, clock_unix_time());
  if (!row)
    return FALSE;
  sqlite3_bind_double(row, 4, speed->seconds);
  sqlite3_bind_double(row, 5, speed->instructions);
  return database_step(row, error) >= 0 &&
         database_run(db, error,
                      "DELETE FROM speed WHERE (place, program) IN (SELECT place, program FROM speed"
                      " ORDER BY made DESC, place, program LIMIT -1 OFFSET " TEXT_OF(PLACE_LIMIT) ")",
                      "");
}

static gboolean
keep_speed(PlanStore *store, const Speed *speed)
{
  return is_measure(speed->seconds) && is_measure(speed->instructions) &&
         write_all(store, write_speed, speed);
}

gboolean
plan_store_keep_speed(PlanStore *store, const char *place, double ns)
{
  return keep_speed(store, &(Speed){place, "", ns, 1e9});
}

gboolean
plan_store_keep_program_speed(PlanStore *store, const char *place, const ProfileObject *program,
                              double seconds, double instructions)
{
  g_autofree char *key = profile_object_key(program);
  return keep_speed(store, &(Speed){place, key, seconds, instructions});
}

static double
find_speed(PlanStore *store, const char *place, const char *program)
{
  g_autoptr(DatabaseStatement) row = store->hints.db
                                         ? database_prepare(store->hints.db, NULL,
                                                            "SELECT seconds * 1e9 / instructions FROM speed"
                                                            " WHERE place = ? AND program = ?",
                                                            "tt", place, program)
                                         : NULL;
  double ns = row && database_step(row, NULL) > 0 ? sqlite3_column_double(row, 0) : 0;
  return is_measure(ns) ? ns : 0;
}

PlanSpeedsMeasured
plan_store_speeds(PlanStore *store, const char *clone, const ProfileObject *program)
{
  g_autofree char *key = profile_object_key(program);
  PlanSpeedsMeasured measured = {find_speed(store, PLAN_PLACE_DEVICE, ""), find_speed(store, clone, ""),
                                 find_speed(store, PLAN_PLACE_DEVICE, key), find_speed(store, clone, key)};
  /* One machine: where two looks at it differ, that says nothing of the two places. */
  if (g_str_equal(clone, PLAN_PLACE_LOCAL)) {
    double place = measured.place_device > 0 ? measured.place_device : measured.place_clone;
    measured.place_device = measured.place_clone = place;
  }
  return measured;
}

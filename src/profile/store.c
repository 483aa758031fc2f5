#include "profile/store.h"

#include "base/clock.h"
#include "profile/store_private.h"

#define PROGRAM_LIMIT 512

#define TEXT_OF(number) G_STRINGIFY(number)

/* A file that one of a program's functions is in. */
#define OBJECT_COLUMNS                                                                                       \
  "(program INTEGER NOT NULL REFERENCES program ON DELETE CASCADE, " PROFILE_OBJECT_COLUMNS ","              \
  " PRIMARY KEY(program, number)) WITHOUT ROWID;"

#define BLOCKS_COLUMNS(which)                                                                                \
  which "_blocks INTEGER NOT NULL, " which "_out INTEGER NOT NULL, " which "_in INTEGER NOT NULL, " which    \
        "_device INTEGER NOT NULL, " which "_clone INTEGER NOT NULL, " which "_trips INTEGER NOT NULL, "

/* A program's `runs` are those of its graph: 0 where it has none. */
static const HintLayout layout = {
    .version = 2,
    .what = "profiles",
    .trial =
        "SELECT 1 FROM program, object, function, arc, observed_object, observed, observed_reason LIMIT 0",
    .tables =
        "CREATE TABLE program(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, path TEXT NOT NULL,"
        " runs INTEGER NOT NULL, elsewhere INTEGER NOT NULL, used INTEGER NOT NULL);"
        "CREATE TABLE object" OBJECT_COLUMNS
        "CREATE TABLE function(program INTEGER NOT NULL REFERENCES program ON DELETE CASCADE,"
        " number INTEGER NOT NULL, object INTEGER NOT NULL, offset INTEGER NOT NULL, name TEXT,"
        " self INTEGER NOT NULL, calls INTEGER NOT NULL, nested INTEGER NOT NULL, inclusive INTEGER NOT NULL,"
        " PRIMARY KEY(program, number)) WITHOUT ROWID;"
        "CREATE TABLE arc(program INTEGER NOT NULL REFERENCES program ON DELETE CASCADE, caller INTEGER NOT "
        "NULL,"
        " callee INTEGER NOT NULL, calls INTEGER NOT NULL, nested INTEGER NOT NULL, cost INTEGER NOT NULL,"
        " PRIMARY KEY(program, caller, callee)) WITHOUT ROWID;"
        "CREATE TABLE observed_object" OBJECT_COLUMNS
        "CREATE TABLE observed(program INTEGER NOT NULL REFERENCES program ON DELETE CASCADE,"
        " number INTEGER NOT NULL, object INTEGER NOT NULL, offset INTEGER NOT NULL, name "
        "TEXT, " BLOCKS_COLUMNS("first")
            BLOCKS_COLUMNS("later") "forwarded INTEGER NOT NULL, failed INTEGER NOT NULL,"
                                    " out_of_memory INTEGER NOT NULL,"
                                    " PRIMARY KEY(program, number)) WITHOUT ROWID;"
                                    "CREATE TABLE observed_reason(program INTEGER NOT NULL "
                                    "REFERENCES program ON DELETE CASCADE,"
                                    " function INTEGER NOT NULL, text TEXT NOT NULL, count INTEGER "
                                    "NOT NULL);",
};

struct ProfileStore {
  HintStore hints;
};

/* What is known of one program. */
typedef struct {
  ProfileGraph *graph;       /* NULL: none */
  ProfileObserved *observed; /* NULL: none */
} Known;

static void
known_clear(Known *known)
{
  g_clear_pointer(&known->graph, profile_graph_free);
  g_clear_pointer(&known->observed, profile_observed_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Known, known_clear)

ProfileStore *
profile_store_open(const char *path)
{
  ProfileStore *store = g_new0(ProfileStore, 1);
  hint_store_open(&store->hints, path, &layout);
  return store;
}

void
profile_store_close(ProfileStore *store)
{
  if (!store)
    return;
  hint_store_close(&store->hints);
  g_free(store);
}

/* The first of the files that has changed, or NULL. Profile and observations are of one program: where one is
 * stale so is the other. */
static const char *
find_changed(const Known *known, const ProfileObject *program)
{
  const char *changed = known->graph ? profile_graph_changed(known->graph, program) : NULL;
  return changed || !known->observed ? changed : profile_graph_changed(known->observed->places, program);
}

/* FALSE with an error. */
static gboolean
load(sqlite3 *db, const ProfileObject *program, Known *known, GError **error)
{
  g_autoptr(GError) why = NULL;
  g_autofree char *key = profile_object_key(program);
  g_autoptr(DatabaseStatement) row =
      database_prepare(db, &why, "SELECT id, runs, elsewhere FROM program WHERE key = ?", "t", key);
  if (row && database_step(row, &why) > 0) {
    gboolean good = TRUE;
    gint64 id = sqlite3_column_int64(row, 0);
    guint64 runs = hint_number(row, 1, &good), elsewhere = hint_number(row, 2, &good);
    known->graph = good ? store_read_graph(db, id, runs, elsewhere, &why) : NULL;
    known->observed = good && !why ? store_read_observed(db, id, &why) : NULL;
  }
  if (!why)
    return TRUE;
  known_clear(known);
  g_propagate_error(error, g_steal_pointer(&why));
  return FALSE;
}

/* Whether another file at the program's path was profiled. */
static gboolean
has_predecessor(sqlite3 *db, const ProfileObject *program)
{
  g_autofree char *key = profile_object_key(program);
  g_autoptr(DatabaseStatement) row = database_prepare(
      db, NULL, "SELECT 1 FROM program WHERE path = ? AND key <> ?", "tt", program->path, key);
  return row && database_step(row, NULL) > 0;
}

static void
note_use(sqlite3 *db, const ProfileObject *program)
{
  g_autofree char *key = profile_object_key(program);
  database_run(db, NULL, "UPDATE program SET used = ? WHERE key = ?", "it", clock_unix_time(), key);
}

/* What is known and not stale. */
static Known
find(ProfileStore *store, const ProfileObject *program, char **changed)
{
  Known known = {0};
  g_autoptr(GError) error = NULL;
  *changed = NULL;
  if (!store->hints.db)
    return known;
  if (!load(store->hints.db, program, &known, &error)) {
    g_info("what was remembered of %s cannot be used: %s", program->path, error->message);
    hint_store_mend(&store->hints);
  }
  if (!known.graph && !known.observed) {
    if (store->hints.db && has_predecessor(store->hints.db, program))
      *changed = g_strdup(program->path);
    return known;
  }
  *changed = g_strdup(find_changed(&known, program));
  if (*changed)
    known_clear(&known);
  else
    note_use(store->hints.db, program);
  return known;
}

ProfileGraph *
profile_store_find(ProfileStore *store, const ProfileObject *program, char **changed)
{
  g_auto(Known) known = find(store, program, changed);
  return g_steal_pointer(&known.graph);
}

ProfileObserved *
profile_store_find_observed(ProfileStore *store, const ProfileObject *program, char **changed)
{
  g_auto(Known) known = find(store, program, changed);
  return g_steal_pointer(&known.observed);
}

static gboolean
write_known(sqlite3 *db, const ProfileObject *program, const ProfileGraph *graph,
            const ProfileObserved *observed, GError **error)
{
  g_autofree char *key = profile_object_key(program);
  if (!database_run(db, error, "DELETE FROM program WHERE key = ? OR path = ?", "tt", key, program->path) ||
      !database_run(db, error, "INSERT INTO program(key, path, runs, elsewhere, used) VALUES(?, ?, ?, ?, ?)",
                    "ttiii", key, program->path, graph ? (gint64)graph->runs : 0,
                    graph ? (gint64)graph->elsewhere : 0, clock_unix_time()))
    return FALSE;
  gint64 id = sqlite3_last_insert_rowid(db);
  return (!graph || store_write_graph(db, id, graph, error)) &&
         (!observed || store_write_observed(db, id, observed, error)) &&
         database_run(db, error,
                      "DELETE FROM program WHERE id IN (SELECT id FROM program ORDER BY used DESC, id DESC"
                      " LIMIT -1 OFFSET " TEXT_OF(PROGRAM_LIMIT) ")",
                      "");
}

/* One of the two is new; the other stays as it is, unless it is stale. */
static gboolean
add(sqlite3 *db, const ProfileObject *program, const ProfileGraph *graph, const ProfileObserved *observed,
    GError **error)
{
  g_auto(Known) known = {0};
  if (!load(db, program, &known, error))
    return FALSE;
  if (find_changed(&known, program))
    known_clear(&known);
  gboolean merged = graph ? known.graph && profile_graph_merge(known.graph, graph)
                          : known.observed && profile_observed_merge(known.observed, observed);
  return write_known(db, program, graph && !merged ? graph : known.graph,
                     observed && !merged ? observed : known.observed, error);
}

static gboolean
try_add(ProfileStore *store, const ProfileObject *program, const ProfileGraph *graph,
        const ProfileObserved *observed)
{
  g_autoptr(GError) error = NULL;
  sqlite3 *db = store->hints.db;
  gboolean good =
      database_begin(db, &error) && database_end(db, add(db, program, graph, observed, &error), &error);
  if (!good)
    g_info("the profile of %s is not remembered: %s", program->path, error ? error->message : "");
  return good;
}

static gboolean
keep(ProfileStore *store, const ProfileObject *program, const ProfileGraph *graph,
     const ProfileObserved *observed)
{
  if (!store->hints.db)
    return FALSE;
  return try_add(store, program, graph, observed) ||
         (hint_store_mend(&store->hints) && try_add(store, program, graph, observed));
}

gboolean
profile_store_add(ProfileStore *store, const ProfileObject *program, const ProfileGraph *graph)
{
  return keep(store, program, graph, NULL);
}

gboolean
profile_store_observe(ProfileStore *store, const ProfileObject *program, const ProfileObserved *observed)
{
  return keep(store, program, NULL, observed);
}

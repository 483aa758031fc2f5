#include "profile/store.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/database.h"
#include "base/error.h"

#define LAYOUT_VERSION 1
#define PROGRAM_LIMIT  512
#define BUSY_MS        1000 /* another run that stores its profile is over by then */

#define TEXT_OF(number) G_STRINGIFY(number)

static const char layout[] =
    "CREATE TABLE program(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, path TEXT NOT NULL,"
    " runs INTEGER NOT NULL, elsewhere INTEGER NOT NULL, used INTEGER NOT NULL);"
    "CREATE TABLE object(program INTEGER NOT NULL REFERENCES program ON DELETE CASCADE, number INTEGER NOT "
    "NULL,"
    " path TEXT NOT NULL, build_id TEXT, size INTEGER NOT NULL, mtime INTEGER NOT NULL, hash TEXT,"
    " PRIMARY KEY(program, number)) WITHOUT ROWID;"
    "CREATE TABLE function(program INTEGER NOT NULL REFERENCES program ON DELETE CASCADE,"
    " number INTEGER NOT NULL, object INTEGER NOT NULL, offset INTEGER NOT NULL, name TEXT,"
    " self INTEGER NOT NULL, calls INTEGER NOT NULL, nested INTEGER NOT NULL, inclusive INTEGER NOT NULL,"
    " PRIMARY KEY(program, number)) WITHOUT ROWID;"
    "CREATE TABLE arc(program INTEGER NOT NULL REFERENCES program ON DELETE CASCADE, caller INTEGER NOT NULL,"
    " callee INTEGER NOT NULL, calls INTEGER NOT NULL, nested INTEGER NOT NULL, cost INTEGER NOT NULL,"
    " PRIMARY KEY(program, caller, callee)) WITHOUT ROWID;"
    "PRAGMA user_version = " TEXT_OF(LAYOUT_VERSION) ";";

static const char all_tables[] = "SELECT 1 FROM program, object, function, arc LIMIT 0";

struct ProfileStore {
  char *path;
  sqlite3 *db; /* NULL: nothing is remembered */
};

static const char *
column_text(sqlite3_stmt *row, int column)
{
  return (const char *)sqlite3_column_text(row, column);
}

/* A number of the database's first row and column; -1 with an error. */
static gint64
ask_number(sqlite3 *db, const char *sql, GError **error)
{
  g_autoptr(DatabaseStatement) statement = database_prepare(db, error, sql, "");
  if (!statement || database_step(statement, error) <= 0)
    return -1;
  return sqlite3_column_int64(statement, 0);
}

/* Makes the tables of an empty store. FALSE without an error: it is of another version. */
static gboolean
make_layout(sqlite3 *db, GError **error)
{
  gint64 tables = ask_number(db, "SELECT count(*) FROM sqlite_master", error);
  if (tables == 0)
    return sqlite3_exec(db, layout, NULL, NULL, NULL) == SQLITE_OK || database_fail(db, error);
  /* Another process may just have made them. */
  return tables > 0 && ask_number(db, "PRAGMA user_version", error) == LAYOUT_VERSION;
}

static gboolean
try_open(ProfileStore *store, GError **error)
{
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(store->path, &store->db, flags, NULL) != SQLITE_OK)
    return database_fail(store->db, error);
  sqlite3_busy_timeout(store->db, BUSY_MS);
  if (!database_run(store->db, error, "PRAGMA journal_mode = WAL", "") ||
      !database_run(store->db, error, "PRAGMA synchronous = NORMAL", "") ||
      !database_run(store->db, error, "PRAGMA foreign_keys = ON", ""))
    return FALSE;
  gint64 version = ask_number(store->db, "PRAGMA user_version", error);
  if (version < 0 || version == LAYOUT_VERSION)
    return version == LAYOUT_VERSION;
  return database_run(store->db, error, "BEGIN IMMEDIATE", "") && make_layout(store->db, error) &&
         database_run(store->db, error, "COMMIT", "");
}

/* Whether making the file anew can help, after a failure: another process's lock or a full disk would stay.
 */
static gboolean
is_damaged(sqlite3 *db, const char *question)
{
  int code = sqlite3_exec(db, question, NULL, NULL, NULL);
  g_autoptr(DatabaseStatement) check =
      code == SQLITE_OK ? database_prepare(db, NULL, "PRAGMA quick_check(1)", "") : NULL;
  if (!check)
    return code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_ERROR;
  return sqlite3_step(check) == SQLITE_ROW && g_strcmp0(column_text(check, 0), "ok") != 0;
}

static void
close_database(ProfileStore *store)
{
  sqlite3_close(store->db);
  store->db = NULL;
}

static void
open_anew(ProfileStore *store)
{
  g_autoptr(GError) error = NULL;
  close_database(store);
  static const char *const parts[] = {"", "-wal", "-shm"};
  for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
    g_autofree char *part = g_strconcat(store->path, parts[i], NULL);
    unlink(part);
  }
  if (try_open(store, &error))
    return;
  g_info("profiles are not remembered: %s", error ? error->message : store->path);
  close_database(store);
}

ProfileStore *
profile_store_open(const char *path)
{
  ProfileStore *store = g_new0(ProfileStore, 1);
  g_autoptr(GError) error = NULL;
  store->path = g_strdup(path);
  if (try_open(store, &error))
    return store;
  if (!error || is_damaged(store->db, "SELECT 1 FROM sqlite_master LIMIT 0")) {
    g_info("what was remembered of programs is given up: %s", error ? error->message : "another version");
    open_anew(store);
  } else {
    g_info("profiles are not remembered: %s", error->message);
    close_database(store);
  }
  return store;
}

void
profile_store_close(ProfileStore *store)
{
  if (!store)
    return;
  close_database(store);
  g_free(store->path);
  g_free(store);
}

static char *
key_of(const ProfileObject *program)
{
  return program->build_id ? g_strdup(program->build_id)
                           : g_strdup_printf("%" G_GUINT64_FORMAT ":%s", program->size, program->hash);
}

static guint64
column_number(sqlite3_stmt *row, int column, gboolean *good)
{
  gint64 number = sqlite3_column_int64(row, column);
  *good = *good && number >= 0 && sqlite3_column_type(row, column) == SQLITE_INTEGER;
  return (guint64)number;
}

static gboolean
read_object(ProfileGraph *graph, sqlite3_stmt *row)
{
  gboolean good = TRUE;
  ProfileObject object = {.path = (char *)column_text(row, 0),
                          .build_id = (char *)column_text(row, 1),
                          .size = column_number(row, 2, &good),
                          .mtime_ns = sqlite3_column_int64(row, 3),
                          .hash = (char *)column_text(row, 4)};
  guint known = graph->objects->len;
  return good && object.path && (object.build_id || object.hash) && known < PROFILE_OBJECT_LIMIT &&
         profile_graph_add_object(graph, &object) == known;
}

static gboolean
read_function(ProfileGraph *graph, sqlite3_stmt *row)
{
  gboolean good = TRUE;
  guint64 object = column_number(row, 0, &good);
  guint known = graph->functions->len;
  if (!good || object >= graph->objects->len || known >= PROFILE_FUNCTION_LIMIT)
    return FALSE;
  guint index = profile_graph_add_function(graph, (guint)object, (guint64)sqlite3_column_int64(row, 1),
                                           column_text(row, 2));
  ProfileFunction *function = profile_graph_function(graph, index);
  function->self = column_number(row, 3, &good);
  function->calls = column_number(row, 4, &good);
  function->nested = column_number(row, 5, &good);
  function->inclusive = column_number(row, 6, &good);
  return good && index == known && function->nested <= function->calls;
}

static gboolean
read_arc(ProfileGraph *graph, sqlite3_stmt *row)
{
  gboolean good = TRUE;
  guint64 caller = column_number(row, 0, &good), callee = column_number(row, 1, &good);
  if (!good || MAX(caller, callee) >= graph->functions->len || graph->arcs->len >= PROFILE_ARC_LIMIT)
    return FALSE;
  ProfileArc *arc = profile_graph_add_arc(graph, (guint)caller, (guint)callee);
  arc->calls = column_number(row, 2, &good);
  arc->nested = column_number(row, 3, &good);
  arc->cost = column_number(row, 4, &good);
  return good && arc->nested <= arc->calls;
}

/* In the order of the numbers by which rows name each other. */
static const struct {
  const char *sql;
  gboolean (*read)(ProfileGraph *graph, sqlite3_stmt *row);
} tables[] = {
    {"SELECT path, build_id, size, mtime, hash FROM object WHERE program = ? ORDER BY number", read_object},
    {"SELECT object, offset, name, self, calls, nested, inclusive FROM function WHERE program = ?"
     " ORDER BY number",
     read_function},
    {"SELECT caller, callee, calls, nested, cost FROM arc WHERE program = ? ORDER BY caller, callee",
     read_arc},
};

/* The graph of a row of `program`. NULL with an error; without one where it makes no sense. */
static ProfileGraph *
read_graph(sqlite3 *db, gint64 id, guint64 runs, guint64 elsewhere, GError **error)
{
  g_autoptr(ProfileGraph) graph = profile_graph_new();
  graph->runs = (guint)MIN(runs, G_MAXINT);
  graph->elsewhere = elsewhere;
  for (guint i = 0; i < G_N_ELEMENTS(tables); i++) {
    g_autoptr(DatabaseStatement) row = database_prepare(db, error, tables[i].sql, "i", id);
    int step = row ? 1 : -1;
    while (step > 0 && (step = database_step(row, error)) > 0)
      if (!tables[i].read(graph, row))
        return NULL;
    if (step < 0)
      return NULL;
  }
  return runs > 0 ? g_steal_pointer(&graph) : NULL;
}

/* The first of the graph's files that has changed, or NULL. */
static const char *
find_changed(const ProfileGraph *graph, const ProfileObject *program)
{
  for (guint i = 0; i < graph->objects->len; i++) {
    const ProfileObject *object = graph->objects->pdata[i];
    if (!profile_object_same(object, program) && !profile_object_is_current(object))
      return object->path;
  }
  return NULL;
}

static ProfileGraph *
load(ProfileStore *store, const ProfileObject *program, GError **error)
{
  g_autofree char *key = key_of(program);
  g_autoptr(DatabaseStatement) row =
      database_prepare(store->db, error, "SELECT id, runs, elsewhere FROM program WHERE key = ?", "t", key);
  gboolean good = TRUE;
  if (!row || database_step(row, error) <= 0)
    return NULL;
  gint64 id = sqlite3_column_int64(row, 0);
  guint64 runs = column_number(row, 1, &good), elsewhere = column_number(row, 2, &good);
  return good ? read_graph(store->db, id, runs, elsewhere, error) : NULL;
}

/* Whether another file at the program's path was profiled. */
static gboolean
has_predecessor(ProfileStore *store, const ProfileObject *program)
{
  g_autofree char *key = key_of(program);
  g_autoptr(DatabaseStatement) row = database_prepare(
      store->db, NULL, "SELECT 1 FROM program WHERE path = ? AND key <> ?", "tt", program->path, key);
  return row && database_step(row, NULL) > 0;
}

static void
note_use(ProfileStore *store, const ProfileObject *program)
{
  g_autofree char *key = key_of(program);
  database_run(store->db, NULL, "UPDATE program SET used = ? WHERE key = ?", "it", clock_unix_time(), key);
}

ProfileGraph *
profile_store_find(ProfileStore *store, const ProfileObject *program, char **changed)
{
  g_autoptr(GError) error = NULL;
  *changed = NULL;
  if (!store->db)
    return NULL;
  g_autoptr(ProfileGraph) graph = load(store, program, &error);
  if (error)
    g_info("what was remembered of %s cannot be used: %s", program->path, error->message);
  if (error && is_damaged(store->db, all_tables))
    open_anew(store);
  if (!graph) {
    if (store->db && has_predecessor(store, program))
      *changed = g_strdup(program->path);
    return NULL;
  }
  *changed = g_strdup(find_changed(graph, program));
  if (*changed)
    return NULL;
  note_use(store, program);
  return g_steal_pointer(&graph);
}

static gboolean
write_objects(sqlite3 *db, gint64 id, const ProfileGraph *graph, GError **error)
{
  g_autoptr(DatabaseStatement) row =
      database_prepare(db, error, "INSERT INTO object VALUES(?, ?, ?, ?, ?, ?, ?)", "");
  for (guint i = 0; row && i < graph->objects->len; i++) {
    const ProfileObject *object = graph->objects->pdata[i];
    sqlite3_reset(row);
    sqlite3_bind_int64(row, 1, id);
    sqlite3_bind_int64(row, 2, i);
    sqlite3_bind_text(row, 3, object->path, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 4, object->build_id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(row, 5, (gint64)object->size);
    sqlite3_bind_int64(row, 6, object->mtime_ns);
    sqlite3_bind_text(row, 7, object->hash, -1, SQLITE_STATIC);
    if (database_step(row, error) < 0)
      return FALSE;
  }
  return row != NULL;
}

static gboolean
write_functions(sqlite3 *db, gint64 id, const ProfileGraph *graph, GError **error)
{
  g_autoptr(DatabaseStatement) row =
      database_prepare(db, error, "INSERT INTO function VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", "");
  for (guint i = 0; row && i < graph->functions->len; i++) {
    const ProfileFunction *function = profile_graph_function(graph, i);
    sqlite3_reset(row);
    sqlite3_bind_int64(row, 1, id);
    sqlite3_bind_int64(row, 2, i);
    sqlite3_bind_int64(row, 3, function->object);
    sqlite3_bind_int64(row, 4, (gint64)function->offset);
    sqlite3_bind_text(row, 5, function->name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(row, 6, (gint64)function->self);
    sqlite3_bind_int64(row, 7, (gint64)function->calls);
    sqlite3_bind_int64(row, 8, (gint64)function->nested);
    sqlite3_bind_int64(row, 9, (gint64)function->inclusive);
    if (database_step(row, error) < 0)
      return FALSE;
  }
  return row != NULL;
}

static gboolean
write_arcs(sqlite3 *db, gint64 id, const ProfileGraph *graph, GError **error)
{
  g_autoptr(DatabaseStatement) row =
      database_prepare(db, error, "INSERT INTO arc VALUES(?, ?, ?, ?, ?, ?)", "");
  for (guint i = 0; row && i < graph->arcs->len; i++) {
    const ProfileArc *arc = &g_array_index(graph->arcs, ProfileArc, i);
    sqlite3_reset(row);
    sqlite3_bind_int64(row, 1, id);
    sqlite3_bind_int64(row, 2, arc->caller);
    sqlite3_bind_int64(row, 3, arc->callee);
    sqlite3_bind_int64(row, 4, (gint64)arc->calls);
    sqlite3_bind_int64(row, 5, (gint64)arc->nested);
    sqlite3_bind_int64(row, 6, (gint64)arc->cost);
    if (database_step(row, error) < 0)
      return FALSE;
  }
  return row != NULL;
}

static gboolean
write_graph(sqlite3 *db, const ProfileObject *program, const ProfileGraph *graph, GError **error)
{
  g_autofree char *key = key_of(program);
  if (!database_run(db, error, "DELETE FROM program WHERE key = ? OR path = ?", "tt", key, program->path) ||
      !database_run(db, error, "INSERT INTO program(key, path, runs, elsewhere, used) VALUES(?, ?, ?, ?, ?)",
                    "ttiii", key, program->path, (gint64)graph->runs, (gint64)graph->elsewhere,
                    clock_unix_time()))
    return FALSE;
  gint64 id = sqlite3_last_insert_rowid(db);
  return write_objects(db, id, graph, error) && write_functions(db, id, graph, error) &&
         write_arcs(db, id, graph, error) &&
         database_run(db, error,
                      "DELETE FROM program WHERE id IN (SELECT id FROM program ORDER BY used DESC, id DESC"
                      " LIMIT -1 OFFSET " TEXT_OF(PROGRAM_LIMIT) ")",
                      "");
}

/* *damaged: only a new store can take it. */
static gboolean
try_add(ProfileStore *store, const ProfileObject *program, const ProfileGraph *graph, gboolean *damaged,
        GError **error)
{
  g_autoptr(GError) why = NULL;
  gboolean begun = database_run(store->db, &why, "BEGIN IMMEDIATE", "");
  g_autoptr(ProfileGraph) known = begun ? load(store, program, &why) : NULL;
  gboolean merged = known && !find_changed(known, program) && profile_graph_merge(known, graph);
  if (!why && write_graph(store->db, program, merged ? known : graph, &why) &&
      database_run(store->db, &why, "COMMIT", ""))
    return TRUE;
  if (!sqlite3_get_autocommit(store->db))
    sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
  *damaged = is_damaged(store->db, all_tables);
  g_propagate_error(error, g_steal_pointer(&why));
  return FALSE;
}

gboolean
profile_store_add(ProfileStore *store, const ProfileObject *program, const ProfileGraph *graph)
{
  gboolean damaged = FALSE;
  g_autoptr(GError) error = NULL;
  if (!store->db)
    return FALSE;
  if (try_add(store, program, graph, &damaged, &error))
    return TRUE;
  g_info("the profile of %s is not remembered: %s", program->path, error->message);
  if (!damaged)
    return FALSE;
  open_anew(store);
  return store->db && try_add(store, program, graph, &damaged, NULL);
}

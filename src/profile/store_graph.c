/* Rows of a program's graph. */
#include "profile/store_private.h"

static gboolean
read_function(ProfileGraph *graph, sqlite3_stmt *row)
{
  gboolean good = TRUE;
  guint64 object = hint_number(row, 0, &good);
  guint known = graph->functions->len;
  if (!good || object >= graph->objects->len || known >= PROFILE_FUNCTION_LIMIT)
    return FALSE;
  guint index = profile_graph_add_function(graph, (guint)object, (guint64)sqlite3_column_int64(row, 1),
                                           hint_text(row, 2));
  ProfileFunction *function = profile_graph_function(graph, index);
  function->self = hint_number(row, 3, &good);
  function->calls = hint_number(row, 4, &good);
  function->nested = hint_number(row, 5, &good);
  function->inclusive = hint_number(row, 6, &good);
  return good && index == known && function->nested <= function->calls;
}

static gboolean
read_arc(ProfileGraph *graph, sqlite3_stmt *row)
{
  gboolean good = TRUE;
  guint64 caller = hint_number(row, 0, &good), callee = hint_number(row, 1, &good);
  if (!good || MAX(caller, callee) >= graph->functions->len || graph->arcs->len >= PROFILE_ARC_LIMIT)
    return FALSE;
  ProfileArc *arc = profile_graph_add_arc(graph, (guint)caller, (guint)callee);
  arc->calls = hint_number(row, 2, &good);
  arc->nested = hint_number(row, 3, &good);
  arc->cost = hint_number(row, 4, &good);
  return good && arc->nested <= arc->calls;
}

/* In the order of the numbers by which rows name each other. */
static const struct {
  const char *sql;
  gboolean (*read)(ProfileGraph *graph, sqlite3_stmt *row);
} tables[] = {
    {"SELECT path, build_id, size, mtime, hash FROM object WHERE program = ? ORDER BY number",
     profile_object_row_read},
    {"SELECT object, offset, name, self, calls, nested, inclusive FROM function WHERE program = ?"
     " ORDER BY number",
     read_function},
    {"SELECT caller, callee, calls, nested, cost FROM arc WHERE program = ? ORDER BY caller, callee",
     read_arc},
};

ProfileGraph *
store_read_graph(sqlite3 *db, gint64 id, guint64 runs, guint64 elsewhere, GError **error)
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

gboolean
store_write_graph(sqlite3 *db, gint64 id, const ProfileGraph *graph, GError **error)
{
  return profile_object_rows_write(db, "INSERT INTO object VALUES(?, ?, ?, ?, ?, ?, ?)", id, graph, error) &&
         write_functions(db, id, graph, error) && write_arcs(db, id, graph, error);
}

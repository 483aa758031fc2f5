#include "profile/object_rows.h"

#include "base/hint_store.h"

gboolean
profile_object_row_read(ProfileGraph *graph, sqlite3_stmt *row)
{
  gboolean good = TRUE;
  ProfileObject object = {.path = (char *)hint_text(row, 0),
                          .build_id = (char *)hint_text(row, 1),
                          .size = hint_number(row, 2, &good),
                          .mtime_ns = sqlite3_column_int64(row, 3),
                          .hash = (char *)hint_text(row, 4)};
  guint known = graph->objects->len;
  return good && object.path && (object.build_id || object.hash) && known < PROFILE_OBJECT_LIMIT &&
         profile_graph_add_object(graph, &object) == known;
}

gboolean
profile_object_rows_write(sqlite3 *db, const char *sql, gint64 id, const ProfileGraph *graph, GError **error)
{
  g_autoptr(DatabaseStatement) row = database_prepare(db, error, sql, "");
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

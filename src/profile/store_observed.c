/* Rows of what was observed of a program's blocks. */
#include "profile/store_private.h"

enum { FIRST_NUMBER = 3 }; /* columns before those of the numbers */

/* The numbers of an observation, in the order of their columns. */
static const gsize numbers[] = {
    G_STRUCT_OFFSET(ProfileObservation, first.blocks),
    G_STRUCT_OFFSET(ProfileObservation, first.bytes_out),
    G_STRUCT_OFFSET(ProfileObservation, first.bytes_in),
    G_STRUCT_OFFSET(ProfileObservation, first.device_ns),
    G_STRUCT_OFFSET(ProfileObservation, first.clone_ns),
    G_STRUCT_OFFSET(ProfileObservation, first.round_trips),
    G_STRUCT_OFFSET(ProfileObservation, later.blocks),
    G_STRUCT_OFFSET(ProfileObservation, later.bytes_out),
    G_STRUCT_OFFSET(ProfileObservation, later.bytes_in),
    G_STRUCT_OFFSET(ProfileObservation, later.device_ns),
    G_STRUCT_OFFSET(ProfileObservation, later.clone_ns),
    G_STRUCT_OFFSET(ProfileObservation, later.round_trips),
    G_STRUCT_OFFSET(ProfileObservation, forwarded),
    G_STRUCT_OFFSET(ProfileObservation, failed),
    G_STRUCT_OFFSET(ProfileObservation, out_of_memory),
};

static gboolean
read_object(ProfileObserved *observed, sqlite3_stmt *row)
{
  return profile_object_row_read(observed->places, row);
}

static gboolean
read_function(ProfileObserved *observed, sqlite3_stmt *row)
{
  gboolean good = TRUE;
  guint64 object = hint_number(row, 0, &good);
  guint known = observed->functions->len;
  if (!good || object >= observed->places->objects->len)
    return FALSE;
  ProfileObservation *observation =
      profile_observed_add(observed, observed->places->objects->pdata[object],
                           (guint64)sqlite3_column_int64(row, 1), hint_text(row, 2));
  for (guint i = 0; observation && i < G_N_ELEMENTS(numbers); i++)
    G_STRUCT_MEMBER(guint64, observation, numbers[i]) = hint_number(row, FIRST_NUMBER + (int)i, &good);
  return observation && good && observed->functions->len == known + 1;
}

static gboolean
read_reason(ProfileObserved *observed, sqlite3_stmt *row)
{
  gboolean good = TRUE;
  guint64 function = hint_number(row, 0, &good), count = hint_number(row, 2, &good);
  if (!good || function >= observed->functions->len || !hint_text(row, 1))
    return FALSE;
  profile_observation_reason(&g_array_index(observed->functions, ProfileObservation, function),
                             hint_text(row, 1), count);
  return TRUE;
}

/* In the order of the numbers by which rows name each other. */
static const struct {
  const char *sql;
  gboolean (*read)(ProfileObserved *observed, sqlite3_stmt *row);
} tables[] = {
    {"SELECT path, build_id, size, mtime, hash FROM observed_object WHERE program = ? ORDER BY number",
     read_object},
    {"SELECT object, offset, name, first_blocks, first_out, first_in, first_device, first_clone, first_trips,"
     " later_blocks, later_out, later_in, later_device, later_clone, later_trips, forwarded, failed,"
     " out_of_memory FROM observed WHERE program = ? ORDER BY number",
     read_function},
    {"SELECT function, text, count FROM observed_reason WHERE program = ? ORDER BY function, text",
     read_reason},
};

ProfileObserved *
store_read_observed(sqlite3 *db, gint64 id, GError **error)
{
  g_autoptr(ProfileObserved) observed = profile_observed_new();
  for (guint i = 0; i < G_N_ELEMENTS(tables); i++) {
    g_autoptr(DatabaseStatement) row = database_prepare(db, error, tables[i].sql, "i", id);
    int step = row ? 1 : -1;
    while (step > 0 && (step = database_step(row, error)) > 0)
      if (!tables[i].read(observed, row))
        return NULL;
    if (step < 0)
      return NULL;
  }
  return observed->functions->len > 0 ? g_steal_pointer(&observed) : NULL;
}

static gboolean
write_reasons(sqlite3 *db, gint64 id, guint number, const ProfileObservation *observation, GError **error)
{
  for (guint i = 0; i < PROFILE_REASONS && observation->reasons[i].text; i++)
    if (!database_run(db, error, "INSERT INTO observed_reason VALUES(?, ?, ?, ?)", "iiti", id, (gint64)number,
                      observation->reasons[i].text, (gint64)observation->reasons[i].count))
      return FALSE;
  return TRUE;
}

gboolean
store_write_observed(sqlite3 *db, gint64 id, const ProfileObserved *observed, GError **error)
{
  if (!profile_object_rows_write(db, "INSERT INTO observed_object VALUES(?, ?, ?, ?, ?, ?, ?)", id,
                                 observed->places, error))
    return FALSE;
  g_autoptr(DatabaseStatement) row = database_prepare(
      db, error, "INSERT INTO observed VALUES(?, ?, ?, ?, ?, ?,?,?,?,?,?, ?,?,?,?,?,?, ?,?,?)", "");
  for (guint i = 0; row && i < observed->functions->len; i++) {
    const ProfileFunction *place = profile_graph_function(observed->places, i);
    ProfileObservation *observation = &g_array_index(observed->functions, ProfileObservation, i);
    sqlite3_reset(row);
    sqlite3_bind_int64(row, 1, id);
    sqlite3_bind_int64(row, 2, i);
    sqlite3_bind_int64(row, 3, place->object);
    sqlite3_bind_int64(row, 4, (gint64)place->offset);
    sqlite3_bind_text(row, 5, place->name, -1, SQLITE_STATIC);
    for (guint j = 0; j < G_N_ELEMENTS(numbers); j++)
      sqlite3_bind_int64(row, 6 + (int)j, (gint64)G_STRUCT_MEMBER(guint64, observation, numbers[j]));
    if (database_step(row, error) < 0 || !write_reasons(db, id, i, observation, error))
      return FALSE;
  }
  return row != NULL;
}

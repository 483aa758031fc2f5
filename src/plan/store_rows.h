/* What the files of the plan store share. */
#pragma once

#include "base/hint_store.h"
#include "plan/store.h"

/* Rows of `plan` and what belongs to them, in the order of their making; NULL with an error, or without one
 * where they make no sense. `files` are the program's. */
GPtrArray *plan_rows_read(sqlite3 *db, gint64 program, PolicyObjective objective, const ProfileGraph *files,
                          GError **error);

gboolean plan_row_write(sqlite3 *db, gint64 program, guint number, const Plan *plan,
                        const ProfileGraph *files, GError **error);

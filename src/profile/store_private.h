/* What the files of the profile store share. */
#pragma once

#include "base/hint_store.h"
#include "profile/object_rows.h"
#include "profile/store.h"

/* What a row of `program` has. NULL with an error; without one where there is none or it makes no sense. */
ProfileGraph *store_read_graph(sqlite3 *db, gint64 id, guint64 runs, guint64 elsewhere, GError **error);
ProfileObserved *store_read_observed(sqlite3 *db, gint64 id, GError **error);

gboolean store_write_graph(sqlite3 *db, gint64 id, const ProfileGraph *graph, GError **error);
gboolean store_write_observed(sqlite3 *db, gint64 id, const ProfileObserved *observed, GError **error);

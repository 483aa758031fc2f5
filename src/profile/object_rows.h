/* The files of a program as rows of a database: path, build_id, size, mtime, hash. */
#pragma once

#include "base/database.h"
#include "profile/graph.h"

/* What the columns of a table of them are. */
#define PROFILE_OBJECT_COLUMNS                                                                               \
  "number INTEGER NOT NULL, path TEXT NOT NULL, build_id TEXT, size INTEGER NOT NULL, mtime INTEGER NOT "    \
  "NULL, hash TEXT"

/* A row with path, build_id, size, mtime, hash becomes the graph's next object. FALSE: it makes no sense. */
gboolean profile_object_row_read(ProfileGraph *graph, sqlite3_stmt *row);

/* Writes the graph's objects: `sql` inserts `id` and the columns above. */
gboolean profile_object_rows_write(sqlite3 *db, const char *sql, gint64 id, const ProfileGraph *graph,
                                   GError **error);

/* What the files of share_index.h share. */
#pragma once

#include <sqlite3.h>

#include "base/database.h"
#include "c2c/share_index.h"

struct ShareIndex {
  sqlite3 *database;
};

/* Removes at most `most` files of a share from the index; *left: there were more. */
gboolean share_index_drop(ShareIndex *index, gint64 share, guint most, gboolean *left, GError **error);

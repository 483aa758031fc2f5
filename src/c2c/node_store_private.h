/* What node_store.c and node_permissions.c share. */
#pragma once

#include "base/database.h"
#include "c2c/node_store.h"

struct NodeStore {
  sqlite3 *database;
  gint64 last_letter; /* number that a message for a program got: none is given twice while this is open */
};

/* A transaction; with `good` FALSE nothing of it is kept, and FALSE is returned. */
gboolean node_store_begin(NodeStore *store, GError **error);
gboolean node_store_end(NodeStore *store, gboolean good, GError **error);

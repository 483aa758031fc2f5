/* What state.c and invitations.c share. */
#pragma once

#include "daemon/database.h"
#include "daemon/state.h"

struct DaemonState {
  char *directory;
  sqlite3 *database; /* NULL while at rest */
};

/* Opens the database again if it is at rest. */
gboolean daemon_state_wake(DaemonState *state, GError **error);

gint64 daemon_state_now(void); /* seconds since 1970 */
char *daemon_state_clone_key_path(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH]);

/* What state.c and invitations.c share. */
#pragma once

#include "base/database.h"
#include "daemon/state.h"

struct DaemonState {
  char *directory;
  sqlite3 *database; /* NULL while at rest */
};

/* Opens the database again if it is at rest. */
gboolean daemon_state_wake(DaemonState *state, GError **error);

gint64 daemon_state_now(void); /* seconds since 1970 */
char *daemon_state_clone_key_path(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH]);

/* devices.c: what of daemon_state_pairing has to do with recovery phrases. */
LinkPairResult daemon_devices_remember(gpointer host, const guint8 id[PAIRED_ID_LENGTH],
                                       const IdentityPublic *device, const IdentityPublic *key,
                                       const guint8 seal[IDENTITY_SEAL_LENGTH], GError **error);
LinkPairResult daemon_devices_find(gpointer host, const IdentityPublic *key, LinkPairClone *clone,
                                   GError **error);
LinkPairResult daemon_devices_recover(gpointer host, const guint8 id[PAIRED_ID_LENGTH],
                                      const IdentityPublic *key, const IdentityPublic *device,
                                      const char *name, gboolean beside, GError **error);

/* The clone is to be in the network of clones: daemon_state_pairing's. */
LinkPairResult daemon_devices_host(gpointer host, const guint8 id[PAIRED_ID_LENGTH],
                                   const IdentityPublic *device, GBytes **hosting, GError **error);

/* This machine's name, as far as a clone can be called so. */
void daemon_state_own_name(char name[static LINK_PAIR_NAME_MAX + 1]);

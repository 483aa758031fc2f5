/* What a clone host remembers: its key, the invitations that are out, the clones and whose they are. A SQLite
 * database (WAL) and key files in one directory that only its owner can enter. Several processes may use it
 * at once. */
#pragma once

#include "link/pair.h"

#define DAEMON_ATTEMPTS_MAX 5 /* wrong secrets before an invitation is void */

typedef struct DaemonState DaemonState;

typedef struct {
  char *name; /* after the device's, unique on this host */
  guint8 id[PAIRED_ID_LENGTH];
  IdentityPublic device;
  IdentityPublic key;
  gint64 paired, seen; /* seconds since 1970; seen 0: never */
} DaemonClone;
void daemon_clone_free(DaemonClone *clone);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DaemonClone, daemon_clone_free)

/* $XDG_STATE_HOME/doppeld, or /var/lib/doppeld for root. */
char *daemon_state_directory(void);

/* Opens the state in `directory`, made if it is missing. */
DaemonState *daemon_state_open(const char *directory, GError **error);
void daemon_state_close(DaemonState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DaemonState, daemon_state_close)

/* Closes the database until the next call that needs it. A process must do so before it forks one that uses
 * the state, too: SQLite's locks do not survive a fork. */
void daemon_state_rest(DaemonState *state);

/* The host's key pair, made at first use. Only pairing needs the secret half: sessions never see it. */
IdentityKey *daemon_state_host_key(const DaemonState *state, GError **error);
IdentityKey *daemon_state_clone_key(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH],
                                    GError **error);

/* Where the host listens, "host:port", so that invitations can say so. NULL with an error where it never did.
 */
gboolean daemon_state_set_listening(DaemonState *state, const char *const *addresses, GError **error);
char **daemon_state_listening(DaemonState *state, GError **error);

/* Remembers an invitation; of its secret only a hash. */
gboolean daemon_state_invite(DaemonState *state, const Invitation *invitation, GError **error);

/* The calls that link_pair_serve() makes, with a DaemonState. */
extern const LinkPairHost daemon_state_pairing;

/* All clones by name; one by id, NULL with NOT_FOUND; one by name or id in text. */
GPtrArray *daemon_state_clones(DaemonState *state, GError **error);
DaemonClone *daemon_state_clone(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error);
DaemonClone *daemon_state_find(DaemonState *state, const char *name, GError **error);

/* Removes a clone and its key: nobody can use it any more. */
gboolean daemon_state_revoke(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error);

/* The device has been let into its clone now. */
gboolean daemon_state_saw(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error);

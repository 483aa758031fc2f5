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
  GArray *devices; /* of IdentityPublic: whom it lets in, the first one first */
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

/* The directory for pages of memory that a clone's sessions keep (mirror/page_store.h); by its id, so that no
 * other clone ever finds them. */
char *daemon_state_clone_pages(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH]);

/* The directory of what its device synchronised to a clone (replicator/receive.h); by its id, likewise. */
char *daemon_state_clone_replica(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH]);

/* The directory of a clone's background jobs (replicator/job_store.h), likewise. */
char *daemon_state_clone_jobs(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH]);

/* The directory of the host's public base (daemon/public_base.h). */
char *daemon_state_base(const DaemonState *state);

/* The directory of the checkpoints of a clone's programs (replicator/checkpoint_store.h), likewise. */
char *daemon_state_clone_checkpoints(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH]);

/* The directory of a clone's part in the network of clones (c2c/node.h); it is there once one of its devices
 * has asked for that. */
char *daemon_state_clone_c2c(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH]);

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

/* The keys of the devices that a clone lets in: an array of IdentityPublic, empty for a clone that is none.
 * And whether one is among them. */
GArray *daemon_state_devices(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error);
gboolean daemon_devices_have(const GArray *devices, const IdentityPublic *device);

/* Lets a device in, or no more, which ends its jobs; what is there already, or not, is no error. */
gboolean daemon_state_let_in(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH],
                             const IdentityPublic *device, const char *name, GError **error);
gboolean daemon_state_lock_out(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH],
                               const IdentityPublic *device, GError **error);

/* Ends those of a clone's jobs that are of no device that it lets in: of one that was locked out, say. One
 * that is locked out may go on beginning some until its sessions have ended. */
gboolean daemon_state_end_jobs(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error);

/* When the clone's recovery phrase was made, in seconds since 1970; 0: it has none. And makes it void. */
gint64 daemon_state_recovery(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH]);
gboolean daemon_state_forget_recovery(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error);

/* Removes a clone, its key, the memory that it kept, what was synchronised to it and its jobs, which end:
 * nobody can use it any more. */
gboolean daemon_state_revoke(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error);

/* Removes the files of a clone that is no more, as daemon_state_revoke() does: a session that was running
 * then may have made them again. */
gboolean daemon_state_remove_files(const DaemonState *state, const guint8 id[PAIRED_ID_LENGTH],
                                   GError **error);

/* Removes kept memory, synchronised files and jobs that are no clone's: of one whose revocation was
 * interrupted, say. And ends jobs that are no device's any more. */
gboolean daemon_state_sweep(DaemonState *state, GError **error);

/* The device has been let into its clone now. */
gboolean daemon_state_saw(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error);

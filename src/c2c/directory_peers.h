/* How directories that do not trust each other keep their records together (Clone2Clone section 4.1).
 *
 * Each broadcasts what it registers, as Updates signed by its key, to its peers. What one has missed it finds
 * by comparing digests with any of them (directory_digest.h), and fetches from there: an Update proves
 * itself, whoever hands it on. It is taken where
 *   - it is signed by a peer (or rather, by a directory that the operator has made one),
 *   - its record proves itself, and names that very directory as the user's home,
 *   - it is newer than what is here of that user (record_supersedes()).
 * So a lying directory can only say wrong things of users who have made it their home.
 *
 * This is the part that decides: events go in, questions come out. It has no sockets, no threads and no clock
 * of its own, and is the same each time for the same seed. It reads the store; what is to be put there it
 * hands out. All functions belong to one thread. */
#pragma once

#include "c2c/directory_digest.h"
#include "c2c/directory_head.h"

#define DIRECTORY_PEERS_MAX 64u

typedef struct {
  /* How long after a peer's healing the next begins, and at most how long after a peer came back; either is
   * shortened at random by up to a half. Default 45000 and 2000. Of all of these 0 means the default. */
  int heal_ms, return_ms;
  int question_ms; /* a question without an answer is given up. Default 30000 */
  guint queue;     /* updates that wait for a peer; when there are more, it finds them itself. Default 4096 */
  guint fetch;     /* users that are fetched in one healing at most. Default 65536 */
} DirectoryPeersOptions;

typedef struct DirectoryPeers DirectoryPeers;

typedef struct {
  /* Ask that peer; directory_peers_answered() is to be called with what it says, or
   * directory_peers_disconnected(). */
  void (*ask)(DirectoryPeers *peers, const IdentityPublic *peer, const DirectoryQuestion *question,
              void *data);
  /* Take these (of DirectorySigned; all are judged by directory_peers_judge() and the store's own record
   * before they are put); directory_peers_taken() is to be called with how many were new. */
  void (*take)(DirectoryPeers *peers, const IdentityPublic *peer, const GArray *updates, void *data);
} DirectoryPeersCallbacks;

/* `store` is the caller's, as `own` is: this directory's key. */
DirectoryPeers *directory_peers_new(const IdentityKey *own, DirectoryStore *store,
                                    const DirectoryPeersOptions *options, guint32 seed,
                                    const DirectoryPeersCallbacks *callbacks, void *data);
void directory_peers_free(DirectoryPeers *peers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryPeers, directory_peers_free)

/* These are the peers from now on; what is under way with others is forgotten. At most DIRECTORY_PEERS_MAX;
 * the own key among them is left out. */
void directory_peers_set(DirectoryPeers *peers, const IdentityPublic *keys, guint count, gint64 now_ms);

void directory_peers_connected(DirectoryPeers *peers, const IdentityPublic *peer, gint64 now_ms);
void directory_peers_disconnected(DirectoryPeers *peers, const IdentityPublic *peer, gint64 now_ms);

/* It was registered here, with this number. */
void directory_peers_registered(DirectoryPeers *peers, guint64 number, GBytes *record, gint64 now_ms);

/* An answer; one to no present question of that peer's is ignored. */
void directory_peers_answered(DirectoryPeers *peers, const IdentityPublic *peer,
                              const DirectoryAnswer *answer, gint64 now_ms);
void directory_peers_taken(DirectoryPeers *peers, const IdentityPublic *peer, guint taken, gint64 now_ms);

/* Does what is due. When it is to be called again at the latest. */
gint64 directory_peers_work(DirectoryPeers *peers, gint64 now_ms);

typedef struct {
  gboolean connected, healing;
  guint waiting;                /* updates for it */
  gint64 healed_ms;             /* when a healing from it ended last; -1: never */
  guint64 sent, taken, refused; /* updates: to it; that came from it in healing: new, and not */
} DirectoryPeerStatus;
gboolean directory_peers_status(const DirectoryPeers *peers, const IdentityPublic *peer,
                                DirectoryPeerStatus *status);

/* Whether an Update may be taken, but for its being newer: the record, the caller's, and in *home whose it
 * is. NULL with DENIED or HOSTILE. `keys`: the peers'. Needs no DirectoryPeers: any thread may verify. */
Record *directory_peers_judge(const DirectorySigned *update, const IdentityPublic *keys, guint count,
                              const IdentityPublic *own, IdentityPublic *home, GError **error);

/* What a directory answers to its peers' DIGESTS, BUCKET and FETCH: never NULL. A FETCH's `number` is how
 * many of the asked origins it deals with, where `more` says that it does not with all. */
DirectoryAnswer *directory_peers_answer(DirectoryStore *store, const IdentityKey *own,
                                        const DirectoryQuestion *question);

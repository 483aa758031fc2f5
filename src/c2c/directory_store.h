/* Where CloneDS keeps its records (Clone2Clone section 4). One interface; SQLite (directory_sqlite.c) in a
 * file, or one etcd cluster that several cloneds of one operator share (directory_etcd.c).
 *
 * What a directory registers is a *batch* that is committed as a whole, on top of the head that its caller
 * knows: where another process was faster there is a conflict, and the caller looks again. A commit that was
 * answered survives the loss of power (SQLite: synchronous=FULL; etcd: a majority has it on disk).
 *
 * Functions block. A store belongs to one thread at a time. */
#pragma once

#include "c2c/directory_message.h"

typedef struct DirectoryStore DirectoryStore;

#define DIRECTORY_CHAIN_LENGTH 32
#define DIRECTORY_BATCH_MAX    1024 /* puts of a commit */
#define DIRECTORY_ENTRIES_MAX  4096 /* of the log at a time */

/* The state: `number` entries were accepted, `chain` is their digest (directory_chain.h). */
typedef struct {
  guint64 number;
  guint8 chain[DIRECTORY_CHAIN_LENGTH];
} DirectoryState;

/* A record of a user whose home is this directory gets a number in its log; one that a peer told has none
 * (0), but that peer's signed Update (NULL for the own). */
typedef struct {
  Record *record;
  guint64 number;
  guint8 chain[DIRECTORY_CHAIN_LENGTH]; /* after it; where number > 0 */
  GBytes *update;
} DirectoryPut;

/* An entry of the log. `record` is NULL where a newer one of the same user is there, in the log or a peer's.
 */
typedef struct {
  guint64 number;
  guint8 hash[RECORD_HASH_LENGTH], chain[DIRECTORY_CHAIN_LENGTH];
  GBytes *record;
} DirectoryEntry;
void directory_entry_free(DirectoryEntry *entry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryEntry, directory_entry_free)

typedef enum { DIRECTORY_DONE, DIRECTORY_CONFLICT, DIRECTORY_FAILED } DirectoryOutcome;

/* "sqlite:PATH" or "etcd://HOST:PORT[,HOST:PORT...]/PREFIX". NULL with an error. */
DirectoryStore *directory_store_open(const char *uri, GError **error);
void directory_store_close(DirectoryStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryStore, directory_store_close)

gboolean directory_store_state(DirectoryStore *store, DirectoryState *state, GError **error);

/* Puts all of the batch (in the order of their numbers) where the store's state still is `expected`, and
 * makes it `next`. A put replaces the user's record, frees the name it had and takes the name it has. The
 * caller has checked that each is newer and its name free, in the state `expected`; no user and no name (had
 * or taken) is in two puts of a batch, and a batch has DIRECTORY_BATCH_MAX at most. */
DirectoryOutcome directory_store_commit(DirectoryStore *store, const DirectoryState *expected,
                                        const DirectoryState *next, const DirectoryPut *puts, guint count,
                                        GError **error);

/* What is kept of a user. */
typedef struct {
  IdentityPublic origin, home;
  guint64 number; /* in the own log; 0: a peer told it */
  guint8 hash[RECORD_HASH_LENGTH];
  GBytes *record; /* not verified anew: what is stored was */
  GBytes *update; /* that peer's signed Update, else NULL */
} DirectoryRow;
void directory_row_free(DirectoryRow *row);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryRow, directory_row_free)

/* A user's: 1 with *row, the caller's; 0 none; -1 with an error. */
int directory_store_get(DirectoryStore *store, const IdentityPublic *origin, DirectoryRow **row,
                        GError **error);

/* The origins of the users that have the name, in the directory `home` or (NULL) any: an array of
 * IdentityPublic; NULL with an error. */
GArray *directory_store_find(DirectoryStore *store, const char *name, const IdentityPublic *home,
                             GError **error);

/* At most `count` users in the order of their origins, the first after `after` (NULL: from the beginning); of
 * the directory `home`, or (NULL) all. An array of DirectoryRow; NULL with an error. */
GPtrArray *directory_store_page(DirectoryStore *store, const IdentityPublic *home,
                                const IdentityPublic *after, guint count, GError **error);

/* Who has the directory `home` and an origin that begins with the byte `bucket`: an array of DirectorySeen in
 * the order of their origins; NULL with an error. */
GArray *directory_store_seen(DirectoryStore *store, const IdentityPublic *home, guint8 bucket,
                             GError **error);

/* The log after `since`: entries until their records have `bytes` together or DIRECTORY_ENTRIES_MAX are
 * there, but at least one, or to the end. An array of DirectoryEntry; NULL with an error. */
GPtrArray *directory_store_changes(DirectoryStore *store, guint64 since, gsize bytes, GError **error);

/* chain_number: 1 (of 0, too: zeros), 0 where there is no such number yet, -1 with an error. */
int directory_store_chain(DirectoryStore *store, guint64 number, guint8 chain[DIRECTORY_CHAIN_LENGTH],
                          GError **error);

/* How many users' records there are. */
gboolean directory_store_count(DirectoryStore *store, guint64 *count, GError **error);

/* A store's kind implements this; directory_store.c dispatches. */
typedef struct {
  const char *scheme;
  DirectoryStore *(*open)(const char *rest, GError **error);
  void (*close)(DirectoryStore *store);
  gboolean (*state)(DirectoryStore *store, DirectoryState *state, GError **error);
  DirectoryOutcome (*commit)(DirectoryStore *store, const DirectoryState *expected,
                             const DirectoryState *next, const DirectoryPut *puts, guint count,
                             GError **error);
  int (*get)(DirectoryStore *store, const IdentityPublic *origin, DirectoryRow **row, GError **error);
  GArray *(*find)(DirectoryStore *store, const char *name, const IdentityPublic *home, GError **error);
  GPtrArray *(*page)(DirectoryStore *store, const IdentityPublic *home, const IdentityPublic *after,
                     guint count, GError **error);
  GArray *(*seen)(DirectoryStore *store, const IdentityPublic *home, guint8 bucket, GError **error);
  GPtrArray *(*changes)(DirectoryStore *store, guint64 since, gsize bytes, GError **error);
  int (*chain)(DirectoryStore *store, guint64 number, guint8 chain[DIRECTORY_CHAIN_LENGTH], GError **error);
  gboolean (*count)(DirectoryStore *store, guint64 *count, GError **error);
} DirectoryStoreKind;

/* Each kind's struct begins with this. */
struct DirectoryStore {
  const DirectoryStoreKind *kind;
};
extern const DirectoryStoreKind directory_sqlite, directory_etcd;

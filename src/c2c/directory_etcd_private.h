/* What the parts of the store in etcd share: directory_etcd.c opens and commits, directory_etcd_read.c reads,
 * directory_etcd_turn.c lets each writer have its turn. */
#pragma once

#include "c2c/directory_etcd_value.h"
#include "c2c/etcd_client.h"

/* Users' values in one answer: 64 of them, as long as can be, are 1.6 MiB, and the gateway takes no more than
 * 4 MiB from etcd. */
#define ROWS_AT_ONCE 64u

typedef struct {
  DirectoryStore store;
  EtcdClient *client;
  char *prefix, *where; /* `where` is for words */
  guint8 writer[ETCD_WRITER_ID_LENGTH];
  guint64 commits;
  DirectoryState state; /* as last seen or made, written at `revision` */
  gint64 revision;
  gint64 turn;     /* the revision of the turn that this writer has; 0: none */
  guint conflicts; /* in a row */
} EtcdStore;

gboolean etcd_damaged(EtcdStore *store, GError **error);

/* Runs a transaction that only reads. */
EtcdAnswer *etcd_ask(EtcdStore *store, const EtcdTxn *txn, GError **error);
const EtcdResult *etcd_result(const EtcdAnswer *answer, guint index);

/* The value of the one key that was asked for, or NULL. */
const EtcdPair *etcd_only_pair(const EtcdAnswer *answer, guint index);
void etcd_range(EtcdTxn *txn, GBytes *key);

int etcd_get(DirectoryStore *base, const IdentityPublic *origin, DirectoryRow **row, GError **error);
GArray *etcd_find(DirectoryStore *base, const char *name, const IdentityPublic *home, GError **error);
GPtrArray *etcd_page(DirectoryStore *base, const IdentityPublic *home, const IdentityPublic *after,
                     guint count, GError **error);
GArray *etcd_seen(DirectoryStore *base, const IdentityPublic *home, guint8 bucket, GError **error);
GPtrArray *etcd_changes(DirectoryStore *base, guint64 since, gsize bytes, GError **error);
int etcd_chain(DirectoryStore *base, guint64 number, guint8 chain[DIRECTORY_CHAIN_LENGTH], GError **error);
gboolean etcd_count(DirectoryStore *base, guint64 *count, GError **error);

/* Of writers that start from the same state one succeeds, and the slower one may lose again and again. One
 * that has lost twice takes the turn, a key: while it is there nobody else's commit succeeds, until the one
 * that has it has committed, or a second is over. */

/* To a commit: it fails while another has the turn, and gives up the own one. */
void etcd_turn_add(EtcdStore *store, EtcdTxn *txn);

/* After one that succeeded; and after one that did not, when this waits for another's turn, or takes it.
 * FALSE with an error. */
void etcd_turn_committed(EtcdStore *store);
gboolean etcd_turn_lost(EtcdStore *store, GError **error);

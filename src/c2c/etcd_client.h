/* etcd (version 3.4 or later) through its JSON gateway: one kind of request, the transaction ("/v3/kv/txn" of
 * etcd's gRPC gateway), which compares, reads and writes at one moment of the whole cluster. Reads are
 * linearizable: what any client was told that it has written is seen.
 *
 * Functions block. A client belongs to one thread. */
#pragma once

#include <glib.h>

#define ETCD_OPERATIONS_MAX 128u  /* whose results can be had: etcd's --max-txn-ops, as it is by default */
#define ETCD_WRITES_MAX     2000u /* of a transaction without results */
#define ETCD_REQUEST_MAX                                                                                     \
  (1u << 20)                        /* bytes of keys and values in one; its --max-request-bytes is 1.5 MiB   \
                                     */
#define ETCD_ANSWER_MAX (16u << 20) /* bytes of an answer; a longer one is refused */

typedef struct EtcdClient EtcdClient;

/* Endpoints are "HOST:PORT", asked in turn, beginning with the one that answered last. Nothing is sent yet.
 * NULL with USAGE where there is none or one is no address. */
EtcdClient *etcd_client_new(const char *const *endpoints, GError **error);
void etcd_client_free(EtcdClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EtcdClient, etcd_client_free)

/* How long a request may take in all, and at one endpoint before the next is tried: milliseconds. Default
 * 15000 and 3000. */
void etcd_client_patience(EtcdClient *client, int total_ms, int attempt_ms);

/* A transaction: where all comparisons hold, the operations happen, in their order; else none. No key may be
 * written twice. Keys and values are any bytes. One of more than ETCD_OPERATIONS_MAX has no results: etcd
 * gets them in transactions within the transaction, for each of which that limit holds anew. */
typedef struct EtcdTxn EtcdTxn;
EtcdTxn *etcd_txn_new(void);
void etcd_txn_free(EtcdTxn *txn);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EtcdTxn, etcd_txn_free)

/* The key was written last at `revision`; 0: it does not exist. */
void etcd_txn_compare(EtcdTxn *txn, GBytes *key, gint64 revision);
void etcd_txn_put(EtcdTxn *txn, GBytes *key, GBytes *value);
void etcd_txn_delete(EtcdTxn *txn, GBytes *key);

typedef enum { ETCD_PAIRS, ETCD_KEYS /* without values */, ETCD_COUNT /* no pairs */ } EtcdWhat;

/* Reads the keys from `from` to before `end` (NULL: `from` alone) in their order, at most `limit` (0: all).
 */
void etcd_txn_range(EtcdTxn *txn, GBytes *from, GBytes *end, guint limit, EtcdWhat what);

guint etcd_txn_operations(const EtcdTxn *txn);
gsize etcd_txn_bytes(const EtcdTxn *txn); /* of keys and values */

typedef struct {
  GBytes *key, *value; /* both there, the value may be empty */
  gint64 revision;     /* at which it was written last */
} EtcdPair;

/* What one operation gave: of a range, its pairs in their order, and how many keys there are in it, whatever
 * the limit; of others nothing. */
typedef struct {
  GPtrArray *pairs; /* of EtcdPair */
  guint64 count;
} EtcdResult;

typedef struct {
  gboolean succeeded; /* the comparisons held */
  gint64 revision;    /* of the cluster after it; of what it wrote */
  GPtrArray *results; /* of EtcdResult, one per operation; empty where it did not succeed,
                       and after more operations than ETCD_OPERATIONS_MAX */
} EtcdAnswer;
void etcd_answer_free(EtcdAnswer *answer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EtcdAnswer, etcd_answer_free)

/* Runs it. An attempt whose outcome is not known is made again, maybe at another endpoint (libcurl, too,
 * sends once more what went into a connection that was closing). So a transaction that writes must compare
 * something that it changes, which keeps it from happening twice; and where it did not succeed, that may be
 * because an earlier attempt of this same call did. NULL with an error: GONE where no endpoint answered in
 * time: it is not known whether it happened, or still will; FAILED where etcd refused it; HOSTILE for an
 * answer that makes no sense. */
EtcdAnswer *etcd_client_run(EtcdClient *client, const EtcdTxn *txn, GError **error);

/* What a gateway answers to a transaction, checked: `operations` results where it succeeded. NULL with
 * HOSTILE. */
EtcdAnswer *etcd_answer_parse(const char *text, gsize length, guint operations, GError **error);

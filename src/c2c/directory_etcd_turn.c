#include <string.h>

#include "base/clock.h"
#include "c2c/directory_etcd_private.h"

#define CONFLICTS 2
#define TURN_MS   1000
#define LOOK_US   5000

void
etcd_turn_add(EtcdStore *store, EtcdTxn *txn)
{
  g_autoptr(GBytes) key = etcd_key_turn(store->prefix);
  etcd_txn_compare(txn, key, store->turn);
  if (store->turn > 0)
    etcd_txn_delete(txn, key);
}

void
etcd_turn_committed(EtcdStore *store)
{
  store->turn = 0;
  store->conflicts = 0;
}

/* Who has the turn: at *revision (0: nobody), and whether it is this writer. */
static gboolean
look(EtcdStore *store, gint64 *revision, gboolean *own, GError **error)
{
  g_autoptr(EtcdTxn) txn = etcd_txn_new();
  g_autoptr(GBytes) key = etcd_key_turn(store->prefix);
  etcd_range(txn, key);
  g_autoptr(EtcdAnswer) answer = etcd_ask(store, txn, error);
  if (!answer)
    return FALSE;
  const EtcdPair *pair = etcd_only_pair(answer, 0);
  *revision = pair ? pair->revision : 0;
  *own = pair && g_bytes_get_size(pair->value) == sizeof store->writer &&
         memcmp(g_bytes_get_data(pair->value, NULL), store->writer, sizeof store->writer) == 0;
  return TRUE;
}

/* Whether these did what they were to do is seen when one looks again. */

static gboolean
take(EtcdStore *store, GError **error)
{
  g_autoptr(EtcdTxn) txn = etcd_txn_new();
  g_autoptr(GBytes) key = etcd_key_turn(store->prefix);
  g_autoptr(GBytes) value = g_bytes_new(store->writer, sizeof store->writer);
  etcd_txn_compare(txn, key, 0);
  etcd_txn_put(txn, key, value);
  g_autoptr(EtcdAnswer) answer = etcd_client_run(store->client, txn, error);
  return answer != NULL;
}

/* Writes the state anew, as it is: a commit that only this turn kept from happening, and that somebody has
 * given up, must not happen afterwards. */
static gboolean
cancel(EtcdStore *store, gint64 revision, GError **error)
{
  g_autoptr(EtcdTxn) look_up = etcd_txn_new(), txn = etcd_txn_new();
  g_autoptr(GBytes) key = etcd_key_turn(store->prefix), state = etcd_key_state(store->prefix);
  etcd_range(look_up, state);
  g_autoptr(EtcdAnswer) found = etcd_ask(store, look_up, error);
  if (!found)
    return FALSE;
  const EtcdPair *pair = etcd_only_pair(found, 0);
  etcd_txn_compare(txn, key, revision);
  etcd_txn_compare(txn, state, pair ? pair->revision : 0);
  etcd_txn_delete(txn, key);
  if (pair)
    etcd_txn_put(txn, state, pair->value);
  g_autoptr(EtcdAnswer) answer = etcd_client_run(store->client, txn, error);
  return answer != NULL;
}

/* Until nobody else has this turn: whoever does not use it in time has ended, or will try again. */
static gboolean
wait_for(EtcdStore *store, gint64 *revision, gboolean *own, GError **error)
{
  gint64 deadline = clock_now_ns() + TURN_MS * G_GINT64_CONSTANT(1000000), waited = *revision;
  while (*revision == waited && !*own && clock_left_ms(deadline) > 0) {
    g_usleep(LOOK_US);
    if (!look(store, revision, own, error))
      return FALSE;
  }
  if (*revision != waited || *own)
    return TRUE;
  return cancel(store, waited, error) && look(store, revision, own, error);
}

gboolean
etcd_turn_lost(EtcdStore *store, GError **error)
{
  gint64 revision;
  gboolean own;
  store->conflicts++;
  if (!look(store, &revision, &own, error))
    return FALSE;
  if (revision > 0 && !own && !wait_for(store, &revision, &own, error))
    return FALSE;
  if (revision == 0 && store->conflicts >= CONFLICTS &&
      (!take(store, error) || !look(store, &revision, &own, error)))
    return FALSE;
  store->turn = own ? revision : 0;
  return TRUE;
}

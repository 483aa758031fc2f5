/* A directory's records in an etcd cluster, which several cloneds of one operator share: what one of them has
 * answered is on the disks of a majority of the cluster's members.
 *
 * Every commit is one transaction that compares the revision at which the state was written last: of two that
 * start from the same state one fails. It also writes the number of the commit below the writer's own id; so
 * that a commit whose answer was lost can be told from one that never happened. */
#include <sodium.h>
#include <string.h>

#include "base/error.h"
#include "c2c/directory_chain.h"
#include "c2c/directory_etcd_private.h"

/* A commit is repeated for seconds; a writer that has been silent for so long has none under way. */
#define WRITER_KEPT_S (24 * 60 * 60)

G_STATIC_ASSERT(ROWS_AT_ONCE <= ETCD_OPERATIONS_MAX);

gboolean
etcd_damaged(EtcdStore *store, GError **error)
{
  return doppel_error_set(
      error, DOPPEL_ERROR_FAILED,
      "a value of the directory in etcd (%s) is damaged: restore etcd's snapshot, or name "
      "another prefix, and the directory begins anew (users' clones register again)",
      store->where);
}

/* Runs a transaction that only reads. */
EtcdAnswer *
etcd_ask(EtcdStore *store, const EtcdTxn *txn, GError **error)
{
  EtcdAnswer *answer = etcd_client_run(store->client, txn, error);
  if (!answer)
    g_prefix_error(error, "the directory in etcd (%s) cannot be read: ", store->where);
  return answer;
}

const EtcdResult *
etcd_result(const EtcdAnswer *answer, guint index)
{
  return answer->results->pdata[index];
}

/* The value of the one key that was asked for, or NULL. */
const EtcdPair *
etcd_only_pair(const EtcdAnswer *answer, guint index)
{
  const EtcdResult *result = etcd_result(answer, index);
  return result->pairs->len > 0 ? result->pairs->pdata[0] : NULL;
}

void
etcd_range(EtcdTxn *txn, GBytes *key)
{
  etcd_txn_range(txn, key, NULL, 0, ETCD_PAIRS);
}

static gboolean
etcd_state(DirectoryStore *base, DirectoryState *state, GError **error)
{
  EtcdStore *store = (EtcdStore *)base;
  g_autoptr(EtcdTxn) txn = etcd_txn_new();
  g_autoptr(GBytes) key = etcd_key_state(store->prefix);
  etcd_range(txn, key);
  g_autoptr(EtcdAnswer) answer = etcd_ask(store, txn, error);
  if (!answer)
    return FALSE;
  const EtcdPair *pair = etcd_only_pair(answer, 0);
  DirectoryState found = {0};
  if (pair && !etcd_value_read_state(pair->value, &found))
    return etcd_damaged(store, error);
  store->state = *state = found;
  store->revision = pair ? pair->revision : 0;
  return TRUE;
}

/* Opening */

/* Forgets writers that are long gone. Nothing depends on it. */
static void
sweep_writers(EtcdStore *store)
{
  g_autoptr(GBytes) start = etcd_key_writer(store->prefix, NULL);
  g_autoptr(GBytes) end = etcd_key_end(start);
  g_autoptr(EtcdTxn) look = etcd_txn_new();
  etcd_txn_range(look, start, end, ETCD_OPERATIONS_MAX, ETCD_PAIRS);
  g_autoptr(EtcdAnswer) found = etcd_client_run(store->client, look, NULL);
  gint64 now = g_get_real_time() / G_USEC_PER_SEC;
  for (guint i = 0; found && i < etcd_result(found, 0)->pairs->len; i++) {
    const EtcdPair *pair = etcd_result(found, 0)->pairs->pdata[i];
    EtcdWriterValue writer;
    if (!etcd_value_read_writer(pair->value, &writer) || writer.time > now - WRITER_KEPT_S)
      continue;
    g_autoptr(EtcdTxn) txn = etcd_txn_new();
    etcd_txn_compare(txn, pair->key, pair->revision);
    etcd_txn_delete(txn, pair->key);
    g_autoptr(EtcdAnswer) done = etcd_client_run(store->client, txn, NULL);
    if (!done)
      return;
  }
}

static void
etcd_close(DirectoryStore *base)
{
  EtcdStore *store = (EtcdStore *)base;
  if (store->client)
    etcd_client_free(store->client);
  g_free(store->prefix);
  g_free(store->where);
  g_free(store);
}

static gboolean
check_prefix(const char *prefix, GError **error)
{
  static const char letters[] = G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "-_./";
  if (prefix && prefix[0] && strlen(prefix) <= 128 && strspn(prefix, letters) == strlen(prefix))
    return TRUE;
  return doppel_error_set(
      error, DOPPEL_ERROR_USAGE,
      "the store etcd: lacks a prefix of up to 128 letters, digits, '-', '_', '.' and '/' under which the "
      "directory's keys are: write etcd://HOST:PORT[,HOST:PORT...]/PREFIX");
}

static DirectoryStore *
etcd_open(const char *rest, GError **error)
{
  if (g_str_has_prefix(rest, "//"))
    rest += 2;
  const char *prefix = strchr(rest, '/');
  if (!check_prefix(prefix ? prefix + 1 : NULL, error))
    return NULL;
  g_autofree char *hosts = g_strndup(rest, prefix - rest);
  g_auto(GStrv) endpoints = g_strsplit(hosts, ",", -1);
  EtcdStore *store = g_new0(EtcdStore, 1);
  g_autoptr(DirectoryStore) made = &store->store;
  store->store.kind = &directory_etcd;
  store->prefix = g_strdup(prefix + 1);
  store->where = g_strdup(rest);
  randombytes_buf(store->writer, sizeof store->writer);
  store->client = etcd_client_new((const char *const *)endpoints, error);
  DirectoryState state;
  if (!store->client || !etcd_state(made, &state, error))
    return NULL;
  sweep_writers(store);
  return g_steal_pointer(&made);
}

/* Committing */

static void
put(EtcdTxn *txn, GBytes *key, GBytes *value)
{
  etcd_txn_put(txn, key, value);
  g_bytes_unref(key);
  g_bytes_unref(value);
}

static void
drop(EtcdTxn *txn, GBytes *key)
{
  etcd_txn_delete(txn, key);
  g_bytes_unref(key);
}

/* `old`: what the user has so far, or nothing in it. */
static void
add_put(EtcdStore *store, EtcdTxn *txn, const DirectoryPut *new, const EtcdUserValue *old)
{
  const Record *record = new->record;
  const IdentityPublic *origin = &record->origin, *home = &record->directory;
  gboolean moves = old->row && !identity_public_equal(&old->row->home, home);
  gboolean renames = old->row && (moves || strcmp(old->name, record->name) != 0);
  put(txn, etcd_key_user(store->prefix, origin), etcd_value_user(new));
  if (renames)
    drop(txn, etcd_key_name(store->prefix, old->name, &old->row->home, origin));
  if (!old->row || renames)
    put(txn, etcd_key_name(store->prefix, record->name, home, origin), g_bytes_new(NULL, 0));
  if (moves)
    drop(txn, etcd_key_home(store->prefix, &old->row->home, origin));
  put(txn, etcd_key_home(store->prefix, home, origin), g_bytes_new(record->hash, sizeof record->hash));
  if (new->number > 0)
    put(txn, etcd_key_log(store->prefix, new->number), etcd_value_log(new));
}

/* What users have so far, one per put. */
static gboolean
read_old(EtcdStore *store, const DirectoryPut *puts, guint count, EtcdUserValue *old, GError **error)
{
  g_autoptr(EtcdTxn) txn = etcd_txn_new();
  for (guint i = 0; i < count; i++) {
    g_autoptr(GBytes) key = etcd_key_user(store->prefix, &puts[i].record->origin);
    etcd_range(txn, key);
  }
  g_autoptr(EtcdAnswer) answer = etcd_ask(store, txn, error);
  if (!answer)
    return FALSE;
  for (guint i = 0; i < count; i++) {
    const EtcdPair *pair = etcd_only_pair(answer, i);
    if (pair && !etcd_value_read_user(pair->value, &puts[i].record->origin, &old[i]))
      return etcd_damaged(store, error);
  }
  return TRUE;
}

/* After a commit did not succeed, of which an earlier attempt may have: *revision is when it was made, 0
 * where it was not. It never will be any more: what it compares has changed. */
static gboolean
find_commit(EtcdStore *store, gint64 *revision, GError **error)
{
  g_autoptr(EtcdTxn) txn = etcd_txn_new();
  g_autoptr(GBytes) key = etcd_key_writer(store->prefix, store->writer);
  etcd_range(txn, key);
  g_autoptr(EtcdAnswer) answer = etcd_ask(store, txn, error);
  if (!answer)
    return FALSE;
  const EtcdPair *pair = etcd_only_pair(answer, 0);
  EtcdWriterValue writer;
  *revision = 0;
  if (pair && !etcd_value_read_writer(pair->value, &writer))
    return etcd_damaged(store, error);
  if (pair && writer.commit == store->commits)
    *revision = pair->revision;
  return TRUE;
}

static DirectoryOutcome
run_commit(EtcdStore *store, const EtcdTxn *txn, const DirectoryState *next, GError **error)
{
  g_autoptr(GError) why = NULL;
  g_autoptr(EtcdAnswer) answer = etcd_client_run(store->client, txn, &why);
  if (!answer) {
    gboolean unknown = !g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
    g_propagate_prefixed_error(
        error, g_steal_pointer(&why), "%s in the directory in etcd (%s): ",
        unknown ? "it is not known whether the records are" : "the records were not put", store->where);
    return DIRECTORY_FAILED;
  }
  gint64 revision = answer->succeeded ? answer->revision : 0;
  if (!answer->succeeded && !find_commit(store, &revision, error))
    return DIRECTORY_FAILED;
  if (revision == 0)
    return etcd_turn_lost(store, error) ? DIRECTORY_CONFLICT : DIRECTORY_FAILED;
  etcd_turn_committed(store);
  store->state = *next;
  store->revision = revision;
  return DIRECTORY_DONE;
}

/* One transaction, on top of `store->state`. */
static DirectoryOutcome
commit_chunk(EtcdStore *store, const DirectoryState *next, const DirectoryPut *puts, guint count,
             GError **error)
{
  EtcdUserValue old[ROWS_AT_ONCE] = {0};
  g_autoptr(EtcdTxn) txn = etcd_txn_new();
  gboolean known = read_old(store, puts, count, old, error);
  g_autoptr(GBytes) state = etcd_key_state(store->prefix);
  etcd_txn_compare(txn, state, store->revision);
  put(txn, g_bytes_ref(state), etcd_value_state(next));
  store->commits++;
  EtcdWriterValue writer = {.commit = store->commits, .time = g_get_real_time() / G_USEC_PER_SEC};
  put(txn, etcd_key_writer(store->prefix, store->writer), etcd_value_writer(&writer));
  etcd_turn_add(store, txn);
  for (guint i = 0; known && i < count; i++)
    add_put(store, txn, &puts[i], &old[i]);
  for (guint i = 0; i < count; i++)
    etcd_user_value_clear(&old[i]);
  return known ? run_commit(store, txn, next, error) : DIRECTORY_FAILED;
}

/* How many of the puts go into one transaction: etcd takes no longer one. */
static guint
fitting(const DirectoryPut *puts, guint count)
{
  gsize bytes = 0;
  guint fit = 0;
  for (; fit < MIN(count, ROWS_AT_ONCE); fit++) {
    bytes += g_bytes_get_size(puts[fit].record->bytes) + 1024;
    bytes += puts[fit].update ? g_bytes_get_size(puts[fit].update) : 0;
    if (bytes > ETCD_REQUEST_MAX && fit > 0)
      break;
  }
  return fit;
}

static gboolean
check_batch(const DirectoryState *expected, const DirectoryState *next, const DirectoryPut *puts, guint count,
            GError **error)
{
  DirectoryState state = *expected;
  for (guint i = 0; i < count; i++) {
    if (puts[i].number == 0)
      continue;
    directory_chain_extend(&state, puts[i].record->hash);
    if (puts[i].number != state.number || memcmp(puts[i].chain, state.chain, sizeof state.chain) != 0)
      break;
  }
  return directory_state_equal(&state, next) ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "the batch does not make the state that it claims");
}

static DirectoryOutcome
etcd_commit(DirectoryStore *base, const DirectoryState *expected, const DirectoryState *next,
            const DirectoryPut *puts, guint count, GError **error)
{
  EtcdStore *store = (EtcdStore *)base;
  DirectoryState state;
  if (!check_batch(expected, next, puts, count, error))
    return DIRECTORY_FAILED;
  if (!directory_state_equal(&store->state, expected) && !etcd_state(base, &state, error))
    return DIRECTORY_FAILED;
  if (!directory_state_equal(&store->state, expected))
    return DIRECTORY_CONFLICT;
  state = *expected;
  for (guint done = 0, now; done < count; done += now) {
    now = fitting(puts + done, count - done);
    for (guint i = done; i < done + now; i++)
      if (puts[i].number > 0)
        directory_chain_extend(&state, puts[i].record->hash);
    DirectoryOutcome outcome = commit_chunk(store, &state, puts + done, now, error);
    if (outcome != DIRECTORY_DONE)
      return outcome;
  }
  return DIRECTORY_DONE;
}

const DirectoryStoreKind directory_etcd = {
    .scheme = "etcd",
    .open = etcd_open,
    .close = etcd_close,
    .state = etcd_state,
    .commit = etcd_commit,
    .get = etcd_get,
    .find = etcd_find,
    .page = etcd_page,
    .seen = etcd_seen,
    .changes = etcd_changes,
    .chain = etcd_chain,
    .count = etcd_count,
};

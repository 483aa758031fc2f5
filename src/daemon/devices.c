/* The devices of a clone: one, mostly; more where their owner let further ones in beside it. And how one gets
 * in whose predecessor was lost. */
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/state_private.h"
#include "identity/record.h"
#include "replicator/job_owner.h"

#define REFUSE_MS                                                                                            \
  500 /* before who has a wrong phrase hears so: guessing is hopeless, and is to be slow, too */

GArray *
daemon_state_devices(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error)
{
  if (!daemon_state_wake(state, error))
    return NULL;
  g_autoptr(DatabaseStatement) statement =
      database_prepare(state->database, error, "SELECT key FROM device WHERE clone = ? ORDER BY since, key",
                       "b", id, (gsize)PAIRED_ID_LENGTH);
  if (!statement)
    return NULL;
  g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  int step;
  while ((step = database_step(statement, error)) > 0) {
    IdentityPublic key;
    if (!database_blob(statement, 0, key.bytes, sizeof key.bytes)) {
      doppel_error_set(error, DOPPEL_ERROR_FAILED, "the list of a clone's devices is damaged");
      return NULL;
    }
    g_array_append_val(devices, key);
  }
  return step == 0 ? g_steal_pointer(&devices) : NULL;
}

gboolean
daemon_devices_have(const GArray *devices, const IdentityPublic *device)
{
  for (guint i = 0; i < devices->len; i++)
    if (identity_public_equal(&g_array_index(devices, IdentityPublic, i), device))
      return TRUE;
  return FALSE;
}

gboolean
daemon_state_let_in(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], const IdentityPublic *device,
                    const char *name, GError **error)
{
  return daemon_state_wake(state, error) &&
         database_run(state->database, error,
                      "INSERT INTO device(clone, key, name, since) VALUES(?, ?, ?, ?)"
                      " ON CONFLICT DO UPDATE SET name = excluded.name",
                      "bbti", id, (gsize)PAIRED_ID_LENGTH, device->bytes, sizeof device->bytes, name,
                      daemon_state_now());
}

gboolean
daemon_state_lock_out(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], const IdentityPublic *device,
                      GError **error)
{
  return daemon_state_wake(state, error) &&
         database_run(state->database, error, "DELETE FROM device WHERE clone = ? AND key = ?", "bb", id,
                      (gsize)PAIRED_ID_LENGTH, device->bytes, sizeof device->bytes) &&
         daemon_state_end_jobs(state, id, error);
}

gboolean
daemon_state_end_jobs(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error)
{
  g_autofree char *jobs = daemon_state_clone_jobs(state, id);
  g_autoptr(GArray) devices = daemon_state_devices(state, id, error);
  return devices && job_owner_end_others(jobs, devices, error);
}

LinkPairResult
daemon_devices_remember(gpointer host, const guint8 id[PAIRED_ID_LENGTH], const IdentityPublic *device,
                        const IdentityPublic *key, const guint8 seal[IDENTITY_SEAL_LENGTH], GError **error)
{
  DaemonState *state = host;
  g_autoptr(GArray) devices = daemon_state_devices(state, id, error);
  if (!devices)
    return LINK_PAIR_FAILED;
  /* Another device learns nothing about which clones there are. */
  if (!daemon_devices_have(devices, device))
    return LINK_PAIR_UNKNOWN;
  /* The same key of another clone's phrase, which this one has learnt of, changes nothing there. */
  return database_run(
             state->database, error,
             "INSERT INTO recovery(clone, key, seal, made) VALUES(?, ?, ?, ?) ON CONFLICT(clone) DO UPDATE "
             "SET key = excluded.key, seal = excluded.seal, made = excluded.made",
             "bbbi", id, (gsize)PAIRED_ID_LENGTH, key->bytes, sizeof key->bytes, seal,
             (gsize)IDENTITY_SEAL_LENGTH, daemon_state_now())
             ? LINK_PAIR_OK
             : LINK_PAIR_FAILED;
}

gboolean
daemon_state_forget_recovery(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH], GError **error)
{
  return daemon_state_wake(state, error) &&
         database_run(state->database, error, "DELETE FROM recovery WHERE clone = ?", "b", id,
                      (gsize)PAIRED_ID_LENGTH);
}

gint64
daemon_state_recovery(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH])
{
  if (!daemon_state_wake(state, NULL))
    return 0;
  g_autoptr(DatabaseStatement) statement = database_prepare(
      state->database, NULL, "SELECT made FROM recovery WHERE clone = ?", "b", id, (gsize)PAIRED_ID_LENGTH);
  return statement && database_step(statement, NULL) > 0 ? sqlite3_column_int64(statement, 0) : 0;
}

/* The clone that this recovery key is for now, and what was left with it. */
static LinkPairResult
read_recovery(DaemonState *state, const IdentityPublic *key, LinkPairClone *clone, GError **error)
{
  g_autoptr(DatabaseStatement) statement =
      database_prepare(state->database, error,
                       "SELECT clone.id, clone.key, recovery.seal FROM recovery"
                       " JOIN clone ON clone.id = recovery.clone WHERE recovery.key = ?",
                       "b", key->bytes, sizeof key->bytes);
  int step = statement ? database_step(statement, error) : -1;
  if (step == 0)
    return LINK_PAIR_UNKNOWN;
  if (step > 0 && database_blob(statement, 0, clone->id, sizeof clone->id) &&
      database_blob(statement, 1, clone->key.bytes, sizeof clone->key.bytes) &&
      database_blob(statement, 2, clone->seal, sizeof clone->seal))
    return LINK_PAIR_OK;
  if (step > 0)
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "the entry of a recovery phrase is damaged");
  return LINK_PAIR_FAILED;
}

/* Where the clone's devices were told to look for it. */
static char **
read_addresses(DaemonState *state, const guint8 id[PAIRED_ID_LENGTH])
{
  g_autoptr(DatabaseStatement) statement =
      database_prepare(state->database, NULL, "SELECT addresses FROM invitation WHERE clone = ?", "b", id,
                       (gsize)PAIRED_ID_LENGTH);
  if (statement && database_step(statement, NULL) > 0)
    return g_strsplit((const char *)sqlite3_column_text(statement, 0), "\n", -1);
  return g_new0(char *, 1);
}

LinkPairResult
daemon_devices_find(gpointer host, const IdentityPublic *key, LinkPairClone *clone, GError **error)
{
  DaemonState *state = host;
  if (!daemon_state_wake(state, error))
    return LINK_PAIR_FAILED;
  LinkPairResult result = read_recovery(state, key, clone, error);
  if (result == LINK_PAIR_UNKNOWN)
    g_usleep(REFUSE_MS * 1000);
  g_autoptr(IdentityKey) own = result == LINK_PAIR_OK ? daemon_state_host_key(state, error) : NULL;
  if (!own)
    return result == LINK_PAIR_OK ? LINK_PAIR_FAILED : result;
  clone->host = *identity_key_public(own);
  clone->addresses = read_addresses(state, clone->id);
  daemon_state_own_name(clone->name);
  return LINK_PAIR_OK;
}

/* The phrase may have been voided since it was found. */
static LinkPairResult
recover_in_transaction(DaemonState *state, const guint8 *id, const IdentityPublic *key,
                       const IdentityPublic *device, const char *name, gboolean beside, GError **error)
{
  LinkPairClone clone = {0};
  LinkPairResult result = read_recovery(state, key, &clone, error);
  if (result != LINK_PAIR_OK)
    return result;
  if (memcmp(clone.id, id, sizeof clone.id) != 0)
    return LINK_PAIR_UNKNOWN;
  gboolean good = beside || database_run(state->database, error, "DELETE FROM device WHERE clone = ?", "b",
                                         id, (gsize)PAIRED_ID_LENGTH);
  return good && daemon_state_let_in(state, id, device, name, error) ? LINK_PAIR_OK : LINK_PAIR_FAILED;
}

LinkPairResult
daemon_devices_recover(gpointer host, const guint8 id[PAIRED_ID_LENGTH], const IdentityPublic *key,
                       const IdentityPublic *device, const char *name, gboolean beside, GError **error)
{
  DaemonState *state = host;
  if (!daemon_state_wake(state, error) || !database_begin(state->database, error))
    return LINK_PAIR_FAILED;
  LinkPairResult result = recover_in_transaction(state, id, key, device, name, beside, error);
  if (!database_end(state->database, result == LINK_PAIR_OK, error))
    return result == LINK_PAIR_OK ? LINK_PAIR_FAILED : result;
  /* Who comes in, comes in, whatever becomes of these: doppeld tries again. */
  g_autoptr(GError) problem = NULL;
  if (!beside && !daemon_state_end_jobs(state, id, &problem))
    g_printerr("doppeld: jobs of devices that are locked out may go on: %s\n", problem->message);
  g_autofree char *fingerprint = identity_public_to_text(device);
  g_autoptr(DaemonClone) clone = daemon_state_clone(state, id, NULL);
  g_printerr("doppeld: clone %s: a device with the key %s came in by the recovery phrase%s\n",
             clone ? clone->name : "?", fingerprint, beside ? "" : "; all others are locked out");
  return LINK_PAIR_OK;
}

LinkPairResult
daemon_devices_host(gpointer host, const guint8 id[PAIRED_ID_LENGTH], const IdentityPublic *device,
                    GBytes **hosting, GError **error)
{
  DaemonState *state = host;
  g_autoptr(GError) problem = NULL;
  g_autoptr(DaemonClone) clone = daemon_state_clone(state, id, &problem);
  if (!clone && !g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)) {
    g_propagate_error(error, g_steal_pointer(&problem));
    return LINK_PAIR_FAILED;
  }
  if (!clone || !daemon_devices_have(clone->devices, device))
    return LINK_PAIR_UNKNOWN;
  g_autoptr(IdentityKey) own = daemon_state_host_key(state, error);
  g_autofree char *directory = daemon_state_clone_c2c(state, id);
  if (own && g_mkdir_with_parents(directory, 0700) < 0)
    doppel_error_errno(error, "the clone has no place for what the network of clones needs, %s", directory);
  else if (own)
    *hosting = record_sign_hosting(own, id, &clone->key, daemon_state_now());
  return *hosting ? LINK_PAIR_OK : LINK_PAIR_FAILED;
}

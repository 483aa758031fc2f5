/* Invitations: given out, used up, misused. */
#include <errno.h>
#include <glib/gstdio.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/state_private.h"

#define KEEP_SECONDS                                                                                         \
  (7 * 24 * 3600) /* an invitation is remembered so long after it expired, to say that it did */
#define HASH_LENGTH  32
#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static void
hash_secret(const guint8 secret[INVITATION_SECRET_LENGTH], guint8 hash[HASH_LENGTH])
{
  crypto_generichash(hash, HASH_LENGTH, secret, INVITATION_SECRET_LENGTH, NULL, 0);
}

gboolean
daemon_state_invite(DaemonState *state, const Invitation *invitation, GError **error)
{
  guint8 hash[HASH_LENGTH];
  hash_secret(invitation->secret, hash);
  g_autofree char *addresses = g_strjoinv("\n", invitation->addresses);
  return daemon_state_wake(state, error) &&
         database_run(state->database, error, "DELETE FROM invitation WHERE expires < ?", "i",
                      daemon_state_now() - KEEP_SECONDS) &&
         database_run(state->database, error,
                      "INSERT INTO invitation(id, secret_hash, expires, addresses) VALUES(?, ?, ?, ?)",
                      "bbit", invitation->id, (gsize)INVITATION_ID_LENGTH, hash, (gsize)HASH_LENGTH,
                      invitation->expires, addresses);
}

/* A row of the table. */
typedef struct {
  guint8 hash[HASH_LENGTH];
  gint64 expires, attempts;
  char **addresses;
  gboolean used;
  IdentityPublic used_by;
  guint8 clone[PAIRED_ID_LENGTH];
} Entry;

static LinkPairResult
read_entry(DaemonState *state, const guint8 *id, Entry *entry, GError **error)
{
  g_autoptr(DatabaseStatement) statement = database_prepare(
      state->database, error,
      "SELECT secret_hash, expires, attempts, addresses, used_by, clone FROM invitation WHERE id = ?", "b",
      id, (gsize)INVITATION_ID_LENGTH);
  int step = statement ? database_step(statement, error) : -1;
  if (step < 0)
    return LINK_PAIR_FAILED;
  if (step == 0)
    return LINK_PAIR_UNKNOWN;
  entry->expires = sqlite3_column_int64(statement, 1);
  entry->attempts = sqlite3_column_int64(statement, 2);
  entry->addresses = g_strsplit((const char *)sqlite3_column_text(statement, 3), "\n", -1);
  entry->used = sqlite3_column_type(statement, 4) != SQLITE_NULL;
  if (!database_blob(statement, 0, entry->hash, HASH_LENGTH) ||
      (entry->used && (!database_blob(statement, 4, entry->used_by.bytes, sizeof entry->used_by.bytes) ||
                       !database_blob(statement, 5, entry->clone, sizeof entry->clone)))) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "the invitation's entry is damaged");
    return LINK_PAIR_FAILED;
  }
  return LINK_PAIR_OK;
}

/* Whether an invitation may be used by `device`, in the order that tells a stranger least. */
static LinkPairResult
judge(const Entry *entry, const guint8 *secret, const IdentityPublic *device)
{
  guint8 hash[HASH_LENGTH];
  hash_secret(secret, hash);
  if (entry->attempts >= DAEMON_ATTEMPTS_MAX)
    return LINK_PAIR_LOCKED;
  if (sodium_memcmp(hash, entry->hash, HASH_LENGTH) != 0)
    return LINK_PAIR_WRONG;
  if (entry->used)
    return identity_public_equal(&entry->used_by, device) ? LINK_PAIR_OK : LINK_PAIR_USED;
  return entry->expires < daemon_state_now() ? LINK_PAIR_EXPIRED : LINK_PAIR_OK;
}

/* A name like the device's that no other clone has. */
static char *
choose_name(DaemonState *state, const char *device_name)
{
  g_autofree char *base = g_strndup(*device_name ? device_name : "device", PAIRED_NAME_MAX - 8);
  g_strcanon(base, NAME_LETTERS, '_');
  if (base[0] == '-' || base[0] == '.' || g_str_equal(base, "local"))
    base[0] = '_';
  for (guint i = 1;; i++) {
    g_autofree char *name = i == 1 ? g_strdup(base) : g_strdup_printf("%s-%u", base, i);
    g_autoptr(DatabaseStatement) statement =
        database_prepare(state->database, NULL, "SELECT 1 FROM clone WHERE name = ?", "t", name);
    if (!statement || database_step(statement, NULL) <= 0)
      return g_steal_pointer(&name);
  }
}

static gboolean
make_clone(DaemonState *state, const guint8 *invitation, const IdentityPublic *device,
           const char *device_name, LinkPairClone *clone, GError **error)
{
  randombytes_buf(clone->id, sizeof clone->id);
  g_autoptr(IdentityKey) key = identity_key_generate();
  clone->key = *identity_key_public(key);
  g_autofree char *path = daemon_state_clone_key_path(state, clone->id);
  g_autofree char *name = choose_name(state, device_name);
  if (!identity_key_save(key, path, error))
    return FALSE;
  if (database_run(state->database, error, "INSERT INTO clone(id, name, key, paired) VALUES(?, ?, ?, ?)",
                   "btbi", clone->id, sizeof clone->id, name, clone->key.bytes, sizeof clone->key.bytes,
                   daemon_state_now()) &&
      daemon_state_let_in(state, clone->id, device, device_name, error) &&
      database_run(state->database, error, "UPDATE invitation SET used_by = ?, clone = ? WHERE id = ?", "bbb",
                   device->bytes, sizeof device->bytes, clone->id, sizeof clone->id, invitation,
                   (gsize)INVITATION_ID_LENGTH))
    return TRUE;
  g_unlink(path);
  return FALSE;
}

void
daemon_state_own_name(char name[static LINK_PAIR_NAME_MAX + 1])
{
  gethostname(name, LINK_PAIR_NAME_MAX);
  name[LINK_PAIR_NAME_MAX] = '\0';
  g_strcanon(name, NAME_LETTERS, '_');
}

static LinkPairResult
same_clone(DaemonState *state, const Entry *entry, LinkPairClone *clone)
{
  g_autoptr(DaemonClone) made = daemon_state_clone(state, entry->clone, NULL);
  if (!made)
    return LINK_PAIR_UNKNOWN;
  memcpy(clone->id, made->id, sizeof clone->id);
  clone->key = made->key;
  return LINK_PAIR_OK;
}

static LinkPairResult
use_in_transaction(DaemonState *state, const guint8 *id, const guint8 *secret, const IdentityPublic *device,
                   const char *device_name, LinkPairClone *clone, GError **error)
{
  Entry entry = {0};
  LinkPairResult result = read_entry(state, id, &entry, error);
  if (result == LINK_PAIR_OK)
    result = judge(&entry, secret, device);
  if (result == LINK_PAIR_WRONG &&
      !database_run(state->database, error, "UPDATE invitation SET attempts = attempts + 1 WHERE id = ?", "b",
                    id, (gsize)INVITATION_ID_LENGTH))
    result = LINK_PAIR_FAILED;
  if (result == LINK_PAIR_OK && entry.used)
    result = same_clone(state, &entry, clone);
  else if (result == LINK_PAIR_OK && !make_clone(state, id, device, device_name, clone, error))
    result = LINK_PAIR_FAILED;
  if (result == LINK_PAIR_OK) {
    clone->addresses = g_steal_pointer(&entry.addresses);
    daemon_state_own_name(clone->name);
  }
  g_strfreev(entry.addresses);
  return result;
}

/* All or nothing; a wrong secret is something, too. */
static LinkPairResult
use(gpointer host, const guint8 id[INVITATION_ID_LENGTH], const guint8 secret[INVITATION_SECRET_LENGTH],
    const IdentityPublic *device, const char *device_name, LinkPairClone *clone, GError **error)
{
  DaemonState *state = host;
  if (!daemon_state_wake(state, error) || !database_begin(state->database, error))
    return LINK_PAIR_FAILED;
  LinkPairResult result = use_in_transaction(state, id, secret, device, device_name, clone, error);
  if (database_end(state->database, result != LINK_PAIR_FAILED, error))
    return result;
  g_clear_pointer(&clone->addresses, g_strfreev);
  return LINK_PAIR_FAILED;
}

static LinkPairResult
give_up(gpointer host, const guint8 id[PAIRED_ID_LENGTH], const IdentityPublic *device, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autoptr(DaemonClone) clone = daemon_state_clone(host, id, &problem);
  if (!clone && !g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND)) {
    g_propagate_error(error, g_steal_pointer(&problem));
    return LINK_PAIR_FAILED;
  }
  /* Another device learns nothing about which clones there are. */
  if (!clone || !daemon_devices_have(clone->devices, device))
    return LINK_PAIR_UNKNOWN;
  gboolean done = clone->devices->len > 1 ? daemon_state_lock_out(host, id, device, error)
                                          : daemon_state_revoke(host, id, error);
  return done ? LINK_PAIR_OK : LINK_PAIR_FAILED;
}

const LinkPairHost daemon_state_pairing = {.use = use,
                                           .remove = give_up,
                                           .remember = daemon_devices_remember,
                                           .find = daemon_devices_find,
                                           .recover = daemon_devices_recover,
                                           .hosting = daemon_devices_host};

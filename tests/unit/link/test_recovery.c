/* A device is lost, and its owner has the phrase: who gets in, who does not, and who is locked out. */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/database.h"
#include "base/error.h"
#include "host.h"
#include "link/pair_message.h"
#include "link/recover.h"
#include "link/state.h"
#include "world.h"

static IdentityRecovery *
make_phrase(Host *host, const PairedClone *clone)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(IdentityRecovery) recovery = identity_recovery_new(&error);
  g_assert_true(link_set_recovery(clone, host->device_key, recovery, &error));
  g_assert_no_error(error);
  /* What was written on paper. */
  char *phrase = identity_recovery_phrase(recovery);
  IdentityRecovery *read = identity_recovery_from_phrase(phrase, &error);
  identity_recovery_phrase_free(phrase);
  g_assert_no_error(error);
  return read;
}

static PairedClone *
recover(Host *host, const IdentityKey *device, const IdentityRecovery *recovery, gboolean beside,
        GError **error)
{
  const char *addresses[] = {host->address, NULL};
  return link_recover(addresses, device, recovery, "again", beside, error);
}

static void
assert_let_in(const PairedClone *clone, const IdentityKey *device)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Link) link = host_dial(clone, device, &error);
  g_assert_no_error(error);
  host_assert_echo(link, 10);
}

static void
assert_locked_out(const PairedClone *clone, const IdentityKey *device)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(host_dial(clone, device, &error));
  g_assert_nonnull(error);
}

static void
assert_not_recovered(Host *host, const IdentityKey *device, const IdentityRecovery *recovery,
                     DoppelErrorCode code, const char *reason)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(recover(host, device, recovery, FALSE, &error));
  g_assert_error(error, DOPPEL_ERROR, (int)code);
  if (!strstr(error->message, reason))
    g_error("\"%s\" does not say \"%s\"", error->message, reason);
}

static void
test_replace(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(IdentityRecovery) recovery = make_phrase(host, clone);
  g_autoptr(IdentityKey) replacement = identity_key_generate();
  g_autoptr(Link) lost = host_dial(clone, host->device_key, &error);
  host_assert_echo(lost, 10);
  assert_locked_out(clone, replacement);

  g_autoptr(PairedClone) again = recover(host, replacement, recovery, FALSE, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(again->name, ==, "again");
  g_assert_cmpmem(again->id, sizeof again->id, clone->id, sizeof clone->id);
  g_assert_true(identity_public_equal(&again->key, &clone->key));
  g_assert_true(identity_public_equal(&again->host, &clone->host));
  g_assert_cmpstr(again->addresses[0], ==, host->address);
  /* The lost device's session ends, too. */
  host_assert_ends(lost);
  assert_locked_out(clone, host->device_key);
  assert_let_in(again, replacement);
  /* It can give nothing up, and make no phrase. */
  g_assert_false(link_unpair(clone, host->device_key, NULL));
  g_autoptr(IdentityRecovery) another = identity_recovery_new(NULL);
  g_assert_false(link_set_recovery(clone, host->device_key, another, NULL));
  /* The answer was lost: again. */
  g_autoptr(PairedClone) third = recover(host, replacement, recovery, FALSE, &error);
  g_assert_no_error(error);
  assert_let_in(third, replacement);
}

static void
test_beside(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(IdentityRecovery) recovery = make_phrase(host, clone);
  g_autoptr(IdentityKey) second = identity_key_generate(), stranger = identity_key_generate();
  g_autoptr(PairedClone) again = recover(host, second, recovery, TRUE, &error);
  g_assert_no_error(error);
  g_autoptr(Link) one = host_dial(clone, host->device_key, &error), two = host_dial(again, second, &error);
  g_assert_no_error(error);
  host_assert_echo(one, 100);
  host_assert_echo(two, 100);
  assert_locked_out(clone, stranger);
  /* One of several gives the clone up: the other keeps it. */
  g_assert_true(link_unpair(again, second, &error));
  g_assert_no_error(error);
  host_assert_ends(two);
  host_assert_echo(one, 100);
  assert_locked_out(again, second);
  g_assert_true(link_unpair(clone, host->device_key, &error));
  g_assert_null(daemon_state_clone(host->state, clone->id, NULL));
}

/* A session is one device's, although its clone has two. */
static void
test_foreign_session(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(IdentityRecovery) recovery = make_phrase(host, clone);
  g_autoptr(IdentityKey) second = identity_key_generate();
  g_autoptr(PairedClone) again = recover(host, second, recovery, TRUE, &error);
  g_autoptr(Link) one = host_dial(clone, host->device_key, &error);
  host_assert_echo(one, 10);
  g_autoptr(Link) thief =
      link_dial_later((const char *const *)again->addresses, second, &again->key, again->id, NULL, &error);
  g_assert_no_error(error);
  /* As in test_doppeld.c: the first attempt went out for a session of its own. */
  thief->preamble = one->preamble;
  link_lose(thief, g_error_new(DOPPEL_ERROR, DOPPEL_ERROR_GONE, "test"));
  g_ptr_array_set_size(thief->candidates, 0);
  link_dialler_start(thief->dialler, clock_now_ns());
  while (link_state(thief) == LINK_AWAY) {
    link_wait(thief, 100, NULL);
    link_work(thief, &error);
    g_assert_cmpint(link_state(thief), !=, LINK_UP);
  }
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  host_assert_echo(one, 10);
}

static void
test_void(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(IdentityKey) replacement = identity_key_generate();
  g_autoptr(IdentityRecovery) never = identity_recovery_new(NULL);
  assert_not_recovered(host, replacement, never, DOPPEL_ERROR_NOT_FOUND, "no clone of that host");
  g_autoptr(IdentityRecovery) first = make_phrase(host, clone);
  g_assert_cmpint(daemon_state_recovery(host->state, clone->id), >, 0);
  g_autoptr(IdentityRecovery) second = make_phrase(host, clone);
  assert_not_recovered(host, replacement, first, DOPPEL_ERROR_NOT_FOUND, "newer phrase");
  g_assert_true(daemon_state_forget_recovery(host->state, clone->id, &error));
  g_assert_cmpint(daemon_state_recovery(host->state, clone->id), ==, 0);
  assert_not_recovered(host, replacement, second, DOPPEL_ERROR_NOT_FOUND, "voided");
  g_autoptr(IdentityRecovery) third = make_phrase(host, clone);
  g_assert_true(daemon_state_revoke(host->state, clone->id, &error));
  assert_not_recovered(host, replacement, third, DOPPEL_ERROR_NOT_FOUND, "no clone of that host");
  g_autoptr(GArray) devices = daemon_state_devices(host->state, clone->id, &error);
  g_assert_cmpuint(devices->len, ==, 0);
}

/* Who has learnt the key of another clone's phrase, and says that it is that of its own, does not void it. */
static void
test_same_key(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(IdentityRecovery) recovery = make_phrase(host, clone);
  g_autoptr(IdentityKey) thief = identity_key_generate(), replacement = identity_key_generate();
  guint8 other[PAIRED_ID_LENGTH] = {7}, seal[IDENTITY_SEAL_LENGTH] = {0};
  g_assert_true(daemon_state_let_in(host->state, other, identity_key_public(thief), "", &error));
  g_assert_cmpint(daemon_state_pairing.remember(host->state, other, identity_key_public(thief),
                                                identity_recovery_public(recovery), seal, NULL),
                  ==, LINK_PAIR_FAILED);
  g_autoptr(PairedClone) again = recover(host, replacement, recovery, FALSE, &error);
  g_assert_no_error(error);
}

/* A host that has got hold of all that the right one has, but for that one's key; or says so of another
 * clone. */
static void
test_lying_host(void)
{
  g_autoptr(Host) host = host_new(), liar = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(IdentityRecovery) recovery = make_phrase(host, clone);
  g_autoptr(IdentityKey) replacement = identity_key_generate();
  LinkPairClone known = {0};
  g_assert_cmpint(daemon_state_pairing.find(host->state, identity_recovery_public(recovery), &known, NULL),
                  ==, LINK_PAIR_OK);
  g_strfreev(known.addresses);
  const IdentityPublic *key = identity_recovery_public(recovery);
  g_assert_cmpint(daemon_state_let_in(liar->state, known.id, identity_key_public(host->device_key), "", NULL),
                  ==, TRUE);
  g_assert_cmpint(daemon_state_pairing.remember(liar->state, known.id, identity_key_public(host->device_key),
                                                key, known.seal, NULL),
                  ==, LINK_PAIR_OK);
  g_autofree char *path = g_build_filename(liar->directory, "state.db", NULL);
  sqlite3 *database;
  g_assert_cmpint(sqlite3_open(path, &database), ==, SQLITE_OK);
  g_assert_true(database_run(database, &error,
                             "INSERT INTO clone(id, name, key, paired) VALUES(?, 'x', ?, 1)", "bb", known.id,
                             sizeof known.id, known.key.bytes, sizeof known.key.bytes));
  sqlite3_close(database);
  assert_not_recovered(liar, replacement, recovery, DOPPEL_ERROR_DENIED, "not the host");
  /* Nothing that it heard has made it anybody's. */
  g_autoptr(GArray) devices = daemon_state_devices(liar->state, known.id, &error);
  g_assert_false(daemon_devices_have(devices, identity_key_public(replacement)));
  g_autoptr(PairedClone) again = recover(host, replacement, recovery, FALSE, &error);
  g_assert_no_error(error);
}

/* A proof that was overheard, in a conversation with another challenge; and one without a question. */
static void
test_replay(void)
{
  g_autoptr(Host) host = host_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PairedClone) clone = host_pair(host);
  g_autoptr(IdentityRecovery) recovery = make_phrase(host, clone);
  g_autoptr(IdentityKey) replacement = identity_key_generate();
  const char *addresses[] = {host->address, NULL};
  IdentityProof proof = {.host = clone->host, .device = *identity_key_public(replacement)};
  memcpy(proof.id, clone->id, sizeof proof.id);
  for (guint asks = 0; asks < 2; asks++) {
    LinkOptions options = PAIR_OPTIONS;
    guint8 signature[IDENTITY_SIGNATURE_LENGTH];
    g_autoptr(Link) link = link_dial(addresses, replacement, &clone->host, pair_host_id, &options, &error);
    g_assert_no_error(error);
    if (asks) {
      Doppel__Wire__PairFind find = DOPPEL__WIRE__PAIR_FIND__INIT;
      const IdentityPublic *key = identity_recovery_public(recovery);
      find.key = (ProtobufCBinaryData){sizeof key->bytes, (guint8 *)key->bytes};
      Doppel__Wire__PairRequest request = DOPPEL__WIRE__PAIR_REQUEST__INIT;
      request.what_case = DOPPEL__WIRE__PAIR_REQUEST__WHAT_FIND;
      request.find = &find;
      Doppel__Wire__PairReply *found = pair_ask(link, &request, "", &error);
      g_assert_no_error(error);
      g_assert_cmpuint(found->challenge.len, ==, IDENTITY_CHALLENGE_LENGTH);
      pair_reply_free(found);
    }
    identity_recovery_prove(recovery, &proof, signature); /* of a challenge of zeros */
    Doppel__Wire__PairRecover again = DOPPEL__WIRE__PAIR_RECOVER__INIT;
    again.signature = (ProtobufCBinaryData){sizeof signature, signature};
    char name[] = "thief";
    again.device_name = name;
    Doppel__Wire__PairRequest request = DOPPEL__WIRE__PAIR_REQUEST__INIT;
    request.what_case = DOPPEL__WIRE__PAIR_REQUEST__WHAT_RECOVER;
    request.recover = &again;
    g_assert_null(pair_ask(link, &request, "", &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
    g_clear_error(&error);
  }
  assert_locked_out(clone, replacement);
  assert_let_in(clone, host->device_key);
}

/* What a doppeld of before this was there left. */
static void
test_old_state(void)
{
  static const char old[] =
      "CREATE TABLE clone(id BLOB PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE, device BLOB NOT NULL,"
      " key BLOB NOT NULL, paired INTEGER NOT NULL, seen INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
      "CREATE TABLE invitation(id BLOB PRIMARY KEY NOT NULL, secret_hash BLOB NOT NULL, expires INTEGER NOT "
      "NULL, addresses TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, used_by BLOB, clone BLOB) "
      "WITHOUT ROWID;"
      "CREATE TABLE listening(address TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID;"
      "INSERT INTO clone VALUES(zeroblob(16), 'old', randomblob(32), zeroblob(32), 77, 0);"
      "PRAGMA user_version = 1;";
  g_autoptr(GError) error = NULL;
  g_autofree char *directory = g_dir_make_tmp("doppeld-XXXXXX", NULL);
  g_autofree char *path = g_build_filename(directory, "state.db", NULL);
  sqlite3 *database;
  g_assert_cmpint(sqlite3_open(path, &database), ==, SQLITE_OK);
  g_assert_cmpint(sqlite3_exec(database, old, NULL, NULL, NULL), ==, SQLITE_OK);
  sqlite3_close(database);
  g_autoptr(DaemonState) state = daemon_state_open(directory, &error);
  g_assert_no_error(error);
  g_autoptr(DaemonClone) clone = daemon_state_find(state, "old", &error);
  g_assert_no_error(error);
  g_assert_cmpuint(clone->devices->len, ==, 1);
  g_assert_cmpint(clone->paired, ==, 77);
  g_clear_pointer(&state, daemon_state_close);
  state = daemon_state_open(directory, &error);
  g_assert_no_error(error);
  g_autofree char *remove = g_strdup_printf("rm -rf '%s'", directory);
  g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/recovery/replace", test_replace);
  g_test_add_func("/recovery/beside", test_beside);
  g_test_add_func("/recovery/foreign-session", test_foreign_session);
  g_test_add_func("/recovery/void", test_void);
  g_test_add_func("/recovery/lying-host", test_lying_host);
  g_test_add_func("/recovery/same-key", test_same_key);
  g_test_add_func("/recovery/replay", test_replay);
  g_test_add_func("/recovery/old-state", test_old_state);
  return g_test_run();
}

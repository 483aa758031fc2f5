/* The user on a device: what is kept, and what survives an answer that nobody heard. */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "identity/user.h"
#include "record_world.h"

/* A device that knows nothing. */
static void
begin(void)
{
  g_autofree char *directory = identity_directory();
  g_autoptr(GDir) entries = g_dir_open(directory, 0, NULL);
  for (const char *name; entries && (name = g_dir_read_name(entries));) {
    g_autofree char *path = g_build_filename(directory, name, NULL);
    g_assert_cmpint(g_unlink(path), ==, 0);
  }
}

static User *
load(gboolean change)
{
  g_autoptr(GError) error = NULL;
  User *user = user_load(change, &error);
  g_assert_no_error(error);
  return user;
}

/* A world of which `origin` is the device's user. */
static Record *
claim(User *user, const WorldUser *world, const char *name)
{
  g_autoptr(GError) error = NULL;
  g_assert_true(user_make_key(user, &error));
  RecordBinding binding = world->binding;
  binding.name = name;
  Record *record = user_bind(user, identity_key_public(world->recovery), &binding, world->hosting, &error);
  g_assert_no_error(error);
  g_assert_true(user_propose(user, record, &error));
  g_assert_no_error(error);
  return record;
}

static void
took(User *user, Record *record)
{
  g_autoptr(GError) error = NULL;
  g_assert_true(user_took(user, record, &error));
  g_assert_no_error(error);
}

static void
test_claim(void)
{
  begin();
  g_autoptr(WorldUser) world = world_user_new(100, "alice");
  g_autoptr(User) nobody = load(FALSE);
  g_assert_null(nobody->key);
  g_assert_null(user_newest(nobody));
  g_autoptr(User) user = load(TRUE);
  g_autoptr(Record) record = claim(user, world, "alice");
  g_assert_cmpuint(record->serial, ==, 1);
  g_assert_true(identity_public_equal(&record->origin, identity_key_public(user->key)));
  g_autoptr(User) meanwhile = load(FALSE);
  g_assert_null(meanwhile->record);
  g_assert_cmpstr(meanwhile->proposed->name, ==, "alice");
  took(user, record);
  g_autoptr(User) after = load(FALSE);
  g_assert_null(after->proposed);
  g_assert_cmpint(record_compare(after->record, record), ==, 0);
  g_assert_true(identity_public_equal(identity_key_public(after->key), &record->key));
}

/* The same root again: another one, with another recovery key, would be another truth about the same user. */
static void
test_refused(void)
{
  begin();
  g_autoptr(WorldUser) world = world_user_new(100, "alice"), other = world_user_new(900, "bob");
  g_autoptr(User) user = load(TRUE);
  g_autoptr(Record) refused = claim(user, world, "alice");
  g_autoptr(Record) second = claim(user, other, "bob");
  g_assert_cmpuint(second->serial, ==, 2);
  g_assert_true(identity_public_equal(&second->recovery, &refused->recovery));
  g_assert_cmpint(record_compare(second, refused), >, 0);
}

/* Nobody else changes it meanwhile; everybody may look. */
static void
test_lock(void)
{
  begin();
  g_autoptr(GError) error = NULL;
  g_autoptr(User) user = load(TRUE);
  g_assert_null(user_load(TRUE, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_autoptr(User) reader = load(FALSE);
  g_clear_pointer(&user, user_free);
  g_autoptr(User) writer = load(TRUE);
}

static Record *
succeed(User *user, const WorldUser *world)
{
  g_autoptr(GError) error = NULL;
  const Record *newest = user_newest(user);
  RecordBinding binding = user_binding(newest);
  UserSuccession succession = {.signer = user->key,
                               .after = newest->successions,
                               .successor = user_next_key(user, NULL),
                               .recovery = &newest->recovery,
                               .time = WORLD_TIME};
  Record *record = user_succeed(newest, &succession, &binding, world->hosting, &error);
  g_assert_no_error(error);
  return record;
}

static char *
state_file(const char *name)
{
  g_autofree char *directory = identity_directory();
  return g_build_filename(directory, name, NULL);
}

static void
test_succeed(void)
{
  begin();
  g_autoptr(WorldUser) world = world_user_new(100, "alice");
  g_autoptr(User) user = load(TRUE);
  g_autoptr(Record) first = claim(user, world, "alice");
  took(user, first);
  g_autoptr(Record) record = succeed(user, world);
  g_assert_true(user_propose(user, record, NULL));
  g_clear_pointer(&user, user_free);

  /* The answer was lost: who comes again signs with the new key, and has the old one still. */
  g_autoptr(User) again = load(TRUE);
  g_assert_true(identity_public_equal(identity_key_public(again->key), &record->key));
  g_assert_true(identity_public_equal(&again->record->key, &first->key));
  g_autofree char *next = state_file("user.key.next");
  g_assert_true(g_file_test(next, G_FILE_TEST_EXISTS));
  g_autoptr(GError) error = NULL;
  RecordBinding binding = user_binding(again->proposed);
  g_autoptr(Record) bound = user_bind(again, NULL, &binding, world->hosting, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(bound->successions, ==, 1);
  took(again, bound);
  g_assert_false(g_file_test(next, G_FILE_TEST_EXISTS));
  g_clear_pointer(&again, user_free);
  g_autoptr(User) after = load(FALSE);
  g_assert_true(identity_public_equal(identity_key_public(after->key), &record->key));
}

/* Killed between the new record and the new key's new name. */
static void
test_killed(void)
{
  begin();
  g_autoptr(WorldUser) world = world_user_new(100, "alice");
  g_autoptr(User) user = load(TRUE);
  g_autoptr(Record) first = claim(user, world, "alice");
  took(user, first);
  g_autofree char *key = state_file("user.key"), *next = state_file("user.key.next"),
                  *kept = state_file("old");
  g_autoptr(Record) record = succeed(user, world);
  g_assert_cmpint(g_rename(key, kept), ==, 0);
  g_autoptr(IdentityKey) successor = identity_key_load(next, NULL);
  took(user, record);
  g_assert_cmpint(g_rename(key, next), ==, 0);
  g_assert_cmpint(g_rename(kept, key), ==, 0);
  g_autoptr(User) after = load(FALSE);
  g_assert_true(identity_public_equal(identity_key_public(after->key), identity_key_public(successor)));
}

static void
test_foreign_key(void)
{
  begin();
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) world = world_user_new(100, "alice");
  g_autoptr(User) user = load(TRUE);
  g_autoptr(Record) first = claim(user, world, "alice");
  g_autofree char *key = state_file("user.key");
  g_assert_cmpint(g_unlink(key), ==, 0);
  g_assert_true(identity_key_save(world->origin, key, NULL));
  g_assert_null(user_load(FALSE, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
}

static void
test_damaged(void)
{
  begin();
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) world = world_user_new(100, "alice");
  g_autoptr(User) user = load(TRUE);
  g_autoptr(Record) first = claim(user, world, "alice");
  took(user, first);
  g_autofree char *path = state_file("user.record");
  struct stat status;
  g_assert_cmpint(stat(path, &status), ==, 0);
  g_assert_cmpuint(status.st_mode & 07777, ==, 0600);
  g_assert_true(g_file_set_contents(path, "nonsense", -1, NULL));
  g_assert_null(user_load(FALSE, &error));
  g_assert_nonnull(strstr(error->message, path));
}

/* What a thief did with the key, as often as it went, is void from where the phrase takes over. */
static void
test_recover(void)
{
  begin();
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) world = world_user_new(100, "alice");
  g_autoptr(IdentityKey) phrase = world_key(101), fresh = world_key(5000);
  for (guint i = 0; i < RECORD_SUCCESSIONS_MAX; i++)
    world_succeed(world, 1000 + 10 * i, FALSE);
  g_autoptr(Record) taken = world_record(world, 70, 70, NULL);
  RecordBinding binding = user_binding(taken);
  UserSuccession succession = {.signer = phrase,
                               .by_recovery = TRUE,
                               .after = 0,
                               .successor = fresh,
                               .recovery = identity_key_public(phrase),
                               .time = WORLD_TIME};
  g_autoptr(Record) back = user_succeed(taken, &succession, &binding, world->hosting, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(back->successions, ==, 1);
  g_assert_cmpuint(back->recoveries, ==, 1);
  g_assert_cmpint(record_compare(back, taken), >, 0);
  succession.after = RECORD_SUCCESSIONS_MAX;
  g_assert_null(user_succeed(taken, &succession, &binding, world->hosting, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
}

/* The first place since the last recovery: what was done by the key after it, by whomever, is void. */
static void
test_recovery_place(void)
{
  begin();
  g_autoptr(WorldUser) world = world_user_new(100, "alice");
  g_autoptr(IdentityKey) first = world_key(101), second = world_key(201), third = world_key(301);
  g_autoptr(Record) fresh = world_record(world, 1, 1, NULL);
  g_assert_cmpint(user_recovery_place(fresh, identity_key_public(first)), ==, 0);
  g_assert_cmpint(user_recovery_place(fresh, identity_key_public(second)), ==, -1);
  world_succeed(world, 200, FALSE);
  g_autoptr(Record) by_key = world_record(world, 1, 1, NULL);
  g_assert_cmpint(user_recovery_place(by_key, identity_key_public(first)), ==, 0);
  g_assert_cmpint(user_recovery_place(by_key, identity_key_public(second)), ==, 1);
  world_succeed(world, 300, TRUE);
  g_autoptr(Record) recovered = world_record(world, 1, 1, NULL);
  g_assert_cmpuint(record_last_recovery(recovered), ==, 2);
  g_assert_cmpint(user_recovery_place(recovered, identity_key_public(first)), ==, -1);
  g_assert_cmpint(user_recovery_place(recovered, identity_key_public(second)), ==, -1);
  g_assert_cmpint(user_recovery_place(recovered, identity_key_public(third)), ==, 2);
}

/* Of several clones it is the one that the record names. */
static void
test_clone(void)
{
  begin();
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) world = world_user_new(100, "alice");
  g_assert_null(user_clone(&error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_clear_error(&error);
  static const char *const addresses[] = {"192.0.2.1:1", NULL};
  PairedClone other = {.name = (char *)"other", .addresses = (char **)addresses};
  PairedClone own = {.name = (char *)"own", .addresses = (char **)addresses};
  own.key = world->binding.clone_key;
  memcpy(own.id, world->binding.clone, sizeof own.id);
  g_assert_true(paired_add(&other, NULL));
  g_autoptr(PairedClone) only = user_clone(NULL);
  g_assert_cmpstr(only->name, ==, "other");
  g_assert_true(paired_add(&own, NULL));
  g_assert_null(user_clone(&error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_autoptr(User) user = load(TRUE);
  g_autoptr(Record) record = claim(user, world, "alice");
  g_autoptr(PairedClone) named = user_clone(NULL);
  g_assert_cmpstr(named->name, ==, "own");
}

int
main(int argc, char **argv)
{
  char state[] = "/tmp/doppel-test-user-XXXXXX";
  g_assert_nonnull(g_mkdtemp(state));
  g_setenv("XDG_STATE_HOME", state, TRUE);
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/user/claim", test_claim);
  g_test_add_func("/user/refused", test_refused);
  g_test_add_func("/user/lock", test_lock);
  g_test_add_func("/user/succeed", test_succeed);
  g_test_add_func("/user/killed", test_killed);
  g_test_add_func("/user/foreign-key", test_foreign_key);
  g_test_add_func("/user/damaged", test_damaged);
  g_test_add_func("/user/recover", test_recover);
  g_test_add_func("/user/recovery-place", test_recovery_place);
  g_test_add_func("/user/clone", test_clone);
  int status = g_test_run();
  begin();
  g_autofree char *directory = identity_directory();
  g_rmdir(directory);
  g_rmdir(state);
  return status;
}

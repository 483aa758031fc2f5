/* What a user's record proves, and which of two is the newer one. */
#include <string.h>

#include "base/error.h"
#include "record_world.h"

static void
test_whole(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  g_autoptr(Record) made = world_record(user, 3, 7, &error);
  g_assert_no_error(error);
  gsize length;
  const void *data = g_bytes_get_data(made->bytes, &length);
  g_autoptr(Record) record = record_decode(data, length, &user->binding.origin, &error);
  g_assert_no_error(error);
  g_assert_cmpstr(record->name, ==, "alice");
  g_assert_true(identity_public_equal(&record->origin, identity_key_public(user->origin)));
  g_assert_true(identity_public_equal(&record->key, identity_key_public(user->origin)));
  g_assert_true(identity_public_equal(&record->recovery, identity_key_public(user->recovery)));
  g_assert_true(identity_public_equal(&record->clone_key, identity_key_public(user->clone)));
  g_assert_true(identity_public_equal(&record->device, identity_key_public(user->device)));
  g_assert_true(identity_public_equal(&record->provider, identity_key_public(user->provider)));
  g_assert_true(identity_public_equal(&record->directory, identity_key_public(user->directory)));
  g_assert_cmpmem(record->clone, sizeof record->clone, user->binding.clone, sizeof record->clone);
  g_assert_cmpuint(record->serial, ==, 3);
  g_assert_cmpuint(record->sequence, ==, 7);
  g_assert_cmpuint(record->successions, ==, 0);
  g_assert_cmpint(record->issued, ==, WORLD_TIME);
  g_assert_cmpint(record->expires, ==, WORLD_TIME + 1000);
  g_assert_cmpint(record->whereabouts_expires, ==, WORLD_TIME + 100);
  g_assert_cmpuint(g_strv_length(record->addresses), ==, 2);
  g_assert_cmpstr(record->addresses[1], ==, "[2001:db8::1]:4280");
  g_assert_false(record->revoked);
  g_assert_cmpint(record_compare(made, record), ==, 0);
  g_assert_true(g_bytes_equal(made->bytes, record->bytes));
}

static Record *
decode(GBytes *bytes, GError **error)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  return record_decode(data, length, NULL, error);
}

/* `newer` is newer than `older`, whoever asks. */
static void
assert_newer(const Record *newer, const Record *older)
{
  g_assert_cmpint(record_compare(newer, older), >, 0);
  g_assert_cmpint(record_compare(older, newer), <, 0);
}

/* The serial of the binding before the sequence of the whereabouts: a clone that is no longer the user's
 * cannot go on being it by counting up. */
static void
test_order(void)
{
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  g_autoptr(Record) first = world_record(user, 1, 1, NULL), moved = world_record(user, 1, 2, NULL);
  g_autoptr(Record) far = world_record(user, 1, G_MAXUINT64, NULL), bound = world_record(user, 2, 1, NULL);
  g_autoptr(Record) last = world_record(user, G_MAXUINT64, 1, NULL);
  assert_newer(moved, first);
  assert_newer(far, moved);
  assert_newer(bound, far);
  assert_newer(last, bound);
  g_assert_cmpint(record_compare(far, far), ==, 0);
}

/* Two of one rank: everybody takes the same one. */
static void
test_same_rank(void)
{
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  g_autoptr(Record) one = world_record(user, 1, 1, NULL);
  user->binding.name = "alicia";
  g_autoptr(Record) other = world_record(user, 1, 1, NULL);
  gboolean one_lower = memcmp(one->hash, other->hash, sizeof one->hash) < 0;
  assert_newer(one_lower ? one : other, one_lower ? other : one);
}

static void
test_succession(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  g_autoptr(Record) before = world_record(user, 9, 9, NULL);
  world_succeed(user, 200, FALSE);
  g_autoptr(Record) by_key = world_record(user, 1, 1, &error);
  g_assert_no_error(error);
  g_assert_true(identity_public_equal(&by_key->origin, &before->origin));
  IdentityPublic key_then, recovery_then;
  record_keys_after(by_key, 0, &key_then, &recovery_then);
  g_assert_true(identity_public_equal(&key_then, &before->key));
  g_assert_true(identity_public_equal(&recovery_then, &before->recovery));
  record_keys_after(by_key, 1, &key_then, &recovery_then);
  g_assert_true(identity_public_equal(&key_then, &by_key->key));
  g_assert_true(identity_public_equal(&recovery_then, &by_key->recovery));
  g_assert_true(identity_public_equal(&by_key->key, identity_key_public(user->key)));
  g_assert_true(identity_public_equal(&by_key->recovery, identity_key_public(user->recovery)));
  g_assert_cmpuint(by_key->successions, ==, 1);
  g_assert_cmpuint(by_key->recoveries, ==, 0);
  assert_newer(by_key, before);
  /* With the recovery key that the succession named, not the first one. */
  world_succeed(user, 300, TRUE);
  g_autoptr(Record) by_recovery = world_record(user, 1, 1, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(by_recovery->successions, ==, 2);
  g_assert_cmpuint(by_recovery->recoveries, ==, 1);
  assert_newer(by_recovery, by_key);
}

/* A key that was succeeded signs nothing any more; and a recovery key that was replaced makes no successor.
 */
static void
test_succeeded(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  g_autoptr(IdentityKey) old_recovery = world_key(101);
  world_succeed(user, 200, FALSE);
  IdentityKey *key = user->key;
  user->key = user->origin;
  g_assert_null(world_record(user, 1, 1, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_clear_error(&error);
  user->key = key;

  IdentityKey *recovery = user->recovery;
  user->recovery = old_recovery;
  world_succeed(user, 300, TRUE);
  g_steal_pointer(&old_recovery);
  g_assert_null(world_record(user, 1, 1, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  identity_key_free(recovery);
}

/* Who has taken the key may have gone on with it as long as they like. */
static void
test_recovery_beats_key(void)
{
  g_autoptr(WorldUser) thief = world_user_new(100, "alice"), owner = world_user_new(100, "alice");
  for (guint i = 0; i < RECORD_SUCCESSIONS_MAX; i++)
    world_succeed(thief, 1000 + 10 * i, FALSE);
  world_succeed(owner, 200, TRUE);
  g_autoptr(Record) taken = world_record(thief, 1000, 1000, NULL), back = world_record(owner, 1, 1, NULL);
  g_assert_nonnull(taken);
  assert_newer(back, taken);
}

/* Where both went on by the key, the lower hash of the first succession that differs decides, whatever
 * follows. */
static void
test_fork(void)
{
  g_autoptr(WorldUser) one = world_user_new(100, "alice"), other = world_user_new(100, "alice");
  world_succeed(one, 200, FALSE);
  world_succeed(other, 300, FALSE);
  g_autoptr(Record) of_one = world_record(one, 1, 1, NULL), of_other = world_record(other, 1, 1, NULL);
  gboolean one_wins = record_compare(of_one, of_other) > 0;
  WorldUser *loser = one_wins ? other : one;
  world_succeed(loser, 400, FALSE);
  world_succeed(loser, 500, TRUE);
  g_autoptr(Record) further = world_record(loser, 100, 100, NULL);
  assert_newer(one_wins ? of_one : of_other, further);
}

/* Whoever finds an old key cannot win by a low hash: of two chains that part by the key, each stays with
 * those who have it, until the phrase settles it. */
static void
test_supersedes(void)
{
  g_autoptr(WorldUser) owner = world_user_new(100, "alice"), thief = world_user_new(100, "alice");
  g_autoptr(Record) first = world_record(owner, 5, 5, NULL), moved = world_record(owner, 5, 6, NULL);
  world_succeed(owner, 200, FALSE);
  g_autoptr(Record) before = world_record(owner, 1, 1, NULL);
  world_succeed(owner, 250, FALSE);
  g_autoptr(Record) own = world_record(owner, 1, 1, NULL);
  g_assert_true(record_supersedes(moved, first));
  g_assert_false(record_supersedes(first, moved));
  g_assert_false(record_supersedes(first, first));
  g_assert_true(record_supersedes(before, moved));
  g_assert_true(record_supersedes(own, before));
  g_assert_false(record_supersedes(before, own));
  guint lower = 0;
  for (guint i = 0; i < 16; i++) {
    g_autoptr(WorldUser) another = world_user_new(100, "alice");
    world_succeed(another, 1000 + 10 * i, FALSE);
    world_succeed(another, 1001 + 10 * i, TRUE);
    world_succeed(another, 1002 + 10 * i, FALSE);
    g_autoptr(Record) stolen = world_record(another, 100, 100, NULL);
    lower += record_compare(stolen, own) > 0;
    g_assert_false(record_supersedes(stolen, own));
    g_assert_false(record_supersedes(own, stolen));
  }
  g_assert_cmpuint(lower, >, 0);
  g_assert_cmpuint(lower, <, 16);
  /* From where they part. */
  g_autoptr(WorldUser) settled = world_user_new(100, "alice");
  world_succeed(thief, 300, FALSE);
  world_succeed(settled, 400, TRUE);
  g_autoptr(Record) stolen = world_record(thief, 9, 9, NULL), back = world_record(settled, 1, 1, NULL);
  g_assert_true(record_supersedes(back, stolen));
  g_assert_true(record_supersedes(back, own));
  g_assert_false(record_supersedes(own, back));
  /* Two by the phrase: who has that is the owner. Nobody else decides. */
  g_autoptr(WorldUser) twice = world_user_new(100, "alice");
  world_succeed(twice, 500, TRUE);
  g_autoptr(Record) also = world_record(twice, 9, 9, NULL);
  g_assert_false(record_supersedes(also, back));
  g_assert_false(record_supersedes(back, also));
}

static void
test_chain(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  for (guint i = 0; i < RECORD_SUCCESSIONS_MAX; i++)
    world_succeed(user, 1000 + 10 * i, i % 3 == 0);
  g_autoptr(Record) longest = world_record(user, 1, 1, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(longest->successions, ==, RECORD_SUCCESSIONS_MAX);
  world_succeed(user, 5000, FALSE);
  g_assert_null(world_record(user, 1, 1, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
test_replayed_succession(void)
{
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  world_succeed(user, 200, FALSE);
  world_succeed(user, 300, FALSE);
  g_autoptr(Record) good = world_record(user, 1, 1, NULL);
  g_autoptr(RecordParts) parts = record_parts(good);
  GBytes *first = parts->successions->pdata[0], *second = parts->successions->pdata[1];
  GBytes *const orders[][2] = {{second, first}, {first, first}, {second, second}};
  for (gsize i = 0; i < G_N_ELEMENTS(orders); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(record_assemble(parts->root, orders[i], 2, parts->binding, parts->hosting,
                                  parts->whereabouts, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  }
}

/* The largest record that there can be has room. */
static void
test_largest(void)
{
  g_autoptr(GError) error = NULL;
  char name[RECORD_NAME_MAX + 1] = "";
  memset(name, 'a', RECORD_NAME_MAX);
  g_autoptr(WorldUser) user = world_user_new(100, name);
  for (guint i = 0; i < RECORD_SUCCESSIONS_MAX; i++)
    world_succeed(user, 1000 + 10 * i, TRUE);
  char address[256] = "";
  memset(address, 'h', 249);
  strcpy(address + 249, ":65535");
  const char *addresses[RECORD_ADDRESSES_MAX + 2] = {NULL};
  for (guint i = 0; i < RECORD_ADDRESSES_MAX; i++)
    addresses[i] = address;
  user->binding.expires = RECORD_TIME_MAX;
  g_autoptr(Record) small = world_record(user, G_MAXUINT64, 1, &error);
  g_assert_no_error(error);
  g_autoptr(RecordParts) parts = record_parts(small);
  g_autoptr(GBytes) whereabouts =
      record_sign_whereabouts(user->clone, addresses, G_MAXUINT64, RECORD_TIME_MAX - 1, RECORD_TIME_MAX);
  g_autoptr(Record) largest =
      record_assemble(parts->root, (GBytes *const *)parts->successions->pdata, parts->successions->len,
                      parts->binding, parts->hosting, whereabouts, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(g_strv_length(largest->addresses), ==, RECORD_ADDRESSES_MAX);
  g_test_message("the largest record has %zu bytes", g_bytes_get_size(largest->bytes));

  addresses[RECORD_ADDRESSES_MAX] = address;
  g_autoptr(GBytes) too_many = record_sign_whereabouts(user->clone, addresses, 2, 1, 2);
  g_autoptr(WorldUser) short_one = world_user_new(100, "alice");
  g_autoptr(Record) other = world_record(short_one, 1, 1, NULL);
  g_autoptr(RecordParts) of_other = record_parts(other);
  g_assert_null(
      record_assemble(of_other->root, NULL, 0, of_other->binding, of_other->hosting, too_many, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

/* No clone, so no whereabouts; with a clone, only between a device and its own clone. */
static void
test_revoked(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  g_autoptr(Record) unplaced = world_record(user, 1, 0, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(unplaced->sequence, ==, 0);
  g_assert_null(unplaced->addresses[0]);
  g_assert_null(decode(unplaced->bytes, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_clear_error(&error);
  g_autoptr(Record) placed = world_record(user, 1, 1, NULL);
  assert_newer(placed, unplaced);

  user->binding.revoked = TRUE;
  g_autoptr(Record) without = world_record(user, 2, 0, NULL), with = world_record(user, 2, 1, NULL);
  g_autoptr(Record) revoked = decode(without->bytes, &error);
  g_assert_no_error(error);
  g_assert_true(revoked->revoked);
  g_autoptr(Record) also = decode(with->bytes, &error);
  g_assert_no_error(error);
  g_assert_true(also->revoked);
  assert_newer(revoked, placed);
}

static void
test_parts(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  world_succeed(user, 200, FALSE);
  world_succeed(user, 300, TRUE);
  g_autoptr(Record) record = world_record(user, 1, 1, NULL);
  g_autoptr(RecordParts) parts = record_parts(record);
  g_autoptr(Record) again =
      record_assemble(parts->root, (GBytes *const *)parts->successions->pdata, parts->successions->len,
                      parts->binding, parts->hosting, parts->whereabouts, &error);
  g_assert_no_error(error);
  g_assert_true(g_bytes_equal(record->bytes, again->bytes));
  g_assert_cmpint(record_compare(record, again), ==, 0);
  Record *held = record_ref(again);
  record_unref(again);
  g_assert_cmpstr(held->name, ==, "alice");
  again = held;
}

/* An order: of any three records no circle can be made. */
static void
test_total(void)
{
  enum { COUNT = 24 };
  Record *records[COUNT];
  for (guint i = 0; i < COUNT; i++) {
    g_autoptr(WorldUser) user = world_user_new(100, "alice");
    for (guint left = g_test_rand_int_range(0, 4), at = 1; left > 0; left--, at++)
      world_succeed(user, 200 * at + 10 * g_test_rand_int_range(0, 2), g_test_rand_bit());
    records[i] = world_record(user, g_test_rand_int_range(1, 3), g_test_rand_int_range(1, 3), NULL);
    g_assert_nonnull(records[i]);
  }
  for (guint a = 0; a < COUNT; a++)
    for (guint b = 0; b < COUNT; b++) {
      int order = record_compare(records[a], records[b]), back = record_compare(records[b], records[a]);
      g_assert_true((order > 0) == (back < 0) && (order == 0) == (back == 0));
      g_assert_true((order == 0) == g_bytes_equal(records[a]->bytes, records[b]->bytes));
      for (guint c = 0; c < COUNT; c++)
        if (order >= 0 && record_compare(records[b], records[c]) >= 0)
          g_assert_cmpint(record_compare(records[a], records[c]), >=, 0);
    }
  for (guint i = 0; i < COUNT; i++)
    record_unref(records[i]);
}

static void
test_names(void)
{
  static const char *const good[] = {
      "a", "alice", "alice@example.org", "+33612345678", "zoë", "李小龙", "a-b_c.d", "100%", "keys", NULL};
  static const char *const bad[] = {"",
                                    "Alice",
                                    "al ice",
                                    "a/b",
                                    "a\tb",
                                    "a\x7f",
                                    "key:abc",
                                    "\xff",
                                    "a\xc2\xa0"
                                    "b",
                                    "a\xe2\x80\x8b"
                                    "b",
                                    "a\xe2\x80\xae"
                                    "b",
                                    "\xc3",
                                    NULL};
  for (const char *const *name = good; *name; name++) {
    g_autoptr(GError) error = NULL;
    g_assert_true(record_name_check(*name, &error));
    g_assert_no_error(error);
  }
  for (const char *const *name = bad; *name; name++) {
    g_autoptr(GError) error = NULL;
    g_assert_false(record_name_check(*name, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  }
  char longest[RECORD_NAME_MAX + 2] = "";
  memset(longest, 'x', RECORD_NAME_MAX);
  g_assert_true(record_name_check(longest, NULL));
  longest[RECORD_NAME_MAX] = 'x';
  g_assert_false(record_name_check(longest, NULL));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/record/whole", test_whole);
  g_test_add_func("/record/order", test_order);
  g_test_add_func("/record/same-rank", test_same_rank);
  g_test_add_func("/record/succession", test_succession);
  g_test_add_func("/record/succeeded", test_succeeded);
  g_test_add_func("/record/recovery-beats-key", test_recovery_beats_key);
  g_test_add_func("/record/fork", test_fork);
  g_test_add_func("/record/supersedes", test_supersedes);
  g_test_add_func("/record/chain", test_chain);
  g_test_add_func("/record/replayed-succession", test_replayed_succession);
  g_test_add_func("/record/largest", test_largest);
  g_test_add_func("/record/revoked", test_revoked);
  g_test_add_func("/record/parts", test_parts);
  g_test_add_func("/record/total", test_total);
  g_test_add_func("/record/names", test_names);
  return g_test_run();
}

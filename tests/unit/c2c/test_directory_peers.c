/* Four directories that do not trust each other: whatever the network does, they end with the same; whatever
 * one of them says, nothing changes about others' users. DOPPEL_SCHEDULES: how many schedules are tried;
 * DOPPEL_SEED: the first one's. */
#include <stdlib.h>
#include <string.h>

#include "peer_net.h"
#include "record_world.h"

enum { USERS = 16, VERSIONS = 5, STEPS = 60, LIAR = NET_NODES - 1 };

static guint schedules = 20;
static guint32 first_seed = 1;

/* Users of all directories, and their records: made once. Some move from one home to another. */
static Record *records[USERS][VERSIONS];
static Record *twins[USERS]; /* another of the same order as the last one */

static void
make_users(void)
{
  static const char *const elsewhere[] = {"192.0.2.77:1", NULL};
  for (guint i = 0; i < USERS; i++) {
    g_autofree char *name = g_strdup_printf("user%u", i);
    g_autoptr(WorldUser) user = world_user_new(100 + 10 * i, name);
    for (guint j = 0; j < VERSIONS; j++) {
      g_autoptr(GError) error = NULL;
      /* Of each of the honest ones' four users one moves, to another honest one. */
      guint home = i % NET_NODES;
      if (i < 3 && j >= 3)
        home = (home + 1) % LIAR;
      user->binding.directory = *identity_key_public(net_key(home));
      records[i][j] = world_record(user, 1 + j / 2, 1 + j, &error);
      g_assert_no_error(error);
    }
    g_autoptr(RecordParts) parts = record_parts(records[i][VERSIONS - 1]);
    g_autoptr(GBytes) whereabouts =
        record_sign_whereabouts(user->clone, elsewhere, VERSIONS, WORLD_TIME, WORLD_TIME + 100);
    twins[i] = record_assemble(parts->root, NULL, 0, parts->binding, parts->hosting, whereabouts, NULL);
    g_assert_nonnull(twins[i]);
  }
}

static guint
home_of(const Record *record)
{
  guint home = 0;
  while (!identity_public_equal(&record->directory, identity_key_public(net_key(home))))
    home++;
  return home;
}

static void
must_have(Net *net, guint node, const Record *record)
{
  const DirectoryRow *row = net_row(net, node, &record->origin);
  g_assert_nonnull(row);
  g_assert_cmpmem(row->hash, sizeof row->hash, record->hash, sizeof record->hash);
}

/* Everybody registers all their versions in the order of time, while the network does what it does. */
static void
live(Net *net, guint8 newest[USERS], gboolean restarts, void (*besides)(Net *net, const guint8 *newest))
{
  GRand *random = net_random(net);
  memset(newest, 0, USERS);
  for (guint i = 0; i < STEPS; i++) {
    guint user = (guint)g_rand_int_range(random, 0, USERS);
    if (newest[user] < VERSIONS)
      net_register(net, records[user][newest[user]++], g_rand_int_range(random, 0, 8) == 0);
    if (restarts && g_rand_int_range(random, 0, 10) == 0)
      net_restart(net, (guint)g_rand_int_range(random, 0, NET_NODES));
    if (besides)
      besides(net, newest);
    net_run(net, g_rand_int_range(random, 1, 3000));
  }
}

/* Without losses all have all within seconds: nobody waits for a healing. */
static void
test_broadcast(void)
{
  g_autoptr(Net) net = net_new(first_seed, NULL);
  net_run(net, 10000);
  for (guint i = 0; i < USERS; i++)
    net_register(net, records[i][0], FALSE);
  net_run(net, 2000);
  for (guint i = 0; i < USERS; i++)
    for (guint node = 0; node < NET_NODES; node++)
      must_have(net, node, records[i][0]);
}

/* Equal directories ask each other for digests, and for nothing else. */
static void
test_quiet(void)
{
  g_autoptr(Net) net = net_new(first_seed, NULL);
  for (guint i = 0; i < USERS; i++)
    net_register(net, records[i][0], FALSE);
  net_run(net, 300000);
  guint before = net_questions(net);
  net_run(net, 600000);
  /* Each of the four asks three peers for three homes, each 22 to 45 seconds. */
  g_assert_cmpuint(net_questions(net) - before, <=, 4 * 3 * 3 * 28);
  g_assert_cmpuint(net_questions(net) - before, >=, 4 * 3 * 3 * 12);
}

static void
run_faulty(guint32 seed)
{
  guint8 newest[USERS];
  g_autoptr(Net) net = net_new(seed, NULL);
  net_faults(net, TRUE);
  live(net, newest, TRUE, NULL);
  net_faults(net, FALSE);
  net_run(net, 300000);
  for (guint i = 0; i < USERS; i++)
    for (guint node = 0; newest[i] > 0 && node < NET_NODES; node++)
      must_have(net, node, records[i][newest[i] - 1]);
}

static void
test_faults(void)
{
  for (guint i = 0; i < schedules; i++) {
    g_test_message("seed %u", first_seed + i);
    run_faulty(first_seed + i);
  }
}

/* Lies */

/* What others' users have registered, and nothing else, may be taken of them. */
static void
check_taken(guint node, const Record *record, gpointer data)
{
  const guint8 *newest = data;
  if (node == LIAR || home_of(record) == LIAR)
    return;
  for (guint i = 0; i < USERS; i++)
    for (guint j = 0; j < newest[i]; j++)
      if (memcmp(records[i][j]->hash, record->hash, sizeof record->hash) == 0)
        return;
  g_assert_not_reached();
}

/* An Update that is not true, of some kind. */
static DirectorySigned
lie(Net *net, const guint8 *newest)
{
  GRand *random = net_random(net);
  const IdentityKey *key = net_key(LIAR);
  guint user = (guint)g_rand_int_range(random, 0, USERS);
  Record *theirs = records[user][0], *latest = records[user][MAX(newest[user], 1) - 1];
  DirectorySigned update;
  switch (g_rand_int_range(random, 0, 6)) {
  case 0: /* others' users, as if they were of this directory */
    return directory_update_sign(key, 1, records[user][VERSIONS - 1]->bytes);
  case 1: { /* a record that somebody has changed */
    gsize length;
    const guint8 *bytes = g_bytes_get_data(latest->bytes, &length);
    guint8 *changed = g_memdup2(bytes, length);
    changed[g_rand_int_range(random, 0, (gint32)length)] ^= 1 << g_rand_int_range(random, 0, 8);
    g_autoptr(GBytes) forged = g_bytes_new_take(changed, length);
    return directory_update_sign(net_key(home_of(latest)), 1, forged);
  }
  case 2: /* what was true once */
    if (newest[user] == 0)
      return directory_update_sign(key, 1, theirs->bytes);
    return directory_update_sign(net_key(home_of(theirs)), 1, theirs->bytes);
  case 3: /* signed by nobody */
    update = directory_update_sign(net_key(home_of(latest)), 1, latest->bytes);
    update.signature[g_rand_int_range(random, 0, IDENTITY_SIGNATURE_LENGTH)] ^= 1;
    return update;
  case 4: { /* two versions of the own user's */
    guint own = LIAR + NET_NODES * (guint)g_rand_int_range(random, 0, USERS / NET_NODES);
    Record *shown = g_rand_boolean(random) ? twins[own] : records[own][VERSIONS - 1];
    return directory_update_sign(key, 1, shown->bytes);
  }
  default: { /* by a directory that is nobody's peer */
    static IdentityKey *stranger;
    if (!stranger)
      stranger = world_key(4242);
    return directory_update_sign(stranger, 1, latest->bytes);
  }
  }
}

static const guint8 *now_newest;

static void
lie_in_answers(Net *net, const DirectoryQuestion *question, DirectoryAnswer *answer)
{
  GRand *random = net_random(net);
  if (question->what == DIRECTORY_WHAT(DIGESTS) && g_rand_boolean(random)) {
    guint8 *digests = g_memdup2(g_bytes_get_data(answer->digests, NULL), DIRECTORY_DIGESTS_LENGTH);
    for (guint i = 0; i < 12; i++)
      digests[g_rand_int_range(random, 0, DIRECTORY_DIGESTS_LENGTH)] ^= 1;
    g_bytes_unref(answer->digests);
    answer->digests = g_bytes_new_take(digests, DIRECTORY_DIGESTS_LENGTH);
  }
  for (guint i = 0; question->what == DIRECTORY_WHAT(BUCKET) && i < 3; i++) {
    DirectorySeen seen = {.origin = records[g_rand_int_range(random, 0, USERS)][0]->origin};
    seen.origin.bytes[0] = (guint8)question->bucket;
    g_array_append_val(answer->seen, seen);
  }
  for (guint i = 0; question->what == DIRECTORY_WHAT(FETCH) && i < 3; i++) {
    DirectorySigned update = lie(net, now_newest);
    g_array_append_val(answer->updates, update);
  }
}

static void
push_lies(Net *net, const guint8 *newest)
{
  for (guint to = 0; to < LIAR; to++) {
    DirectorySigned updates[3];
    for (guint i = 0; i < G_N_ELEMENTS(updates); i++)
      updates[i] = lie(net, newest);
    net_push(net, LIAR, to, updates, G_N_ELEMENTS(updates));
    for (guint i = 0; i < G_N_ELEMENTS(updates); i++)
      directory_signed_clear(&updates[i]);
  }
}

static void
run_liar(guint32 seed)
{
  static const NetLiar liar = {.answer = lie_in_answers};
  guint8 newest[USERS] = {0};
  g_autoptr(Net) net = net_new(seed, &liar);
  now_newest = newest;
  net_watch(net, check_taken, newest);
  net_faults(net, TRUE);
  live(net, newest, FALSE, push_lies);
  net_faults(net, FALSE);
  net_run(net, 300000);
  for (guint i = 0; i < USERS; i++) {
    const DirectoryRow *first = net_row(net, 0, &records[i][0]->origin);
    for (guint node = 0; node < LIAR; node++) {
      const DirectoryRow *row = net_row(net, node, &records[i][0]->origin);
      if (i % NET_NODES != LIAR && newest[i] > 0)
        must_have(net, node, records[i][newest[i] - 1]);
      g_assert_true((row != NULL) == (first != NULL));
      if (row)
        g_assert_cmpmem(row->hash, sizeof row->hash, first->hash, sizeof first->hash);
    }
  }
}

static void
test_liar(void)
{
  for (guint i = 0; i < schedules; i++) {
    g_test_message("seed %u", first_seed + i);
    run_liar(first_seed + i);
  }
}

/* Each of the reasons for which an update is not taken. */
static void
test_judging(void)
{
  const IdentityPublic *own = identity_key_public(net_key(0)), *other = identity_key_public(net_key(1));
  Record *theirs = records[1][0], *ours = records[0][0];
  IdentityPublic home;
  DirectorySigned update = directory_update_sign(net_key(1), 1, theirs->bytes);
  g_autoptr(Record) taken = directory_peers_judge(&update, other, 1, own, &home, NULL);
  g_assert_nonnull(taken);
  g_assert_true(identity_public_equal(&home, other));
  g_assert_null(directory_peers_judge(&update, other, 0, own, &home, NULL));
  g_assert_null(directory_peers_judge(&update, other, 1, other, &home, NULL));
  update.signature[0] ^= 1;
  g_assert_null(directory_peers_judge(&update, other, 1, own, &home, NULL));
  directory_signed_clear(&update);
  update = directory_update_sign(net_key(1), 1, ours->bytes);
  g_assert_null(directory_peers_judge(&update, other, 1, own, &home, NULL));
  directory_signed_clear(&update);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  schedules = g_getenv("DOPPEL_SCHEDULES") ? (guint)atoi(g_getenv("DOPPEL_SCHEDULES")) : schedules;
  first_seed = g_getenv("DOPPEL_SEED") ? (guint32)strtoul(g_getenv("DOPPEL_SEED"), NULL, 10) : first_seed;
  make_users();
  g_test_message("%u schedules, the first one's seed is %u", schedules, first_seed);
  g_test_add_func("/directory/peers/judging", test_judging);
  g_test_add_func("/directory/peers/broadcast", test_broadcast);
  g_test_add_func("/directory/peers/quiet", test_quiet);
  g_test_add_func("/directory/peers/faults", test_faults);
  g_test_add_func("/directory/peers/liar", test_liar);
  return g_test_run();
}

/* Messages to groups, among clones that are simulated: who gets them, how often, and what liars achieve. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/groups.h"

typedef struct World World;

typedef struct {
  World *world;
  IdentityKey *key; /* the clone's; its public half serves as the user's origin, too */
  Groups *groups;
  GArray *list;        /* its owner's, of the group "friends" */
  GHashTable *windows; /* sender's fingerprint → GArray: what a store remembers */
  gboolean away, deaf /* takes and is not heard of */, dies /* takes, answers, and is heard of no more */;
  guint delivered, over, asked /* for its list */;
  GArray *missed; /* of the last own message: who, by number */
} Clone;

typedef struct {
  GroupCarriage *carriage;
  Clone *to;
  GBytes *packed;
  GroupTask *task; /* its report is awaited */
} Parcel;

struct World {
  GPtrArray *clones;
  GPtrArray *parcels; /* on their way */
  GRand *chance;
  guint carried, refused;
};

static const IdentityPublic *
origin_of(const Clone *clone)
{
  return identity_key_public(clone->key);
}

static Clone *
clone_by_origin(const World *world, const IdentityPublic *origin)
{
  for (guint i = 0; i < world->clones->len; i++)
    if (identity_public_equal(origin_of(world->clones->pdata[i]), origin))
      return world->clones->pdata[i];
  g_assert_not_reached();
}

static GArray *
on_members(const char *group, void *data)
{
  Clone *clone = data;
  clone->asked++;
  return g_str_equal(group, "friends") ? g_array_copy(clone->list) : NULL;
}

static void
on_carry(GroupCarriage *carriage, const IdentityPublic *member, GBytes *packed, void *data)
{
  World *world = ((Clone *)data)->world;
  Parcel *parcel = g_new(Parcel, 1);
  *parcel = (Parcel){carriage, clone_by_origin(world, member), g_bytes_ref(packed), NULL};
  g_assert_true(parcel->to != data);
  g_ptr_array_add(world->parcels, parcel);
}

static GroupNews
on_take(const GroupMessage *message, guint64 now_us, void *data)
{
  Clone *clone = data;
  char *sender = identity_public_to_text(&message->origin);
  GArray *window = g_hash_table_lookup(clone->windows, sender);
  if (!window)
    g_hash_table_insert(clone->windows, g_strdup(sender), window = group_seen_load(NULL, 0));
  g_free(sender);
  GroupNews news = group_seen_look(window, message->sequence, now_us);
  clone->delivered += news == GROUP_NEW;
  g_assert_cmpmem(g_bytes_get_data(message->body, NULL), g_bytes_get_size(message->body), "hello", 5);
  return news;
}

static void
on_over(GroupTask *task, void *data)
{
  Clone *clone = data;
  const GArray *places = group_task_missed(task);
  g_assert_true(group_task_is_over(task));
  clone->over++;
  if (!identity_public_equal(&group_task_message(task)->origin, origin_of(clone)))
    return;
  g_array_set_size(clone->missed, 0);
  for (guint i = 0; i < places->len; i++) {
    guint place = g_array_index(places, guint, i);
    Clone *who = clone_by_origin(clone->world, group_task_member(task, place));
    g_assert_true(i == 0 || place > g_array_index(places, guint, i - 1));
    g_array_append_val(clone->missed, who);
  }
  g_assert_cmpuint(group_task_reached(task) + places->len + 1, ==, group_task_size(task));
}

static const GroupsNode node = {on_members, on_carry, on_take, on_over};

static gboolean
was_missed(const Clone *sender, const Clone *who)
{
  for (guint i = 0; i < sender->missed->len; i++)
    if (g_array_index(sender->missed, Clone *, i) == who)
      return TRUE;
  return FALSE;
}

static World *
world_new(guint count)
{
  World *world = g_new0(World, 1);
  world->clones = g_ptr_array_new();
  world->parcels = g_ptr_array_new();
  world->chance = g_rand_new_with_seed((guint32)g_test_rand_int());
  for (guint i = 0; i < count; i++) {
    Clone *clone = g_new0(Clone, 1);
    clone->world = world;
    clone->key = identity_key_generate();
    clone->groups = groups_new(origin_of(clone), clone->key, 0, &node, clone);
    clone->windows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_array_unref);
    clone->missed = g_array_new(FALSE, FALSE, sizeof(Clone *));
    g_ptr_array_add(world->clones, clone);
  }
  /* Half of the owners list themselves, too. */
  for (guint i = 0; i < count; i++) {
    Clone *clone = world->clones->pdata[i];
    clone->list = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
    for (guint other = 0; other < count; other++)
      if (other != i || i % 2)
        g_array_append_vals(clone->list, origin_of(world->clones->pdata[other]), 1);
  }
  return world;
}

static Clone *
clone_at(const World *world, guint i)
{
  return world->clones->pdata[i];
}

/* As it travels. FALSE: it was the last. */
static gboolean
tell(GroupCarriage *carriage, const GroupAnswer *answer)
{
  g_autoptr(GBytes) bytes = group_answer_new(answer);
  g_auto(GroupAnswer) got = {0};
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  g_assert_cmpint(group_answer_take(data, length - 1, &got, NULL), ==, 0);
  g_assert_cmpint(group_answer_take(data, length, &got, NULL), ==, (gssize)length);
  return groups_answered(carriage, &got);
}

static void
parcel_free(Parcel *parcel)
{
  g_clear_pointer(&parcel->task, group_task_unref);
  g_bytes_unref(parcel->packed);
  g_free(parcel);
}

/* FALSE: it is done with. */
static gboolean
deliver(World *world, Parcel *parcel)
{
  Clone *to = parcel->to;
  if (to->away) {
    groups_lost(parcel->carriage);
    return FALSE;
  }
  gsize length;
  const void *bytes = g_bytes_get_data(parcel->packed, &length);
  g_autoptr(GroupMessage) message = group_message_decode(bytes, length, NULL);
  GroupAnswer said = {0};
  GroupTask *task;
  g_assert_nonnull(message);
  said.status = groups_take(to->groups, message, &message->origin, &said.words, &task);
  g_assert_true((task != NULL) == (said.status == GROUP_FORWARDS));
  world->carried++;
  world->refused += said.status == GROUP_REFUSED;
  parcel->task = task ? group_task_ref(task) : NULL;
  gboolean goes_on = !to->deaf && tell(parcel->carriage, &said);
  group_answer_clear(&said);
  if (to->deaf)
    groups_lost(parcel->carriage);
  else if (goes_on && to->dies) {
    /* Its process is killed; it comes again, and has forgotten whatever no store has. */
    groups_lost(parcel->carriage);
    goes_on = FALSE;
  }
  return goes_on;
}

/* One that waits for a report. FALSE: it is done with. */
static gboolean
report(World *world, Parcel *parcel)
{
  GroupAnswer said = {.status = GROUP_WORKING, .reached = group_task_reached(parcel->task)};
  if (!group_task_is_over(parcel->task))
    return tell(parcel->carriage, &said);
  const GArray *missed = group_task_missed(parcel->task);
  g_autoptr(GArray) half = g_array_new(FALSE, FALSE, sizeof(guint));
  g_array_append_vals(half, missed->data, missed->len / 2);
  said.missed = half;
  if (half->len > 0 && !tell(parcel->carriage, &said))
    return FALSE;
  g_autoptr(GArray) rest = g_array_new(FALSE, FALSE, sizeof(guint));
  g_array_append_vals(rest, missed->data + half->len * sizeof(guint), missed->len - half->len);
  said = (GroupAnswer){GROUP_DONE, NULL, group_task_reached(parcel->task), rest};
  return tell(parcel->carriage, &said);
}

/* As if the time had come to try somebody again, and never that for giving up. */
static void
step_time(World *world)
{
  gint64 soon = clock_now_ns() + 30 * G_GINT64_CONSTANT(1000000000);
  for (guint i = 0; i < world->clones->len; i++) {
    Clone *clone = world->clones->pdata[i];
    gint64 due = clone->groups ? groups_due(clone->groups) : G_MAXINT64;
    if (due < soon)
      groups_step(clone->groups, due);
  }
}

static guint
under_way(const World *world)
{
  guint count = 0;
  for (guint i = 0; i < world->clones->len; i++) {
    const Clone *clone = world->clones->pdata[i];
    count += clone->groups ? groups_under_way(clone->groups) : 0;
  }
  return count;
}

/* Until nothing is on its way and nobody is to be tried again. */
static void
run(World *world)
{
  for (guint turn = 0; world->parcels->len > 0 || under_way(world) > 0; turn++) {
    g_assert_cmpuint(turn, <, 1000000);
    if (world->parcels->len == 0 || g_rand_int_range(world->chance, 0, 50) == 0)
      step_time(world);
    if (world->parcels->len == 0)
      continue;
    guint any = g_rand_int_range(world->chance, 0, (gint32)world->parcels->len);
    Parcel *parcel = g_ptr_array_remove_index_fast(world->parcels, any);
    if (parcel->task ? report(world, parcel) : deliver(world, parcel))
      g_ptr_array_add(world->parcels, parcel);
    else
      parcel_free(parcel);
  }
}

static void
world_free(World *world)
{
  for (guint i = 0; i < world->clones->len; i++) {
    Clone *clone = clone_at(world, i);
    groups_free(clone->groups);
    identity_key_free(clone->key);
    g_array_unref(clone->list);
    g_array_unref(clone->missed);
    g_hash_table_unref(clone->windows);
    g_free(clone);
  }
  g_assert_cmpuint(world->parcels->len, ==, 0);
  g_ptr_array_free(world->parcels, TRUE);
  g_ptr_array_free(world->clones, TRUE);
  g_rand_free(world->chance);
  g_free(world);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

static void
send_hello(World *world, guint sender)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GroupMessage) message =
      groups_make(clone_at(world, sender)->groups, "friends", "hello", 5, &error);
  g_assert_no_error(error);
  g_assert_nonnull(groups_send(clone_at(world, sender)->groups, message, &error));
  g_assert_no_error(error);
  run(world);
}

/* All are there: everybody else gets each message once, for one carriage each, and the sender knows. */
static void
test_all(void)
{
  g_autoptr(World) world = world_new(40);
  for (guint sender = 0; sender < 5; sender++) {
    send_hello(world, sender);
    g_assert_cmpuint(world->carried, ==, (sender + 1) * 39);
    g_assert_cmpuint(clone_at(world, sender)->missed->len, ==, 0);
  }
  for (guint i = 0; i < 40; i++) {
    g_assert_cmpuint(clone_at(world, i)->delivered, ==, i < 5 ? 4 : 5);
    g_assert_cmpuint(clone_at(world, i)->over, ==, 5);
  }
}

/* Some are away; of some no answer comes; some die while they pass it on. Nobody who is there misses it,
 * nobody gets it twice, and the sender is told who has not got it: those who were away. (Of who is deaf
 * nobody can know.)
 */
static void
test_away(void)
{
  for (guint round = 0; round < 50; round++) {
    g_autoptr(World) world = world_new(60);
    for (guint i = 1; i < 60; i++) {
      clone_at(world, i)->away = g_rand_int_range(world->chance, 0, 3) == 0;
      clone_at(world, i)->deaf = g_rand_int_range(world->chance, 0, 6) == 0;
      clone_at(world, i)->dies = g_rand_int_range(world->chance, 0, 4) == 0;
    }
    send_hello(world, 0);
    for (guint i = 1; i < 60; i++) {
      const Clone *clone = clone_at(world, i);
      g_assert_cmpuint(clone->delivered, ==, clone->away ? 0 : 1);
      if (!clone->deaf)
        g_assert_cmpint(was_missed(clone_at(world, 0), clone), ==, clone->away);
    }
  }
}

/* Who was away for a moment is tried again, and has it. */
static void
test_again(void)
{
  g_autoptr(World) world = world_new(30);
  for (guint i = 1; i < 30; i++)
    clone_at(world, i)->away = TRUE;
  g_autoptr(GError) error = NULL;
  g_autoptr(GroupMessage) message = groups_make(clone_at(world, 0)->groups, "friends", "hello", 5, &error);
  g_assert_nonnull(groups_send(clone_at(world, 0)->groups, message, &error));
  while (world->parcels->len > 0) {
    Parcel *parcel = g_ptr_array_steal_index_fast(world->parcels, 0);
    g_assert_false(deliver(world, parcel));
    parcel_free(parcel);
  }
  g_assert_cmpuint(group_task_reached(groups_find(clone_at(world, 0)->groups, message->sequence)), ==, 0);
  for (guint i = 1; i < 30; i++)
    clone_at(world, i)->away = FALSE;
  run(world);
  g_assert_cmpuint(clone_at(world, 0)->missed->len, ==, 0);
  for (guint i = 1; i < 30; i++)
    g_assert_cmpuint(clone_at(world, i)->delivered, ==, 1);
}

/* A member that takes it and says nothing more until the sender's patience is over: who is below it counts as
 * missed. Then it says it all, and nobody listens. */
static void
test_patience(void)
{
  g_autoptr(World) world = world_new(21); /* four, each with four below it */
  Groups *groups = clone_at(world, 0)->groups;
  g_autoptr(GError) error = NULL;
  g_autoptr(GroupMessage) message = groups_make(groups, "friends", "hello", 5, &error);
  GroupTask *task = groups_send(groups, message, &error);
  const GroupAnswer takes = {.status = GROUP_FORWARDS}, done = {.status = GROUP_DONE};
  g_assert_cmpuint(world->parcels->len, ==, 4);
  for (guint i = 0; i < 4; i++)
    g_assert_true(tell(((Parcel *)world->parcels->pdata[i])->carriage, &takes));
  g_assert_cmpuint(group_task_reached(task), ==, 4);
  for (guint i = 0; i < 3; i++)
    g_assert_false(tell(((Parcel *)world->parcels->pdata[i])->carriage, &done));
  g_assert_cmpuint(group_task_reached(task), ==, 3 * 5 + 1);
  groups_step(groups, groups_due(groups));
  g_assert_true(group_task_is_over(task));
  g_assert_cmpuint(clone_at(world, 0)->missed->len, ==, 4);
  g_assert_false(tell(((Parcel *)world->parcels->pdata[3])->carriage, &done));
  for (guint i = 0; i < 4; i++)
    parcel_free(world->parcels->pdata[i]);
  g_ptr_array_set_size(world->parcels, 0);
}

/* A report about others, twice about one, before it was said that it comes: it is none, and who is below is
 * asked. */
static void
test_false_reports(void)
{
  static const guint places[][2] = {{2, 6}, {5, 99}, {6, 6}, {7, 6}, {9, 10}, {1, 5}};
  for (guint i = 0; i <= G_N_ELEMENTS(places); i++) {
    g_autoptr(World) world = world_new(21);
    g_autoptr(GError) error = NULL;
    g_autoptr(GroupMessage) message = groups_make(clone_at(world, 0)->groups, "friends", "hello", 5, &error);
    g_assert_nonnull(groups_send(clone_at(world, 0)->groups, message, &error));
    Parcel *parcel = g_ptr_array_steal_index(world->parcels, 0); /* to place 1, above 5 to 8 */
    GroupAnswer takes = {.status = GROUP_FORWARDS}, done = {.status = GROUP_DONE};
    done.missed = g_array_new(FALSE, FALSE, sizeof(guint));
    if (i < G_N_ELEMENTS(places)) {
      g_assert_true(groups_answered(parcel->carriage, &takes));
      g_array_append_vals(done.missed, places[i], 2);
    }
    g_assert_false(groups_answered(parcel->carriage, &done));
    group_answer_clear(&done);
    parcel_free(parcel);
    run(world);
    guint delivered = 0;
    for (guint k = 1; k < 21; k++)
      delivered += clone_at(world, k)->delivered;
    /* Who said that it takes it is believed that. */
    g_assert_cmpuint(delivered, ==, i < G_N_ELEMENTS(places) ? 19 : 20);
  }
}

/* Owners have different lists: all of the sender's get it who have the sender in theirs, and the sender is
 * told who have not. */
static void
test_other_lists(void)
{
  g_autoptr(World) world = world_new(30);
  for (guint i = 1; i < 30; i++)
    if (i % 3 == 0)
      g_array_set_size(clone_at(world, i)->list, i % 2 ? 0 : 12);
  send_hello(world, 0);
  for (guint i = 1; i < 30; i++) {
    gboolean refuses = i % 3 == 0 && i % 2;
    g_assert_cmpuint(clone_at(world, i)->delivered, ==, refuses ? 0 : 1);
    g_assert_cmpint(was_missed(clone_at(world, 0), clone_at(world, i)), ==, refuses);
  }
  g_assert_cmpuint(world->refused, ==, 5);
}

/* The sender's process is killed, and sends it again: those who have it only say so. */
static void
test_sent_again(void)
{
  g_autoptr(World) world = world_new(40);
  Clone *sender = clone_at(world, 0);
  g_autoptr(GError) error = NULL;
  g_autoptr(GroupMessage) message = groups_make(sender->groups, "friends", "hello", 5, &error);
  g_assert_nonnull(groups_send(sender->groups, message, &error));
  for (guint i = 0; i < 12 && world->parcels->len > 0; i++) {
    Parcel *parcel = g_ptr_array_remove_index_fast(world->parcels, 0);
    if (parcel->task ? report(world, parcel) : deliver(world, parcel))
      g_ptr_array_add(world->parcels, parcel);
    else
      parcel_free(parcel);
  }
  groups_free(sender->groups);
  sender->groups = groups_new(origin_of(sender), sender->key, message->sequence, &node, sender);
  g_assert_nonnull(groups_send(sender->groups, message, &error));
  run(world);
  for (guint i = 1; i < 40; i++)
    g_assert_cmpuint(clone_at(world, i)->delivered, ==, 1);
  g_assert_cmpuint(sender->missed->len, ==, 0);
  /* Other members: reports would be about other places. */
  g_array_set_size(sender->list, 10);
  g_assert_null(groups_send(sender->groups, message, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
}

static GroupStatus
give(Clone *to, const GroupMessage *message, const IdentityPublic *sender_key)
{
  g_autofree char *words = NULL;
  GroupTask *task;
  GroupStatus status = groups_take(to->groups, message, sender_key, &words, &task);
  g_assert_true((status == GROUP_REFUSED) == (words != NULL));
  return status;
}

static GroupMessage *
made(const Clone *claims, const Clone *signs, const char *group, guint64 sequence)
{
  static const guint8 members[TREE_DIGEST_LENGTH];
  g_autoptr(GError) error = NULL;
  GroupMessage *message =
      group_message_new(group, origin_of(claims), sequence, members, "hello", 5, signs->key, &error);
  g_assert_no_error(error);
  return message;
}

/* What is not the sender's, from no member, of no group, old, or here before, is not delivered. */
static void
test_liars(void)
{
  g_autoptr(World) world = world_new(3);
  Clone *alice = clone_at(world, 0), *bob = clone_at(world, 1), *carol = clone_at(world, 2);
  guint64 now = (guint64)clock_unix_time() * 1000000;
  g_array_set_size(carol->list, 1);
  g_autoptr(GroupMessage) forged = made(alice, bob, "friends", now);
  g_autoptr(GroupMessage) elsewhere = made(alice, alice, "foes", now);
  g_autoptr(GroupMessage) old = made(alice, alice, "friends", now - GROUP_AGE_US - 2000000);
  g_autoptr(GroupMessage) ahead = made(alice, alice, "friends", now + GROUP_AHEAD_US + 600 * G_USEC_PER_SEC);
  g_autoptr(GroupMessage) proper = made(alice, alice, "friends", now);
  g_autoptr(GroupMessage) stranger = made(bob, bob, "friends", now);
  g_autoptr(GroupMessage) own = made(bob, bob, "friends", now);
  g_assert_cmpint(give(bob, forged, origin_of(alice)), ==, GROUP_REFUSED);
  g_assert_cmpuint(bob->asked, ==, 0); /* which has up to 65,536 members */
  g_assert_cmpint(give(bob, elsewhere, origin_of(alice)), ==, GROUP_REFUSED);
  g_assert_cmpint(give(bob, old, origin_of(alice)), ==, GROUP_REFUSED);
  g_assert_cmpint(give(bob, ahead, origin_of(alice)), ==, GROUP_REFUSED);
  g_assert_cmpint(give(carol, stranger, origin_of(bob)), ==, GROUP_REFUSED);
  g_assert_cmpint(give(bob, own, origin_of(bob)), ==, GROUP_REFUSED);
  g_assert_cmpuint(bob->delivered + carol->delivered, ==, 0);
  g_assert_cmpint(give(bob, proper, origin_of(alice)), ==, GROUP_DELIVERED);
  g_assert_cmpint(give(bob, proper, origin_of(alice)), ==, GROUP_DELIVERED);
  g_assert_cmpuint(bob->delivered, ==, 1);
}

/* The window: each number once, in whatever order they come, and nothing below a full one; as it is kept. */
static void
test_seen(void)
{
  g_autoptr(GArray) seen = group_seen_load(NULL, 0);
  guint64 now = G_GUINT64_CONSTANT(1700000000000000);
  for (guint i = 0; i < 200; i++)
    g_assert_cmpint(group_seen_look(seen, now + (i * 7) % 200, now), ==, GROUP_NEW);
  for (guint i = 0; i < 200; i++)
    g_assert_cmpint(group_seen_look(seen, now + i, now), ==, GROUP_KNOWN);
  g_assert_cmpint(group_seen_look(seen, now - GROUP_AGE_US - 1, now), ==, GROUP_STALE);
  g_assert_cmpint(group_seen_look(seen, now + GROUP_AHEAD_US + 1, now), ==, GROUP_STALE);
  for (guint i = 1000; i < 1000 + GROUP_SEEN; i++)
    g_assert_cmpint(group_seen_look(seen, now + i, now), ==, GROUP_NEW);
  g_autoptr(GBytes) saved = group_seen_save(seen);
  gsize length;
  const void *bytes = g_bytes_get_data(saved, &length);
  g_autoptr(GArray) again = group_seen_load(bytes, length);
  g_assert_cmpuint(again->len, ==, GROUP_SEEN);
  g_assert_cmpint(group_seen_look(again, now + 999, now), ==, GROUP_STALE);
  g_assert_cmpint(group_seen_look(again, now + 1000, now), ==, GROUP_KNOWN);
  /* What is damaged is none. */
  static const guint64 falling[] = {2, 1};
  g_autoptr(GArray) damaged = group_seen_load(falling, sizeof falling);
  g_autoptr(GArray) cut = group_seen_load(bytes, length - 1);
  g_assert_cmpuint(damaged->len + cut->len, ==, 0);
}

/* A body that is too long is not sent; a name that is none neither. */
static void
test_limits(void)
{
  g_autoptr(World) world = world_new(2);
  g_autofree char *body = g_malloc0(GROUP_BODY_MAX + 1);
  g_autoptr(GError) error = NULL;
  g_assert_null(groups_make(clone_at(world, 0)->groups, "friends", body, GROUP_BODY_MAX + 1, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  g_clear_error(&error);
  g_assert_null(groups_make(clone_at(world, 0)->groups, "nobody", "", 0, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
}

/* Freed while messages are under way: their answers may still come. */
static void
test_freed(void)
{
  g_autoptr(World) world = world_new(10);
  Clone *sender = clone_at(world, 0);
  g_autoptr(GroupMessage) message = groups_make(sender->groups, "friends", "hello", 5, NULL);
  g_assert_nonnull(groups_send(sender->groups, message, NULL));
  g_assert_cmpuint(world->parcels->len, ==, TREE_DEGREE);
  groups_free(sender->groups);
  sender->groups = NULL;
  run(world);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/c2c/groups/all", test_all);
  g_test_add_func("/c2c/groups/away", test_away);
  g_test_add_func("/c2c/groups/again", test_again);
  g_test_add_func("/c2c/groups/patience", test_patience);
  g_test_add_func("/c2c/groups/false-reports", test_false_reports);
  g_test_add_func("/c2c/groups/other-lists", test_other_lists);
  g_test_add_func("/c2c/groups/sent-again", test_sent_again);
  g_test_add_func("/c2c/groups/liars", test_liars);
  g_test_add_func("/c2c/groups/seen", test_seen);
  g_test_add_func("/c2c/groups/limits", test_limits);
  g_test_add_func("/c2c/groups/freed", test_freed);
  return g_test_run();
}

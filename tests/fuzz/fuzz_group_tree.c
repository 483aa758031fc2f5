/* Clones of one group that broadcast along its tree, among them some that lie: messages that are replayed,
 * changed, signed by others, of other times; answers and reports that say anything, late, in any order; lists
 * of members that differ; time that passes. Each message is given to a clone's listeners once at most and
 * only as its sender signed it, carriages are few, and all of them end. */
#include <string.h>

#include "base/clock.h"
#include "c2c/groups.h"
#include "people.h"

#define CLONES   PEOPLE
#define STEPS    60
#define LIST_MAX 40u

typedef struct {
  GroupCarriage *carriage;
  guint from, to; /* `to` CLONES: to nobody who exists */
  GBytes *packed;
  GroupTask *task; /* whose report it waits for */
} Letter;

typedef struct {
  Groups *groups;
  GHashTable *delivered; /* the id's text */
  GArray *windows[CLONES + 1];
  guint8 others[LIST_MAX];
  guint listed; /* whom its owner lists */
} Clone;

typedef struct {
  Clone clones[CLONES];
  GArray *letters;  /* of Letter */
  GPtrArray *known; /* packed messages that were seen */
  Input input;
} World;
static World world;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

/* Of clones that exist, and others. */
static IdentityPublic
member(guint which)
{
  IdentityPublic key = {{(guint8)which, 1}};
  return which < CLONES ? *people_origin(which) : key;
}

static GArray *
on_members(const char *group, void *data)
{
  const Clone *clone = data;
  if (strcmp(group, "g") != 0)
    return NULL;
  GArray *members = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  for (guint i = 0; i < clone->listed; i++) {
    IdentityPublic key = member(clone->others[i]);
    g_array_append_val(members, key);
  }
  return members;
}

static void
remember(GBytes *packed)
{
  g_ptr_array_add(world.known, g_bytes_ref(packed));
}

static void
on_carry(GroupCarriage *carriage, const IdentityPublic *to, GBytes *packed, void *data)
{
  Letter letter = {carriage, (guint)((Clone *)data - world.clones), 0, g_bytes_ref(packed), NULL};
  while (letter.to < CLONES && !identity_public_equal(to, people_origin(letter.to)))
    letter.to++;
  demand(letter.to != letter.from && world.letters->len < CLONES * GROUPS_TASKS_MAX * LIST_MAX);
  remember(packed);
  if (input_below(&world.input, 16) == 0) {
    g_bytes_unref(letter.packed);
    groups_lost(carriage);
  } else {
    g_array_append_val(world.letters, letter);
  }
}

static guint
sender_of(const GroupMessage *message)
{
  for (guint i = 0; i < CLONES; i++)
    if (identity_public_equal(&message->origin, people_origin(i)))
      return i;
  return CLONES;
}

static GroupNews
on_take(const GroupMessage *message, guint64 now_us, void *data)
{
  Clone *clone = data;
  guint sender = sender_of(message);
  demand(sender < CLONES && sender != (guint)(clone - world.clones) &&
         group_message_verify(message, &people_record(sender, 0)->clone_key, NULL));
  if (!clone->windows[sender])
    clone->windows[sender] = group_seen_load(NULL, 0);
  GroupNews news = group_seen_look(clone->windows[sender], message->sequence, now_us);
  if (news == GROUP_NEW)
    demand(g_hash_table_add(clone->delivered, g_base64_encode(message->id, sizeof message->id)));
  return news;
}

static void
on_over(GroupTask *task, void *data)
{
  const GArray *missed = group_task_missed(task);
  demand(group_task_is_over(task) && missed->len < group_task_size(task) &&
         group_task_reached(task) < group_task_size(task));
  for (guint i = 0; i < missed->len; i++)
    demand(g_array_index(missed, guint, i) < group_task_size(task) &&
           (i == 0 || g_array_index(missed, guint, i) > g_array_index(missed, guint, i - 1)));
}

static const IdentityKey *
clone_key(guint clone)
{
  static IdentityKey *keys[CLONES];
  if (!keys[clone]) {
    guint number = 10 * (clone + 1) + 2; /* as people.c makes them */
    guint8 seed[IDENTITY_SEED_LENGTH] = {0};
    memcpy(seed, &number, sizeof number);
    keys[clone] = identity_key_from_seed(seed);
    demand(identity_public_equal(identity_key_public(keys[clone]), &people_record(clone, 0)->clone_key));
  }
  return keys[clone];
}

/* As node_groups.c does it: what comes is decoded, and answered. */
static GroupStatus
hand_to(guint to, GBytes *packed, GroupTask **task)
{
  gsize length;
  const void *bytes = g_bytes_get_data(packed, &length);
  g_autoptr(GroupMessage) message = group_message_decode(bytes, length, NULL);
  guint sender = message ? sender_of(message) : CLONES;
  g_autofree char *words = NULL;
  *task = NULL;
  if (sender == CLONES)
    return GROUP_REFUSED;
  GroupStatus status =
      groups_take(world.clones[to].groups, message, &people_record(sender, 0)->clone_key, &words, task);
  demand((status == GROUP_REFUSED) == (words != NULL) && (status == GROUP_FORWARDS) == (*task != NULL));
  return status;
}

static void
give(guint to, GBytes *packed)
{
  GroupTask *task;
  hand_to(to, packed, &task);
}

/* Takes the letter out. */
static Letter
pick(guint which)
{
  Letter letter = g_array_index(world.letters, Letter, which);
  g_array_remove_index_fast(world.letters, which);
  return letter;
}

static void
end_letter(Letter *letter)
{
  if (letter->task)
    group_task_unref(letter->task);
  g_bytes_unref(letter->packed);
}

/* As it travels. */
static void
say(Letter letter, const GroupAnswer *answer)
{
  g_autoptr(GBytes) bytes = group_answer_new(answer);
  g_auto(GroupAnswer) got = {0};
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  if (group_answer_take(data, length, &got, NULL) != (gssize)length) {
    groups_lost(letter.carriage);
    end_letter(&letter);
  } else if (groups_answered(letter.carriage, &got)) {
    g_array_append_val(world.letters, letter);
  } else {
    end_letter(&letter);
  }
}

static void
say_truly(Letter letter)
{
  GroupAnswer said = {.status = GROUP_REFUSED, .words = (char *)"words\nof\x01mine"};
  if (letter.task) {
    gboolean over = group_task_is_over(letter.task);
    said.status = over ? GROUP_DONE : GROUP_WORKING;
    said.reached = group_task_reached(letter.task);
    said.missed = over ? (GArray *)group_task_missed(letter.task) : NULL;
  } else if (letter.to < CLONES) {
    GroupTask *task;
    said.status = hand_to(letter.to, letter.packed, &task);
    letter.task = task ? group_task_ref(task) : NULL;
  }
  say(letter, &said);
}

static void
say_anything(Letter letter)
{
  g_autoptr(GArray) missed = g_array_new(FALSE, FALSE, sizeof(guint));
  GroupAnswer said = {.status = 1 + input_below(&world.input, 5), .missed = missed};
  said.reached = input_number(&world.input, 2);
  for (guint count = input_below(&world.input, 5); count > 0; count--) {
    guint place = input_number(&world.input, 1);
    g_array_append_val(missed, place);
  }
  say(letter, &said);
}

static void
bring(guint how)
{
  if (world.letters->len == 0)
    return;
  Letter letter = pick(input_number(&world.input, 1) % world.letters->len);
  if (how == 0) {
    groups_lost(letter.carriage);
    end_letter(&letter);
  } else if (how == 1) {
    say_anything(letter);
  } else {
    say_truly(letter);
  }
}

static void
pass_time(Clone *clone)
{
  gint64 due = groups_due(clone->groups);
  if (due != G_MAXINT64)
    groups_step(clone->groups, due);
}

static void
replay(void)
{
  Input *input = &world.input;
  if (world.known->len == 0)
    return;
  gsize length;
  const guint8 *bytes =
      g_bytes_get_data(world.known->pdata[input_number(input, 1) % world.known->len], &length);
  g_autofree guint8 *copy = g_memdup2(bytes, length);
  if (input_below(input, 2))
    copy[input_number(input, 2) % length] ^= input_number(input, 1);
  g_autoptr(GBytes) packed = g_bytes_new(copy, length);
  give(input_below(input, CLONES), packed);
}

/* A member's clone makes what it likes, with whatever name and time. */
static void
forge(void)
{
  Input *input = &world.input;
  guint8 digest[TREE_DIGEST_LENGTH] = {0};
  guint sender = input_below(input, CLONES),
        signer = input_below(input, 4) ? sender : input_below(input, CLONES);
  guint64 now_us = (guint64)clock_unix_time() * 1000000, sequence = now_us + input_below(input, 80);
  if (input_below(input, 8) == 0)
    sequence = input_number(input, 8);
  g_autoptr(Tree) tree = NULL;
  g_autoptr(GArray) members = on_members("g", &world.clones[sender]);
  tree = tree_new("g", people_origin(sender), (const IdentityPublic *)members->data, members->len);
  tree_digest(tree, digest);
  gsize length;
  const guint8 *body = input_blob(input, &length);
  g_autoptr(GroupMessage) message =
      group_message_new(input_below(input, 16) ? "g" : "other", people_origin(sender), sequence, digest, body,
                        length, clone_key(signer), NULL);
  if (!message)
    return;
  g_autoptr(GBytes) packed = group_message_pack(message, input_number(input, 1), input_below(input, 2));
  remember(packed);
  give(input_below(input, CLONES), packed);
}

static void
say_bytes(void)
{
  gsize length;
  const guint8 *bytes = input_blob(&world.input, &length);
  g_autoptr(GBytes) packed = g_bytes_new(bytes, length);
  give(input_below(&world.input, CLONES), packed);
}

static void
edit(Clone *clone)
{
  guint which = input_below(&world.input, 2 * CLONES);
  if (clone->listed > 0 && input_below(&world.input, 2))
    clone->listed--;
  else if (clone->listed < LIST_MAX)
    clone->others[clone->listed++] = which;
}

static void
step(void)
{
  guint what = input_below(&world.input, 16), which = input_below(&world.input, CLONES);
  if (what == 0) {
    edit(&world.clones[which]);
  } else if (what <= 3) {
    g_autoptr(GroupMessage) message = groups_make(world.clones[which].groups, "g", "hello", 5, NULL);
    if (message)
      groups_send(world.clones[which].groups, message, NULL);
  } else if (what == 4) {
    replay();
  } else if (what == 5) {
    forge();
  } else if (what == 6) {
    say_bytes();
  } else if (what == 7) {
    pass_time(&world.clones[which]);
  } else {
    bring(what - 8);
  }
  for (guint i = 0; i < CLONES; i++)
    demand(groups_under_way(world.clones[i].groups) <= GROUPS_TASKS_MAX);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  static const GroupsNode node = {on_members, on_carry, on_take, on_over};
  world = (World){.input = {data, length}};
  world.letters = g_array_new(FALSE, FALSE, sizeof(Letter));
  world.known = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  guint listed = input_below(&world.input, LIST_MAX);
  for (guint i = 0; i < CLONES; i++) {
    Clone *clone = &world.clones[i];
    clone->groups = groups_new(people_origin(i), clone_key(i), 0, &node, clone);
    clone->delivered = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (clone->listed = 0; clone->listed < listed; clone->listed++)
      clone->others[clone->listed] = clone->listed;
  }
  for (guint i = 0; i < STEPS && world.input.left > 0; i++)
    step();
  /* Some go while letters are under way; those end all the same. */
  for (guint i = 0; i < CLONES; i++)
    groups_free(world.clones[i].groups);
  while (world.letters->len > 0) {
    Letter letter = pick(0);
    groups_lost(letter.carriage);
    end_letter(&letter);
  }
  for (guint i = 0; i < CLONES; i++) {
    g_hash_table_unref(world.clones[i].delivered);
    for (guint k = 0; k <= CLONES; k++)
      g_clear_pointer(&world.clones[i].windows[k], g_array_unref);
  }
  g_array_unref(world.letters);
  g_ptr_array_unref(world.known);
  return 0;
}

/* A device and its clone over a link by chance: it is cut with messages on the way, of which the last are
 * lost; messages come twice, also those of earlier links; either end is killed between any two steps and goes
 * on from what it kept; both are edited all the time. At the end the two texts are equal, and each keystroke
 * is there once. DOPPEL_OT_CASES says how many such lives. */
#include "base/error.h"
#include "pair_end.h"
#include "random_op.h"

enum { STEPS = 300, FIRST_LETTER = 0x4e00 };

/* A letter that was typed or deleted here; every letter is typed once only. */
typedef struct {
  gunichar letter;
  gboolean deleted;
} Key;

typedef struct {
  PairEnd now;
  GArray *keys; /* of Key */
  struct {
    GBytes *pair;
    char *text;
    guint keys;
  } kept;
  GQueue *coming; /* messages to this end */
  GPtrArray *old; /* ... over earlier links */
  gsize cursor;   /* between these two letters; 0: the text's end, or nobody knows any more */
  gunichar before, behind;
} Side;

typedef struct {
  GRand *rand;
  Side sides[2];
  gunichar next_letter;
  gboolean linked;
  guint refused, killed, cut, repeated; /* how often */
} World;

static gboolean
chance(World *world, guint one_in)
{
  return g_rand_int_range(world->rand, 0, one_in) == 0;
}

static void
keep(Side *side)
{
  g_clear_pointer(&side->kept.pair, g_bytes_unref);
  g_free(side->kept.text);
  side->kept.pair = doc_pair_save(side->now.pair);
  side->kept.text = pair_end_text(&side->now);
  side->kept.keys = side->keys->len;
}

static gunichar
letter_at(const Side *side, gsize at)
{
  if (at >= ot_text_length(side->now.text))
    return 0;
  g_autofree char *letter = ot_text_copy(side->now.text, at, 1, NULL);
  return g_utf8_get_char(letter);
}

static void
note_key(Side *side, gunichar letter, gboolean deleted)
{
  Key key = {letter, deleted};
  g_array_append_val(side->keys, key);
}

/* Some letters are typed over others, which may be none. */
static void
edit(World *world, Side *side)
{
  gsize length = ot_text_length(side->now.text);
  gsize at = g_rand_int_range(world->rand, 0, length + 1);
  gsize most = MIN(length - at, 5),
        deleted = chance(world, 2) ? g_rand_int_range(world->rand, 0, most + 1) : 0;
  g_autoptr(GString) typed = g_string_new(NULL);
  for (gsize i = 0; i < deleted; i++)
    note_key(side, letter_at(side, at + i), TRUE);
  for (guint i = g_rand_int_range(world->rand, 0, 4); i > 0; i--) {
    note_key(side, world->next_letter, FALSE);
    g_string_append_unichar(typed, world->next_letter++);
  }
  pair_end_type(&side->now, at, deleted, typed->str);
  side->cursor = at + g_utf8_strlen(typed->str, -1);
  side->before = side->cursor > 0 ? letter_at(side, side->cursor - 1) : 0;
  side->behind = letter_at(side, side->cursor);
  if (chance(world, 2))
    keep(side);
}

/* Where a letter is, or -1. */
static gssize
find(const char *text, gunichar letter)
{
  const char *found = letter ? g_utf8_strchr(text, -1, letter) : NULL;
  return found ? g_utf8_pointer_to_offset(text, found) : -1;
}

/* The cursor is still between the letters it was put between, as far as they are there. */
static void
check_cursor(const Side *side)
{
  g_autofree char *text = pair_end_text(&side->now);
  gssize before = find(text, side->before), behind = find(text, side->behind);
  if (before >= 0)
    g_assert_cmpint(before, <, side->cursor);
  if (behind >= 0)
    g_assert_cmpint(side->cursor, <=, behind);
}

/* The link is gone: of what is on the way some still comes, the rest never. */
static void hear(World *world, Side *side);

static void
cut(World *world)
{
  world->linked = FALSE;
  world->cut++;
  for (guint i = 0; i < 2; i++) {
    Side *side = &world->sides[i];
    for (guint left = g_rand_int_range(world->rand, 0, 3); left > 0; left--)
      hear(world, side);
    while (!g_queue_is_empty(side->coming))
      g_ptr_array_add(side->old, g_queue_pop_head(side->coming));
  }
}

static void
restart(World *world, Side *side)
{
  world->killed++;
  g_autoptr(GError) error = NULL;
  gsize length;
  const void *data = g_bytes_get_data(side->kept.pair, &length);
  DocPairEnd which = side == &world->sides[0] ? DOC_PAIR_DEVICE : DOC_PAIR_CLONE;
  pair_end_clear(&side->now);
  side->now.pair = doc_pair_load(which, data, length, &error);
  g_assert_no_error(error);
  side->now.text = ot_text_new();
  ot_text_insert(side->now.text, 0, side->kept.text, strlen(side->kept.text),
                 g_utf8_strlen(side->kept.text, -1));
  g_assert_cmpuint(doc_pair_length(side->now.pair), ==, ot_text_length(side->now.text));
  g_array_set_size(side->keys, side->kept.keys);
  side->cursor = side->before = side->behind = 0;
  /* What was on its way to it is lost; and there is no link without it. */
  while (!g_queue_is_empty(side->coming))
    g_ptr_array_add(side->old, g_queue_pop_head(side->coming));
  if (world->linked)
    cut(world);
}

static void
hear(World *world, Side *side)
{
  g_autoptr(GError) error = NULL;
  GBytes *message = g_queue_pop_head(side->coming);
  if (!message)
    return;
  g_ptr_array_add(side->old, message);
  gsize length;
  const void *data = g_bytes_get_data(message, &length);
  g_autoptr(OtOp) shown = NULL;
  if (!doc_pair_take(side->now.pair, data, length, &shown, &error)) {
    /* The hello of an earlier link only. */
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
    world->refused++;
    if (world->linked)
      cut(world);
    return;
  }
  if (shown) {
    g_assert_true(ot_op_apply(shown, side->now.text, NULL));
    side->cursor = ot_op_move(shown, side->cursor);
  }
  check_cursor(side);
  if (world->linked && chance(world, 10)) {
    g_queue_push_head(side->coming, g_bytes_ref(message));
    world->repeated++;
  }
}

/* In the order that pair.h wants; with one in `deadly` it is killed at a step, with 0 never. */
static void
say(World *world, Side *side, Side *other, guint deadly)
{
  g_autoptr(GBytes) message = doc_pair_next(side->now.pair);
  if (!message)
    return;
  if (deadly && chance(world, deadly)) {
    restart(world, side);
    return;
  }
  keep(side);
  if (deadly && chance(world, deadly)) {
    restart(world, side);
    return;
  }
  g_queue_push_tail(other->coming, g_steal_pointer(&message));
}

/* A new link, over which something of the earlier ones may come first. */
static void
join(World *world, gboolean with_old)
{
  world->linked = TRUE;
  for (guint i = 0; i < 2; i++) {
    Side *side = &world->sides[i];
    doc_pair_begin(side->now.pair);
    if (with_old && side->old->len > 0 && chance(world, 6)) {
      guint from = g_rand_int_range(world->rand, 0, side->old->len);
      for (guint k = from; k < MIN(from + 3, side->old->len); k++)
        g_queue_push_tail(side->coming, g_bytes_ref(side->old->pdata[k]));
    }
  }
}

static void
live(World *world)
{
  guint absent = 0;
  for (guint i = 0; i < STEPS; i++) {
    guint who = g_rand_int_range(world->rand, 0, 2);
    Side *side = &world->sides[who], *other = &world->sides[!who];
    if (absent > 0 && --absent > 0) {
      edit(world, side);
      continue;
    }
    if (!world->linked) {
      join(world, TRUE);
      continue;
    }
    switch (g_rand_int_range(world->rand, 0, 12)) {
    case 0:
      cut(world);
      absent = chance(world, 3) ? g_rand_int_range(world->rand, 1, 60) : 0;
      break;
    case 1:
      if (chance(world, 3))
        restart(world, side);
      break;
    case 2:
    case 3:
    case 4:
      edit(world, side);
      break;
    case 5:
    case 6:
    case 7:
      say(world, side, other, 10);
      break;
    default:
      hear(world, side);
    }
  }
}

/* Nothing disturbs them any more. */
static void
settle(World *world)
{
  Side *one = &world->sides[0], *two = &world->sides[1];
  if (world->linked)
    cut(world);
  join(world, FALSE);
  for (guint i = 0; i < 20; i++) {
    say(world, one, two, 0);
    say(world, two, one, 0);
    hear(world, one);
    hear(world, two);
  }
  g_assert_true(world->linked);
  g_assert_true(doc_pair_is_settled(one->now.pair) && doc_pair_is_settled(two->now.pair));
}

static void
check_keys(const World *world)
{
  g_autofree char *text = pair_end_text(&world->sides[0].now);
  g_autofree char *other = pair_end_text(&world->sides[1].now);
  g_assert_cmpstr(text, ==, other);
  g_autoptr(GHashTable) there = g_hash_table_new(NULL, NULL);
  for (guint deleted = 0; deleted < 2; deleted++)
    for (guint i = 0; i < 2; i++)
      for (guint k = 0; k < world->sides[i].keys->len; k++) {
        const Key *key = &g_array_index(world->sides[i].keys, Key, k);
        if (key->deleted == deleted && deleted)
          g_hash_table_remove(there, GUINT_TO_POINTER(key->letter));
        else if (key->deleted == deleted)
          g_assert_true(g_hash_table_add(there, GUINT_TO_POINTER(key->letter)));
      }
  for (const char *at = text; *at; at = g_utf8_next_char(at))
    g_assert_true(g_hash_table_remove(there, GUINT_TO_POINTER(g_utf8_get_char(at))));
  g_assert_cmpuint(g_hash_table_size(there), ==, 0);
}

static void
world_init(World *world, GRand *rand)
{
  *world = (World){.rand = rand, .next_letter = FIRST_LETTER};
  for (guint i = 0; i < 2; i++) {
    Side *side = &world->sides[i];
    pair_end_init(&side->now, i == 0 ? DOC_PAIR_DEVICE : DOC_PAIR_CLONE);
    side->keys = g_array_new(FALSE, FALSE, sizeof(Key));
    side->coming = g_queue_new();
    side->old = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    keep(side);
  }
}

static void
world_clear(World *world)
{
  for (guint i = 0; i < 2; i++) {
    Side *side = &world->sides[i];
    pair_end_clear(&side->now);
    g_array_unref(side->keys);
    g_queue_free_full(side->coming, (GDestroyNotify)g_bytes_unref);
    g_ptr_array_unref(side->old);
    g_bytes_unref(side->kept.pair);
    g_free(side->kept.text);
  }
}

static void
test_lives(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  guint refused = 0, killed = 0, cuts = 0, repeated = 0;
  guint64 lives = ot_cases(1000);
  for (guint64 left = lives; left > 0; left--) {
    World world;
    world_init(&world, rand);
    live(&world);
    settle(&world);
    check_keys(&world);
    refused += world.refused;
    killed += world.killed;
    cuts += world.cut;
    repeated += world.repeated;
    world_clear(&world);
  }
  g_test_message("%u cuts, %u kills, %u repeated, %u of earlier links refused", cuts, killed, repeated,
                 refused);
  g_assert_true(lives < 100 || (cuts > 0 && killed > 0 && repeated > 0 && refused > 0));
}

/* ---- what is said ---- */

static void
two_ends(PairEnd *device, PairEnd *clone, const char *text)
{
  pair_end_init(device, DOC_PAIR_DEVICE);
  pair_end_init(clone, DOC_PAIR_CLONE);
  pair_end_type(clone, 0, 0, text);
  pair_meet(clone, device, NULL);
}

/* However much either did meanwhile, and whatever got lost at the beginning: one bundle each. */
static void
test_absence(void)
{
  g_auto(PairEnd) device, clone;
  two_ends(&device, &clone, "0123456789");
  pair_end_type(&device, 10, 0, "lost");
  pair_end_type(&clone, 0, 0, "lost");
  g_autoptr(GBytes) lost_up = doc_pair_next(device.pair);
  g_autoptr(GBytes) lost_down = doc_pair_next(clone.pair);
  for (guint i = 0; i < 500; i++) {
    pair_end_type(&device, ot_text_length(device.text) - 3, i % 3, "device");
    pair_end_type(&clone, 4 + i, i % 2, "clone");
  }
  PairTalk talk = {0};
  pair_meet(&device, &clone, &talk);
  g_assert_cmpuint(talk.bundles, ==, 2);
  g_assert_cmpuint(talk.messages, <=, 6); /* and a hello and a word of thanks each */
}

/* Had the bundle arrived, and the word of it been lost, it is not said again. */
static void
test_absence_after_arrival(void)
{
  g_auto(PairEnd) device, clone;
  two_ends(&device, &clone, "text");
  pair_end_type(&clone, 4, 0, " arrived");
  g_autoptr(GBytes) message = doc_pair_next(clone.pair);
  g_assert_true(pair_end_hear(&device, message, NULL));
  pair_end_type(&clone, 0, 0, "and more ");
  PairTalk talk = {.bytes = g_string_new(NULL)};
  pair_meet(&device, &clone, &talk);
  g_assert_cmpuint(talk.bundles, ==, 1);
  g_assert_null(g_strstr_len(talk.bytes->str, talk.bytes->len, "arrived"));
  g_string_free(talk.bytes, TRUE);
  g_autofree char *text = pair_end_text(&device);
  g_assert_cmpstr(text, ==, "and more text arrived");
}

/* What was deleted again before it was sent nobody hears of. */
static void
test_deleted_again(void)
{
  g_auto(PairEnd) device, clone;
  two_ends(&device, &clone, "text");
  pair_end_type(&clone, 2, 0, "secret");
  pair_end_type(&clone, 2, 6, "");
  PairTalk nothing = {0};
  pair_meet(&device, &clone, &nothing);
  g_assert_cmpuint(nothing.bundles, ==, 0);
  pair_end_type(&clone, 2, 0, "secret, public");
  g_autoptr(GBytes) lost = doc_pair_next(clone.pair);
  g_assert_nonnull(lost);
  pair_end_type(&clone, 2, 8, "");
  PairTalk talk = {.bytes = g_string_new(NULL)};
  pair_meet(&device, &clone, &talk);
  g_assert_cmpuint(talk.bundles, ==, 1);
  g_assert_nonnull(g_strstr_len(talk.bytes->str, talk.bytes->len, "public"));
  g_assert_null(g_strstr_len(talk.bytes->str, talk.bytes->len, "secret"));
  g_string_free(talk.bytes, TRUE);
}

/* While one is on its way, the next waits and grows. */
static void
test_one_in_flight(void)
{
  g_auto(PairEnd) device, clone;
  two_ends(&device, &clone, "");
  pair_end_type(&device, 0, 0, "a");
  g_autoptr(GBytes) first = doc_pair_next(device.pair);
  pair_end_type(&device, 1, 0, "b");
  pair_end_type(&device, 2, 0, "c");
  g_assert_null(doc_pair_next(device.pair));
  g_assert_true(pair_end_hear(&clone, first, NULL));
  g_autoptr(GBytes) thanks = doc_pair_next(clone.pair);
  g_assert_true(pair_end_hear(&device, thanks, NULL));
  g_autoptr(GBytes) second = doc_pair_next(device.pair);
  g_assert_true(pair_end_hear(&clone, second, NULL));
  g_autofree char *text = pair_end_text(&clone);
  g_assert_cmpstr(text, ==, "abc");
}

static void
test_same_place(void)
{
  g_auto(PairEnd) device, clone;
  two_ends(&device, &clone, "ab");
  pair_end_type(&device, 1, 0, "device");
  pair_end_type(&clone, 1, 0, "clone");
  pair_meet(&device, &clone, NULL);
  g_autofree char *text = pair_end_text(&device);
  g_assert_cmpstr(text, ==, "aclonedeviceb");
}

/* More than a message holds, characters of several bytes at its border among it. */
static void
test_pieces(void)
{
  g_auto(PairEnd) device, clone;
  pair_end_init(&device, DOC_PAIR_DEVICE);
  pair_end_init(&clone, DOC_PAIR_CLONE);
  g_autoptr(GString) text = g_string_new(NULL);
  while (text->len <= 2 * DOC_PAIR_EDIT_MAX)
    g_string_append(text, "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  pair_end_type(&clone, 0, 0, text->str);
  PairTalk talk = {0};
  pair_meet(&device, &clone, &talk);
  g_assert_cmpuint(talk.bundles, ==, 3);
  g_assert_cmpuint(talk.longest, <=, DOC_PAIR_MESSAGE_MAX);
  /* Also of changes all over it. */
  gsize length = ot_text_length(clone.text);
  g_autoptr(OtOp) op = ot_op_new();
  for (gsize i = 0; i + 3 < length; i += 3) {
    ot_op_keep(op, 1);
    ot_op_insert(op, "+", 1, 1);
    ot_op_delete(op, 1);
    ot_op_keep(op, 1);
  }
  g_assert_true(ot_op_apply(op, clone.text, NULL));
  g_assert_true(doc_pair_edit(clone.pair, op, NULL));
  talk = (PairTalk){0};
  pair_meet(&device, &clone, &talk);
  g_assert_cmpuint(talk.bundles, >, 1);
  g_assert_cmpuint(talk.longest, <=, DOC_PAIR_MESSAGE_MAX);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/clonedoc/pair/lives", test_lives);
  g_test_add_func("/clonedoc/pair/absence", test_absence);
  g_test_add_func("/clonedoc/pair/absence-after-arrival", test_absence_after_arrival);
  g_test_add_func("/clonedoc/pair/deleted-again", test_deleted_again);
  g_test_add_func("/clonedoc/pair/one-in-flight", test_one_in_flight);
  g_test_add_func("/clonedoc/pair/same-place", test_same_place);
  g_test_add_func("/clonedoc/pair/pieces", test_pieces);
  return g_test_run();
}

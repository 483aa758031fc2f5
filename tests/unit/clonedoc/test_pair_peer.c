/* An end of a pair whose other end lies, is broken, or was set back: it says so, and changes nothing. */
#include "base/error.h"
#include "pair_end.h"
#include "wire/doc_pair.pb-c.h"
#include "wire/message.h"

typedef Doppel__Wire__DocPairHello Hello;
typedef Doppel__Wire__DocPairMessage Message;
typedef Doppel__Wire__DocPairState State;

/* A device that has said hello to its clone, has a bundle on its way, and has seen one of the clone's. Its
 * text is "ab" of the clone's, "cd" on the way and "ef" behind that. */
typedef struct {
  PairEnd device, clone;
  GBytes *bundle; /* on its way to the clone */
} Pair;

static void
pair_init(Pair *pair)
{
  pair_end_init(&pair->device, DOC_PAIR_DEVICE);
  pair_end_init(&pair->clone, DOC_PAIR_CLONE);
  pair_end_type(&pair->clone, 0, 0, "ab");
  pair_meet(&pair->device, &pair->clone, NULL);
  pair_end_type(&pair->device, 2, 0, "cd");
  pair->bundle = doc_pair_next(pair->device.pair);
  pair_end_type(&pair->device, 4, 0, "ef");
}

static void
pair_clear(Pair *pair)
{
  pair_end_clear(&pair->device);
  pair_end_clear(&pair->clone);
  g_bytes_unref(pair->bundle);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pair, pair_clear)

/* Both are as they were, and go on. */
static void
check_goes_on(Pair *pair)
{
  g_assert_true(pair_end_hear(&pair->clone, pair->bundle, NULL));
  pair_end_type(&pair->clone, 0, 0, "A");
  pair_meet(&pair->device, &pair->clone, NULL);
  g_autofree char *text = pair_end_text(&pair->device);
  g_assert_cmpstr(text, ==, "Aabcdef");
}

static GBytes *
message_of(guint64 to, guint64 seen, guint64 number, const char *edit, gsize length)
{
  Message message = DOPPEL__WIRE__DOC_PAIR_MESSAGE__INIT;
  message.to = to;
  message.seen = seen;
  message.number = number;
  message.edit = wire_borrow(edit, length);
  return wire_pack(&message.base);
}

/* To the device, which has begun one link, given one bundle, and seen one. */
static const struct {
  const char *what;
  guint64 to, seen, number;
  const char *edit;
  gsize length;
} lies[] = {
    {"for a link that was not begun", 2, 1, 2, "\x05x", 2},
    {"has seen what was not said", 1, 2, 2, "\x05x", 2},
    {"has seen what was not said, and says nothing", 1, 2, 0, "", 0},
    {"one is missing before it", 1, 1, 3, "\x05x", 2},
    {"no edit in it", 1, 1, 2, "", 0},
    {"a damaged edit", 1, 1, 2, "\x05", 1},
    {"beyond the text of which it knows", 1, 0, 2, "\x0e", 1},
    {"beyond the text of which it knows, with the bundle", 1, 1, 2, "\x16", 1},
    {"beyond all texts", 1, 1, 2, "\xfc\xff\xff\xff\x7f\x05x", 7},
};

static void
test_lies(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(lies); i++) {
    g_auto(Pair) pair;
    pair_init(&pair);
    g_autoptr(GBytes) lie =
        message_of(lies[i].to, lies[i].seen, lies[i].number, lies[i].edit, lies[i].length);
    g_autoptr(GError) error = NULL;
    if (pair_end_hear(&pair.device, lie, &error))
      g_error("%s was taken", lies[i].what);
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    check_goes_on(&pair);
  }
}

/* The same with an edit that is as far as it may be: so the table above is about what it says. */
static void
test_truth(void)
{
  g_auto(Pair) pair;
  pair_init(&pair);
  g_autoptr(GBytes) before = message_of(1, 0, 2, "\x0a", 1), after = message_of(1, 1, 3, "\x0a", 1);
  g_assert_true(pair_end_hear(&pair.device, before, NULL));
  g_autofree char *text = pair_end_text(&pair.device);
  g_assert_cmpstr(text, ==, "cdef");
  g_assert_true(pair_end_hear(&pair.device, after, NULL));
  g_autofree char *rest = pair_end_text(&pair.device);
  g_assert_cmpstr(rest, ==, "ef");
}

static void
test_garbage(void)
{
  static const char *const garbage[] = {"x", "\x2a\xff", "\x0a\x7f",
                                        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"};
  g_autofree char *large = g_strnfill(DOC_PAIR_EDIT_MAX + 1, 'x');
  g_auto(Pair) pair;
  pair_init(&pair);
  for (guint i = 0; i < G_N_ELEMENTS(garbage); i++) {
    g_autoptr(GBytes) bytes = g_bytes_new_static(garbage[i], strlen(garbage[i]));
    g_autoptr(GError) error = NULL;
    g_assert_false(pair_end_hear(&pair.device, bytes, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  }
  g_autoptr(GBytes) long_edit = message_of(1, 1, 2, large, DOC_PAIR_EDIT_MAX + 1);
  g_autoptr(GBytes) long_message =
      g_bytes_new_take(g_malloc0(DOC_PAIR_MESSAGE_MAX + 1), DOC_PAIR_MESSAGE_MAX + 1);
  g_assert_false(pair_end_hear(&pair.device, long_edit, NULL));
  g_assert_false(pair_end_hear(&pair.device, long_message, NULL));
  check_goes_on(&pair);
}

/* Who says to have seen a bundle has it; an edit on a text without it is of before. */
static void
test_out_of_order(void)
{
  g_auto(Pair) pair;
  pair_init(&pair);
  g_autoptr(GBytes) seen = message_of(1, 1, 0, "", 0), late = message_of(1, 0, 2, "\x05x", 2);
  g_assert_true(pair_end_hear(&pair.device, seen, NULL));
  g_autoptr(GError) error = NULL;
  g_assert_false(pair_end_hear(&pair.device, late, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  check_goes_on(&pair);
}

/* What comes twice, and what is left of an earlier link. */
static void
test_again(void)
{
  g_auto(Pair) pair;
  pair_init(&pair);
  g_autoptr(GBytes) before = doc_pair_save(pair.device.pair);
  g_autoptr(GBytes) twice = message_of(1, 0, 1, "\x05x", 2), earlier = message_of(0, 1, 2, "\x05x", 2);
  g_assert_true(pair_end_hear(&pair.device, twice, NULL));
  g_assert_true(pair_end_hear(&pair.device, earlier, NULL));
  g_autoptr(GBytes) after = doc_pair_save(pair.device.pair);
  g_assert_true(g_bytes_equal(before, after));
  check_goes_on(&pair);
}

/* ---- hellos ---- */

/* To the device; a good one is of the clone, version 1, link 2, 1 given, 0 or 1 seen. */
static const struct {
  const char *what;
  Hello hello;
  int code;
} hellos[] = {
#define HELLO(...)                                                                                           \
  {                                                                                                          \
    PROTOBUF_C_MESSAGE_INIT(&doppel__wire__doc_pair_hello__descriptor), __VA_ARGS__                          \
  }
    {"another version", HELLO(2, TRUE, 2, 1, 0), DOPPEL_ERROR_UNSUPPORTED},
    {"another device", HELLO(1, FALSE, 2, 1, 0), DOPPEL_ERROR_HOSTILE},
    {"no link", HELLO(1, TRUE, 0, 1, 0), DOPPEL_ERROR_HOSTILE},
    {"a link beyond all", HELLO(1, TRUE, G_MAXUINT64, 1, 0), DOPPEL_ERROR_HOSTILE},
    {"an old link", HELLO(1, TRUE, 1, 1, 0), DOPPEL_ERROR_MISMATCH},
    {"saw more than there is", HELLO(1, TRUE, 2, 1, 2), DOPPEL_ERROR_MISMATCH},
    {"gave less than was seen", HELLO(1, TRUE, 2, 0, 0), DOPPEL_ERROR_MISMATCH},
    {"gave more than one that was not seen", HELLO(1, TRUE, 2, 3, 0), DOPPEL_ERROR_MISMATCH},
};

static GBytes *
hello_of(const Hello *hello)
{
  Message message = DOPPEL__WIRE__DOC_PAIR_MESSAGE__INIT;
  message.hello = (Hello *)hello;
  return wire_pack(&message.base);
}

static void
test_hellos(void)
{
  static const Hello good = HELLO(1, TRUE, 2, 1, 0);
  for (guint i = 0; i < G_N_ELEMENTS(hellos); i++) {
    g_auto(Pair) pair;
    pair_init(&pair);
    doc_pair_begin(pair.device.pair);
    g_autoptr(GBytes) lie = hello_of(&hellos[i].hello), truth = hello_of(&good);
    g_autoptr(GError) error = NULL;
    if (pair_end_hear(&pair.device, lie, &error))
      g_error("%s was taken", hellos[i].what);
    g_assert_error(error, DOPPEL_ERROR, hellos[i].code);
    g_assert_true(pair_end_hear(&pair.device, truth, NULL));
  }
}

/* A newer one counts: what was on the way is said anew, for the link that it is for. */
static void
test_second_hello(void)
{
  static const Hello same = HELLO(1, TRUE, 1, 1, 0), newer = HELLO(1, TRUE, 2, 1, 0);
  g_auto(Pair) pair;
  pair_init(&pair);
  g_autoptr(GBytes) twice = hello_of(&same), second = hello_of(&newer);
  g_assert_true(pair_end_hear(&pair.device, twice, NULL));
  g_assert_null(doc_pair_next(pair.device.pair));
  g_assert_true(pair_end_hear(&pair.device, second, NULL));
  g_autoptr(GBytes) again = doc_pair_next(pair.device.pair);
  g_autoptr(GBytes) expected = message_of(2, 1, 1,
                                          "\x08\x11"
                                          "cdef",
                                          6);
  g_assert_cmpmem(g_bytes_get_data(again, NULL), g_bytes_get_size(again), g_bytes_get_data(expected, NULL),
                  g_bytes_get_size(expected));
}

static void
test_no_hello(void)
{
  g_auto(Pair) pair;
  pair_init(&pair);
  doc_pair_begin(pair.device.pair);
  g_autoptr(GBytes) message = message_of(2, 1, 2, "\x05x", 2);
  g_autoptr(GError) error = NULL;
  g_assert_false(pair_end_hear(&pair.device, message, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

/* A device whose files came from an old backup: neither end goes on with it. */
static void
test_set_back(void)
{
  g_auto(Pair) pair;
  pair_init(&pair);
  g_autoptr(GBytes) old = doc_pair_save(pair.device.pair);
  check_goes_on(&pair);
  gsize length;
  const void *data = g_bytes_get_data(old, &length);
  g_autoptr(DocPair) device = doc_pair_load(DOC_PAIR_DEVICE, data, length, NULL);
  g_assert_nonnull(device);
  doc_pair_begin(device);
  doc_pair_begin(pair.clone.pair);
  g_autoptr(GBytes) from_device = doc_pair_next(device), from_clone = doc_pair_next(pair.clone.pair);
  g_autoptr(GError) error = NULL, other_error = NULL;
  OtOp *shown;
  g_assert_false(pair_end_hear(&pair.clone, from_device, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
  data = g_bytes_get_data(from_clone, &length);
  g_assert_false(doc_pair_take(device, data, length, &shown, &other_error));
  g_assert_error(other_error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
}

/* A clone that had seen the bundle, and now has not. */
static void
test_forgotten(void)
{
  static const Hello forgetful = HELLO(1, TRUE, 2, 1, 0);
  g_auto(Pair) pair;
  pair_init(&pair);
  g_autoptr(GBytes) seen = message_of(1, 1, 0, "", 0), hello = hello_of(&forgetful);
  g_assert_true(pair_end_hear(&pair.device, seen, NULL));
  doc_pair_begin(pair.device.pair);
  g_autoptr(GError) error = NULL;
  g_assert_false(pair_end_hear(&pair.device, hello, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
}

/* ---- states ---- */

static State
good_state(void)
{
  State state = DOPPEL__WIRE__DOC_PAIR_STATE__INIT;
  state.version = 1;
  state.link = state.other = state.given = state.seen = 1;
  state.length = 6;
  state.in_flight = TRUE;
  state.flight = wire_borrow("\x08\x09xy", 4);
  state.pending = wire_borrow("\x10\x09zz", 4);
  return state;
}

static DocPair *
load(const State *state, GError **error)
{
  g_autoptr(GBytes) bytes = wire_pack(&state->base);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  return doc_pair_load(DOC_PAIR_DEVICE, data, length, error);
}

static void
check_refused(const State *state)
{
  g_autoptr(GError) error = NULL;
  g_assert_null(load(state, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
test_states(void)
{
  State state = good_state();
  g_autoptr(DocPair) good = load(&state, NULL);
  g_assert_nonnull(good);
  g_autoptr(GBytes) packed = wire_pack(&state.base), saved = doc_pair_save(good);
  g_assert_true(g_bytes_equal(packed, saved));
#define REFUSED(field, value)                                                                                \
  state = good_state();                                                                                      \
  state.field = value;                                                                                       \
  check_refused(&state)
  REFUSED(version, 2);
  REFUSED(clone, TRUE);
  REFUSED(link, G_MAXUINT64);
  REFUSED(other, G_MAXUINT64);
  REFUSED(seen, G_MAXUINT64);
  REFUSED(given, 0);
  REFUSED(in_flight, FALSE);
  REFUSED(length, 5); /* "zz" behind four, in five */
  REFUSED(length, DOC_PAIR_LENGTH_MAX + 1);
  REFUSED(length, G_MAXUINT64);
  REFUSED(pending, wire_borrow("\x05", 1));
  REFUSED(flight, wire_borrow("\x05", 1));
  REFUSED(flight, wire_borrow("\x0c\x09xy", 4)); /* behind three, of which there are two */
  g_assert_null(doc_pair_load(DOC_PAIR_DEVICE, "\x0a", 1, NULL));
}

/* No text becomes longer than it may, by neither end. */
static void
test_longest(void)
{
  State state = good_state();
  state.in_flight = FALSE;
  state.flight = state.pending = wire_borrow(NULL, 0);
  state.length = DOC_PAIR_LENGTH_MAX - 1;
  g_autoptr(DocPair) pair = load(&state, NULL);
  g_assert_nonnull(pair);
  g_autoptr(OtOp) one = ot_op_new_edit(0, 0, "x", 1), two = ot_op_new_edit(0, 0, "xy", 2);
  g_autoptr(OtOp) beyond = ot_op_new_edit(state.length, 1, "", 0);
  g_autoptr(GError) error = NULL, far_error = NULL, their_error = NULL;
  g_assert_false(doc_pair_edit(pair, two, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  g_assert_false(doc_pair_edit(pair, beyond, &far_error));
  g_assert_error(far_error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_true(doc_pair_is_settled(pair));
  g_assert_true(doc_pair_edit(pair, one, NULL));
  static const Hello hello = HELLO(1, TRUE, 2, 1, 1);
  g_autoptr(GBytes) greeting = hello_of(&hello), theirs = message_of(2, 1, 2, "\x05y", 2);
  gsize length;
  OtOp *shown;
  doc_pair_begin(pair);
  const void *data = g_bytes_get_data(greeting, &length);
  g_assert_true(doc_pair_take(pair, data, length, &shown, NULL));
  data = g_bytes_get_data(theirs, &length);
  g_assert_false(doc_pair_take(pair, data, length, &shown, &their_error));
  g_assert_error(their_error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/clonedoc/pair-peer/lies", test_lies);
  g_test_add_func("/clonedoc/pair-peer/truth", test_truth);
  g_test_add_func("/clonedoc/pair-peer/garbage", test_garbage);
  g_test_add_func("/clonedoc/pair-peer/out-of-order", test_out_of_order);
  g_test_add_func("/clonedoc/pair-peer/again", test_again);
  g_test_add_func("/clonedoc/pair-peer/hellos", test_hellos);
  g_test_add_func("/clonedoc/pair-peer/second-hello", test_second_hello);
  g_test_add_func("/clonedoc/pair-peer/no-hello", test_no_hello);
  g_test_add_func("/clonedoc/pair-peer/set-back", test_set_back);
  g_test_add_func("/clonedoc/pair-peer/forgotten", test_forgotten);
  g_test_add_func("/clonedoc/pair-peer/states", test_states);
  g_test_add_func("/clonedoc/pair-peer/longest", test_longest);
  return g_test_run();
}

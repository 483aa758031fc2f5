/* The laws of operations (clonedoc/ot/op.h), on cases made by chance; DOPPEL_OT_CASES says how many. */
#include "random_op.h"

typedef struct {
  GRand *rand;
  OtText *text;
} Case;

static gsize
length_after(const OtText *text, const OtOp *op)
{
  return ot_text_length(text) + ot_op_inserted(op) - ot_op_deleted(op);
}

static void
check_compose(Case *it)
{
  g_autoptr(OtOp) a = ot_random_op(it->rand, ot_text_length(it->text), 6);
  g_autoptr(OtOp) b = ot_random_op(it->rand, length_after(it->text, a), 6);
  g_autoptr(OtOp) both = ot_op_compose(a, b);
  g_autoptr(OtText) after_a = ot_applied(it->text, a);
  g_autoptr(OtText) stepwise = ot_applied(after_a, b);
  g_autoptr(OtText) at_once = ot_applied(it->text, both);
  g_assert_true(ot_text_equal(stepwise, at_once));
}

static void
check_compose_associates(Case *it)
{
  g_autoptr(OtOp) a = ot_random_op(it->rand, ot_text_length(it->text), 4);
  gsize length = length_after(it->text, a);
  g_autoptr(OtOp) b = ot_random_op(it->rand, length, 4);
  length += ot_op_inserted(b) - ot_op_deleted(b);
  g_autoptr(OtOp) c = ot_random_op(it->rand, length, 4);
  g_autoptr(OtOp) ab = ot_op_compose(a, b);
  g_autoptr(OtOp) bc = ot_op_compose(b, c);
  g_autoptr(OtOp) left = ot_op_compose(ab, c);
  g_autoptr(OtOp) right = ot_op_compose(a, bc);
  g_autoptr(OtText) by_left = ot_applied(it->text, left);
  g_autoptr(OtText) by_right = ot_applied(it->text, right);
  g_assert_true(ot_text_equal(by_left, by_right));
}

static void
check_transform(Case *it)
{
  g_autoptr(OtOp) a = ot_random_op(it->rand, ot_text_length(it->text), 6);
  g_autoptr(OtOp) b = ot_random_op(it->rand, ot_text_length(it->text), 6);
  g_autoptr(OtOp) a_later = NULL, b_later = NULL;
  ot_op_transform(a, b, &a_later, &b_later);
  g_autoptr(OtText) after_a = ot_applied(it->text, a);
  g_autoptr(OtText) after_b = ot_applied(it->text, b);
  g_autoptr(OtText) left = ot_applied(after_a, b_later);
  g_autoptr(OtText) right = ot_applied(after_b, a_later);
  g_assert_true(ot_text_equal(left, right));
  /* What either inserted is there, and what both deleted is deleted once. */
  g_assert_cmpuint(ot_op_inserted(a_later), ==, ot_op_inserted(a));
  g_assert_cmpuint(ot_op_inserted(b_later), ==, ot_op_inserted(b));
  g_assert_cmpuint(ot_op_deleted(a) + ot_op_deleted(b_later), ==, ot_op_deleted(b) + ot_op_deleted(a_later));
}

static void
check_invert(Case *it)
{
  g_autoptr(OtOp) op = ot_random_op(it->rand, ot_text_length(it->text), 6);
  g_autoptr(OtOp) back = ot_op_invert(op, it->text);
  g_autoptr(OtText) after = ot_applied(it->text, op);
  g_autoptr(OtText) again = ot_applied(after, back);
  g_assert_true(ot_text_equal(it->text, again));
}

static void
check_pack(Case *it)
{
  g_autoptr(OtOp) op = ot_random_op(it->rand, ot_text_length(it->text), 6);
  g_autoptr(GByteArray) packed = g_byte_array_new();
  ot_op_pack(op, packed);
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) read = ot_op_unpack(packed->data, packed->len, &error);
  g_assert_no_error(error);
  g_assert_true(ot_op_equal(op, read));
  g_autoptr(OtOp) copy = ot_op_copy(op);
  g_assert_true(ot_op_equal(op, copy));
}

/* A cursor stays behind the character that it stood behind, or where that one was. */
static void
check_move(Case *it)
{
  gsize length = ot_text_length(it->text);
  g_autoptr(OtOp) op = ot_random_op(it->rand, length, 6);
  gsize at = g_rand_int_range(it->rand, 0, length + 1);
  /* The text before the cursor, as an operation alone sees it. */
  g_autoptr(OtOp) mark = ot_op_new_edit(at, 0, "|", 1);
  g_autoptr(OtOp) op_later = NULL, mark_later = NULL;
  ot_op_transform(op, mark, &op_later, &mark_later);
  gsize expected = 0;
  OtCursor cursor;
  OtPart part;
  for (ot_cursor_init(&cursor, mark_later); cursor.left.kind == OT_KEEP && cursor.left.scalars > 0;) {
    ot_cursor_take(&cursor, cursor.left.scalars, &part);
    expected += part.scalars;
  }
  g_assert_cmpuint(ot_op_move(op, at), ==, expected);
}

static void
test_law(gconstpointer data)
{
  void (*const *check)(Case *) = data;
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  for (guint64 left = ot_cases(20000); left > 0; left--) {
    Case it = {rand, ot_random_text(rand, g_rand_int_range(rand, 0, 40))};
    (*check)(&it);
    ot_text_free(it.text);
  }
}

/* What does not fit changes nothing. */
static void
test_reach(void)
{
  g_autoptr(OtText) text = ot_text_new();
  ot_text_insert(text, 0, "abc", 3, 3);
  g_autoptr(OtOp) op = ot_op_new();
  ot_op_insert(op, "x", 1, 1);
  ot_op_keep(op, 2);
  ot_op_delete(op, 2);
  g_assert_cmpuint(ot_op_reach(op), ==, 4);
  g_autoptr(GError) error = NULL;
  g_assert_false(ot_op_apply(op, text, &error));
  g_assert_nonnull(error);
  g_autofree char *same = ot_text_copy(text, 0, 3, NULL);
  g_assert_cmpstr(same, ==, "abc");
}

/* Insertions at one place: the first one's come first, whatever is deleted around them. */
static void
test_tie(void)
{
  g_autoptr(OtText) text = ot_text_new();
  ot_text_insert(text, 0, "abc", 3, 3);
  g_autoptr(OtOp) a = ot_op_new_edit(1, 1, "1", 1);
  g_autoptr(OtOp) b = ot_op_new_edit(1, 2, "2", 1);
  g_autoptr(OtOp) a_later = NULL, b_later = NULL;
  ot_op_transform(a, b, &a_later, &b_later);
  g_autoptr(OtText) after = ot_applied(text, a);
  g_autoptr(OtText) both = ot_applied(after, b_later);
  g_autofree char *string = ot_text_copy(both, 0, ot_text_length(both), NULL);
  g_assert_cmpstr(string, ==, "a12");
}

int
main(int argc, char **argv)
{
  static void (*const checks[])(Case *) = {
      check_compose, check_compose_associates, check_transform, check_invert, check_pack, check_move};
  static const char *const names[] = {"compose", "associates", "tp1", "invert", "pack", "move"};
  g_test_init(&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS(checks); i++) {
    g_autofree char *path = g_strdup_printf("/clonedoc/ot/op/%s", names[i]);
    g_test_add_data_func(path, &checks[i], test_law);
  }
  g_test_add_func("/clonedoc/ot/op/reach", test_reach);
  g_test_add_func("/clonedoc/ot/op/tie", test_tie);
  return g_test_run();
}

/* All pairs of small operations on all texts of up to four characters (which characters they are makes no
 * difference to an operation, so one text of each length stands for all). */
#include <string.h>

#include "random_op.h"

enum { LENGTH_MAX = 4 };

/* An operation as a number: for each gap how many are inserted (0 to `inserts` - 1), for each character
 * whether it goes. */
static OtOp *
numbered(guint number, guint length, guint inserts, char letter)
{
  OtOp *op = ot_op_new();
  for (guint i = 0; i <= length; i++) {
    char string[] = {letter, g_ascii_toupper(letter)};
    guint count = number % inserts;
    number /= inserts;
    ot_op_insert(op, string, count, count);
    if (i == length)
      break;
    if (number % 2)
      ot_op_delete(op, 1);
    else
      ot_op_keep(op, 1);
    number /= 2;
  }
  return op;
}

static guint
how_many(guint length, guint inserts)
{
  guint count = inserts;
  for (guint i = 0; i < length; i++)
    count *= 2 * inserts;
  return count;
}

typedef struct {
  char bytes[64];
} String;

/* By hand, without a text's tree: an oracle of its own. */
static void
edit(const OtOp *op, const String *before, String *after)
{
  const char *from = before->bytes;
  char *to = after->bytes;
  OtCursor cursor;
  OtPart part;
  for (ot_cursor_init(&cursor, op); cursor.left.scalars > 0;) {
    ot_cursor_take(&cursor, cursor.left.scalars, &part);
    if (part.kind == OT_DELETE) {
      g_assert_cmpuint(strlen(from), >=, part.scalars);
      from += part.scalars;
      continue;
    }
    g_assert_cmpuint(to + part.scalars + 1 - after->bytes, <, sizeof after->bytes);
    to = (char *)memcpy(to, part.kind == OT_KEEP ? from : part.utf8, part.scalars) + part.scalars;
    if (part.kind == OT_KEEP) {
      g_assert_cmpuint(strlen(from), >=, part.scalars);
      from += part.scalars;
    }
  }
  strcpy(to, from);
}

static GPtrArray *
all(guint length, guint inserts, char letter)
{
  GPtrArray *ops = g_ptr_array_new_with_free_func((GDestroyNotify)ot_op_free);
  for (guint i = 0; i < how_many(length, inserts); i++)
    g_ptr_array_add(ops, numbered(i, length, inserts, letter));
  return ops;
}

static void
check_tp1(const OtOp *a, const OtOp *b, const String *text)
{
  g_autoptr(OtOp) a_later = NULL, b_later = NULL;
  ot_op_transform(a, b, &a_later, &b_later);
  String after_a, after_b, left, right;
  edit(a, text, &after_a);
  edit(b, text, &after_b);
  edit(b_later, &after_a, &left);
  edit(a_later, &after_b, &right);
  if (strcmp(left.bytes, right.bytes) != 0)
    g_error("\"%s\" becomes \"%s\" one way, and \"%s\" the other", text->bytes, left.bytes, right.bytes);
}

static void
test_tp1(void)
{
  guint inserts = ot_cases(0) > 0 ? 3 : 2;
  guint64 pairs = 0;
  for (guint length = 0; length <= LENGTH_MAX; length++) {
    String text = {"wxyz"};
    text.bytes[length] = 0;
    g_autoptr(GPtrArray) as = all(length, inserts, 'a'), bs = all(length, inserts, 'b');
    for (guint i = 0; i < as->len; i++)
      for (guint k = 0; k < bs->len; k++, pairs++)
        check_tp1(as->pdata[i], bs->pdata[k], &text);
  }
  g_test_message("%" G_GUINT64_FORMAT " pairs", pairs);
}

static void
test_compose(void)
{
  guint64 pairs = 0;
  for (guint length = 0; length <= LENGTH_MAX; length++) {
    String text = {"wxyz"};
    text.bytes[length] = 0;
    g_autoptr(GPtrArray) as = all(length, 2, 'a');
    for (guint i = 0; i < as->len; i++) {
      String between, stepwise, at_once;
      edit(as->pdata[i], &text, &between);
      guint reached = strlen(between.bytes);
      if (reached > LENGTH_MAX)
        continue;
      g_autoptr(GPtrArray) bs = all(reached, 2, 'b');
      for (guint k = 0; k < bs->len; k++, pairs++) {
        g_autoptr(OtOp) both = ot_op_compose(as->pdata[i], bs->pdata[k]);
        edit(bs->pdata[k], &between, &stepwise);
        edit(both, &text, &at_once);
        g_assert_cmpstr(stepwise.bytes, ==, at_once.bytes);
      }
    }
  }
  g_test_message("%" G_GUINT64_FORMAT " pairs", pairs);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/clonedoc/ot/small/tp1", test_tp1);
  g_test_add_func("/clonedoc/ot/small/compose", test_compose);
  return g_test_run();
}

/* Operations from anybody: what is taken has one form only, and the laws hold for any two that are taken. */
#include <string.h>

#include "clonedoc/ot/op.h"

static OtText *
long_enough(gsize length)
{
  OtText *text = ot_text_new();
  g_autofree char *letters = g_strnfill(length, 'x');
  ot_text_insert(text, 0, letters, length, length);
  return text;
}

static void
check_pair(const OtOp *a, const OtOp *b)
{
  gsize length = MAX(ot_op_reach(a), ot_op_reach(b));
  if (length > 5000)
    return;
  g_autoptr(OtOp) a_later = NULL, b_later = NULL;
  ot_op_transform(a, b, &a_later, &b_later);
  g_autoptr(OtText) left = long_enough(length), right = long_enough(length), composed = long_enough(length);
  g_autoptr(OtOp) both = ot_op_compose(a, b_later);
  if (!ot_op_apply(a, left, NULL) || !ot_op_apply(b_later, left, NULL) || !ot_op_apply(b, right, NULL) ||
      !ot_op_apply(a_later, right, NULL) || !ot_op_apply(both, composed, NULL) ||
      !ot_text_equal(left, right) || !ot_text_equal(left, composed))
    __builtin_trap();
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  if (length == 0)
    return 0;
  gsize first = MIN((gsize)data[0], length - 1);
  g_autoptr(OtOp) a = ot_op_unpack(data + 1, first, NULL);
  g_autoptr(OtOp) b = ot_op_unpack(data + 1 + first, length - 1 - first, NULL);
  if (!a || !b)
    return 0;
  g_autoptr(GByteArray) again = g_byte_array_new();
  ot_op_pack(a, again);
  if (again->len != first || (first > 0 && memcmp(again->data, data + 1, first) != 0))
    __builtin_trap();
  check_pair(a, b);
  return 0;
}

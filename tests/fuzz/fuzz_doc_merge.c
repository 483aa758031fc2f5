/* A file that an editor saved, against the document's text: what is text makes an operation that does exactly
 * that, and three ways it goes together with whatever came meanwhile. */
#include "clonedoc/merge.h"
#include "input.h"

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static OtText *
text_of(const char *utf8, gsize bytes)
{
  OtText *text = ot_text_new();
  gsize scalars;
  demand(ot_utf8_check(utf8, bytes, &scalars));
  ot_text_insert(text, 0, utf8, bytes, scalars);
  return text;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Input input = {data, length};
  gsize base_bytes, saved_bytes, op_bytes;
  const char *base = (const char *)input_blob(&input, &base_bytes);
  const char *saved = (const char *)input_blob(&input, &saved_bytes);
  g_autoptr(OtOp) op = doc_merge_difference(base, base_bytes, saved, saved_bytes, NULL);
  if (!op)
    return 0;
  g_autoptr(OtText) text = text_of(base, base_bytes), expected = text_of(saved, saved_bytes);
  gsize base_length = ot_text_length(text);
  demand(ot_op_apply(op, text, NULL) && ot_text_equal(text, expected));
  const guint8 *packed = input_blob(&input, &op_bytes);
  g_autoptr(OtOp) meanwhile = ot_op_unpack(packed, op_bytes, NULL);
  if (!meanwhile)
    return 0;
  g_autoptr(OtOp) later = doc_merge_saved(base, base_bytes, saved, saved_bytes, meanwhile, NULL);
  demand((later != NULL) == (ot_op_reach(meanwhile) <= base_length));
  if (!later)
    return 0;
  g_autoptr(OtText) here = text_of(base, base_bytes);
  demand(ot_op_apply(meanwhile, here, NULL) && ot_op_apply(later, here, NULL));
  return 0;
}

#include "random_op.h"

guint64
ot_cases(guint64 usual)
{
  const char *cases = g_getenv("DOPPEL_OT_CASES");
  return cases ? g_ascii_strtoull(cases, NULL, 10) : usual;
}

char *
ot_random_string(GRand *rand, gsize scalars, gsize *bytes)
{
  static const gunichar alphabet[] = {'a',   'b',    '\n',   0x7f,   0x80,    0xe9,    0x7ff,
                                      0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x1f600, 0x10ffff};
  /* Some are of ASCII only: those are counted otherwise. */
  guint letters = g_rand_boolean(rand) ? 4 : G_N_ELEMENTS(alphabet);
  GString *string = g_string_new(NULL);
  for (gsize i = 0; i < scalars; i++)
    g_string_append_unichar(string, alphabet[g_rand_int_range(rand, 0, letters)]);
  *bytes = string->len;
  return g_string_free(string, FALSE);
}

OtText *
ot_random_text(GRand *rand, gsize scalars)
{
  OtText *text = ot_text_new();
  gsize bytes;
  g_autofree char *string = ot_random_string(rand, scalars, &bytes);
  ot_text_insert(text, 0, string, bytes, scalars);
  return text;
}

OtOp *
ot_random_op(GRand *rand, gsize length, guint changes)
{
  OtOp *op = ot_op_new();
  gsize left = length;
  for (guint i = g_rand_int_range(rand, 0, changes + 1); i > 0; i--) {
    gsize kept = g_rand_int_range(rand, 0, left + 1);
    if (g_rand_boolean(rand))
      kept = MIN(kept, 2);
    ot_op_keep(op, kept);
    left -= kept;
    if (g_rand_boolean(rand)) {
      gsize bytes, scalars = g_rand_int_range(rand, 0, 4);
      g_autofree char *string = ot_random_string(rand, scalars, &bytes);
      ot_op_insert(op, string, bytes, scalars);
    }
    if (g_rand_boolean(rand)) {
      gsize gone = g_rand_int_range(rand, 0, MIN(left, 5) + 1);
      ot_op_delete(op, gone);
      left -= gone;
    }
  }
  return op;
}

OtText *
ot_applied(const OtText *text, const OtOp *op)
{
  OtText *result = ot_text_new();
  gsize bytes;
  g_autofree char *string = ot_text_copy(text, 0, ot_text_length(text), &bytes);
  ot_text_insert(result, 0, string, bytes, ot_text_length(text));
  g_autoptr(GError) error = NULL;
  gboolean fits = ot_op_apply(op, result, &error);
  g_assert_no_error(error);
  g_assert_true(fits);
  return result;
}

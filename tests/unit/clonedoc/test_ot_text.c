/* The tree of pieces is a text like any other: held against an array of characters. */
#include <string.h>

#include "random_op.h"

static GArray *
model_new(void)
{
  return g_array_new(FALSE, FALSE, sizeof(gunichar));
}

static void
model_insert(GArray *model, gsize at, const char *utf8)
{
  glong count;
  g_autofree gunichar *scalars = g_utf8_to_ucs4_fast(utf8, -1, &count);
  if (count > 0)
    g_array_insert_vals(model, at, scalars, count);
}

static void
assert_same(const OtText *text, const GArray *model)
{
  g_assert_cmpuint(ot_text_length(text), ==, model->len);
  gsize bytes;
  g_autofree char *whole = ot_text_copy(text, 0, model->len, &bytes);
  g_assert_cmpuint(bytes, ==, ot_text_bytes(text));
  g_autofree char *expected = g_ucs4_to_utf8((const gunichar *)model->data, model->len, NULL, NULL, NULL);
  g_assert_cmpstr(whole, ==, expected);
}

static void
assert_part(const OtText *text, const GArray *model, gsize at, gsize count)
{
  g_autofree char *part = ot_text_copy(text, at, count, NULL);
  g_autofree char *expected = g_ucs4_to_utf8((const gunichar *)model->data + at, count, NULL, NULL, NULL);
  g_assert_cmpstr(part, ==, expected);
}

/* How an author goes about it: types on, jumps, pastes, deletes a bit or a lot. */
static void
edit(GRand *rand, OtText *text, GArray *model, gsize *cursor, guint largest)
{
  gsize length = model->len;
  if (g_rand_int_range(rand, 0, 8) == 0)
    *cursor = g_rand_int_range(rand, 0, length + 1);
  *cursor = MIN(*cursor, length);
  gboolean large = g_rand_int_range(rand, 0, 20) == 0;
  gsize count = g_rand_int_range(rand, 0, large ? largest : 4);
  if (g_rand_int_range(rand, 0, 5) < 3) {
    gsize bytes;
    g_autofree char *string = ot_random_string(rand, count, &bytes);
    ot_text_insert(text, *cursor, string, bytes, count);
    model_insert(model, *cursor, string);
    *cursor += count;
  } else {
    count = MIN(count, length - *cursor);
    ot_text_delete(text, *cursor, count);
    if (count > 0)
      g_array_remove_range(model, *cursor, count);
  }
}

static void
test_edits(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  for (guint round = 0; round < 12; round++) {
    g_autoptr(OtText) text = ot_text_new();
    g_autoptr(GArray) model = model_new();
    gsize cursor = 0;
    guint largest = round % 3 == 0 ? 20 : (round % 3 == 1 ? 1500 : 40000);
    for (guint i = 0; i < 3000; i++) {
      edit(rand, text, model, &cursor, largest);
      if (i % 100 == 0)
        assert_same(text, model);
      gsize at = g_rand_int_range(rand, 0, model->len + 1);
      assert_part(text, model, at, MIN(model->len - at, 50));
    }
    assert_same(text, model);
    ot_text_delete(text, 0, ot_text_length(text));
    g_assert_cmpuint(ot_text_bytes(text), ==, 0);
    ot_text_insert(text, 0, "x", 1, 1);
    g_assert_cmpuint(ot_text_length(text), ==, 1);
  }
}

static void
append(const char *utf8, gsize bytes, gpointer user_data)
{
  g_assert_cmpuint(bytes, >, 0);
  g_string_append_len(user_data, utf8, bytes);
}

/* Pieces never end within a character. */
static void
test_pieces(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  g_autoptr(OtText) text = ot_random_text(rand, 30000);
  g_autoptr(GString) whole = g_string_new(NULL);
  ot_text_each(text, append, whole);
  g_autofree char *copy = ot_text_copy(text, 0, 30000, NULL);
  g_assert_cmpstr(whole->str, ==, copy);
  g_autoptr(OtText) other = ot_text_new();
  for (gsize i = 0; i < 30000; i++) {
    gsize bytes;
    g_autofree char *one = ot_text_copy(text, 29999 - i, 1, &bytes);
    ot_text_insert(other, 0, one, bytes, 1);
  }
  g_assert_true(ot_text_equal(text, other));
  ot_text_delete(other, 17, 1);
  g_assert_false(ot_text_equal(text, other));
}

static void
test_utf8(void)
{
  gsize scalars;
  g_assert_true(ot_utf8_check("", 0, &scalars));
  g_assert_cmpuint(scalars, ==, 0);
  g_assert_true(ot_utf8_check("a\xc3\xa9\xf0\x9f\x98\x80", 7, &scalars));
  g_assert_cmpuint(scalars, ==, 3);
  g_assert_cmpuint(ot_utf8_offset("a\xc3\xa9\xf0\x9f\x98\x80", 7, 2), ==, 3);
  static const struct {
    const char *bytes;
    gsize length;
  } bad[] = {
      {"a\0b", 3},             /* U+0000 */
      {"\xc0\xaf", 2},         /* overlong */
      {"\xed\xa0\x80", 3},     /* a surrogate */
      {"\xf4\x90\x80\x80", 4}, /* beyond U+10FFFF */
      {"\xc3", 1},             /* cut */
      {"\x80", 1},
  };
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++)
    g_assert_false(ot_utf8_check(bad[i].bytes, bad[i].length, &scalars));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/clonedoc/ot/text/edits", test_edits);
  g_test_add_func("/clonedoc/ot/text/pieces", test_pieces);
  g_test_add_func("/clonedoc/ot/text/utf8", test_utf8);
  return g_test_run();
}

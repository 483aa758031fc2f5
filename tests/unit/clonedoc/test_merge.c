/* Texts against texts (clonedoc/merge.h): whatever they are, the operation makes one of the other. */
#include <string.h>

#include "base/error.h"
#include "clonedoc/difference.h"
#include "clonedoc/merge.h"
#include "random_op.h"

static OtText *
text_of(const char *utf8, gsize bytes)
{
  OtText *text = ot_text_new();
  ot_text_insert(text, 0, utf8, bytes, g_utf8_strlen(utf8, bytes));
  return text;
}

static char *
string_of(const OtText *text)
{
  return ot_text_copy(text, 0, ot_text_length(text), NULL);
}

/* The operation, which was checked to do what it should. */
static OtOp *
difference(const char *from, const char *to)
{
  g_autoptr(GError) error = NULL;
  OtOp *op = doc_merge_difference(from, strlen(from), to, strlen(to), &error);
  g_assert_no_error(error);
  g_autoptr(OtText) text = text_of(from, strlen(from));
  g_assert_true(ot_op_apply(op, text, &error));
  g_autofree char *after = string_of(text);
  g_assert_true(strcmp(after, to) == 0);
  return op;
}

/* ---- sequences ---- */

enum { SMALL = 6 };

/* How many have to be marked, by the table that everybody knows. */
static guint
least(const guint32 *a, gsize n, const guint32 *b, gsize m)
{
  guint common[SMALL + 1][SMALL + 1] = {0};
  for (gsize i = 0; i < n; i++)
    for (gsize j = 0; j < m; j++)
      common[i + 1][j + 1] = a[i] == b[j] ? common[i][j] + 1 : MAX(common[i][j + 1], common[i + 1][j]);
  return n + m - 2 * common[n][m];
}

/* The marks, counted; what is not marked is the same. */
static guint
check_marks(const guint32 *a, gsize n, const guint8 *a_marks, const guint32 *b, gsize m,
            const guint8 *b_marks)
{
  guint marked = 0;
  gsize i = 0, j = 0;
  while (i < n || j < m) {
    if (i < n && a_marks[i]) {
      marked++;
      i++;
    } else if (j < m && b_marks[j]) {
      marked++;
      j++;
    } else {
      g_assert_true(i < n && j < m && a[i] == b[j]);
      i++;
      j++;
    }
  }
  return marked;
}

static gsize
small_sequence(guint code, guint letters, guint32 *sequence)
{
  gsize count = code % (SMALL + 1);
  code /= SMALL + 1;
  for (gsize i = 0; i < count; i++, code /= letters)
    sequence[i] = code % letters;
  return count;
}

/* All pairs of short ones: as few marks as can be. */
static void
test_small(void)
{
  enum { LETTERS = 2, CODES = (SMALL + 1) << SMALL };
  for (guint first = 0; first < CODES; first++)
    for (guint second = 0; second < CODES; second++) {
      guint32 a[SMALL], b[SMALL];
      guint8 a_marks[SMALL], b_marks[SMALL];
      gint64 work = 100000;
      gsize n = small_sequence(first, LETTERS, a), m = small_sequence(second, LETTERS, b);
      g_assert_true(doc_difference(a, n, a_marks, b, m, b_marks, &work));
      g_assert_cmpuint(check_marks(a, n, a_marks, b, m, b_marks), ==, least(a, n, b, m));
    }
}

/* Longer ones, with much work and with hardly any, which is kept to. */
static void
test_work(void)
{
  enum { COUNT = 3000 };
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  for (guint64 left = ot_cases(200); left > 0; left--) {
    guint32 a[COUNT], b[COUNT];
    guint8 a_marks[COUNT], b_marks[COUNT];
    guint letters = g_rand_int_range(rand, 1, 20);
    gsize n = g_rand_int_range(rand, 0, COUNT + 1), m = g_rand_int_range(rand, 0, COUNT + 1);
    for (gsize i = 0; i < n; i++)
      a[i] = g_rand_int_range(rand, 0, letters);
    for (gsize i = 0; i < m; i++)
      b[i] = g_rand_int_range(rand, 0, letters);
    gint64 plenty = G_MAXINT64, little = g_rand_int_range(rand, 0, 100000);
    g_assert_true(doc_difference(a, n, a_marks, b, m, b_marks, &plenty));
    guint best = check_marks(a, n, a_marks, b, m, b_marks);
    gboolean enough = doc_difference(a, n, a_marks, b, m, b_marks, &little);
    guint found = check_marks(a, n, a_marks, b, m, b_marks);
    g_assert_cmpuint(found, >=, best);
    if (enough)
      g_assert_cmpuint(found, ==, best);
    g_assert_cmpint(little, >, -2 * COUNT);
  }
}

/* Too far apart for what it may cost: all of both, and hardly more work than that was done. */
static void
test_given_up(void)
{
  enum { COUNT = 3000 };
  guint32 a[COUNT], b[COUNT];
  guint8 a_marks[COUNT], b_marks[COUNT];
  gint64 work = 1000;
  for (guint i = 0; i < COUNT; i++) {
    a[i] = i % 7 * (i % 11);
    b[i] = 1 + i % 5 * (i % 13);
  }
  g_assert_false(doc_difference(a, COUNT, a_marks, b, COUNT, b_marks, &work));
  g_assert_cmpuint(check_marks(a, COUNT, a_marks, b, COUNT, b_marks), >, COUNT);
  g_assert_cmpint(work, >, 1000 - COUNT);
}

/* ---- texts ---- */

static char *
random_string(GRand *rand, gsize length_max)
{
  gsize bytes;
  return ot_random_string(rand, g_rand_int_range(rand, 0, length_max + 1), &bytes);
}

static void
test_random(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  for (guint64 left = ot_cases(5000); left > 0; left--) {
    g_autofree char *from = random_string(rand, 60), *other = random_string(rand, 60);
    g_autoptr(OtText) text = text_of(from, strlen(from));
    g_autoptr(OtOp) edit = ot_random_op(rand, ot_text_length(text), 6);
    g_autoptr(OtText) edited = ot_applied(text, edit);
    g_autofree char *to = string_of(edited);
    g_autoptr(OtOp) to_other = difference(from, other), to_edited = difference(from, to);
    g_autoptr(OtOp) nothing = difference(from, from);
    g_assert_true(ot_op_empty(nothing));
  }
}

/* What was changed at one place costs no more than that. */
static void
test_one_edit(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  for (guint64 left = ot_cases(5000); left > 0; left--) {
    g_autofree char *from = random_string(rand, 60), *typed = random_string(rand, 6);
    g_autoptr(OtText) text = text_of(from, strlen(from));
    gsize length = ot_text_length(text), at = g_rand_int_range(rand, 0, length + 1);
    gsize deleted = g_rand_int_range(rand, 0, length - at + 1);
    g_autoptr(OtOp) edit = ot_op_new_edit(at, deleted, typed, strlen(typed));
    g_autoptr(OtText) edited = ot_applied(text, edit);
    g_autofree char *to = string_of(edited);
    g_autoptr(OtOp) found = difference(from, to);
    g_assert_cmpuint(ot_op_inserted(found), <=, ot_op_inserted(edit));
    g_assert_cmpuint(ot_op_deleted(found), <=, ot_op_deleted(edit));
  }
}

static const struct {
  const char *from, *to;
  guint inserted, deleted;
} examples[] = {
    {"", "", 0, 0},
    {"", "a", 1, 0},
    {"a", "", 0, 1},
    {"one\ntwo\nthree\n", "one\ntoo\nthree\n", 1, 1},
    {"one\ntwo\nthree\n", "two\nthree\nfour\n", 5, 4},
    {"one\ntwo\nthree", "two\nthree\nfour\n", 6, 4},
    {"ab1\nab2\nab3\n", "ab2\nab3\nab4\n", 4, 4},
    {"int a;\nint b;\nint c;\n", "long a;\nint b;\nlong c;\n", 6, 4}, /* the n stays */
    /* Characters whose bytes are alike at their beginning or their end. */
    {"\xc3\xa9", "\xc3\xa8", 1, 1},
    {"\xc3\xa9", "\xc4\xa9", 1, 1},
    {"\xe2\x82\xac\xe2\x82\xac", "\xe2\x82\xac", 0, 1},
    {"x\xf0\x9f\x98\x80y\xf0\x9f\x98\x81z", "x\xf0\x9f\x98\x81y\xf0\x9f\x98\x80z", 2, 2},
};

static void
test_examples(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(examples); i++) {
    g_autoptr(OtOp) op = difference(examples[i].from, examples[i].to);
    g_assert_cmpuint(ot_op_inserted(op), ==, examples[i].inserted);
    g_assert_cmpuint(ot_op_deleted(op), ==, examples[i].deleted);
  }
}

static void
test_refused(void)
{
  static const struct {
    const char *bytes;
    gsize length;
  } no_texts[] = {{"\xff", 1}, {"a\0b", 3}, {"\xc3", 1}, {"\xed\xa0\x80", 3}};
  for (guint i = 0; i < G_N_ELEMENTS(no_texts); i++) {
    g_autoptr(GError) before = NULL, after = NULL;
    g_assert_null(doc_merge_difference(no_texts[i].bytes, no_texts[i].length, "a", 1, &before));
    g_assert_error(before, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
    g_assert_null(doc_merge_difference("a", 1, no_texts[i].bytes, no_texts[i].length, &after));
    g_assert_error(after, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  }
}

/* ---- half a megabyte of what is hard ---- */

enum { LARGE = 1 << 19 };

static char *
random_letters(GRand *rand, const char *letters)
{
  char *text = g_malloc(LARGE + 1);
  guint count = strlen(letters);
  for (gsize i = 0; i < LARGE; i++)
    text[i] = letters[g_rand_int_range(rand, 0, count)];
  text[LARGE] = '\0';
  return text;
}

static char *
random_lines(GRand *rand, guint different)
{
  GString *text = g_string_sized_new(LARGE);
  while (text->len < LARGE)
    g_string_append_printf(text, "line %u of many\n", g_rand_int_range(rand, 0, different));
  return g_string_free(text, FALSE);
}

static void
test_large(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  static const char *const letters[] = {"ab", "a\n", "abcdefghijklmnopqrstuvwxyz", "ab \n"};
  for (guint i = 0; i < G_N_ELEMENTS(letters); i++) {
    g_autofree char *from = random_letters(rand, letters[i]), *to = random_letters(rand, letters[i]);
    g_autoptr(OtOp) op = difference(from, to);
  }
  static const guint different[] = {1, 2, 50, 10000, G_MAXINT};
  for (guint i = 0; i < G_N_ELEMENTS(different); i++) {
    g_autofree char *from = random_lines(rand, different[i]), *to = random_lines(rand, different[i]);
    g_autoptr(OtOp) op = difference(from, to);
    g_autofree char *none = g_strnfill(LARGE, '\n');
    g_autoptr(OtOp) emptied = difference(from, none);
  }
}

/* Few changes all over it are found as what they are. */
static void
test_large_alike(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  g_autofree char *from = random_lines(rand, G_MAXINT);
  g_autoptr(OtText) text = text_of(from, strlen(from));
  guint inserted = 0, deleted = 0;
  for (guint i = 0; i < 300; i++) {
    g_autoptr(OtOp) edit = ot_op_new_edit(g_rand_int_range(rand, 0, LARGE), i % 3, "new", 3);
    g_assert_true(ot_op_apply(edit, text, NULL));
    inserted += 3;
    deleted += i % 3;
  }
  g_autofree char *to = string_of(text);
  g_autoptr(OtOp) op = difference(from, to);
  g_assert_cmpuint(ot_op_inserted(op), <=, inserted);
  g_assert_cmpuint(ot_op_deleted(op), <=, deleted);
}

/* A word that is everywhere became another one: each line is still known as what it was. */
static void
test_large_everywhere(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  g_autofree char *from = random_lines(rand, G_MAXINT);
  g_auto(GStrv) parts = g_strsplit(from, "many", -1);
  g_autofree char *to = g_strjoinv("other", parts);
  g_autoptr(OtOp) op = difference(from, to);
  g_assert_cmpuint(ot_op_inserted(op), <=, 5 * (g_strv_length(parts) - 1));
}

/* ---- three ways ---- */

static char *
merged(const char *base, const char *saved, const OtOp *meanwhile)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) op = doc_merge_saved(base, strlen(base), saved, strlen(saved), meanwhile, &error);
  g_assert_no_error(error);
  g_autoptr(OtText) text = text_of(base, strlen(base));
  g_assert_true(ot_op_apply(meanwhile, text, NULL));
  g_assert_true(ot_op_apply(op, text, NULL));
  return string_of(text);
}

static void
test_saved(void)
{
  const char *base = "one\ntwo\nthree\n";
  g_autoptr(OtOp) above = ot_op_new_edit(0, 0, "zero\n", 5), within = ot_op_new_edit(5, 1, "", 0);
  g_autoptr(OtOp) at_end = ot_op_new_edit(14, 0, "four\n", 5), all = ot_op_new_edit(0, 14, "", 0);
  g_autofree char *with_above = merged(base, "one\n2\nthree\n", above);
  g_assert_cmpstr(with_above, ==, "zero\none\n2\nthree\n");
  g_autofree char *with_within = merged(base, "one\nTwo\nthree\n", within);
  g_assert_cmpstr(with_within, ==, "one\nTo\nthree\n");
  g_autofree char *both_at_end = merged(base, "one\ntwo\nthree\n4\n", at_end);
  g_assert_cmpstr(both_at_end, ==, "one\ntwo\nthree\nfour\n4\n");
  g_autofree char *without_all = merged(base, "one\ntwo and\nthree\n", all);
  g_assert_cmpstr(without_all, ==, " and");
}

/* Whatever either typed is in it, and what neither touched. */
static void
test_saved_random(void)
{
  g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
  for (guint64 left = ot_cases(5000); left > 0; left--) {
    g_autofree char *base = random_string(rand, 40);
    g_autoptr(OtText) text = text_of(base, strlen(base));
    gsize length = ot_text_length(text), at = g_rand_int_range(rand, 0, length + 1);
    gsize there = g_rand_int_range(rand, 0, length + 1);
    g_autoptr(OtOp) meanwhile = ot_op_new_edit(at, 0, "HERE", 4);
    g_autoptr(OtOp) edit = ot_op_new_edit(there, 0, "THERE", 5);
    g_autoptr(OtText) edited = ot_applied(text, edit);
    g_autofree char *saved = string_of(edited), *both = merged(base, saved, meanwhile);
    g_assert_cmpuint(g_utf8_strlen(both, -1), ==, length + 9);
    g_assert_nonnull(strstr(both, "HERE"));
    g_assert_nonnull(strstr(both, "THERE"));
  }
}

static void
test_saved_misfit(void)
{
  g_autoptr(OtOp) beyond = ot_op_new_edit(2, 2, "", 0);
  g_autoptr(GError) error = NULL;
  g_assert_null(doc_merge_saved("abc", 3, "abcd", 4, beyond, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/clonedoc/merge/small", test_small);
  g_test_add_func("/clonedoc/merge/work", test_work);
  g_test_add_func("/clonedoc/merge/given-up", test_given_up);
  g_test_add_func("/clonedoc/merge/random", test_random);
  g_test_add_func("/clonedoc/merge/one-edit", test_one_edit);
  g_test_add_func("/clonedoc/merge/examples", test_examples);
  g_test_add_func("/clonedoc/merge/refused", test_refused);
  g_test_add_func("/clonedoc/merge/large", test_large);
  g_test_add_func("/clonedoc/merge/large-alike", test_large_alike);
  g_test_add_func("/clonedoc/merge/large-everywhere", test_large_everywhere);
  g_test_add_func("/clonedoc/merge/saved", test_saved);
  g_test_add_func("/clonedoc/merge/saved-random", test_saved_random);
  g_test_add_func("/clonedoc/merge/saved-misfit", test_saved_misfit);
  return g_test_run();
}

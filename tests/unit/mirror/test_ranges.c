/* Sets of addresses, against a bitmap that knows better. */
#include "mirror/ranges.h"
#include "rig.h"

enum { BITS = 256, TURNS = 20000 };

static MirrorRanges *
make(const char *text)
{
  MirrorRanges *ranges = mirror_ranges_new();
  g_auto(GStrv) words = g_strsplit(text, " ", -1);
  for (char **word = words; *word && **word; word++) {
    char *dash;
    guint64 start = g_ascii_strtoull(*word, &dash, 10);
    mirror_ranges_add(ranges, start, g_ascii_strtoull(dash + 1, NULL, 10));
  }
  return ranges;
}

static void
assert_ranges(const MirrorRanges *ranges, const char *wanted)
{
  g_autoptr(GString) got = g_string_new(NULL);
  for (guint i = 0; i < ranges->len; i++)
    g_string_append_printf(got, "%s%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT, i ? " " : "",
                           mirror_ranges_get(ranges, i)->start, mirror_ranges_get(ranges, i)->end);
  g_assert_cmpstr(got->str, ==, wanted);
}

static void
test_add(void)
{
  static const struct {
    const char *before;
    guint64 start, end;
    const char *after;
  } cases[] = {
      {"", 3, 5, "3-5"},
      {"", 5, 5, ""},
      {"", 5, 3, ""},
      {"", 0, 1, "0-1"},
      {"0-1", 0, 1, "0-1"},
      {"3-5", 5, 7, "3-7"},
      {"3-5", 1, 3, "1-5"},
      {"3-5", 0, 2, "0-2 3-5"},
      {"3-5", 6, 7, "3-5 6-7"},
      {"3-5 7-9", 5, 7, "3-9"},
      {"3-5 7-9", 4, 8, "3-9"},
      {"3-5 7-9", 1, 20, "1-20"},
      {"3-5 7-9 11-13", 6, 10, "3-5 6-10 11-13"},
      {"3-9", 4, 6, "3-9"},
      {"3-5", 7, 7, "3-5"},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GArray) ranges = make(cases[i].before);
    mirror_ranges_add(ranges, cases[i].start, cases[i].end);
    assert_ranges(ranges, cases[i].after);
  }
}

static void
test_remove(void)
{
  static const struct {
    const char *before;
    guint64 start, end;
    const char *after;
  } cases[] = {
      {"", 0, 9, ""},
      {"3-5", 5, 7, "3-5"},
      {"3-5", 1, 3, "3-5"},
      {"3-5", 3, 5, ""},
      {"3-5", 4, 4, "3-5"},
      {"3-5", 5, 3, "3-5"},
      {"3-9", 5, 7, "3-5 7-9"},
      {"3-9", 3, 7, "7-9"},
      {"3-9", 5, 9, "3-5"},
      {"3-9", 5, 20, "3-5"},
      {"3-9", 0, 5, "5-9"},
      {"3-5 7-9 11-13", 4, 12, "3-4 12-13"},
      {"3-5 7-9 11-13", 0, 20, ""},
      {"3-5 7-9 11-13", 5, 11, "3-5 11-13"},
      {"0-1", 0, 1, ""},
  };
  for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GArray) ranges = make(cases[i].before);
    mirror_ranges_remove(ranges, cases[i].start, cases[i].end);
    assert_ranges(ranges, cases[i].after);
  }
}

/* At the upper end of what an address can be. */
static void
test_far_end(void)
{
  g_autoptr(GArray) ranges = mirror_ranges_new();
  MirrorRange part;
  mirror_ranges_add(ranges, G_MAXUINT64 - 10, G_MAXUINT64);
  g_assert_true(mirror_ranges_meet(ranges, 0, G_MAXUINT64, &part));
  g_assert_cmpuint(part.start, ==, G_MAXUINT64 - 10);
  g_assert_cmpuint(part.end, ==, G_MAXUINT64);
  mirror_ranges_add(ranges, 0, G_MAXUINT64);
  g_assert_cmpuint(ranges->len, ==, 1);
  g_assert_cmpuint(mirror_ranges_sum(ranges), ==, G_MAXUINT64);
  mirror_ranges_remove(ranges, 1, G_MAXUINT64 - 1);
  g_assert_cmpuint(mirror_ranges_sum(ranges), ==, 2);
  g_assert_cmpuint(mirror_ranges_from(ranges, G_MAXUINT64), ==, ranges->len);
}

/* ---- against the bitmap ---- */

static void
assert_like(const MirrorRanges *ranges, const guint8 bits[BITS])
{
  guint64 sum = 0, last = 0;
  for (guint i = 0; i < ranges->len; i++) {
    const MirrorRange *range = mirror_ranges_get(ranges, i);
    g_assert_cmpuint(range->start, <, range->end);
    if (i > 0)
      g_assert_cmpuint(range->start, >, last); /* apart: neighbours that touch are one */
    last = range->end;
    for (guint64 at = range->start; at < range->end; at++)
      g_assert_true(bits[at]);
    sum += range->end - range->start;
  }
  guint64 count = 0;
  for (guint i = 0; i < BITS; i++)
    count += bits[i];
  g_assert_cmpuint(sum, ==, count);
  g_assert_cmpuint(mirror_ranges_sum(ranges), ==, count);
}

static void
assert_meets(const MirrorRanges *ranges, const guint8 bits[BITS], guint start, guint end)
{
  MirrorRange part;
  guint first = start, stop;
  while (first < end && !bits[first])
    first++;
  for (stop = first; stop < end && bits[stop];)
    stop++;
  gboolean met = mirror_ranges_meet(ranges, start, end, &part);
  g_assert_cmpint(met, ==, first < end);
  if (met) {
    g_assert_cmpuint(part.start, ==, first);
    g_assert_cmpuint(part.end, ==, stop);
  }
  guint index = mirror_ranges_from(ranges, start);
  if (index > 0)
    g_assert_cmpuint(mirror_ranges_get(ranges, index - 1)->end, <=, start);
  if (index < ranges->len)
    g_assert_cmpuint(mirror_ranges_get(ranges, index)->end, >, start);
}

static void
test_model(void)
{
  g_autoptr(GRand) random = rig_random();
  g_autoptr(GArray) ranges = mirror_ranges_new();
  guint8 bits[BITS] = {0};
  for (guint turn = 0; turn < TURNS; turn++) {
    guint start = g_rand_int_range(random, 0, BITS), end = g_rand_int_range(random, 0, BITS + 1);
    gboolean small = g_rand_boolean(random), add = g_rand_boolean(random);
    if (small)
      end = MIN(start + end % 9, BITS);
    (add ? mirror_ranges_add : mirror_ranges_remove)(ranges, start, end);
    for (guint at = start; at < end; at++)
      bits[at] = add;
    assert_like(ranges, bits);
    assert_meets(ranges, bits, g_rand_int_range(random, 0, BITS), g_rand_int_range(random, 0, BITS + 1));
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/ranges/add", test_add);
  g_test_add_func("/ranges/remove", test_remove);
  g_test_add_func("/ranges/far-end", test_far_end);
  g_test_add_func("/ranges/model", test_model);
  return g_test_run();
}

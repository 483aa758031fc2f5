/* Pages that both sides know travel as what changed in them. */
#include <string.h>

#include "mirror/copies.h"

static guint8 former[COPIES_PAGE], now[COPIES_PAGE], made[COPIES_PAGE];

static gsize
pack(GByteArray *into)
{
  gsize bytes = mirror_changes_pack(former, now, into);
  memcpy(made, former, COPIES_PAGE);
  if (bytes) {
    g_assert_true(mirror_changes_apply(into->data, bytes, made));
    g_assert_cmpmem(made, COPIES_PAGE, now, COPIES_PAGE);
  }
  return bytes;
}

static void
test_changes_make_the_page(void)
{
  for (int turn = 0; turn < 2000; turn++) {
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    for (guint i = 0; i < COPIES_PAGE; i++)
      former[i] = g_test_rand_int();
    memcpy(now, former, COPIES_PAGE);
    for (int spans = g_test_rand_int_range(0, 12); spans > 0; spans--) {
      guint at = g_test_rand_int_range(0, COPIES_PAGE), length = g_test_rand_int_range(0, 80);
      for (guint i = at; i < MIN(at + length, COPIES_PAGE); i++)
        now[i] = g_test_rand_int();
    }
    g_assert_cmpuint(pack(bytes), >, 0);
    g_assert_cmpuint(bytes->len, <, COPIES_PAGE);
  }
}

static void
test_little_changes_are_little(void)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  memset(former, 7, COPIES_PAGE);
  memcpy(now, former, COPIES_PAGE);
  g_assert_cmpuint(pack(bytes), <=, 4); /* the same page again */
  now[0] = now[COPIES_PAGE - 1] = 1;
  g_byte_array_set_size(bytes, 0);
  g_assert_cmpuint(pack(bytes), <=, 2 * (4 + 8));
}

static void
test_other_pages_go_whole(void)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  g_byte_array_append(bytes, (const guint8 *)"before", 6);
  for (guint i = 0; i < COPIES_PAGE; i++)
    now[i] = former[i] + 1;
  g_assert_cmpuint(mirror_changes_pack(former, now, bytes), ==, 0);
  g_assert_cmpuint(bytes->len, ==, 6);
}

static void
test_hostile_changes(void)
{
  const guint16 beyond[] = {COPIES_PAGE - 4, 8, 0, 0, 0, 0}, cut[] = {0, 16, 0}, far[] = {0xffff, 0xffff};
  g_assert_false(mirror_changes_apply((const guint8 *)beyond, sizeof beyond, NULL));
  g_assert_false(mirror_changes_apply((const guint8 *)cut, sizeof cut, NULL));
  g_assert_false(mirror_changes_apply((const guint8 *)far, sizeof far, NULL));
  g_assert_false(mirror_changes_apply((const guint8 *)cut, 3, NULL));
  for (int turn = 0; turn < 20000; turn++) {
    guint8 bytes[64], page[COPIES_PAGE + 8] = {0};
    gsize length = g_test_rand_int_range(0, sizeof bytes);
    for (gsize i = 0; i < length; i++)
      bytes[i] = g_test_rand_int_range(0, 5) ? g_test_rand_int_range(0, 17) : g_test_rand_int();
    g_assert_true(mirror_changes_apply(bytes, length, NULL) == mirror_changes_apply(bytes, length, page));
    for (gsize i = COPIES_PAGE; i < sizeof page; i++)
      g_assert_cmpuint(page[i], ==, 0);
  }
}

static void
test_copies_are_bounded_and_forgotten(void)
{
  MirrorCopies *copies = mirror_copies_new();
  mirror_copies_put(copies, 8 * COPIES_PAGE, now);
  mirror_copies_put(copies, 9 * COPIES_PAGE, now);
  g_assert_cmpmem(mirror_copies_get(copies, 8 * COPIES_PAGE), COPIES_PAGE, now, COPIES_PAGE);
  mirror_copies_drop(copies, 0, 9 * COPIES_PAGE);
  g_assert_null(mirror_copies_get(copies, 8 * COPIES_PAGE));
  g_assert_nonnull(mirror_copies_get(copies, 9 * COPIES_PAGE));
  mirror_copies_drop(copies, 9 * COPIES_PAGE, COPIES_PAGE);
  g_assert_null(mirror_copies_get(copies, 9 * COPIES_PAGE));
  for (guint i = 0; i < 3 * COPIES_MAX; i++)
    mirror_copies_put(copies, (guint64)i * COPIES_PAGE, now);
  guint have = 0;
  for (guint i = 0; i < 3 * COPIES_MAX; i++)
    have += mirror_copies_get(copies, (guint64)i * COPIES_PAGE) != NULL;
  g_assert_cmpuint(have, >, 0);
  g_assert_cmpuint(have, <=, COPIES_MAX);
  mirror_copies_free(copies);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/mirror/copies/changes-make-the-page", test_changes_make_the_page);
  g_test_add_func("/mirror/copies/little-changes-are-little", test_little_changes_are_little);
  g_test_add_func("/mirror/copies/other-pages-go-whole", test_other_pages_go_whole);
  g_test_add_func("/mirror/copies/hostile-changes", test_hostile_changes);
  g_test_add_func("/mirror/copies/bounded-and-forgotten", test_copies_are_bounded_and_forgotten);
  return g_test_run();
}

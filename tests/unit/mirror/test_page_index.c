/* What the device believes a clone to hold: bounded, the oldest fall out, and a bad file is an empty one. */
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "mirror/page_file.h"
#include "mirror/page_index.h"
#include "page_rig.h"

typedef struct {
  char *directory, *file;
} Place;

static const guint8 mine[PAGE_INDEX_IDENTITY] = "mine", other[PAGE_INDEX_IDENTITY] = "other";

static void
set_up(Place *place, gconstpointer data)
{
  place->directory = rig_directory_make();
  place->file = g_build_filename(place->directory, "clone", "pages", NULL);
}

static void
tear_down(Place *place, gconstpointer data)
{
  g_free(place->file);
  rig_directory_remove(place->directory);
}

static PageKey
key_of(guint64 number)
{
  PageKey key = {0};
  guint64 words[] = {number * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15), number};
  memcpy(&key, words, sizeof key);
  return key;
}

static gboolean
has(PageIndex *index, guint64 number)
{
  PageKey key = key_of(number);
  return page_index_has(index, &key);
}

static void
add(PageIndex *index, guint64 from, guint64 to)
{
  for (guint64 number = from; number < to; number++) {
    PageKey key = key_of(number);
    page_index_add(index, &key);
  }
}

static void
drop(PageIndex *index, guint64 number)
{
  PageKey key = key_of(number);
  page_index_remove(index, &key);
}

static guint
count(PageIndex *index, guint64 from, guint64 to)
{
  guint found = 0;
  for (guint64 number = from; number < to; number++)
    found += has(index, number);
  return found;
}

static void
save(PageIndex *index)
{
  g_autoptr(GError) error = NULL;
  page_index_save(index, &error);
  g_assert_no_error(error);
}

static void
test_survives(Place *place, gconstpointer data)
{
  struct stat status;
  PageIndex *index = page_index_load(place->file, 1000);
  g_assert_false(page_index_set_identity(index, mine));
  add(index, 0, 500);
  drop(index, 7);
  drop(index, 600);
  save(index);
  page_index_free(index);
  g_assert_cmpint(stat(place->file, &status), ==, 0);
  g_assert_cmpuint(status.st_mode, ==, S_IFREG | 0600);

  index = page_index_load(place->file, 1000);
  g_assert_true(page_index_set_identity(index, mine));
  g_assert_cmpuint(page_index_count(index), ==, 499);
  g_assert_cmpuint(count(index, 0, 1000), ==, 499);
  g_assert_false(has(index, 7));
  page_index_free(index);

  index = page_index_load(place->file, 100); /* fewer: those used last */
  g_assert_cmpuint(count(index, 400, 500), ==, 100);
  g_assert_false(page_index_set_identity(index, other));
  g_assert_cmpuint(page_index_count(index), ==, 0);
  add(index, 1, 2);
  save(index);
  page_index_free(index);
  index = page_index_load(place->file, 100);
  g_assert_cmpuint(page_index_count(index), ==, 1);
  page_index_free(index);
}

static void
test_oldest_fall_out(Place *place, gconstpointer data)
{
  PageIndex *index = page_index_load(place->file, 100);
  add(index, 0, 100);
  g_assert_cmpuint(count(index, 0, 10), ==, 10); /* used */
  add(index, 20, 21);                            /* added again */
  add(index, 1000, 1089);
  g_assert_cmpuint(page_index_count(index), ==, 100);
  g_assert_cmpuint(count(index, 0, 10), ==, 10);
  g_assert_true(has(index, 20));
  g_assert_cmpuint(count(index, 0, 100), ==, 11);
  page_index_free(index);
}

/* Two that save in turn both stay; what one knows to be gone is gone. */
static void
test_merges(Place *place, gconstpointer data)
{
  PageIndex *first = page_index_load(place->file, 100), *second = page_index_load(place->file, 100);
  page_index_set_identity(first, mine);
  page_index_set_identity(second, mine);
  add(first, 0, 40);
  save(first);
  add(second, 30, 70);
  drop(second, 5);
  save(second);
  g_assert_cmpuint(count(second, 0, 70), ==, 69);
  add(first, 200, 210);
  save(first);
  g_assert_cmpuint(page_index_count(first), ==, 80);
  add(second, 300, 390);
  save(second); /* 90 of its own, the newest 10 of the 80 */
  g_assert_cmpuint(page_index_count(second), ==, 100);
  g_assert_cmpuint(count(second, 300, 390), ==, 90);
  page_index_set_identity(first, other);
  add(first, 1, 2);
  save(first);
  g_assert_cmpuint(page_index_count(first), ==, 1);
  page_index_free(first);
  page_index_free(second);
}

static void
test_at_once(Place *place, gconstpointer data)
{
  enum { PROCESSES = 4, EACH = 200 };
  for (guint i = 0; i < PROCESSES; i++)
    if (!fork()) {
      PageIndex *index = page_index_load(place->file, 10000);
      page_index_set_identity(index, mine);
      for (guint turn = 0; turn < EACH; turn++) {
        add(index, i * EACH + turn, i * EACH + turn + 1);
        while (!page_index_save(index, NULL)) /* the lock, with so many */
          ;
      }
      _exit(0);
    }
  for (guint i = 0; i < PROCESSES; i++) {
    int status;
    g_assert_cmpint(wait(&status), >, 0);
    g_assert_cmpint(status, ==, 0);
  }
  PageIndex *index = page_index_load(place->file, 10000);
  g_assert_cmpuint(count(index, 0, PROCESSES * EACH), ==, PROCESSES * EACH);
  page_index_free(index);
}

/* Of damage, the whole file or nothing is taken; nothing is the rule. */
static void
check_damaged(gpointer user)
{
  const Place *place = user;
  PageIndex *index = page_index_load(place->file, 1000);
  g_assert_cmpuint(page_index_count(index), ==, 0);
  add(index, 0, 10);
  g_assert_cmpuint(count(index, 0, 10), ==, 10);
  page_index_free(index);
}

static void
check_saves_over(gpointer user)
{
  const Place *place = user;
  PageIndex *index = page_index_load(place->file, 1000);
  page_index_set_identity(index, mine);
  add(index, 0, 10);
  save(index);
  page_index_free(index);
  index = page_index_load(place->file, 1000);
  g_assert_cmpuint(page_index_count(index), ==, 10);
  page_index_free(index);
}

static void
test_damage(Place *place, gconstpointer data)
{
  PageIndex *index = page_index_load(place->file, 1000);
  page_index_set_identity(index, mine);
  add(index, 0, 300);
  save(index);
  page_index_free(index);
  rig_damage(place->file, check_damaged, place);
  index = page_index_load(place->file, 1000);
  g_assert_cmpuint(page_index_count(index), ==, 300);
  page_index_free(index);
  rig_damage(place->file, check_saves_over, place);
}

/* What a good checksum is over can still be hostile, or of a later version. */
static void
test_hostile(Place *place, gconstpointer data)
{
  static const PageFileKind kind = {"doppelPI", 1, 1 << 20}, later = {"doppelPI", 2, 1 << 20};
  guint8 bytes[PAGE_INDEX_IDENTITY + 8 * sizeof(PageKey)] = {0};
  PageKey key = {0};
  g_auto(Fd) lock = page_file_lock(place->file, NULL);
  g_assert_cmpint(lock, >=, 0);
  for (gsize length = 0; length <= sizeof bytes; length++) {
    g_assert_true(page_file_save(place->file, &kind, bytes, length, NULL));
    PageIndex *index = page_index_load(place->file, 5);
    gboolean is_right = length > PAGE_INDEX_IDENTITY && length % sizeof key == 0;
    g_assert_cmpuint(page_index_count(index), ==, is_right); /* the same key again and again */
    g_assert_true(page_index_has(index, &key) == is_right);
    page_index_free(index);
  }
  g_assert_true(page_file_save(place->file, &later, bytes, sizeof bytes, NULL));
  PageIndex *index = page_index_load(place->file, 5);
  g_assert_cmpuint(page_index_count(index), ==, 0);
  page_index_free(index);
}

static void
test_cannot_save(Place *place, gconstpointer data)
{
  struct rlimit former, limit;
  g_autoptr(GError) error = NULL;
  PageIndex *index = page_index_load(place->file, 10000);
  add(index, 0, 100);
  save(index);
  add(index, 100, 10000);
  g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &former), ==, 0);
  limit = former;
  limit.rlim_cur = 8192;
  g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
  g_assert_false(page_index_save(index, &error));
  g_assert_nonnull(error);
  g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &former), ==, 0);
  page_index_free(index);
  index = page_index_load(place->file, 10000);
  g_assert_cmpuint(page_index_count(index), ==, 100);
  page_index_free(index);
  g_autofree char *below = g_build_filename(place->file, "below", NULL);
  index = page_index_load(below, 100);
  g_clear_error(&error);
  g_assert_false(page_index_save(index, &error));
  g_assert_nonnull(error);
  page_index_free(index);
}

/* Against a list, the newest first. */
static void
test_random(Place *place, gconstpointer data)
{
  enum { MOST = 50 };
  guint64 model[MOST + 1];
  guint length = 0;
  PageIndex *index = page_index_load(place->file, MOST);
  page_index_set_identity(index, mine);
  for (guint turn = 0; turn < 100000; turn++) {
    guint64 number = g_test_rand_int_range(0, 80);
    guint at = 0, what = g_test_rand_int_range(0, 100);
    while (at < length && model[at] != number)
      at++;
    gboolean is_there = at < length;
    if (what < 40)
      g_assert_true(has(index, number) == is_there);
    else if (what < 80)
      add(index, number, number + 1);
    else if (what < 99)
      drop(index, number);
    else {
      save(index);
      page_index_free(index);
      index = page_index_load(place->file, MOST);
      g_assert_true(page_index_set_identity(index, mine));
      continue;
    }
    if (is_there)
      memmove(&model[at], &model[at + 1], (--length - at) * sizeof *model);
    if (what < 80 && (is_there || what >= 40)) {
      memmove(&model[1], model, length * sizeof *model);
      model[0] = number;
      length = MIN(length + 1, MOST);
    }
    g_assert_cmpuint(page_index_count(index), ==, length);
  }
  page_index_free(index);
}

static void
test_speed(Place *place, gconstpointer data)
{
  double load_ms = G_MAXDOUBLE, save_ms = G_MAXDOUBLE;
  PageIndex *index = page_index_load(place->file, PAGE_INDEX_KEYS);
  add(index, 0, PAGE_INDEX_KEYS);
  for (guint round = 0; round < 5; round++) {
    gint64 began = clock_now_ns();
    save(index);
    double took_ms = rig_ms_since(began);
    save_ms = MIN(save_ms, took_ms);
    page_index_free(index);
    began = clock_now_ns();
    index = page_index_load(place->file, PAGE_INDEX_KEYS);
    took_ms = rig_ms_since(began);
    load_ms = MIN(load_ms, took_ms);
    g_assert_cmpuint(page_index_count(index), ==, PAGE_INDEX_KEYS);
  }
  page_index_free(index);
  g_test_message("%d keys: load %.1f ms, save %.1f ms (best of 5)", PAGE_INDEX_KEYS, load_ms, save_ms);
  if (g_getenv("DOPPEL_TIMES"))
    g_assert_cmpfloat(load_ms, <, 10);
}

#define ADD(name, test) g_test_add("/mirror/page-index/" name, Place, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  ADD("survives", test_survives);
  ADD("oldest-fall-out", test_oldest_fall_out);
  ADD("merges", test_merges);
  ADD("at-once", test_at_once);
  ADD("damage", test_damage);
  ADD("hostile", test_hostile);
  ADD("cannot-save", test_cannot_save);
  ADD("random", test_random);
  ADD("speed", test_speed);
  return g_test_run();
}

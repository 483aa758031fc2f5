/* The clone's cache of pages: what it hands out is right, whatever happened to its file; and it stays small.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "mirror/page_store.h"
#include "page_rig.h"

enum { MIB = 1 << 20, BATCH = 1500 };

typedef struct {
  char *directory, *file;
} Place;

static void
set_up(Place *place, gconstpointer data)
{
  place->directory = rig_directory_make();
  place->file = g_build_filename(place->directory, "pages", NULL);
}

static void
tear_down(Place *place, gconstpointer data)
{
  g_free(place->file);
  rig_directory_remove(place->directory);
}

static PageStore *
open_store(const Place *place, guint64 bytes_max)
{
  g_autoptr(GError) error = NULL;
  PageStore *store = page_store_open(place->directory, bytes_max, &error);
  g_assert_no_error(error);
  return store;
}

static void
put(PageStore *store, guint64 number)
{
  guint8 page[COPIES_PAGE];
  PageKey key;
  rig_page(number, page, &key);
  page_store_put(store, &key, page);
}

/* Is it there? Then it is right. */
static gboolean
get(PageStore *store, guint64 number)
{
  guint8 page[COPIES_PAGE], got[COPIES_PAGE];
  PageKey key;
  rig_page(number, page, &key);
  gboolean found = page_store_get(store, &key, got);
  if (found)
    g_assert_cmpmem(got, COPIES_PAGE, page, COPIES_PAGE);
  return found;
}

static guint
count(PageStore *store, guint64 from, guint64 to)
{
  guint found = 0;
  for (guint64 number = from; number < to; number++)
    found += get(store, number);
  return found;
}

static void
fill(PageStore *store, guint64 from, guint64 to)
{
  for (guint64 number = from; number < to; number++)
    put(store, number);
  page_store_commit(store);
}

static guint64
size_of(const Place *place)
{
  struct stat status;
  g_assert_cmpint(stat(place->file, &status), ==, 0);
  return status.st_size;
}

static void
test_keys(void)
{
  guint8 page[COPIES_PAGE] = {0};
  PageKey first, second;
  g_assert_true(page_is_zero(page));
  for (guint i = 0; i < COPIES_PAGE; i++) {
    page[i] = 0x80;
    g_assert_false(page_is_zero(page));
    page[i] = 0;
  }
  page_key(page, &first);
  page[COPIES_PAGE - 1] = 1;
  page_key(page, &second);
  g_assert_false(page_key_equal(&first, &second));
  /* b2sum -l 128 of a page of zeros */
  static const guint8 zeros[] = {0x5f, 0x6d, 0xf6, 0x00, 0x2b, 0xc7, 0x1c, 0xa2,
                                 0xd8, 0x1a, 0x74, 0x92, 0xde, 0x37, 0x02, 0x5d};
  g_assert_cmpmem(first.bytes, sizeof first.bytes, zeros, sizeof zeros);
}

static void
test_survives(Place *place, gconstpointer data)
{
  guint8 identity[PAGE_STORE_IDENTITY];
  struct stat status;
  PageStore *store = open_store(place, 16 * MIB);
  put(store, 1);
  g_assert_true(get(store, 1)); /* before it is written, too */
  g_assert_false(get(store, 2));
  fill(store, 2, 100);
  memcpy(identity, page_store_identity(store), sizeof identity);
  put(store, 100);
  page_store_close(store);

  store = open_store(place, 16 * MIB);
  g_assert_cmpuint(count(store, 0, 200), ==, 100);
  g_assert_cmpmem(page_store_identity(store), sizeof identity, identity, sizeof identity);
  page_store_close(store);
  g_assert_cmpint(stat(place->file, &status), ==, 0);
  g_assert_cmpuint(status.st_mode, ==, S_IFREG | 0600);
  g_assert_cmpint(stat(place->directory, &status), ==, 0);
  g_assert_cmpuint(status.st_mode, ==, S_IFDIR | 0700);
}

/* As many pages as nearly fill it are nearly all there; of too many the last ones; never too large a file. */
static void
test_evicts_the_oldest(Place *place, gconstpointer data)
{
  const guint64 bytes_max = 24 * MIB, places = 46 * 128;
  PageStore *store = open_store(place, bytes_max);
  fill(store, 0, places * 3 / 4);
  g_assert_cmpuint(count(store, 0, places * 3 / 4), >, places * 3 / 4 * 98 / 100);
  for (guint round = 0; round < 6; round++) {
    fill(store, places * (1 + round), places * (2 + round));
    g_assert_cmpuint(size_of(place), <=, bytes_max);
  }
  g_assert_cmpuint(count(store, places * 6, places * 7), >, places * 85 / 100);
  g_assert_cmpuint(count(store, 0, places * 5), <, places / 100);
  page_store_close(store);
}

static void
test_keeps_what_is_used(Place *place, gconstpointer data)
{
  PageStore *store = open_store(place, 8 * MIB);
  fill(store, 0, 200);
  for (guint round = 1; round < 40; round++) {
    fill(store, round * 1000, round * 1000 + 400);
    g_assert_cmpuint(count(store, 0, 200), >=, 195);
  }
  page_store_close(store);
}

/* One of two stores may be of another bound: the smaller one holds for the file. */
static void
test_bounds_meet(Place *place, gconstpointer data)
{
  guint8 identity[PAGE_STORE_IDENTITY];
  PageStore *large = open_store(place, 16 * MIB);
  fill(large, 0, 3000);
  memcpy(identity, page_store_identity(large), sizeof identity);
  PageStore *small = open_store(place, MIB);
  g_assert_cmpuint(memcmp(identity, page_store_identity(small), sizeof identity), !=, 0);
  g_assert_cmpuint(size_of(place), <=, MIB);
  fill(large, 3000, 6000);
  g_assert_cmpuint(size_of(place), <=, MIB);
  g_assert_cmpmem(page_store_identity(large), sizeof identity, page_store_identity(small), sizeof identity);
  g_assert_cmpuint(count(small, 0, 6000), >, 100);
  page_store_close(large);
  page_store_close(small);
}

static void
test_unusable(Place *place, gconstpointer data)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *below = g_build_filename(place->file, "below", NULL);
  g_assert_null(page_store_open(place->directory, 100000, &error));
  g_assert_nonnull(error);
  g_clear_error(&error);
  rig_write(place->file, "", 0);
  g_assert_null(page_store_open(below, MIB, &error));
  g_assert_nonnull(error);
  g_clear_error(&error);
  g_assert_cmpint(unlink(place->file), ==, 0);
  g_assert_cmpint(mkdir(place->file, 0700), ==, 0);
  g_assert_null(page_store_open(place->directory, MIB, &error));
  g_assert_nonnull(error);
  g_clear_error(&error);
  g_assert_cmpint(rmdir(place->file), ==, 0);
  g_assert_cmpint(symlink("/dev/zero", place->file), ==, 0);
  g_assert_null(page_store_open(place->directory, MIB, &error));
  g_assert_nonnull(error);
}

/* ---- damage ---- */

typedef struct {
  const Place *place;
  PageStore *open; /* from before */
  guint found;
} Damaged;

static void
use_damaged(gpointer user)
{
  Damaged *damaged = user;
  guint from = g_test_rand_int_range(0, 90);
  damaged->found += count(damaged->open, from, from + 10);
  PageStore *store = open_store(damaged->place, MIB);
  count(store, from, from + 10);
  put(store, 1000);
  page_store_commit(store);
  g_assert_true(get(store, 1000));
  g_assert_cmpuint(size_of(damaged->place), <=, MIB);
  page_store_close(store);
}

static void
test_damage(Place *place, gconstpointer data)
{
  Damaged damaged = {place, open_store(place, MIB)};
  fill(damaged.open, 0, 100);
  rig_damage(place->file, use_damaged, &damaged);
  g_assert_cmpuint(damaged.found, >, 0);
  page_store_close(damaged.open);
}

/* What get() finds damaged is gone, and can be put again. */
static void
test_damaged_page_is_dropped(Place *place, gconstpointer data)
{
  gsize length;
  PageStore *store = open_store(place, MIB);
  fill(store, 0, 50);
  g_autofree char *bytes = rig_read(place->file, &length);
  for (gsize at = 2 * COPIES_PAGE; at < length; at += COPIES_PAGE)
    bytes[at + 77] ^= 1;
  rig_write(place->file, bytes, length);
  g_assert_cmpuint(count(store, 0, 50), ==, 0);
  g_autofree char *table = rig_read(place->file, &length);
  for (gsize at = COPIES_PAGE; at < 2 * COPIES_PAGE; at++)
    g_assert_cmpint(table[at], ==, 0);
  fill(store, 0, 50);
  g_assert_cmpuint(count(store, 0, 50), ==, 50);
  page_store_close(store);
}

/* Uses that count up to the end of numbers begin anew. */
static void
test_worn_out_counts(Place *place, gconstpointer data)
{
  gsize length;
  PageStore *store = open_store(place, MIB);
  fill(store, 0, 20);
  g_autofree char *bytes = rig_read(place->file, &length);
  for (guint i = 0; i < 20; i++)
    memset(bytes + COPIES_PAGE + i * 24 + 16, 0xff, 8);
  rig_write(place->file, bytes, length);
  fill(store, 20, 40);
  g_assert_cmpuint(count(store, 0, 40), ==, 40);
  fill(store, 1000, 1108);
  g_assert_cmpuint(count(store, 1000, 1108), ==, 108);
  g_assert_cmpuint(count(store, 20, 40), ==, 20);
  page_store_close(store);
}

/* What others made too long is cut. */
static void
test_too_long(Place *place, gconstpointer data)
{
  PageStore *store = open_store(place, MIB);
  fill(store, 0, 50);
  g_assert_cmpint(truncate(place->file, 100 * MIB), ==, 0);
  fill(store, 50, 60);
  g_assert_cmpuint(size_of(place), <=, MIB);
  g_assert_cmpuint(count(store, 0, 60), ==, 60);
  page_store_close(store);
}

static void
test_removed(Place *place, gconstpointer data)
{
  guint8 identity[PAGE_STORE_IDENTITY];
  PageStore *store = open_store(place, MIB);
  fill(store, 0, 50);
  memcpy(identity, page_store_identity(store), sizeof identity);
  g_assert_cmpint(unlink(place->file), ==, 0);
  fill(store, 50, 100);
  g_assert_cmpuint(memcmp(identity, page_store_identity(store), sizeof identity), !=, 0);
  PageStore *other = open_store(place, MIB);
  g_assert_cmpuint(count(other, 0, 100), ==, 50);
  page_store_close(other);
  page_store_close(store);
}

/* ---- several at once ---- */

static void
use_at_random(const Place *place, guint32 seed)
{
  g_autoptr(GRand) random = g_rand_new_with_seed(seed);
  PageStore *store = open_store(place, 2 * MIB);
  for (gint64 began = clock_now_ns(); rig_ms_since(began) < 1500;) {
    guint64 number = g_rand_int_range(random, 0, 1000);
    if (!get(store, number))
      put(store, number);
    if (g_rand_int_range(random, 0, 50) == 0)
      page_store_commit(store);
    if (g_rand_int_range(random, 0, 500) == 0 &&
        truncate(place->file, g_rand_int_range(random, 0, 2 * MIB)) < 0)
      _exit(2);
    g_assert_cmpuint(size_of(place), <=, 2 * MIB);
  }
  page_store_close(store);
  _exit(0);
}

/* Two that use it and cut it short, and others that are killed in the midst of it. */
static void
test_at_once(Place *place, gconstpointer data)
{
  pid_t users[2], victim;
  int status;
  for (guint i = 0; i < 2; i++)
    if (!(users[i] = fork()))
      use_at_random(place, g_test_rand_int());
  for (guint i = 0; i < 20; i++) {
    if (!(victim = fork()))
      use_at_random(place, g_test_rand_int());
    g_usleep(g_test_rand_int_range(1000, 100000));
    kill(victim, SIGKILL);
    waitpid(victim, &status, 0);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
  for (guint i = 0; i < 2; i++) {
    waitpid(users[i], &status, 0);
    g_assert_cmpint(status, ==, 0);
  }
  PageStore *store = open_store(place, 2 * MIB);
  fill(store, 0, 100);
  g_assert_cmpuint(count(store, 0, 100), ==, 100);
  page_store_close(store);
}

/* ---- a full disk ---- */

static void
test_full_disk(Place *place, gconstpointer data)
{
  if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
      mount("none", place->directory, "tmpfs", 0, "size=1m,mode=0700") < 0) {
    g_test_skip("no tmpfs can be mounted");
    return;
  }
  g_autofree char *ballast = g_build_filename(place->directory, "ballast", NULL), *room = g_malloc0(MIB);
  PageStore *store = open_store(place, 16 * MIB);
  fill(store, 0, 2000);
  guint found = count(store, 0, 2000);
  g_assert_cmpuint(found, >, 50);
  g_assert_cmpuint(found, <, 256);
  fill(store, 0, 2000); /* full already: those that are there can be written again */
  g_assert_cmpuint(count(store, 0, 2000), >, 50);
  page_store_close(store);
  unlink(place->file);
  int fd = open(ballast, O_WRONLY | O_CREAT, 0600);
  while (write(fd, room, COPIES_PAGE) > 0)
    ;
  close(fd);
  g_autoptr(GError) error = NULL;
  g_assert_null(page_store_open(place->directory, 16 * MIB, &error));
  g_assert_nonnull(error);
  g_assert_cmpint(umount(place->directory), ==, 0);
}

static void
test_file_size_limit(Place *place, gconstpointer data)
{
  struct rlimit former, limit;
  g_autoptr(GError) error = NULL;
  g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &former), ==, 0);
  limit = former;
  limit.rlim_cur = 4 * MIB;
  g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
  g_assert_null(page_store_open(place->directory, 16 * MIB, &error));
  g_assert_nonnull(error);
  PageStore *store = open_store(place, 4 * MIB);
  fill(store, 0, 2000);
  g_assert_cmpuint(count(store, 0, 2000), >, 500);
  page_store_close(store);
  g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &former), ==, 0);
}

/* ---- against a model ---- */

static void
test_random(Place *place, gconstpointer data)
{
  const guint64 bytes_max = 4 * MIB;
  g_autoptr(GHashTable) known = g_hash_table_new(NULL, NULL);
  PageStore *store = open_store(place, bytes_max);
  for (guint turn = 0; turn < 30000; turn++) {
    guint number = g_test_rand_int_range(0, 600);
    gboolean was_put = g_hash_table_contains(known, GUINT_TO_POINTER(number + 1));
    switch (g_test_rand_int_range(0, 8)) {
    case 0:
      page_store_commit(store);
      break;
    case 1 ... 3:
      put(store, number);
      g_hash_table_add(known, GUINT_TO_POINTER(number + 1));
      break;
    case 4:
      if (g_test_rand_int_range(0, 100) == 0) {
        page_store_close(store);
        store = open_store(place, bytes_max);
      }
      break;
    default: /* 600 pages are too few for any of the sets to overflow */
      g_assert_true(get(store, number) == was_put);
    }
  }
  page_store_close(store);
}

static void
test_speed(Place *place, gconstpointer data)
{
  const guint rounds = 8; /* the file is full in the later ones */
  g_autofree guint8 *pages = g_malloc((gsize)rounds * BATCH * COPIES_PAGE);
  g_autofree PageKey *keys = g_new(PageKey, rounds * BATCH);
  double put_ms = G_MAXDOUBLE, get_ms = G_MAXDOUBLE, last_put_ms = 0, last_get_ms = 0;
  for (guint i = 0; i < rounds * BATCH; i++)
    rig_page(i, pages + (gsize)i * COPIES_PAGE, &keys[i]);
  for (guint round = 0; round < rounds; round++) {
    guint8 page[COPIES_PAGE];
    PageStore *store = open_store(place, 32 * MIB);
    gint64 began = clock_now_ns();
    for (guint i = round * BATCH; i < (round + 1) * BATCH; i++)
      page_store_put(store, &keys[i], pages + (gsize)i * COPIES_PAGE);
    page_store_commit(store);
    last_put_ms = rig_ms_since(began);
    put_ms = MIN(put_ms, last_put_ms);
    page_store_close(store);
    store = open_store(place, 32 * MIB);
    began = clock_now_ns();
    guint found = 0;
    for (guint i = round * BATCH; i < (round + 1) * BATCH; i++)
      found += page_store_get(store, &keys[i], page);
    last_get_ms = rig_ms_since(began);
    get_ms = MIN(get_ms, last_get_ms);
    g_assert_cmpuint(found, >, BATCH * 98 / 100);
    page_store_close(store);
  }
  g_test_message("%d pages: put %.1f ms, get %.1f ms (best of %u; the last one, in a full file: put %.1f ms, "
                 "get %.1f ms)",
                 BATCH, put_ms, get_ms, rounds, last_put_ms, last_get_ms);
  if (g_getenv("DOPPEL_TIMES")) {
    g_assert_cmpfloat(put_ms, <, 25);
    g_assert_cmpfloat(get_ms, <, 25);
  }
}

#define ADD(name, test) g_test_add("/mirror/page-store/" name, Place, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/mirror/page-key", test_keys);
  ADD("survives", test_survives);
  ADD("evicts-the-oldest", test_evicts_the_oldest);
  ADD("keeps-what-is-used", test_keeps_what_is_used);
  ADD("bounds-meet", test_bounds_meet);
  ADD("unusable", test_unusable);
  ADD("damage", test_damage);
  ADD("damaged-page-is-dropped", test_damaged_page_is_dropped);
  ADD("worn-out-counts", test_worn_out_counts);
  ADD("too-long", test_too_long);
  ADD("removed", test_removed);
  ADD("at-once", test_at_once);
  ADD("full-disk", test_full_disk);
  ADD("file-size-limit", test_file_size_limit);
  ADD("random", test_random);
  ADD("speed", test_speed);
  return g_test_run();
}

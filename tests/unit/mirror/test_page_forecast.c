/* What a block is going to touch: programs that are simulated block by block, and what pulling alone would
 * move beside what is moved with the forecast. */
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

#include "base/clock.h"
#include "mirror/copies.h"
#include "mirror/page_forecast_parts.h"
#include "page_rig.h"

enum { PAGES = 2000 };

static const guint64 base = G_GUINT64_CONSTANT(0x7ffff0000000);

/* All pages are dirty before each block. */
typedef struct {
  PageForecast *forecast;
  gboolean touches[PAGES], pushed[PAGES];
  guint64 need, pulled, useless, largest; /* pages, in all blocks */
  guint64 block_pulled, block_useless, block_pushed;
} Program;

static guint64
address_of(guint page)
{
  return base + (guint64)page * COPIES_PAGE;
}

static void
ask(Program *program)
{
  program->block_pushed = 0;
  for (guint i = 0; i < PAGES; i++) {
    program->pushed[i] = page_forecast_wants(program->forecast, address_of(i) + i % COPIES_PAGE);
    g_assert_true(page_forecast_wants(program->forecast, address_of(i)) == program->pushed[i]);
    program->block_pushed += program->pushed[i];
  }
}

static void
run(Program *program)
{
  guint64 need = 0;
  program->block_pulled = program->block_useless = 0;
  for (guint i = 0; i < PAGES; i++) {
    if (program->touches[i])
      page_forecast_touched(program->forecast, address_of(i), 1);
    else if (program->pushed[i])
      page_forecast_untouched(program->forecast, address_of(i), 1);
    need += program->touches[i];
    program->block_pulled += program->touches[i] && !program->pushed[i];
    program->block_useless += !program->touches[i] && program->pushed[i];
  }
  page_forecast_block_end(program->forecast);
  program->need += need;
  program->largest = MAX(program->largest, need);
  program->pulled += program->block_pulled;
  program->useless += program->block_useless;
  g_assert_cmpuint(program->useless * 4, <=, program->need + 4 * program->largest);
}

static void
touch(Program *program, guint from, guint to)
{
  for (guint i = 0; i < PAGES; i++)
    program->touches[i] = i >= from && i < to;
}

static void
touch_at_random(Program *program, guint of_thousand)
{
  for (guint i = 0; i < PAGES; i++)
    program->touches[i] = g_test_rand_int_range(0, 1000) < of_thousand;
}

static void
block(Program *program)
{
  ask(program);
  run(program);
}

static void
test_stable(void)
{
  Program program = {page_forecast_new()};
  touch(&program, 100, 600);
  block(&program);
  g_assert_cmpuint(program.pulled, ==, 500);
  for (guint i = 0; i < 50; i++) {
    block(&program);
    g_assert_cmpuint(program.block_pulled, ==, 0);
    g_assert_cmpuint(program.block_useless, ==, 0);
  }
  page_forecast_free(program.forecast);
}

/* A first call that does little must not make the second one's pages wait. */
static void
test_stable_after_a_start(void)
{
  Program program = {page_forecast_new()};
  touch(&program, 100, 103);
  block(&program);
  touch(&program, 100, 1600);
  block(&program);
  for (guint i = 0; i < 20; i++) {
    block(&program);
    g_assert_cmpuint(program.block_pulled, ==, 0);
    g_assert_cmpuint(program.block_useless, ==, 0);
  }
  page_forecast_free(program.forecast);
}

/* Some pages always, others at random: those are wanted, these are not. */
static void
test_stable_among_noise(void)
{
  Program program = {page_forecast_new()};
  guint64 pulled = 0, useless = 0;
  for (guint i = 0; i < 60; i++) {
    touch_at_random(&program, 50);
    for (guint page = 0; page < 200; page++)
      program.touches[page * 3] = TRUE;
    block(&program);
    for (guint page = 0; i >= 10 && page < 200; page++)
      g_assert_true(program.pushed[page * 3]);
    pulled += i >= 10 ? program.block_pulled : 0;
    useless += i >= 10 ? program.block_useless : 0;
  }
  g_test_message("noise: %u pulled, %u pushed uselessly", (guint)pulled, (guint)useless);
  g_assert_cmpuint(useless, <, pulled / 10);
  page_forecast_free(program.forecast);
}

static void
random_program(guint of_thousand, guint blocks, double most)
{
  Program program = {page_forecast_new()};
  for (guint i = 0; i < blocks; i++) {
    touch_at_random(&program, of_thousand);
    block(&program);
  }
  double share = (double)program.useless / MAX(program.pulled, 1);
  g_test_message("random %.1f %% of %d pages, %u blocks: useless pushes are %.2f %% of what is pulled",
                 of_thousand / 10.0, PAGES, blocks, 100 * share);
  g_assert_cmpfloat(share, <=, most);
  page_forecast_free(program.forecast);
}

static void
test_random_touches(void)
{
  random_program(100, 20, 0.25);
  random_program(100, 200, 0.25);
  random_program(5, 500, 0.25);
  random_program(300, 200, 0.25);
}

static void
test_alternating(void)
{
  Program program = {page_forecast_new()};
  guint64 late_pulled = 0, late_useless = 0;
  for (guint i = 0; i < 60; i++) {
    touch(&program, i % 2 * 1000, i % 2 * 1000 + 800);
    block(&program);
    late_pulled += i >= 20 ? program.block_pulled : 0;
    late_useless += i >= 20 ? program.block_useless : 0;
  }
  g_test_message("alternating: pulled %u, useless %u of %u pages needed; after 20 blocks: %u, %u",
                 (guint)program.pulled, (guint)program.useless, (guint)program.need, (guint)late_pulled,
                 (guint)late_useless);
  g_assert_cmpuint(late_pulled, ==, 0);
  g_assert_cmpuint(late_useless, ==, 0);
  g_assert_cmpuint((program.need + program.useless) * 10, <=, program.need * 13);
  page_forecast_free(program.forecast);
}

/* One that sees what was pushed, and touches anything else; now and then it behaves, to be trusted again. The
 * bound is looked at in each block. */
static void
test_adversary(void)
{
  for (guint turn = 0; turn < 40; turn++) {
    Program program = {page_forecast_new()};
    guint behaves = g_test_rand_int_range(0, 100), size = g_test_rand_int_range(1, PAGES / 2);
    for (guint i = 0; i < 120; i++) {
      ask(&program);
      if (g_test_rand_int_range(0, 100) >= behaves) {
        guint left = size;
        touch(&program, 0, 0);
        for (guint page = 0; page < PAGES && left > 0; page++)
          if (!program.pushed[page] && g_test_rand_int_range(0, 2)) {
            program.touches[page] = TRUE;
            left--;
          }
      } else if (i % 3 == 0) {
        touch(&program, 0, size);
      }
      run(&program);
    }
    page_forecast_free(program.forecast);
  }
}

/* Stable for long, then never again: once, or twice, it is believed in vain. */
static void
test_sudden_change(void)
{
  Program program = {page_forecast_new()};
  touch(&program, 0, 500);
  for (guint i = 0; i < 100; i++)
    block(&program);
  guint64 need = program.need, useless = program.useless;
  for (guint i = 0; i < 30; i++) {
    touch(&program, 500 + i * 50, 550 + i * 50);
    block(&program);
  }
  useless = program.useless - useless;
  need = program.need - need;
  g_test_message("sudden change: %u useless, %u needed, with 500 stable before", (guint)useless, (guint)need);
  g_assert_cmpuint(useless, <=, 2 * 500 + need / 4);
  page_forecast_free(program.forecast);
}

static void
test_two_in_vain(void)
{
  Program program = {page_forecast_new()};
  touch(&program, 7, 8);
  block(&program);
  touch(&program, 0, 0);
  block(&program);
  g_assert_cmpuint(program.block_useless, ==, 1);
  for (guint i = 0; i < 3; i++) {
    block(&program);
    g_assert_cmpuint(program.block_pushed, ==, 0);
  }
  for (guint i = 0; i < FORECAST_OUTCOMES; i++)
    block(&program);
  g_assert_cmpuint(page_forecast_count(program.forecast), ==, 0);
  page_forecast_free(program.forecast);
}

static void
test_cancelled_block(void)
{
  Program program = {page_forecast_new()};
  touch(&program, 0, 100);
  block(&program);
  g_autoptr(GByteArray) before = g_byte_array_new();
  g_autoptr(GByteArray) after = g_byte_array_new();
  page_forecast_pack(program.forecast, before);
  ask(&program);
  page_forecast_touched(program.forecast, address_of(500), 100);
  page_forecast_untouched(program.forecast, address_of(0), 100);
  page_forecast_block_cancel(program.forecast);
  page_forecast_pack(program.forecast, after);
  g_assert_cmpmem(before->data, before->len, after->data, after->len);
  ask(&program);
  g_assert_cmpuint(program.block_pushed, ==, 100);
  page_forecast_free(program.forecast);
}

/* Never more pages than may be; and then, those that are touched now. */
static void
test_bounded(void)
{
  PageForecast *forecast = page_forecast_new();
  page_forecast_touched(forecast, base, G_MAXUINT64);
  page_forecast_touched(forecast, G_MAXUINT64, G_MAXUINT64);
  page_forecast_untouched(forecast, G_MAXUINT64 - 3 * COPIES_PAGE, 100);
  g_assert_cmpuint(page_forecast_count(forecast), ==, PAGE_FORECAST_PAGES);
  page_forecast_block_end(forecast);
  page_forecast_touched(forecast, 0, 1000);
  page_forecast_touched(forecast, base, 1000);
  page_forecast_block_end(forecast);
  g_assert_cmpuint(page_forecast_count(forecast), ==, 1000);
  page_forecast_touched(forecast, 0, 1000);
  page_forecast_block_end(forecast);
  g_assert_true(page_forecast_wants(forecast, 999 * COPIES_PAGE));
  g_assert_false(page_forecast_wants(forecast, 1000 * COPIES_PAGE));
  page_forecast_free(forecast);
}

/* ---- files ---- */

static guint
files_in(const char *directory)
{
  g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
  guint count = 0;
  while (dir && g_dir_read_name(dir))
    count++;
  return count;
}

static char *
only_file(const char *directory)
{
  g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
  g_assert_cmpuint(files_in(directory), ==, 1);
  return g_build_filename(directory, g_dir_read_name(dir), NULL);
}

static void
save(PageForecast *forecast)
{
  g_autoptr(GError) error = NULL;
  page_forecast_save(forecast, &error);
  g_assert_no_error(error);
}

static void
test_survives(void)
{
  char *directory = rig_directory_make();
  Program program = {page_forecast_load(directory, "build:function")};
  touch(&program, 100, 600);
  block(&program);
  save(program.forecast);
  page_forecast_free(program.forecast);
  g_autofree char *file = only_file(directory);
  struct stat status;
  g_assert_cmpint(stat(file, &status), ==, 0);
  g_assert_cmpint(status.st_size, <, 100);
  g_assert_cmpuint(status.st_mode, ==, S_IFREG | 0600);
  program.forecast = page_forecast_load(directory, "build:another");
  ask(&program);
  g_assert_cmpuint(program.block_pushed, ==, 0);
  page_forecast_free(program.forecast);
  program.forecast = page_forecast_load(directory, "build:function");
  for (guint i = 0; i < 20; i++) {
    block(&program);
    g_assert_cmpuint(program.block_pulled + program.block_useless, ==, 0);
    save(program.forecast);
    page_forecast_free(program.forecast);
    program.forecast = page_forecast_load(directory, "build:function");
  }
  page_forecast_free(program.forecast);
  rig_directory_remove(directory);
}

/* Any forecast is the same after it was packed. */
static void
test_packs_as_it_is(void)
{
  for (guint turn = 0; turn < 30; turn++) {
    Program program = {page_forecast_new()};
    for (guint blocks = g_test_rand_int_range(0, 20); blocks > 0; blocks--) {
      touch_at_random(&program, g_test_rand_int_range(0, 1000));
      block(&program);
    }
    g_autoptr(GByteArray) packed = g_byte_array_new();
    g_autoptr(GByteArray) again = g_byte_array_new();
    page_forecast_pack(program.forecast, packed);
    PageForecast *other = page_forecast_new();
    g_assert_true(page_forecast_unpack(other, packed->data, packed->len));
    page_forecast_pack(other, again);
    g_assert_cmpmem(packed->data, packed->len, again->data, again->len);
    for (guint i = 0; i < PAGES; i++)
      g_assert_true(page_forecast_wants(other, address_of(i)) ==
                    page_forecast_wants(program.forecast, address_of(i)));
    page_forecast_free(program.forecast);
    page_forecast_free(other);
  }
}

/* The address space's first page and its last. */
static void
test_packs_the_ends(void)
{
  g_autoptr(GByteArray) packed = g_byte_array_new();
  PageForecast *forecast = page_forecast_new(), *other = page_forecast_new();
  page_forecast_touched(forecast, 0, 1);
  page_forecast_touched(forecast, G_MAXUINT64, 1);
  page_forecast_block_end(forecast);
  page_forecast_pack(forecast, packed);
  g_assert_true(page_forecast_unpack(other, packed->data, packed->len));
  g_assert_cmpuint(page_forecast_count(other), ==, 2);
  g_assert_true(page_forecast_wants(other, 0));
  g_assert_true(page_forecast_wants(other, G_MAXUINT64));
  page_forecast_free(forecast);
  page_forecast_free(other);
}

static void
check_damaged(gpointer user)
{
  PageForecast *forecast = page_forecast_load(user, "key");
  g_assert_cmpuint(page_forecast_count(forecast), ==, 0);
  page_forecast_touched(forecast, 0, 10);
  page_forecast_block_end(forecast);
  g_assert_true(page_forecast_wants(forecast, 0));
  page_forecast_free(forecast);
}

static void
test_damage(void)
{
  char *directory = rig_directory_make();
  Program program = {page_forecast_load(directory, "key")};
  for (guint i = 0; i < 5; i++) {
    touch_at_random(&program, 300);
    block(&program);
  }
  save(program.forecast);
  page_forecast_free(program.forecast);
  g_autofree char *file = only_file(directory);
  rig_damage(file, check_damaged, directory);
  program.forecast = page_forecast_load(directory, "key");
  g_assert_cmpuint(page_forecast_count(program.forecast), >, 300);
  page_forecast_free(program.forecast);
  rig_directory_remove(directory);
}

/* What a good checksum is over can still be hostile. */
static void
test_hostile(void)
{
  guint taken = 0;
  for (guint turn = 0; turn < 20000; turn++) {
    guint8 bytes[64];
    gsize length = g_test_rand_int_range(0, sizeof bytes);
    for (gsize i = 0; i < length; i++)
      bytes[i] = g_test_rand_int_range(0, 3) ? g_test_rand_int_range(0, 8) : g_test_rand_int();
    PageForecast *forecast = page_forecast_new();
    taken += page_forecast_unpack(forecast, bytes, length);
    g_assert_cmpuint(page_forecast_count(forecast), <=, PAGE_FORECAST_PAGES);
    page_forecast_free(forecast);
  }
  g_assert_cmpuint(taken, >, 0);
}

static void
test_few_files(void)
{
  char *directory = rig_directory_make();
  for (guint i = 0; i < PAGE_FORECAST_FILES + 20; i++) {
    g_autofree char *key = g_strdup_printf("%u", i);
    PageForecast *forecast = page_forecast_load(directory, key);
    page_forecast_touched(forecast, base, 1);
    page_forecast_block_end(forecast);
    save(forecast);
    utime(forecast->path, &(struct utimbuf){1000 + i, 1000 + i});
    page_forecast_free(forecast);
  }
  g_assert_cmpuint(files_in(directory), ==, PAGE_FORECAST_FILES);
  for (guint i = 0; i < PAGE_FORECAST_FILES + 20; i++) {
    g_autofree char *key = g_strdup_printf("%u", i);
    PageForecast *forecast = page_forecast_load(directory, key);
    g_assert_cmpuint(page_forecast_count(forecast), ==, i >= 20);
    page_forecast_free(forecast);
  }
  rig_directory_remove(directory);
}

static void
test_at_once(void)
{
  char *directory = rig_directory_make();
  for (guint i = 0; i < 3; i++)
    if (!fork()) {
      PageForecast *forecast = page_forecast_load(directory, "key");
      for (guint turn = 0; turn < 300; turn++) {
        page_forecast_touched(forecast, base, 1 + turn);
        page_forecast_block_end(forecast);
        page_forecast_save(forecast, NULL);
        PageForecast *other = page_forecast_load(directory, "key");
        if (page_forecast_count(other) == 0)
          _exit(1);
        page_forecast_free(other);
      }
      _exit(0);
    }
  for (guint i = 0; i < 3; i++) {
    int status;
    g_assert_cmpint(wait(&status), >, 0);
    g_assert_cmpint(status, ==, 0);
  }
  rig_directory_remove(directory);
}

static void
test_speed(void)
{
  enum { MANY = 75000 };
  PageForecast *forecast = page_forecast_new();
  guint wanted = 0;
  for (guint i = 0; i < MANY; i += 4)
    page_forecast_touched(forecast, address_of(i), 1);
  page_forecast_block_end(forecast);
  gint64 began = clock_now_ns();
  for (guint i = 0; i < MANY; i++)
    wanted += page_forecast_wants(forecast, address_of(i));
  double asked_ms = rig_ms_since(began);
  began = clock_now_ns();
  page_forecast_block_end(forecast);
  g_assert_cmpuint(wanted, ==, MANY / 4);
  g_test_message("asked of %d pages: %.2f ms; the block's end: %.2f ms", MANY, asked_ms, rig_ms_since(began));
  page_forecast_free(forecast);
}

/* No multiplier that chance may bring heaps neighbours up. */
static void
test_heaps(void)
{
  static const guint64 multipliers[] = {1, 3, G_GUINT64_CONSTANT(1) << 63 | 1,
                                        (G_GUINT64_CONSTANT(1) << 44) + 1,
                                        G_GUINT64_CONSTANT(0x5555555555555555)};
  for (guint i = 0; i < G_N_ELEMENTS(multipliers); i++) {
    PageForecast *forecast = page_forecast_new();
    guint run = 0, longest = 0;
    forecast->multiplier = multipliers[i];
    for (guint number = 0; number < 10000; number++)
      g_assert_nonnull(page_forecast_insert(forecast, number, 1));
    for (gsize slot = 0; slot < (gsize)1 << forecast->bits; slot++) {
      run = forecast->pages[slot].history ? run + 1 : 0;
      longest = MAX(longest, run);
    }
    g_assert_cmpuint(longest, <, 200);
    page_forecast_free(forecast);
  }
}

#define ADD(name, test) g_test_add_func("/mirror/page-forecast/" name, test)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  ADD("stable", test_stable);
  ADD("stable-after-a-start", test_stable_after_a_start);
  ADD("stable-among-noise", test_stable_among_noise);
  ADD("random-touches", test_random_touches);
  ADD("alternating", test_alternating);
  ADD("adversary", test_adversary);
  ADD("sudden-change", test_sudden_change);
  ADD("two-in-vain", test_two_in_vain);
  ADD("cancelled-block", test_cancelled_block);
  ADD("bounded", test_bounded);
  ADD("survives", test_survives);
  ADD("packs-as-it-is", test_packs_as_it_is);
  ADD("packs-the-ends", test_packs_the_ends);
  ADD("damage", test_damage);
  ADD("hostile", test_hostile);
  ADD("few-files", test_few_files);
  ADD("at-once", test_at_once);
  ADD("heaps", test_heaps);
  ADD("speed", test_speed);
  return g_test_run();
}

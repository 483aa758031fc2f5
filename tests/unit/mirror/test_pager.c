/* Pages that come when they are touched, in whatever way. */
#include <poll.h>

#include "mirror/withhold.h"
#include "pager_rig.h"

/* ---- one page ---- */

static void
test_instructions(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  pager_rig_arm(&world, 0, 64, MIRROR_RUN_FAR);
  g_assert_cmpint(DO(&world, LOAD, AT(0) + 96), ==, pager_rig_byte_of(&world, 0));
  g_assert_cmpint(DO(&world, STORE, AT(40) + 8, 5), ==, 0);
  guint64 words[2];
  rig_read(world.process, AT(40), words, sizeof words);
  g_assert_cmpuint(words[0], ==, world.words[40]);
  g_assert_cmpuint(words[1], ==, 5);
  g_assert_cmpuint(mirror_pager_counts(world.pager)->pulls, ==, 2);
  g_assert_cmpuint(mirror_pager_counts(world.pager)->pages, ==, world.asked);
  g_assert_cmpuint(world.asked, <, 64); /* what nobody touched has not come */
  pager_rig_assert_changes(&world, 39, ".D.");
  pager_rig_end(&world);
}

static void
test_walk(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  pager_rig_arm(&world, 0, 1024, MIRROR_RUN_FAR);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 1024 * PAGE), ==, pager_rig_sum_of(&world, 0, 1024));
  g_assert_cmpuint(world.asked, ==, 1024);
  g_assert_cmpuint(mirror_pager_counts(world.pager)->pulls, <, 16);
  pager_rig_look(&world);
  g_assert_false(mirror_pager_is_far(world.pager, AT(0), AT(1024)));
  pager_rig_assert_changes(&world, 0, "........");
  pager_rig_end(&world);
}

static void
test_system_calls(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  guint64 out = RIG_BOARD(world.process, result[1]), in = RIG_BOARD(world.process, result[0]);
  guint8 bytes[3 * PAGE];
  pager_rig_arm(&world, 0, 64, MIRROR_RUN_FAR);
  /* The kernel reads from far pages, over a border, and writes into others, partly. */
  g_assert_cmpint(CALL(&world, SYS_write, out, AT(8) + 1000, 2 * PAGE), ==, 2 * PAGE);
  g_assert_cmpint(CALL(&world, SYS_read, in, AT(32) + 1000, 2 * PAGE), ==, 2 * PAGE);
  rig_read(world.process, AT(32), bytes, sizeof bytes);
  for (gsize i = 0; i < sizeof bytes; i += 8) {
    guint page = i < 1000 || i >= 1000 + 2 * PAGE ? 32 + i / PAGE : 8 + i / PAGE;
    g_assert_cmpmem(bytes + i, 8, &world.words[page], 8);
  }
  pager_rig_assert_changes(&world, 31, ".DDD.");
  pager_rig_assert_changes(&world, 8, "....");
  pager_rig_end(&world);
}

static void
test_zeros(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  world.words[3] = world.words[4] = 0;
  pager_rig_arm(&world, 0, 8, MIRROR_RUN_FAR);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 8 * PAGE), ==, pager_rig_sum_of(&world, 0, 8));
  pager_rig_assert_changes(&world, 0, "........");
  DO(&world, STORE, AT(4), 1);
  pager_rig_assert_changes(&world, 0, "....D...");
  pager_rig_end(&world);
}

/* Between two far ranges that are near each other lie pages of which nothing is known. */
static void
test_gap(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  DO(&world, STORE, AT(5), 77);
  pager_rig_look(&world);
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  pager_rig_make_run(&world, delta, 0, 4, MIRROR_RUN_FAR);
  pager_rig_make_run(&world, delta, 8, 4, MIRROR_RUN_FAR);
  g_assert_true(pager_rig_apply(&world, delta, &error));
  g_assert_cmpint(DO(&world, LOAD, AT(4)), ==, 0);
  g_assert_cmpint(DO(&world, LOAD, AT(5)), ==, 77);
  g_assert_cmpint(DO(&world, LOAD, AT(6)), ==, 0);
  g_assert_cmpuint(world.asked, ==, 0);
  g_assert_cmpint(DO(&world, LOAD, AT(8)), ==, pager_rig_byte_of(&world, 8));
  DO(&world, STORE, AT(7), 1);
  pager_rig_assert_changes(&world, 0, ".......D....");
  pager_rig_end(&world);
}

static void
test_far_again(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  pager_rig_arm(&world, 0, 16, MIRROR_RUN_FAR);
  DO(&world, SUM, AT(0), 16 * PAGE);
  DO(&world, STORE, AT(3), 9);
  for (guint page = 0; page < 16; page++)
    world.words[page] += 1000;
  pager_rig_arm(&world, 2, 4, MIRROR_RUN_FAR);
  g_assert_true(mirror_pager_is_far(world.pager, AT(2), AT(6)));
  g_assert_cmpuint(DO(&world, SUM, AT(2), 4 * PAGE), ==, pager_rig_sum_of(&world, 2, 4));
  g_assert_cmpint(DO(&world, LOAD, AT(1)), ==, (guint8)(pager_rig_byte_of(&world, 1) - (1000 & 255)));
  /* Nobody has touched it, and it is named once more. */
  pager_rig_arm(&world, 20, 4, MIRROR_RUN_FAR);
  pager_rig_arm(&world, 21, 4, MIRROR_RUN_FAR);
  g_assert_cmpuint(DO(&world, SUM, AT(20), 5 * PAGE), ==, pager_rig_sum_of(&world, 20, 5));
  pager_rig_end(&world);
}

static void
test_data_over_far(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  pager_rig_arm(&world, 0, 16, MIRROR_RUN_FAR);
  DO(&world, LOAD, AT(10));
  for (guint page = 0; page < 16; page++)
    world.words[page] += 1000;
  pager_rig_arm(&world, 4, 8, MIRROR_RUN_DATA); /* partly over far ones, partly over present ones */
  guint64 asked = world.asked;
  g_assert_cmpuint(DO(&world, SUM, AT(4), 8 * PAGE), ==, pager_rig_sum_of(&world, 4, 8));
  g_assert_cmpuint(world.asked, ==, asked);
  pager_rig_assert_changes(&world, 0, "................");
  pager_rig_arm(&world, 0, 2, MIRROR_RUN_HOLE);
  g_assert_cmpint(DO(&world, LOAD, AT(1)), ==, 0);
  g_assert_cmpuint(world.asked, ==, asked);
  pager_rig_end(&world);
}

/* ---- held ---- */

static void
test_held(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  pager_rig_arm(&world, 0, 8, MIRROR_RUN_HELD);
  g_assert_cmpint(DO(&world, LOAD, AT(2)), ==, pager_rig_byte_of(&world, 2));
  DO(&world, STORE, AT(5) + 8, 1);
  g_assert_cmpuint(world.asked, ==, 0);
  pager_rig_assert_untouched(&world, "0-2 3-5 6-8");
  pager_rig_assert_untouched(&world, ""); /* told once */
  pager_rig_assert_changes(&world, 0, ".....D..");
  /* Still there, in the next block as well. */
  g_assert_cmpuint(DO(&world, SUM, AT(6), 2 * PAGE), ==, pager_rig_sum_of(&world, 6, 2));
  world.words[3] = 4711;
  pager_rig_arm(&world, 3, 1, MIRROR_RUN_HELD);
  pager_rig_assert_untouched(&world, "3-4");
  g_assert_cmpint(DO(&world, LOAD, AT(3)), ==, pager_rig_byte_of(&world, 3));
  g_assert_cmpuint(world.asked, ==, 0);
  pager_rig_end(&world);
}

/* Who looks from outside gets what is far and what is held, and makes no change by that. */
static void
test_look_from_outside(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  pager_rig_make_run(&world, delta, 0, 4, MIRROR_RUN_HELD);
  pager_rig_make_run(&world, delta, 4, 4, MIRROR_RUN_FAR);
  g_assert_true(pager_rig_apply(&world, delta, &error));
  for (guint page = 0; page < 8; page++)
    g_assert_cmpuint(rig_word(world.process, AT(page) + PAGE - 8), ==, world.words[page]);
  guint64 word;
  rig_read(world.process, AT(3) + PAGE - 4, &word, sizeof word); /* over a border */
  pager_rig_assert_changes(&world, 0, "........");
  pager_rig_arm(&world, 100, 100, MIRROR_RUN_FAR);
  g_assert_true(mirror_pager_fill_all(world.pager, &error));
  g_assert_false(mirror_pager_is_far(world.pager, HERE, AT(ROOM)));
  g_assert_cmpuint(DO(&world, SUM, AT(100), 100 * PAGE), ==, pager_rig_sum_of(&world, 100, 100));
  pager_rig_end(&world);
}

/* More than the other side gives at once, which happens where much is let go. */
static void
test_much(gconstpointer track)
{
  PagerWorld world;
  enum { MUCH = 2 * MIRROR_GIVE_MAX + 100 };
  if (!pager_rig_begin(&world, GPOINTER_TO_INT(track)))
    return;
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  rig_map(world.process, HERE, (guint64)MUCH * PAGE, READ_WRITE, PRIVATE | MAP_NORESERVE);
  pager_rig_look(&world);
  MirrorRun run = {AT(0), (guint64)MUCH * PAGE, MIRROR_RUN_FAR, 0};
  g_array_append_val(delta->runs, run);
  g_assert_true((mirror_pager_put_now(world.pager, world.layout, delta, &error) &&
                 mirror_pager_arm(world.pager, world.layout, delta, &error)));
  g_assert_true(mirror_pager_fill(world.pager, HERE, (guint64)MUCH * PAGE, &error));
  g_assert_false(mirror_pager_is_far(world.pager, HERE, AT(MUCH)));
  g_assert_cmpuint(world.asked, ==, MUCH);
  g_assert_cmpuint(DO(&world, SUM, AT(0), ROOM * PAGE), ==, pager_rig_sum_of(&world, 0, ROOM));
  pager_rig_end(&world);
}

/* ---- what happens to mappings ---- */

/* Far from one mapping into the next, with a third that cannot be read between them and the end. */
static void
test_edges(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  RIG_DO(world.process, SYS_mprotect, AT(8), 8 * PAGE, PROT_READ);
  RIG_DO(world.process, SYS_mprotect, AT(24), 8 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
  pager_rig_look(&world);
  pager_rig_arm(&world, 0, 32, MIRROR_RUN_FAR);
  g_assert_cmpint(DO(&world, LOAD, AT(7) + PAGE - 1), ==, (guint8)(world.words[7] >> 56));
  g_assert_cmpuint(DO(&world, SUM, AT(0), 32 * PAGE), ==, pager_rig_sum_of(&world, 0, 32));
  g_assert_cmpuint(world.asked, ==, 32);
  pager_rig_arm(&world, ROOM - 4, 4, MIRROR_RUN_FAR);
  g_assert_cmpuint(DO(&world, SUM, AT(ROOM - 4), 4 * PAGE), ==, pager_rig_sum_of(&world, ROOM - 4, 4));
  pager_rig_assert_changes(&world, 0, "................................");
  /* Through one answer for all of them. */
  pager_rig_arm(&world, 0, 32, MIRROR_RUN_FAR);
  guint8 bytes[32 * PAGE];
  rig_read(world.process, AT(0), bytes, sizeof bytes);
  for (guint page = 0; page < 32; page++)
    g_assert_cmpmem(bytes + page * PAGE, 8, &world.words[page], 8);
  pager_rig_end(&world);
}

static void
test_let_go(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  pager_rig_arm(&world, 0, 16, MIRROR_RUN_FAR);
  g_assert_cmpint(pager_rig_let_go(&world, 4, 4, MADV_DONTNEED), ==, 0);
  g_assert_cmpint(DO(&world, LOAD, AT(5)), ==, 0);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 4 * PAGE), ==, pager_rig_sum_of(&world, 0, 4));
  DO(&world, STORE, AT(6), 3);
  g_assert_cmpuint(DO(&world, SUM, AT(8), 8 * PAGE), ==, pager_rig_sum_of(&world, 8, 8));
  pager_rig_look(&world);
  guint letters[16] = {0};
  for (guint i = 0; i < world.runs->len; i++) {
    const MirrorRun *run = &g_array_index(world.runs, MirrorRun, i);
    for (guint64 at = run->address; at < run->address + run->length; at += PAGE)
      if (at >= HERE && at < AT(16))
        letters[(at - HERE) / PAGE] = 1 + run->kind;
  }
  for (guint page = 0; page < 16; page++)
    g_assert_cmpint(letters[page] != 0, ==, page >= 4 && page < 8);
  g_assert_cmpint(letters[6], ==, 1 + MIRROR_RUN_DATA);
  pager_rig_end(&world);
}

static void
test_moved(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  g_autoptr(GError) error = NULL;
  guint64 there = AT(ROOM + 64);
  pager_rig_arm(&world, 0, 16, MIRROR_RUN_FAR);
  g_assert_true(mirror_pager_resize(world.pager, AT(4), 8 * PAGE, 12 * PAGE, &error));
  g_assert_cmpint(CALL(&world, SYS_mremap, AT(4), 8 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, there),
                  ==, (gint64)there);
  g_assert_cmpuint(DO(&world, SUM, there, 12 * PAGE), ==, pager_rig_sum_of(&world, 4, 8));
  g_assert_cmpuint(DO(&world, SUM, AT(12), 4 * PAGE), ==, pager_rig_sum_of(&world, 12, 4));
  pager_rig_look(&world);
  guint64 told = 0;
  for (guint i = 0; i < world.runs->len; i++) {
    const MirrorRun *run = &g_array_index(world.runs, MirrorRun, i);
    if (run->address >= there && run->address < there + 12 * PAGE && run->kind == MIRROR_RUN_DATA)
      told += run->length;
  }
  g_assert_cmpuint(told, >=, 8 * PAGE);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 4 * PAGE), ==, pager_rig_sum_of(&world, 0, 4));
  pager_rig_end(&world);
}

/* Another mapping in the place of far pages: theirs are gone, the neighbours' are not. */
static void
test_replaced(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  pager_rig_arm(&world, 0, 32, MIRROR_RUN_FAR);
  g_assert_cmpint(CALL(&world, SYS_munmap, AT(4), 8 * PAGE), ==, 0);
  g_assert_cmpint(CALL(&world, SYS_mmap, AT(4), 4 * PAGE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                       (guint64)-1),
                  ==, (gint64)AT(4));
  g_assert_cmpuint(DO(&world, SUM, AT(0), 8 * PAGE), ==, pager_rig_sum_of(&world, 0, 4));
  guint64 room[4 * PAGE / 8];
  rig_read(world.process, AT(4), room, sizeof room);
  for (gsize i = 0; i < G_N_ELEMENTS(room); i++)
    g_assert_cmpuint(room[i], ==, 0);
  g_assert_cmpuint(DO(&world, SUM, AT(12), 4 * PAGE), ==, pager_rig_sum_of(&world, 12, 4));
  pager_rig_look(&world);
  g_assert_cmpuint(DO(&world, SUM, AT(16), 16 * PAGE), ==, pager_rig_sum_of(&world, 16, 16));
  g_assert_cmpuint(DO(&world, SUM, AT(4), 4 * PAGE), ==, 0);
  /* And looked at from outside before the tracker has seen it. */
  pager_rig_arm(&world, 40, 16, MIRROR_RUN_FAR);
  g_assert_cmpint(CALL(&world, SYS_mmap, AT(44), 4 * PAGE, READ_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, (guint64)-1),
                  ==, (gint64)AT(44));
  for (guint page = 40; page < 56; page++)
    g_assert_cmpuint(rig_word(world.process, AT(page)), ==, page >= 44 && page < 48 ? 0 : world.words[page]);
  pager_rig_end(&world);
}

/* What is far, and what is held, is unmapped; then the mapping before it grows over the place. */
static void
test_regrown(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  pager_rig_make_run(&world, delta, ROOM - 32, 16, MIRROR_RUN_FAR);
  pager_rig_make_run(&world, delta, ROOM - 16, 16, MIRROR_RUN_HELD);
  g_assert_true(pager_rig_apply(&world, delta, &error));
  g_assert_cmpint(CALL(&world, SYS_munmap, AT(ROOM - 24), 24 * PAGE), ==, 0);
  g_assert_true(mirror_pager_resize(world.pager, AT(0), (ROOM - 24) * PAGE, ROOM * PAGE, &error));
  g_assert_cmpint(CALL(&world, SYS_mremap, AT(0), (ROOM - 24) * PAGE, ROOM * PAGE, 0), ==, (gint64)AT(0));
  g_assert_cmpint(DO(&world, LOAD, AT(ROOM - 20)), ==, 0);
  g_assert_cmpint(DO(&world, LOAD, AT(ROOM - 10)), ==, 0);
  g_assert_cmpuint(rig_word(world.process, AT(ROOM - 2)), ==, 0);
  g_assert_cmpuint(DO(&world, SUM, AT(ROOM - 32), 32 * PAGE), ==, pager_rig_sum_of(&world, ROOM - 32, 8));
  pager_rig_end(&world);
}

static void
test_protected(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  pager_rig_arm(&world, 0, 16, MIRROR_RUN_FAR);
  g_assert_cmpint(CALL(&world, SYS_mprotect, AT(4), 4 * PAGE, PROT_NONE), ==, 0);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 4 * PAGE), ==, pager_rig_sum_of(&world, 0, 4));
  g_assert_cmpuint(rig_word(world.process, AT(5)), ==, world.words[5]);
  g_assert_cmpint(CALL(&world, SYS_mprotect, AT(4), 4 * PAGE, READ_WRITE), ==, 0);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 16 * PAGE), ==, pager_rig_sum_of(&world, 0, 16));
  pager_rig_assert_changes(&world, 0, "................");
  pager_rig_end(&world);
}

static void
test_locked(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  pager_rig_arm(&world, 0, 64, MIRROR_RUN_FAR);
  g_assert_cmpint(CALL(&world, SYS_mlock, AT(0), 8 * PAGE), ==, 0);
  g_assert_false(mirror_pager_is_far(world.pager, AT(0), AT(8)));
  g_assert_cmpuint(DO(&world, SUM, AT(0), 8 * PAGE), ==, pager_rig_sum_of(&world, 0, 8));
  pager_rig_end(&world);
}

/* ---- several at once ---- */

static void
test_together(void)
{
  g_autoptr(GError) error = NULL;
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  for (guint round = 0; round < 20; round++) {
    pager_rig_arm(&world, 0, 512, MIRROR_RUN_FAR);
    rig_resume(world.process);
    for (guint worker = 0; worker < BOARD_WORKERS; worker++) /* over each other */
      pager_rig_start(&world, worker, BOARD_SUM, 0, (const guint64[6]){AT(worker * 64), 256 * PAGE});
    pager_rig_serve(&world, &error);
    g_assert_no_error(error);
    rig_freeze(world.process);
    for (guint worker = 0; worker < BOARD_WORKERS; worker++)
      g_assert_cmpuint(pager_rig_result_of(&world, worker), ==, pager_rig_sum_of(&world, worker * 64, 256));
    for (guint page = 0; page < 512; page++)
      world.words[page] = page % 7 ? world.words[page] + 0x10001 : 0;
  }
  pager_rig_assert_changes(&world, 0, "................");
  pager_rig_end(&world);
}

/* The threads wait, in the kernel and outside, and are to stop. */
static void
test_freeze(void)
{
  g_autoptr(GError) error = NULL;
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  guint64 out = RIG_BOARD(world.process, result[1]);
  for (guint round = 0; round < 20; round++) {
    pager_rig_arm(&world, 0, 512, MIRROR_RUN_FAR);
    rig_resume(world.process);
    pager_rig_start(&world, 0, BOARD_CALL, SYS_write, (const guint64[6]){out, AT(0), 16});
    pager_rig_start(&world, 1, BOARD_LOAD, 0, (const guint64[6]){AT(100)});
    pager_rig_start(&world, 2, BOARD_STORE, 0, (const guint64[6]){AT(200), round});
    pager_rig_start(&world, 3, BOARD_CALL, SYS_getrandom, (const guint64[6]){AT(300), 8, 0});
    struct pollfd waits = {mirror_pager_fd(world.pager), POLLIN, 0};
    g_assert_cmpint(poll(&waits, 1, 60000), ==, 1);
    if (round % 2)
      g_usleep(2000);
    rig_freeze(world.process);
    rig_resume(world.process);
    pager_rig_serve(&world, &error);
    g_assert_no_error(error);
    rig_freeze(world.process);
    g_assert_cmpint(pager_rig_result_of(&world, 0), ==, 16);
    g_assert_cmpint(pager_rig_result_of(&world, 1), ==, pager_rig_byte_of(&world, 100));
    g_assert_cmpuint(rig_word(world.process, AT(200)), ==, round);
    g_assert_cmpuint(rig_word(world.process, AT(200) + 8), ==, world.words[200]);
    g_assert_cmpint(pager_rig_result_of(&world, 3), ==, 8);
    pager_rig_assert_changes(&world, 199, ".D.");
  }
  pager_rig_end(&world);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/pager/instructions", test_instructions);
  g_test_add_func("/pager/walk", test_walk);
  g_test_add_func("/pager/system-calls", test_system_calls);
  g_test_add_func("/pager/zeros", test_zeros);
  g_test_add_func("/pager/gap", test_gap);
  g_test_add_func("/pager/far-again", test_far_again);
  g_test_add_func("/pager/data-over-far", test_data_over_far);
  g_test_add_func("/pager/held", test_held);
  g_test_add_func("/pager/look-from-outside", test_look_from_outside);
  g_test_add_data_func("/pager/much", GINT_TO_POINTER(MIRROR_TRACK_PAGEMAP), test_much);
  g_test_add_data_func("/pager/much-at-once", GINT_TO_POINTER(MIRROR_TRACK_HASH), test_much);
  g_test_add_func("/pager/edges", test_edges);
  g_test_add_func("/pager/let-go", test_let_go);
  g_test_add_func("/pager/moved", test_moved);
  g_test_add_func("/pager/replaced", test_replaced);
  g_test_add_func("/pager/regrown", test_regrown);
  g_test_add_func("/pager/protected", test_protected);
  g_test_add_func("/pager/locked", test_locked);
  g_test_add_func("/pager/together", test_together);
  g_test_add_func("/pager/freeze", test_freeze);
  return g_test_run();
}

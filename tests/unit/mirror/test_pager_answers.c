/* What the other side, hostile, answers, and what it says is far; and where all is asked for at once. */
#include <fcntl.h>

#include "base/error.h"
#include "pager_rig.h"

/* ---- a hostile side ---- */

static void
test_answers(gconstpointer manner)
{
  g_autoptr(GError) error = NULL;
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  pager_rig_arm(&world, 0, 16, MIRROR_RUN_FAR);
  if (GPOINTER_TO_INT(manner) == BEYOND) /* what comes with it is over the end */
    pager_rig_arm(&world, 8, 8, MIRROR_RUN_DATA);
  world.manner = GPOINTER_TO_INT(manner);
  rig_resume(world.process);
  pager_rig_start(&world, 0, BOARD_LOAD, 0, (const guint64[6]){AT(2)});
  gboolean good = pager_rig_serve(&world, &error);
  if (world.manner == HONEST || world.manner == GENEROUS) {
    g_assert_no_error(error);
    g_assert_cmpint(pager_rig_result_of(&world, 0), ==, pager_rig_byte_of(&world, 2));
    rig_freeze(world.process);
    g_assert_cmpint(mirror_pager_is_far(world.pager, AT(15), AT(16)), ==, world.manner == HONEST);
    g_assert_cmpuint(DO(&world, SUM, AT(0), 16 * PAGE), ==, pager_rig_sum_of(&world, 0, 16));
  } else {
    g_assert_false(good);
    DoppelErrorCode wanted = world.manner == FAILING ? DOPPEL_ERROR_GONE : DOPPEL_ERROR_HOSTILE;
    g_assert_error(error, DOPPEL_ERROR, (gint)wanted);
  }
  pager_rig_end(&world);
}

/* Runs of a delta where nothing can be far. */
static void
test_arm_hostile(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  g_autofree char *directory = rig_tree_make(), *path = g_build_filename(directory, "file", NULL);
  g_autofree char *content = g_strnfill(4 * PAGE, 'f');
  g_assert_true(g_file_set_contents(path, content, 4 * PAGE, NULL));
  gint64 fd = rig_open(world.process, path, O_RDWR, 0);
  RIG_DO(world.process, SYS_mmap, AT(8), 4 * PAGE, READ_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
  RIG_DO(world.process, SYS_mmap, AT(16), 4 * PAGE, READ_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  rig_map(world.process, AT(24), 4 * PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED);
  RIG_DO(world.process, SYS_munmap, AT(32), 4 * PAGE);
  pager_rig_look(&world);
  static const guint at[] = {8, 16, 24, 32, 6, 30, ROOM - 1, ROOM, ROOM + 1000000};
  for (gsize i = 0; i < G_N_ELEMENTS(at); i++)
    for (MirrorRunKind kind = MIRROR_RUN_FAR; kind <= MIRROR_RUN_HELD; kind++) {
      g_autoptr(GError) error = NULL;
      g_autoptr(MirrorDelta) delta = mirror_delta_new();
      MirrorRun run = {AT(at[i]), 4 * PAGE, kind, 0};
      g_array_append_val(delta->runs, run);
      g_byte_array_set_size(delta->data, mirror_run_bytes(&run));
      g_assert_false((mirror_pager_put_now(world.pager, world.layout, delta, &error) &&
                      mirror_pager_arm(world.pager, world.layout, delta, &error)));
      g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    }
  pager_rig_end(&world);
  rig_tree_remove(g_steal_pointer(&directory));
}

/* ---- without a userfaultfd for it ---- */

static void
test_at_once(void)
{
  PagerWorld world;
  if (!pager_rig_begin(&world, MIRROR_TRACK_HASH))
    return;
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  g_assert_cmpint(mirror_pager_fd(world.pager), ==, -1);
  world.words[5] = 0;
  pager_rig_make_run(&world, delta, 0, 8, MIRROR_RUN_FAR);
  pager_rig_make_run(&world, delta, 8, 4, MIRROR_RUN_HELD);
  pager_rig_make_run(&world, delta, 40, 8, MIRROR_RUN_FAR);
  g_assert_true(pager_rig_apply(&world, delta, &error));
  g_assert_cmpuint(world.asked, ==, 16);
  g_assert_cmpuint(mirror_pager_counts(world.pager)->pulls, ==, 1);
  g_assert_false(mirror_pager_is_far(world.pager, HERE, AT(ROOM)));
  g_assert_cmpuint(DO(&world, SUM, AT(0), 12 * PAGE), ==, pager_rig_sum_of(&world, 0, 12));
  g_assert_cmpuint(DO(&world, SUM, AT(40), 8 * PAGE), ==, pager_rig_sum_of(&world, 40, 8));
  pager_rig_assert_untouched(&world, "");
  g_assert_true(mirror_pager_serve(world.pager, &error));
  static const PagerManner hostile[] = {NOTHING, LESS, ELSEWHERE, OVERLAPPING, WRONG_KIND, BEYOND};
  for (gsize i = 0; i < G_N_ELEMENTS(hostile); i++) {
    world.manner = hostile[i];
    g_test_message("manner %d", world.manner);
    g_assert_false(pager_rig_apply(&world, delta, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    g_clear_error(&error);
  }
  pager_rig_end(&world);
}

int
main(int argc, char **argv)
{
  static const char *const manners[ANSWERS] = {"honest",      "generous",   "nothing", "less",   "elsewhere",
                                               "overlapping", "wrong-kind", "beyond",  "failing"};
  g_test_init(&argc, &argv, NULL);
  for (PagerManner manner = HONEST; manner < ANSWERS; manner++) {
    g_autofree char *path = g_strdup_printf("/pager/answers/%s", manners[manner]);
    g_test_add_data_func(path, GINT_TO_POINTER(manner), test_answers);
  }
  g_test_add_func("/pager/arm-hostile", test_arm_hostile);
  g_test_add_func("/pager/at-once", test_at_once);
  return g_test_run();
}

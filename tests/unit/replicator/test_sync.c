/* Synchronisations: whatever happens to a device's tree, its clone has it afterwards; and what one end has
 * lost, the other one knows. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "rig.h"
#include "sync_rig.h"

#define CHANGES 40

static void
test_follow(void)
{
  for (guint i = 0; i < rig_seeds(3); i++) {
    SyncRig *rig = sync_rig_new(rig_first_seed() + i, NULL);
    for (guint round = 0; round < 4; round++) {
      g_auto(ReplicatorResult) result = {0};
      sync_rig_change(rig, CHANGES);
      sync_rig_run(rig, &result);
      g_assert_true(result.made);
      g_assert_cmpuint(result.generation, ==, round + 1);
    }
    sync_rig_free(rig);
  }
}

/* Nothing is told where nothing changed. */
static void
test_nothing(void)
{
  SyncRig *rig = sync_rig_new(1, NULL);
  for (guint round = 0; round < 4; round++) {
    g_auto(ReplicatorResult) result = {0};
    if (round == 0)
      sync_rig_change(rig, CHANGES);
    sync_rig_run(rig, &result);
    g_assert_cmpint(result.made, ==, round == 0);
    g_assert_cmpuint(result.generation, ==, 1);
    g_usleep(20000); /* a young file's times do not say yet that it stayed as it was */
    if (round > 1) {
      g_assert_cmpuint(result.sent, <, 300);
      g_assert_cmpuint(result.paths, ==, 0);
    }
  }
  sync_rig_free(rig);
}

/* The index is gone: the clone tells what it has, and nothing has to be told again. */
static void
test_lost_index(void)
{
  SyncRig *rig = sync_rig_new(2, NULL);
  g_auto(ReplicatorResult) first = {0}, second = {0}, third = {0};
  sync_rig_change(rig, CHANGES);
  sync_rig_run(rig, &first);
  rig_run("rm", "-rf", rig->knowledge, NULL);
  sync_rig_run(rig, &second);
  g_assert_cmpuint(second.literals, ==, 0);
  g_assert_cmpuint(second.sent, <, 20000);
  if (!second.made)
    sync_rig_copy(rig);
  sync_rig_change(rig, CHANGES);
  sync_rig_run(rig, &third);
  g_assert_true(third.made);
  sync_rig_free(rig);
}

/* An index of another time: the clone has gone on meanwhile. */
static void
test_old_index(void)
{
  SyncRig *rig = sync_rig_new(3, NULL);
  g_autofree char *aside = rig_path(rig->store->base, "aside");
  for (guint round = 0; round < 3; round++) {
    g_auto(ReplicatorResult) result = {0};
    sync_rig_change(rig, CHANGES);
    sync_rig_run(rig, &result);
    if (round == 0)
      rig_run("cp", "-a", rig->knowledge, aside, NULL);
  }
  rig_run("rm", "-rf", rig->knowledge, NULL);
  g_assert_cmpint(g_rename(aside, rig->knowledge), ==, 0);
  g_auto(ReplicatorResult) result = {0};
  sync_rig_change(rig, CHANGES);
  sync_rig_run(rig, &result);
  g_assert_true(result.made);
  sync_rig_free(rig);
}

/* The clone has lost everything: it gets everything. */
static void
test_lost_store(void)
{
  SyncRig *rig = sync_rig_new(4, NULL);
  g_auto(ReplicatorResult) first = {0}, second = {0};
  sync_rig_change(rig, CHANGES);
  sync_rig_run(rig, &first);
  rig_run("rm", "-rf", rig->store->path, NULL);
  rig->generation = 0;
  sync_rig_run(rig, &second);
  g_assert_true(second.made);
  g_assert_cmpuint(second.generation, ==, 1);
  sync_rig_free(rig);
}

static void
write_big(SyncRig *rig, guint8 fill, gsize at)
{
  enum { SIZE = 300000 };
  g_autofree char *path = rig_path(rig->store->device->path, "big");
  g_autofree guint8 *content = g_malloc(SIZE);
  for (gsize i = 0; i < SIZE; i++)
    content[i] = i * 2654435761u >> 13;
  if (fill)
    memset(content + at, fill, 100);
  g_assert_true(g_file_set_contents(path, (char *)content, SIZE, NULL));
}

/* A file of the clone rotted: what is put together from it is not what the device has, and it is sent whole.
 */
static void
test_rotten(void)
{
  SyncRig *rig = sync_rig_new(5, NULL);
  g_auto(ReplicatorResult) first = {0}, second = {0};
  sync_rig_change(rig, 5);
  write_big(rig, 0, 0);
  sync_rig_copy(rig);
  sync_rig_run(rig, &first);
  rig_run("sh", "-c",
          "for f in \"$1\"/layers/*/tree/big; do printf rotten | dd of=\"$f\" bs=1 seek=1000 conv=notrunc "
          "status=none; done",
          "sh", rig->store->path, NULL);
  write_big(rig, 'x', 200000);
  sync_rig_copy(rig);
  sync_rig_run(rig, &second);
  g_assert_cmpuint(second.literals, >=, 300000);
  sync_rig_free(rig);
}

/* A full disk: the clone says so, keeps its generation, and goes on when there is room. */
static void
test_full_disk(void)
{
  SyncRig *rig = sync_rig_new(6, "size=4m");
  g_auto(ReplicatorResult) first = {0}, second = {0}, third = {0}, fourth = {0};
  g_autoptr(GError) error = NULL, again = NULL;
  g_autofree char *path = rig_path(rig->store->device->path, "huge");
  sync_rig_change(rig, 5);
  sync_rig_run(rig, &first);
  rig_run("sh", "-c", "head -c 6000000 /dev/urandom > \"$1\"", "sh", path, NULL);
  sync_rig_copy(rig);
  g_assert_false(sync_rig_try(rig, &second, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_nonnull(strstr(error->message, g_strerror(ENOSPC)));
  g_assert_cmpuint(sync_rig_newest(rig), ==, 1);
  g_assert_false(sync_rig_try(rig, &third, &again));
  g_assert_error(again, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_cmpint(mount(NULL, rig->replica, NULL, MS_REMOUNT, "size=40m"), ==, 0);
  sync_rig_run(rig, &fourth);
  g_assert_true(fourth.resumed);
  sync_rig_free(rig);
}

/* Two at a time: the second one is told. */
static void
test_busy(void)
{
  SyncRig *rig = sync_rig_new(7, NULL);
  g_autoptr(GError) error = NULL;
  g_auto(ReplicatorResult) result = {0};
  sync_rig_change(rig, 5);
  CloneIndex *other = clone_index_open(rig->knowledge, &error);
  g_assert_no_error(error);
  g_assert_false(sync_rig_try(rig, &result, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  clone_index_free(other);
  sync_rig_run(rig, &result);
  sync_rig_free(rig);
}

int
main(int argc, char **argv)
{
  const char *why = rig_enter(&argc, &argv);
  g_test_init(&argc, &argv, NULL);
  if (why || geteuid() != 0) {
    g_print("1..0 # SKIP %s\n", why ? why : "needs a namespace in which it is root");
    return 0;
  }
  g_test_add_func("/replicator/follow", test_follow);
  g_test_add_func("/replicator/nothing", test_nothing);
  g_test_add_func("/replicator/lost-index", test_lost_index);
  g_test_add_func("/replicator/old-index", test_old_index);
  g_test_add_func("/replicator/lost-store", test_lost_store);
  g_test_add_func("/replicator/rotten", test_rotten);
  g_test_add_func("/replicator/full-disk", test_full_disk);
  g_test_add_func("/replicator/busy", test_busy);
  return g_test_run();
}

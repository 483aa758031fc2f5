#include "store_rig.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/generation_view.h"
#include "rig.h"

StoreRig *
store_rig_new(guint32 seed, const char *size)
{
  StoreRig *rig = g_new0(StoreRig, 1);
  rig->seed = seed;
  rig->base = rig_make_base();
  g_autofree char *device = rig_path(rig->base, "device"), *disk = rig_path(rig->base, "disk");
  g_assert_cmpint(mkdir(disk, 0700), ==, 0);
  rig->mounted = size || !g_getenv("DOPPEL_TEST_ON_DISK");
  g_assert_true(!rig->mounted || mount("tmpfs", disk, "tmpfs", 0, size) == 0);
  rig->path = rig_path(disk, "store");
  rig->device = device_new(device, seed);
  return rig;
}

void
store_rig_close(StoreRig *rig)
{
  g_clear_pointer(&rig->store, generation_store_free);
}

void
store_rig_free(StoreRig *rig)
{
  store_rig_close(rig);
  device_free(rig->device);
  g_autofree char *disk = rig_path(rig->base, "disk");
  g_assert_true(!rig->mounted || umount2(disk, MNT_DETACH) == 0);
  rig_remove_base(rig->base);
  g_free(rig->base);
  g_free(rig->path);
  g_free(rig);
}

void
store_rig_open(StoreRig *rig)
{
  g_autoptr(GError) error = NULL;
  rig->store = generation_store_open(rig->path, &rig->options, &error);
  g_assert_no_error(error);
}

char *
store_rig_copy(const StoreRig *rig, guint64 generation)
{
  return g_strdup_printf("%s/copy-%" G_GUINT64_FORMAT, rig->base, generation);
}

static guint64
newest(const StoreRig *rig)
{
  const GenerationRecord *last = generation_head_last(generation_store_head(rig->store));
  return last ? last->number : 0;
}

GPtrArray *
store_rig_change(StoreRig *rig, guint changes)
{
  guint64 generation = rig->generation = newest(rig) + 1;
  GPtrArray *steps = device_change(rig->device, changes, generation);
  g_autofree char *copy = store_rig_copy(rig, generation);
  device_copy(rig->device, copy);
  return steps;
}

GenerationOutcome
store_rig_feed(StoreRig *rig, GPtrArray *steps, GError **error)
{
  GenerationAttempt attempt;
  GenerationOutcome outcome = GENERATION_REFUSED;
  if (!generation_store_begin(rig->store, &attempt, error))
    return outcome;
  if (attempt.generation > rig->generation) /* the COMMIT that was refused was in the log */
    return GENERATION_COMPLETE;
  for (guint64 i = attempt.last; i < steps->len; i++) {
    outcome = generation_store_feed(rig->store, steps->pdata[i], error);
    if (outcome == GENERATION_REFUSED)
      break;
  }
  return outcome;
}

void
store_rig_commit(StoreRig *rig, guint changes)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) steps = store_rig_change(rig, changes);
  GenerationOutcome outcome = store_rig_feed(rig, steps, &error);
  g_assert_no_error(error);
  g_assert_cmpint(outcome, ==, GENERATION_COMPLETE);
}

void
store_rig_assert_lease(StoreRig *rig, const GenerationLease *lease)
{
  g_autoptr(GError) error = NULL;
  static guint turn;
  g_auto(Fd) view = generation_view_mount(
      lease, GENERATION_VIEW_DEVICES | GENERATION_VIEW_SET_ID | (turn++ % 4 ? 0 : GENERATION_VIEW_BY_PATH),
      &error);
  g_assert_no_error(error);
  /* A tool that asks where it is (getcwd(2)) takes the root of a mount that is attached nowhere for "/". */
  g_autofree char *copy = store_rig_copy(rig, lease->number), *path = rig_path(rig->base, "view");
  mkdir(path, 0700);
  g_assert_cmpint(move_mount(view, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH), ==, 0);
  g_autofree char *differences = device_differences(copy, path);
  g_assert_cmpint(umount2(path, MNT_DETACH), ==, 0);
  if (*differences)
    g_error("seed %u, generation %" G_GUINT64_FORMAT ": %s", rig->seed, lease->number, differences);
}

void
store_rig_assert_same(StoreRig *rig, guint64 generation)
{
  g_autoptr(GError) error = NULL;
  g_auto(Fd) directory = open(rig->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_autoptr(GenerationLease) lease = generation_lease_take(directory, generation, &error);
  g_assert_no_error(error);
  store_rig_assert_lease(rig, lease);
}

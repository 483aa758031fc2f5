/* Random programs on the merged view of an overlay: whatever they do, the device's tree becomes the same. */
#include "moves.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

#define BLOCKS 4 /* of one session */

/* The inodes of a tree before a block, held so that none is used again. */
typedef struct {
  GHashTable *paths; /* inode to path */
  GArray *held;      /* of int */
} Inodes;

static Inodes
inodes_hold(const char *root)
{
  Inodes inodes = {.paths = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free),
                   .held = g_array_new(FALSE, FALSE, sizeof(int))};
  g_autoptr(GPtrArray) paths = rig_list(root);
  for (guint i = 0; i < paths->len; i++) {
    g_autofree char *full = rig_path(root, paths->pdata[i]);
    int fd = open(full, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_array_append_val(inodes.held, fd);
    if (!S_ISREG(st.st_mode))
      continue;
    gint64 inode = st.st_ino;
    g_hash_table_insert(inodes.paths, g_memdup2(&inode, sizeof inode), g_strdup(paths->pdata[i]));
  }
  return inodes;
}

static void
inodes_release(Inodes *inodes)
{
  for (guint i = 0; i < inodes->held->len; i++)
    close(g_array_index(inodes->held, int, i));
  g_array_unref(inodes->held);
  g_hash_table_unref(inodes->paths);
}

/* Where the inode of `path` was before, or NULL. */
static const char *
came_from(const Inodes *inodes, const char *root, const char *path)
{
  gint64 inode = rig_inode(root, path);
  return g_hash_table_lookup(inodes->paths, &inode);
}

/* A file that the block kept or renamed keeps its inode on the device; a new one has a new inode there. */
static void
assert_same_history(Rig *rig, const Inodes *merged, const Inodes *device)
{
  g_autoptr(GPtrArray) paths = rig_list(rig->merged);
  for (guint i = 0; i < paths->len; i++) {
    const char *path = paths->pdata[i];
    g_autofree char *full = rig_path(rig->merged, path);
    struct stat st;
    g_assert_cmpint(lstat(full, &st), ==, 0);
    const char *there = came_from(merged, rig->merged, path), *here = came_from(device, rig->device, path);
    if (!S_ISREG(st.st_mode) || st.st_nlink > 1 || g_strcmp0(there, here) == 0)
      continue;
    /* Several links before: any of them names the inode. */
    if (there && here && rig_inode(rig->device, here) == rig_inode(rig->device, path))
      continue;
    g_error("seed %u: %s was %s in the clone, %s on the device", rig->seed, path, there ? there : "nothing",
            here ? here : "nothing");
  }
}

typedef struct {
  guint blocks, given_up;
} Tally;
static Tally tally;

/* A block that touched files of several links may have to be given up: then nothing on the device has
 * changed. */
static void
assert_given_up(Rig *rig, const char *before, const GError *error)
{
  if (!g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED) &&
      !g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH))
    g_error("seed %u: %s", rig->seed, error->message);
  g_autofree char *after = rig_describe(rig->device, TRUE);
  g_assert_cmpstr(before, ==, after);
  tally.given_up++;
}

/* FALSE where the block was given up, which is only right where some file has several links, or without
 * privileges. */
static gboolean
run_block(Rig *rig, gboolean links, gboolean history)
{
  g_autofree char *before = rig_describe(rig->device, TRUE);
  gboolean may_give_up = rig->linked || strstr(before, " same as ") || !rig_numbers_inodes();
  Inodes merged = inodes_hold(rig->merged), device = inodes_hold(rig->device);
  gint moves = g_rand_int_range(rig->rand, 0, 25);
  for (gint i = 0; i < moves; i++)
    moves_block(rig, rig->merged);
  g_autoptr(GError) error = NULL;
  gboolean committed = rig_commit(rig, NULL, &error);
  if (!committed && !may_give_up)
    g_error("seed %u: %s", rig->seed, error->message);
  tally.blocks++;
  if (!committed)
    assert_given_up(rig, before, error);
  if (committed)
    rig_assert_same(rig, rig->merged, rig->device, links && rig_numbers_inodes());
  if (committed && history && rig_numbers_inodes())
    assert_same_history(rig, &merged, &device);
  inodes_release(&merged);
  inodes_release(&device);
  return committed;
}

static void
assert_nothing_left(Rig *rig)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(ReplicaDelta) delta = replica_capture(rig->layer, rig->baseline, NULL, &error);
  g_assert_no_error(error);
  if (delta->entries->len) {
    const ReplicaEntry *entry = delta->entries->pdata[0];
    g_error("seed %u: %s is still a change (%d, %x) after the commit", rig->seed, entry->path, entry->change,
            entry->set);
  }
  g_autofree char *state = rig_path(rig->base, "state");
  g_autoptr(GPtrArray) files = rig_list(state);
  g_assert_cmpuint(files->len, ==, 0);
}

static void
for_each_seed(guint count, RigFill fill, void (*run)(Rig *rig))
{
  tally = (Tally){0};
  for (guint i = 0; i < rig_seeds(count); i++) {
    Rig *rig = rig_new(rig_first_seed() + i, fill, 0);
    if (!rig)
      return;
    run(rig);
    rig_free(rig);
  }
  g_test_message("seeds %u to %u: %u blocks, %u given up", rig_first_seed(),
                 rig_first_seed() + rig_seeds(count) - 1, tally.blocks, tally.given_up);
  g_assert_cmpuint(tally.given_up, <, tally.blocks);
}

/* A file of several links that was only opened for writing has lost them in the clone: that is no change. */
static void
run_linked(Rig *rig)
{
  for (guint i = 0; i < BLOCKS; i++) {
    if (!run_block(rig, FALSE, FALSE))
      return;
    assert_nothing_left(rig);
  }
}

static void
run_plain(Rig *rig)
{
  for (guint i = 0; i < BLOCKS; i++) {
    if (!run_block(rig, TRUE, TRUE))
      return;
    assert_nothing_left(rig);
  }
}

static void
test_blocks(void)
{
  for_each_seed(60, moves_fill, run_plain);
}

static void
test_blocks_linked(void)
{
  for_each_seed(60, moves_fill_linked, run_linked);
}

/* Everything that the device has and the clone may have. */
static void
refresh_all(Rig *rig)
{
  g_autoptr(GHashTable) all = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  const char *roots[] = {rig->device, rig->merged};
  g_hash_table_add(all, g_strdup(""));
  for (guint r = 0; r < 2; r++) {
    g_autoptr(GPtrArray) paths = rig_list(roots[r]);
    for (guint i = 0; i < paths->len; i++)
      g_hash_table_add(all, g_strdup(paths->pdata[i]));
  }
  g_autoptr(GList) paths = g_list_sort(g_hash_table_get_keys(all), (GCompareFunc)strcmp);
  for (GList *at = paths; at; at = at->next)
    rig_refresh(rig, at->data);
}

static void
run_device_between(Rig *rig)
{
  for (guint i = 0; i < BLOCKS; i++) {
    for (guint m = 0; m < 6; m++)
      moves_device_anywhere(rig, rig->device);
    refresh_all(rig);
    replica_seen_reset(rig->seen);
    refresh_all(rig);
    rig_assert_same(rig, rig->merged, rig->device, FALSE);
    assert_nothing_left(rig);
    if (!run_block(rig, FALSE, FALSE))
      return;
    assert_nothing_left(rig);
  }
}

static void
test_device_between(void)
{
  for_each_seed(60, moves_fill, run_device_between);
}

static void
run_device_during(Rig *rig)
{
  static const char *const names[] = {"D0",      "D1",      "D2",      "D3",   "keep/D0",
                                      "keep/D1", "keep/D2", "keep/D3", "keep", ""};
  for (guint i = 0; i < BLOCKS; i++) {
    for (guint m = 0; m < 4; m++) {
      for (guint k = 0; k < 4; k++)
        moves_block(rig, rig->merged);
      moves_device(rig, rig->device);
      replica_seen_reset(rig->seen);
      for (guint k = 0; k < G_N_ELEMENTS(names); k++)
        rig_refresh(rig, names[k]);
    }
    if (!run_block(rig, TRUE, FALSE))
      return;
    assert_nothing_left(rig);
  }
}

static void
test_device_during(void)
{
  for_each_seed(60, moves_fill, run_device_during);
}

int
main(int argc, char **argv)
{
  const char *refusal = rig_enter(&argc, &argv);
  g_test_init(&argc, &argv, NULL);
  if (refusal) {
    g_print("1..0 # SKIP %s\n", refusal);
    return 0;
  }
  g_test_add_func("/replica/model/blocks", test_blocks);
  g_test_add_func("/replica/model/blocks-linked", test_blocks_linked);
  g_test_add_func("/replica/model/device-between", test_device_between);
  g_test_add_func("/replica/model/device-during", test_device_during);
  return g_test_run();
}

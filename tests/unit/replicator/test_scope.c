/* Synchronisations of what a watch has told: the clone has what the device has, though only that was looked
 * at; and of contents that are put off. */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replica/tree_watch.h"
#include "rig.h"
#include "sync_rig.h"

static const guint8 NAME[REPLICATOR_WATCH] = "who has watched";

/* As sync_rig_run(), with options. Whether the clone is what the device is, is up to the caller. */
static void
synchronise(SyncRig *rig, ReplicatorOptions options, ReplicatorResult *result)
{
  int ends[2];
  g_autoptr(GError) error = NULL;
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  pid_t receiver = sync_rig_receiver(rig, ends);
  close(ends[1]);
  Link *link = link_new_local(ends[0]);
  g_autoptr(CloneIndex) index = clone_index_open(rig->knowledge, &error);
  g_assert_no_error(error);
  options.root = rig->store->device->path;
  options.rules = rig->rules;
  *result = (ReplicatorResult){0};
  replicator_sync(link, index, &options, result, &error);
  g_assert_no_error(error);
  link_free(link);
  g_assert_cmpint(sync_rig_wait(receiver), ==, 0);
}

/* The device's tree becomes a file system of its own. */
static void
mount_device(Device *device)
{
  g_assert_cmpint(mount("tmpfs", device->path, "tmpfs", 0, NULL), ==, 0);
  close(device->root);
  device->root = open(device->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint(device->root, >=, 0);
}

/* Random changes, told in several lots; each generation is what the device is. FALSE: nobody can tell in this
 * way here. */
static gboolean
follow(guint32 seed, TreeWatchWays way)
{
  SyncRig *rig = sync_rig_new(seed, NULL);
  const char *path = rig->store->device->path;
  g_autoptr(TreeDirty) dirty = tree_dirty_new();
  if (way == TREE_WATCH_FANOTIFY)
    mount_device(rig->store->device);
  TreeWatch *watch = tree_watch_new(path, rig->rules, way, dirty);
  gboolean tells = tree_watch_tells(watch);
  g_assert_true(tells || way == TREE_WATCH_FANOTIFY);
  for (guint round = 0; tells && round < 8; round++) {
    g_auto(ReplicatorResult) result = {0};
    for (guint lot = 0; lot < 1 + round % 3; lot++) {
      sync_rig_change(rig, 15);
      tree_watch_take(watch);
    }
    g_autoptr(TreeDirty) taken = tree_dirty_take(dirty);
    g_auto(GStrv) paths = tree_dirty_lost(taken) ? NULL : tree_dirty_paths(taken);
    g_assert_cmpint(paths == NULL, ==, round == 0);
    synchronise(rig, (ReplicatorOptions){.directories = (const char *const *)paths, .watch = NAME}, &result);
    g_assert_cmpint(result.walked, ==, round == 0);
    rig->generation = result.generation;
    g_assert_cmpuint(sync_rig_newest(rig), ==, result.generation);
  }
  tree_watch_free(watch);
  if (way == TREE_WATCH_FANOTIFY)
    g_assert_cmpint(umount2(path, MNT_DETACH), ==, 0);
  sync_rig_free(rig);
  return tells;
}

static void
test_inotify(void)
{
  for (guint i = 0; i < rig_seeds(8); i++)
    follow(rig_first_seed() + i, TREE_WATCH_INOTIFY);
}

static void
test_fanotify(void)
{
  gboolean tells = TRUE;
  for (guint i = 0; tells && i < rig_seeds(8); i++)
    tells = follow(rig_first_seed() + i, TREE_WATCH_FANOTIFY);
  if (!tells)
    g_test_skip("fanotify is not permitted here");
}

/* What changed under the name that a directory had before it was moved. */
static void
test_moved(void)
{
  SyncRig *rig = sync_rig_new(1, NULL);
  const char *const paths[] = {"", "a/b", NULL};
  g_auto(ReplicatorResult) first = {0}, second = {0};
  rig_run("sh", "-c", "mkdir -p \"$1/a/b\"; echo one > \"$1/a/b/f\"", "sh", rig->store->device->path, NULL);
  sync_rig_copy(rig);
  synchronise(rig, (ReplicatorOptions){.watch = NAME}, &first);
  rig->generation = first.generation;
  rig_run("sh", "-c", "echo three > \"$1/a/b/f\"; mv \"$1/a\" \"$1/c\"", "sh", rig->store->device->path,
          NULL);
  sync_rig_copy(rig);
  synchronise(rig, (ReplicatorOptions){.directories = paths, .watch = NAME}, &second);
  g_assert_false(second.walked);
  g_assert_cmpuint(sync_rig_newest(rig), ==, 2);
  sync_rig_free(rig);
}

/* Who was not there when the index was made knows nothing: all is looked at, whatever they say. */
static void
test_stranger(void)
{
  static const guint8 other[REPLICATOR_WATCH] = "somebody else";
  SyncRig *rig = sync_rig_new(2, NULL);
  const char *const none[] = {NULL};
  g_auto(ReplicatorResult) first = {0}, second = {0}, third = {0};
  sync_rig_change(rig, 20);
  synchronise(rig, (ReplicatorOptions){.watch = NAME}, &first);
  rig->generation = first.generation;
  sync_rig_change(rig, 20);
  synchronise(rig, (ReplicatorOptions){.directories = none, .watch = other}, &second);
  g_assert_true(second.walked);
  g_assert_true(second.made);
  rig->generation = second.generation;
  g_assert_cmpuint(sync_rig_newest(rig), ==, 2);
  synchronise(rig, (ReplicatorOptions){.directories = none, .watch = other}, &third);
  g_assert_false(third.walked);
  g_assert_false(third.made);
  g_assert_cmpuint(third.looked_at, ==, 0);
  sync_rig_free(rig);
}

/* Names the entry as it is now, as one of which no time tells whether it is as it was told. */
static void
make_racy(SyncRig *rig, CloneIndex *index, const char *name)
{
  g_auto(TreeNode) node = {0};
  struct stat status;
  int root = rig->store->device->root;
  g_assert_true(tree_index_node(index->tree, tree_index_find(index->tree, name), &node));
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                    {node.facts.mtime_ns / G_GINT64_CONSTANT(1000000000),
                                     node.facts.mtime_ns % G_GINT64_CONSTANT(1000000000)}};
  g_assert_cmpint(utimensat(root, name, times, AT_SYMLINK_NOFOLLOW), ==, 0);
  g_assert_cmpint(fstatat(root, name, &status, AT_SYMLINK_NOFOLLOW), ==, 0);
  node.facts.ctime_ns = status.st_ctim.tv_sec * G_GINT64_CONSTANT(1000000000) + status.st_ctim.tv_nsec;
  node.dirty = TRUE;
  tree_index_touch(index->tree, &node);
}

/* What was written so shortly before it was told that its times prove nothing counts where it is not as it
 * was told, and only there. */
static void
test_racy(void)
{
  static const char *const names[] = {"same", "other", "link"};
  SyncRig *rig = sync_rig_new(3, NULL);
  const ReplicatorOptions options = {.root = rig->store->device->path, .rules = rig->rules};
  g_autoptr(GError) error = NULL;
  g_auto(ReplicatorResult) result = {0};
  rig_run("sh", "-c", "cd \"$1\"; echo 1 > same; echo two > other; ln -s same link", "sh", options.root,
          NULL);
  synchronise(rig, options, &result);
  rig_run("sh", "-c", "cd \"$1\"; echo six > other", "sh", options.root, NULL);
  g_autoptr(CloneIndex) index = clone_index_open(rig->knowledge, &error);
  g_assert_no_error(error);
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    make_racy(rig, index, names[i]);
  g_autoptr(TreePlan) plan = replicator_plan(index, &options, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(plan->changes->len, >=, G_N_ELEMENTS(names));
  ReplicatorPending pending = replicator_pending(index, &options, plan, 0);
  g_assert_cmpuint(pending.entries, ==, 1);
  g_assert_cmpuint(pending.bytes, ==, 4);
  sync_rig_free(rig);
}

#define BIG 100000

static void
shell(SyncRig *rig, const char *command)
{
  g_autofree char *in = g_strdup_printf("cd \"$1\" && %s", command);
  rig_run("sh", "-c", in, "sh", rig->store->device->path, NULL);
}

static void
assert_size(SyncRig *rig, const char *path, guint64 size)
{
  g_autoptr(CloneIndex) index = clone_index_open(rig->knowledge, NULL);
  g_auto(TreeNode) node = {0};
  gint64 id = tree_index_find(index->tree, path);
  g_assert_cmpint(id != TREE_NONE, ==, size > 0);
  g_assert_true(!size || tree_index_node(index->tree, id, &node));
  g_assert_cmpuint(node.facts.size, ==, size);
}

/* Large contents stay what they were, or away, until they are asked for; the rest goes on without them. */
static void
test_later(void)
{
  SyncRig *rig = sync_rig_new(3, NULL);
  g_auto(ReplicatorResult) first = {0}, second = {0}, third = {0}, fourth = {0};
  shell(rig,
        "mkdir d && head -c 200000 /dev/zero > d/old && echo small > s && head -c 150000 /dev/zero > n && "
        "ln d/old d/name");
  synchronise(rig, (ReplicatorOptions){.watch = NAME, .later = BIG}, &first);
  g_assert_true(first.made);
  g_assert_cmpuint(first.later->len, ==, 3);
  assert_size(rig, "d/old", 0);
  assert_size(rig, "s", 6);
  rig->generation = first.generation;
  sync_rig_copy(rig);
  synchronise(rig, (ReplicatorOptions){.watch = NAME}, &second);
  g_assert_cmpuint(second.later->len, ==, 0);
  rig->generation = second.generation;
  g_assert_cmpuint(sync_rig_newest(rig), ==, 2);
  assert_size(rig, "d/old", 200000);

  /* One grows, one is moved, one is replaced; a name is added, modes change: only contents wait. */
  shell(rig, "head -c 1000 /dev/zero >> d/old && mv n m && echo smaller > s && chmod 600 m && ln m k");
  synchronise(rig, (ReplicatorOptions){.watch = NAME, .later = BIG}, &third);
  g_assert_true(third.made);
  g_assert_cmpuint(third.later->len, >=, 1);
  assert_size(rig, "d/old", 200000);
  assert_size(rig, "m", 150000);
  assert_size(rig, "k", 150000);
  assert_size(rig, "n", 0);
  assert_size(rig, "s", 8);
  rig->generation = third.generation;
  sync_rig_copy(rig);
  synchronise(rig, (ReplicatorOptions){.watch = NAME}, &fourth);
  rig->generation = fourth.generation;
  g_assert_cmpuint(sync_rig_newest(rig), ==, 4);
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
  g_test_add_func("/scope/inotify", test_inotify);
  g_test_add_func("/scope/fanotify", test_fanotify);
  g_test_add_func("/scope/moved", test_moved);
  g_test_add_func("/scope/stranger", test_stranger);
  g_test_add_func("/scope/racy", test_racy);
  g_test_add_func("/scope/later", test_later);
  return g_test_run();
}

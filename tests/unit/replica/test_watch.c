/* Who tells what changes in a tree: the set, the decoders, the mounts, and what inotify really tells. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replica/tree_events.h"
#include "replica/tree_mounts.h"
#include "replica/tree_walk.h"
#include "replica/tree_watch.h"

/* ---- the set ---- */

/* Written as absolute paths. */
static void
assert_paths(const TreeDirty *dirty, const char *expected)
{
  g_auto(GStrv) paths = tree_dirty_paths(dirty);
  g_autoptr(GString) text = g_string_new(NULL);
  for (char **path = paths; *path; path++)
    g_string_append_printf(text, "%s/%s", text->len ? " " : "", *path);
  g_assert_cmpstr(text->str, ==, expected);
}

static void
test_dirty(void)
{
  g_autoptr(TreeDirty) dirty = tree_dirty_new();
  g_assert_true(tree_dirty_is_clean(dirty));
  tree_dirty_add(dirty, "b");
  guint64 version = tree_dirty_version(dirty);
  tree_dirty_add(dirty, "b");
  g_assert_cmpuint(tree_dirty_version(dirty), >, version);
  tree_dirty_add(dirty, "a/c");
  g_assert_cmpuint(tree_dirty_count(dirty), ==, 2);
  assert_paths(dirty, "/a/c /b");
  g_autoptr(TreeDirty) taken = tree_dirty_take(dirty);
  g_assert_true(tree_dirty_is_clean(dirty));
  tree_dirty_add(dirty, "");
  tree_dirty_merge(dirty, taken);
  assert_paths(dirty, "/ /a/c /b");
  tree_dirty_lose(dirty, "first");
  tree_dirty_lose(dirty, "second");
  g_assert_cmpstr(tree_dirty_lost(dirty), ==, "first");
  tree_dirty_add(dirty, "d");
  assert_paths(dirty, "");
  tree_dirty_merge(taken, dirty);
  g_assert_cmpstr(tree_dirty_lost(taken), ==, "first");
  assert_paths(taken, "");
}

static void
test_dirty_most(void)
{
  g_autoptr(TreeDirty) dirty = tree_dirty_new();
  for (guint i = 0; i <= TREE_DIRTY_MAX; i++) {
    g_autofree char *path = g_strdup_printf("%u", i);
    g_assert_null(tree_dirty_lost(dirty));
    tree_dirty_add(dirty, path);
  }
  g_assert_nonnull(tree_dirty_lost(dirty));
}

/* ---- fanotify's bytes ---- */

static void
append_event(GByteArray *bytes, guint64 mask, guint8 type, const char *handle)
{
  struct fanotify_event_metadata head = {
      .vers = FANOTIFY_METADATA_VERSION, .metadata_len = sizeof head, .mask = mask, .fd = FAN_NOFD};
  guint32 length = handle ? strlen(handle) : 0, kind = 7;
  guint64 fsid = 0x1122334455667788;
  guint16 info = 4 + 8 + 8 + length;
  guint8 record[4] = {type, 0};
  memcpy(record + 2, &info, sizeof info);
  head.event_len = sizeof head + (handle ? info : 0);
  g_byte_array_append(bytes, (guint8 *)&head, sizeof head);
  if (!handle)
    return;
  g_byte_array_append(bytes, record, sizeof record);
  g_byte_array_append(bytes, (guint8 *)&fsid, sizeof fsid);
  g_byte_array_append(bytes, (guint8 *)&length, sizeof length);
  g_byte_array_append(bytes, (guint8 *)&kind, sizeof kind);
  g_byte_array_append(bytes, (const guint8 *)handle, length);
}

static void
test_fanotify(void)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  TreeFanotifyEvent event;
  gsize at = 0;
  append_event(bytes, FAN_MODIFY, FAN_EVENT_INFO_TYPE_DFID, "handle");
  append_event(bytes, FAN_Q_OVERFLOW, 0, NULL);
  append_event(bytes, FAN_MODIFY, FAN_EVENT_INFO_TYPE_PIDFD, "other"); /* nothing that names a directory */
  append_event(bytes, FAN_CREATE, FAN_EVENT_INFO_TYPE_FID, "last");
  g_assert_cmpint(tree_events_fanotify(bytes->data, bytes->len, &at, &event), ==, TREE_EVENT_CHANGED);
  g_assert_cmphex(event.fsid, ==, 0x1122334455667788);
  g_assert_cmpint(event.type, ==, 7);
  g_assert_cmpmem(event.handle, event.length, "handle", 6);
  g_assert_cmpint(tree_events_fanotify(bytes->data, bytes->len, &at, &event), ==, TREE_EVENT_LOST);
  g_assert_cmpint(tree_events_fanotify(bytes->data, bytes->len, &at, &event), ==, TREE_EVENT_LOST);
  g_assert_cmpint(tree_events_fanotify(bytes->data, bytes->len, &at, &event), ==, TREE_EVENT_CHANGED);
  g_assert_cmpmem(event.handle, event.length, "last", 4);
  g_assert_cmpint(tree_events_fanotify(bytes->data, bytes->len, &at, &event), ==, TREE_EVENT_END);
}

/* Every way to cut the bytes short is an end or a loss, never another handle. */
static void
test_fanotify_cut(void)
{
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  append_event(bytes, FAN_MODIFY, FAN_EVENT_INFO_TYPE_DFID, "handle");
  for (gsize length = 1; length < bytes->len; length++) {
    g_autofree guint8 *cut = g_memdup2(bytes->data, length);
    TreeFanotifyEvent event;
    gsize at = 0;
    g_assert_cmpint(tree_events_fanotify(cut, length, &at, &event), ==, TREE_EVENT_LOST);
    g_assert_cmpint(tree_events_fanotify(cut, length, &at, &event), ==, TREE_EVENT_END);
  }
}

/* ---- inotify's bytes ---- */

static void
test_inotify_bytes(void)
{
  struct {
    struct inotify_event head;
    char name[16];
  } events[3] = {{{.wd = 3, .mask = IN_CREATE, .cookie = 9, .len = 16}, "name"},
                 {{.wd = -1, .mask = IN_Q_OVERFLOW, .len = 16}, ""},
                 {{.wd = 4, .mask = IN_ATTRIB, .len = 16}, "no end of it, .."}};
  TreeInotifyEvent event;
  gsize at = 0;
  memset(events[2].name, 'x', sizeof events[2].name);
  const guint8 *bytes = (const guint8 *)events;
  g_assert_cmpint(tree_events_inotify(bytes, sizeof events, &at, &event), ==, TREE_EVENT_CHANGED);
  g_assert_cmpint(event.watch, ==, 3);
  g_assert_cmpuint(event.cookie, ==, 9);
  g_assert_cmpstr(event.name, ==, "name");
  g_assert_cmpint(tree_events_inotify(bytes, sizeof events, &at, &event), ==, TREE_EVENT_LOST);
  g_assert_cmpint(tree_events_inotify(bytes, sizeof events, &at, &event), ==, TREE_EVENT_LOST);
  g_assert_cmpint(tree_events_inotify(bytes, sizeof events, &at, &event), ==, TREE_EVENT_END);
  for (gsize length = 1; length < sizeof events[0]; length++) {
    at = 0;
    g_assert_cmpint(tree_events_inotify(bytes, length, &at, &event), ==, TREE_EVENT_LOST);
    g_assert_cmpuint(at, ==, length);
  }
}

/* ---- mounts ---- */

static const char mountinfo[] = "20 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
                                "21 20 0:5 / /proc rw - proc proc rw\n"
                                "22 20 254:1 / /home rw shared:3 master:1 - btrfs /dev/vdb rw\n"
                                "23 22 0:33 /sub /home/u/a\\040b rw - nfs4 host:/x rw\n"
                                "24 22 0:34 / /home/u/tmp rw - tmpfs tmpfs rw\n"
                                "25 22 0:35 / /home/u/fuse rw - fuse.sshfs x rw\n"
                                "26 20 0:36 / /homework rw - xfs /dev/vdc rw\n"
                                "nonsense\n"
                                "27 20 0:37 / relative rw - xfs /dev/vdd rw\n";

static char *
mounts_text(const char *root)
{
  g_autoptr(GPtrArray) mounts = tree_mounts_parse(mountinfo, root);
  GString *text = g_string_new(NULL);
  for (guint i = 0; i < mounts->len; i++) {
    const TreeMount *mount = mounts->pdata[i];
    g_string_append_printf(text, "%s=%s%s%s;", mount->point, mount->type, mount->whole ? "" : " part",
                           mount->remote ? " remote" : "");
  }
  return g_string_free(text, FALSE);
}

static void
test_mounts(void)
{
  static const struct {
    const char *root, *mounts;
  } cases[] = {
      {"/home", "/home=btrfs;/home/u/a b=nfs4 part remote;/home/u/fuse=fuse.sshfs remote;"},
      {"/home/u/tmp/x", "/home/u/tmp=tmpfs;"},
      {"/srv", "/=ext4;"},
      {"/", "/=ext4;/home=btrfs;/home/u/a b=nfs4 part remote;/home/u/fuse=fuse.sshfs remote;/homework=xfs;"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autofree char *text = mounts_text(cases[i].root);
    g_assert_cmpstr(text, ==, cases[i].mounts);
  }
  g_autoptr(GPtrArray) none = tree_mounts_parse(mountinfo, "/");
  g_assert_null(tree_mounts_twice(none));
  static const char *const bound[] = {"28 20 254:0 /srv/data /home/u/data rw - ext4 /dev/vda rw\n",
                                      "28 20 254:1 / /srv rw - btrfs /dev/vdb rw\n"};
  static const char *const apart = "20 1 0:9 /@ / rw - btrfs /dev/vda rw\n"
                                   "21 20 0:9 /@home /home rw - btrfs /dev/vda rw\n";
  for (guint i = 0; i < G_N_ELEMENTS(bound); i++) {
    g_autofree char *text = g_strconcat(mountinfo, bound[i], NULL);
    g_autoptr(GPtrArray) two = tree_mounts_parse(text, "/");
    g_assert_nonnull(tree_mounts_twice(two));
  }
  g_autoptr(GPtrArray) subvolumes = tree_mounts_parse(apart, "/");
  g_assert_null(tree_mounts_twice(subvolumes));
  g_autoptr(GPtrArray) here = tree_mounts_read("/"), again = tree_mounts_read("/");
  g_assert_cmpuint(here->len, >, 0);
  g_assert_true(tree_mounts_equal(here, again));
}

/* ---- what inotify tells ---- */

typedef struct {
  char *root;
  TreeRules *rules;
  TreeDirty *dirty;
  TreeWatch *watch;
} Watched;

static char *
below(const Watched *watched, const char *path)
{
  return g_build_filename(watched->root, path, NULL);
}

static void
write_file(const Watched *watched, const char *path)
{
  g_autofree char *full = below(watched, path);
  g_autoptr(GError) error = NULL;
  int fd = open(full, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  g_assert_cmpint(fd, >=, 0);
  g_assert_cmpint(write(fd, "x", 1), ==, 1);
  close(fd);
}

static void
make_directory(const Watched *watched, const char *path)
{
  g_autofree char *full = below(watched, path);
  g_assert_cmpint(g_mkdir_with_parents(full, 0700), ==, 0);
}

static void
move(const Watched *watched, const char *from, const char *to)
{
  g_autofree char *source = below(watched, from), *target = below(watched, to);
  g_assert_cmpint(g_rename(source, target), ==, 0);
}

/* What has changed since the last call. */
static void
expect(Watched *watched, const char *paths)
{
  tree_watch_take(watched->watch);
  g_assert_cmpstr(tree_dirty_lost(watched->dirty), ==, NULL);
  g_autoptr(TreeDirty) taken = tree_dirty_take(watched->dirty);
  assert_paths(taken, paths);
}

static void
set_up(Watched *watched, gconstpointer unused)
{
  watched->root = g_dir_make_tmp("doppel-watch-XXXXXX", NULL);
  watched->rules = tree_rules_new();
  watched->dirty = tree_dirty_new();
  tree_rules_add(watched->rules, "/left/", "test");
  make_directory(watched, "a/b");
  make_directory(watched, "c");
  make_directory(watched, "left/out");
  write_file(watched, "a/b/f");
  watched->watch = tree_watch_new(watched->root, watched->rules, TREE_WATCH_INOTIFY, watched->dirty);
  g_assert_true(tree_watch_tells(watched->watch));
  g_assert_nonnull(tree_dirty_lost(watched->dirty));
  tree_dirty_free(tree_dirty_take(watched->dirty));
  expect(watched, "");
}

static void
tear_down(Watched *watched, gconstpointer unused)
{
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", watched->root);
  tree_watch_free(watched->watch);
  tree_dirty_free(watched->dirty);
  tree_rules_free(watched->rules);
  g_assert_cmpint(system(command), ==, 0);
  g_free(watched->root);
}

static void
test_told(Watched *watched, gconstpointer unused)
{
  g_autofree char *file = below(watched, "a/b/f");
  write_file(watched, "a/b/f");
  expect(watched, "/a/b");
  g_assert_cmpint(g_chmod(file, 0644), ==, 0);
  expect(watched, "/a/b");
  g_assert_cmpint(g_unlink(file), ==, 0);
  expect(watched, "/a/b");
  write_file(watched, "left/out/f");
  write_file(watched, "left/f");
  expect(watched, "");
  make_directory(watched, "c/new/deep");
  write_file(watched, "c/new/deep/f");
  expect(watched, "/c");
  write_file(watched, "c/new/deep/f");
  expect(watched, "/c/new/deep");
}

static void
test_moves(Watched *watched, gconstpointer unused)
{
  move(watched, "a", "c/a");
  write_file(watched, "c/a/b/f");
  expect(watched, "/ /c /c/a/b");
  move(watched, "c/a/b", "left/b"); /* out of what is watched */
  write_file(watched, "left/b/f");
  expect(watched, "/c/a");
  move(watched, "left/b", "b"); /* and back */
  write_file(watched, "b/f");   /* it is new, and scanned with all that is in it */
  expect(watched, "/");
  move(watched, "b", "x");
  make_directory(watched, "b");
  write_file(watched, "b/g");
  write_file(watched, "x/f");
  expect(watched, "/ /x");
  write_file(watched, "b/g");
  expect(watched, "/b");
}

static void
exchange(const Watched *watched, const char *one, const char *other)
{
  g_autofree char *a = below(watched, one), *b = below(watched, other);
  g_assert_cmpint(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), ==, 0);
}

/* Two that are exchanged come to their new places before they have left their old ones. */
static void
test_exchange(Watched *watched, gconstpointer unused)
{
  write_file(watched, "file");
  make_directory(watched, "c/d");
  expect(watched, "/ /c");
  exchange(watched, "a/b", "c");
  expect(watched, "/ /a");
  write_file(watched, "c/f");
  expect(watched, "/c");
  write_file(watched, "a/b/d/f");
  expect(watched, "/a/b/d");
  exchange(watched, "file", "c");
  write_file(watched, "file/f");
  expect(watched, "/ /file");
  exchange(watched, "file", "c");
  write_file(watched, "c/f");
  expect(watched, "/ /c");
  exchange(watched, "left/out", "a/b"); /* with something that is not watched */
  write_file(watched, "a/b/new");
  expect(watched, "/a");
  write_file(watched, "a/b/new");
  expect(watched, "/a/b");
  make_directory(watched, "x/in"); /* new, gone from its place when that is read, and another one there */
  move(watched, "x", "z");
  make_directory(watched, "x/other");
  expect(watched, "/");
  write_file(watched, "x/other/f");
  write_file(watched, "z/in/f");
  expect(watched, "/x/other /z/in");
  move(watched, "a", "e");
  exchange(watched, "c", "e");
  expect(watched, "/");
  write_file(watched, "c/b/new");
  write_file(watched, "e/f");
  expect(watched, "/c/b /e");
}

/* So many directories in each other, below `at`. The innermost, open; *path is where it is, below the root.
 */
static int
make_chain(const Watched *watched, const char *name, guint count, GString *path)
{
  int at = open(watched->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (guint i = 0; i < count; i++) {
    g_string_append_printf(path, "%s%s", path->len ? "/" : "", i ? "d" : name);
    g_assert_cmpint(mkdirat(at, i ? "d" : name, 0700), ==, 0);
    int next = openat(at, i ? "d" : name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(next, >=, 0);
    close(at);
    at = next;
  }
  return at;
}

/* What a scan does not go into is not watched, wherever it came from. */
static void
test_deep(Watched *watched, gconstpointer unused)
{
  g_autoptr(GString) path = g_string_new(""), moved = g_string_new("");
  int deepest = make_chain(watched, "e", TREE_DEPTH_MAX, path);
  tree_watch_take(watched->watch);
  tree_dirty_free(tree_dirty_take(watched->dirty));
  g_autofree char *expected = g_strconcat("/", path->str, NULL);
  g_assert_cmpint(mkdirat(deepest, "d", 0700), ==, 0);
  expect(watched, expected);
  g_assert_cmpint(mkdirat(deepest, "d/d", 0700), ==, 0);
  expect(watched, "");
  /* An arrival, of which the end is too deep. */
  int other = make_chain(watched, "o", 10, moved);
  tree_watch_take(watched->watch);
  int above = openat(deepest, "../../../../..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int root = open(watched->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint(renameat(root, "o", above, "o"), ==, 0);
  tree_watch_take(watched->watch);
  tree_dirty_free(tree_dirty_take(watched->dirty));
  g_assert_cmpint(mkdirat(other, "d", 0700), ==, 0);
  expect(watched, "");
  g_assert_cmpint(mkdirat(above, "o/d/new", 0700), ==, 0);
  g_autoptr(GString) near = g_string_new(expected);
  g_string_truncate(near, near->len - 5 * strlen("/d"));
  g_string_append(near, "/o/d");
  expect(watched, near->str);
  close(deepest);
  close(other);
  close(above);
  close(root);
}

/* More than the kernel keeps: everything counts as changed, and afterwards all is told again. */
static void
test_overflow(Watched *watched, gconstpointer unused)
{
  g_autofree char *text = NULL;
  g_assert_true(g_file_get_contents("/proc/sys/fs/inotify/max_queued_events", &text, NULL, NULL));
  guint most = (guint)g_ascii_strtoull(text, NULL, 10);
  g_autofree char *one = below(watched, "a/one"), *two = below(watched, "a/two");
  if (most > 200000) {
    g_test_skip("the queue of events is too long here");
    return;
  }
  write_file(watched, "a/one");
  for (guint i = 0; i < most; i++) /* two events each, none like the one before */
    g_assert_cmpint(i % 2 ? g_rename(two, one) : g_rename(one, two), ==, 0);
  make_directory(watched, "a/unseen");
  tree_watch_take(watched->watch);
  g_assert_nonnull(tree_dirty_lost(watched->dirty));
  tree_dirty_free(tree_dirty_take(watched->dirty));
  write_file(watched, "a/unseen/f");
  expect(watched, "/a/unseen");
}

static void
test_nobody(Watched *watched, gconstpointer unused)
{
  g_autoptr(TreeDirty) dirty = tree_dirty_new();
  g_autoptr(TreeWatch) watch = tree_watch_new(watched->root, watched->rules, 0, dirty);
  g_assert_false(tree_watch_tells(watch));
  g_assert_cmpint(tree_watch_fd(watch), ==, -1);
  tree_dirty_free(tree_dirty_take(dirty));
  tree_watch_take(watch);
  g_assert_cmpstr(tree_dirty_lost(dirty), ==, tree_watch_text(watch));
}

static void
test_root_gone(Watched *watched, gconstpointer unused)
{
  g_autofree char *other = g_strconcat(watched->root, ".moved", NULL);
  g_assert_cmpint(g_rename(watched->root, other), ==, 0);
  tree_watch_take(watched->watch);
  g_assert_nonnull(tree_dirty_lost(watched->dirty));
  g_assert_false(tree_watch_tells(watched->watch));
  g_assert_cmpint(g_rename(other, watched->root), ==, 0);
}

/* Fewer watches than directories, as a user namespace of one's own may have: nobody tells, and it is said
 * what would help. */
static void
test_too_few(Watched *watched, gconstpointer unused)
{
  if (!g_test_subprocess()) {
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
    g_test_trap_assert_passed();
    return;
  }
  g_autoptr(TreeDirty) dirty = tree_dirty_new();
  int fd =
      unshare(CLONE_NEWUSER) == 0 ? open("/proc/sys/user/max_inotify_watches", O_WRONLY | O_CLOEXEC) : -1;
  gboolean limited = fd >= 0 && write(fd, "2", 1) == 1;
  if (fd >= 0)
    close(fd);
  if (!limited)
    return; /* there are no such namespaces here */
  g_autoptr(TreeWatch) watch = tree_watch_new(watched->root, watched->rules, TREE_WATCH_INOTIFY, dirty);
  g_assert_false(tree_watch_tells(watch));
  g_assert_nonnull(strstr(tree_watch_text(watch), "max_user_watches"));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/watch/dirty", test_dirty);
  g_test_add_func("/watch/dirty-most", test_dirty_most);
  g_test_add_func("/watch/fanotify", test_fanotify);
  g_test_add_func("/watch/fanotify-cut", test_fanotify_cut);
  g_test_add_func("/watch/inotify-bytes", test_inotify_bytes);
  g_test_add_func("/watch/mounts", test_mounts);
#define WATCHED(name, function) g_test_add(name, Watched, NULL, set_up, function, tear_down)
  WATCHED("/watch/told", test_told);
  WATCHED("/watch/moves", test_moves);
  WATCHED("/watch/exchange", test_exchange);
  WATCHED("/watch/deep", test_deep);
  WATCHED("/watch/overflow", test_overflow);
  WATCHED("/watch/nobody", test_nobody);
  WATCHED("/watch/root-gone", test_root_gone);
  WATCHED("/watch/too-few", test_too_few);
  return g_test_run();
}

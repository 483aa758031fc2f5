/* The parts of the sandbox that need no namespace: the list of mounts, sessions' directories, limits. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "augmenter/limits.h"
#include "augmenter/mountinfo.h"
#include "augmenter/session_dir.h"
#include "base/error.h"

static void
test_mountinfo(void)
{
  g_autoptr(GError) error = NULL;
  const char *text = "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
                     "27 1 254:0 / / rw,relatime shared:1 master:7 - ext4 /dev/vda rw\n"
                     "30 27 0:25 /a\\040b /mnt/a\\040b\\134c\\011d rw - fuse.ssh\\040fs x rw\n"
                     "31 27 0:25 / /mnt/end\\040 rw - tmpfs  rw\n";
  g_autoptr(GPtrArray) mounts = mountinfo_parse(text, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(mounts->len, ==, 4);
  const Mount *proc = mounts->pdata[0], *root = mounts->pdata[1], *odd = mounts->pdata[2],
              *end = mounts->pdata[3];
  g_assert_true(mountinfo_is_pseudo(proc));
  g_assert_false(mountinfo_is_pseudo(root));
  g_assert_cmpint(root->id, ==, 27);
  g_assert_cmpstr(odd->path, ==, "/mnt/a b\\c\td");
  g_assert_cmpstr(odd->type, ==, "fuse.ssh fs");
  g_assert_cmpstr(end->path, ==, "/mnt/end ");
  g_assert_true(mountinfo_any_below(mounts, "/mnt"));
  g_assert_false(mountinfo_any_below(mounts, "/mn"));
  g_assert_false(mountinfo_any_below(mounts, "/proc"));
  g_assert_true(mountinfo_any_at(mounts, "/proc"));
}

static void
test_mountinfo_hostile(void)
{
  static const char *const lines[] = {
      "x",
      "22 27 0:21 / /proc rw,relatime proc proc rw",
      "22 27 0:21 / /proc rw -",
      "22 27 0:21 / relative rw - proc proc rw",
      "99999999999 27 0:21 / /proc rw - proc proc rw",
      "-1 27 0:21 / /proc rw - proc proc rw",
      " - - - - - -",
  };
  for (gsize i = 0; i < G_N_ELEMENTS(lines); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(mountinfo_parse(lines[i], &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  }
}

static void
test_below(void)
{
  g_assert_true(mountinfo_is_below("/a", "/"));
  g_assert_false(mountinfo_is_below("/", "/"));
  g_assert_true(mountinfo_is_below("/a/b", "/a"));
  g_assert_false(mountinfo_is_below("/a", "/a"));
  g_assert_false(mountinfo_is_below("/ab", "/a"));
}

static void
test_visible(void)
{
  g_autoptr(GError) error = NULL;
  int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_autoptr(GPtrArray) mounts = mountinfo_read(fd, &error);
  g_assert_no_error(error);
  guint roots = 0;
  for (guint i = 0; i < mounts->len; i++) {
    const Mount *mount = mounts->pdata[i];
    roots += g_strcmp0(mount->path, "/") == 0 && mountinfo_is_visible(mount);
  }
  g_assert_cmpuint(roots, ==, 1);
  close(fd);
}

static void
test_sweep(void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *base = g_dir_make_tmp("doppel-sweep-XXXXXX", NULL),
                  *tmp = g_build_filename(base, "made", NULL);
  g_auto(SessionDir) dead = {0}, alive = {0}, sweeper = {0};
  g_assert_true(session_dir_make(&dead, tmp, &error));
  g_assert_true(session_dir_make(&alive, tmp, &error));
  g_autofree char *work = g_build_filename(dead.path, "work", NULL),
                  *inner = g_build_filename(work, "work", NULL);
  g_autofree char *link = g_build_filename(dead.path, "link", NULL),
                  *outside = g_build_filename(base, "outside", NULL);
  g_autofree char *dead_path = g_strdup(dead.path), *precious = g_build_filename(outside, "precious", NULL);
  g_assert_cmpint(g_mkdir_with_parents(inner, 0700), ==, 0);
  g_assert_cmpint(mkdir(outside, 0700), ==, 0);
  g_assert_true(g_file_set_contents(precious, "x", -1, NULL));
  g_assert_cmpint(symlink(outside, link), ==, 0);
  g_assert_cmpint(chmod(inner, 0), ==, 0);
  g_assert_cmpint(chmod(work, 0), ==, 0);
  session_dir_clear(&dead); /* lets go of the lock, as death does */
  g_assert_true(session_dir_make(&sweeper, tmp, &error));
  session_dir_sweep(&sweeper);
  g_assert_false(g_file_test(dead_path, G_FILE_TEST_EXISTS));
  g_assert_true(g_file_test(alive.path, G_FILE_TEST_IS_DIR));
  g_assert_true(g_file_test(sweeper.path, G_FILE_TEST_IS_DIR));
  g_assert_true(g_file_test(precious, G_FILE_TEST_EXISTS));
  g_assert_true(session_dir_remove(&alive, &error) && session_dir_remove(&sweeper, &error));
  g_assert_no_error(error);
  g_autofree char *lock = g_build_filename(tmp, "lock", NULL);
  g_assert_cmpint(unlink(precious) | rmdir(outside) | unlink(lock) | rmdir(tmp) | rmdir(base), ==, 0);
}

static void
test_clip(void)
{
  struct rlimit now, lower;
  g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &now), ==, 0);
  lower = (struct rlimit){.rlim_cur = 10, .rlim_max = now.rlim_max};
  g_assert_true(limits_clip(RLIMIT_NOFILE, &lower));
  g_assert_cmpuint(lower.rlim_cur, ==, 10);
  struct rlimit beyond = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
  g_assert_false(limits_clip(RLIMIT_NOFILE, &beyond)); /* fs.nr_open bounds it for everybody */
  g_assert_cmpuint(beyond.rlim_max, ==, now.rlim_max);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/sandbox/mountinfo/parse", test_mountinfo);
  g_test_add_func("/sandbox/mountinfo/hostile", test_mountinfo_hostile);
  g_test_add_func("/sandbox/mountinfo/below", test_below);
  g_test_add_func("/sandbox/mountinfo/visible", test_visible);
  g_test_add_func("/sandbox/session-dir/sweep", test_sweep);
  g_test_add_func("/sandbox/limits/clip", test_clip);
  return g_test_run();
}

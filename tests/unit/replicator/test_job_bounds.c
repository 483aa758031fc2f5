/* What a job may take of its host's disk: what it took, and what is said when that is too much. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "replicator/job_bounds.h"

enum { MIB = 1 << 20 };

typedef struct {
  char *path;
  int directory;
  GArray *trees;
  char *proc; /* NULL: nobody runs */
} Place;

static void
fill(const Place *place, const char *name, gsize length)
{
  g_autofree char *bytes = g_strnfill(length, 'x');
  g_auto(Fd) file = openat(place->directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  g_assert_true(io_write_all(file, bytes, length));
  fsync(file); /* so that its blocks are given out */
}

static void
set_up(Place *place, gconstpointer unused)
{
  place->path = g_dir_make_tmp("doppel-bounds-XXXXXX", NULL);
  place->directory = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  place->trees = g_array_new(FALSE, FALSE, sizeof(int));
  g_array_append_val(place->trees, place->directory);
  g_assert_cmpint(mkdirat(place->directory, "d", 0700), ==, 0);
  fill(place, "one", MIB);
  fill(place, "d/two", 2 * MIB);
}

static void
tear_down(Place *place, gconstpointer unused)
{
  static const char *const names[] = {"d/two", "d/again", "one", "much"};
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    unlinkat(place->directory, names[i], 0);
  g_assert_cmpint(unlinkat(place->directory, "d", AT_REMOVEDIR), ==, 0);
  io_close(&place->directory);
  g_assert_cmpint(g_rmdir(place->path), ==, 0);
  g_array_unref(place->trees);
  g_free(place->path);
}

static void
test_measure(Place *place, gconstpointer unused)
{
  guint64 all = job_bounds_measure(place->directory, G_MAXUINT64);
  g_assert_cmpuint(all, >=, 3 * MIB);
  g_assert_cmpuint(all, <, 3 * MIB + 100000);
  g_assert_cmpuint(job_bounds_measure(place->directory, MIB / 2), >, MIB / 2);
  /* A second name takes nothing, and a hole neither. */
  g_assert_cmpint(linkat(place->directory, "d/two", place->directory, "d/again", 0), ==, 0);
  g_auto(Fd) file = openat(place->directory, "one", O_WRONLY | O_CLOEXEC);
  g_assert_cmpint(ftruncate(file, 100 * (off_t)MIB), ==, 0);
  guint64 now = job_bounds_measure(place->directory, G_MAXUINT64);
  g_assert_cmpuint(now, <=, all + 1);
  g_assert_cmpuint(now + 1, >=, all);
}

/* So many directories, each in the one before. */
static void
nest(const Place *place, guint depth)
{
  g_auto(Fd) at = fcntl(place->directory, F_DUPFD_CLOEXEC, 3);
  for (guint i = 0; i < depth; i++) {
    g_assert_cmpint(mkdirat(at, "in", 0700), ==, 0);
    int next = openat(at, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    io_close(&at);
    at = next;
  }
}

static void
unnest(const Place *place, guint depth)
{
  for (guint left = depth; left > 0; left--) {
    g_auto(Fd) at = fcntl(place->directory, F_DUPFD_CLOEXEC, 3);
    /* The innermost first, in steps that no descriptor's path is too long for. */
    for (guint i = 1; i < left; i++) {
      int next = openat(at, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      io_close(&at);
      at = next;
    }
    g_assert_cmpint(unlinkat(at, "in", AT_REMOVEDIR), ==, 0);
  }
}

/* What cannot be looked at is too much. */
static void
test_unmeasurable(Place *place, gconstpointer unused)
{
  enum { DEPTH = 60, FILES = 40 };
  struct rlimit files;
  nest(place, DEPTH);
  g_assert_cmpuint(job_bounds_measure(place->directory, 100 * MIB), <, 4 * MIB);
  getrlimit(RLIMIT_NOFILE, &files);
  setrlimit(RLIMIT_NOFILE, &(struct rlimit){FILES, files.rlim_max});
  guint64 found = job_bounds_measure(place->directory, 100 * MIB);
  setrlimit(RLIMIT_NOFILE, &files);
  g_assert_cmpuint(found, ==, JOB_BOUNDS_NONE);
  unnest(place, DEPTH);
}

static char *
look(const Place *place, JobBounds host, guint64 asked)
{
  JobBoundsWatch watch;
  job_bounds_begin(&watch, &host, 0, asked);
  g_assert_null(
      job_bounds_look(&watch, place->trees, place->proc, place->directory)); /* it is not time yet */
  watch.look_ns = clock_now_ns();
  char *said = job_bounds_look(&watch, place->trees, place->proc, place->directory);
  g_assert_cmpint(watch.look_ns, >, clock_now_ns());
  return said;
}

static void
test_changes(Place *place, gconstpointer unused)
{
  const JobBounds any = {JOB_BOUNDS_NONE, JOB_BOUNDS_NONE, 0}, four = {JOB_BOUNDS_NONE, 4 * MIB, 0},
                  two = {JOB_BOUNDS_NONE, 2 * MIB, 0};
  g_autofree char *host = look(place, two, 0), *asked = look(place, any, MIB),
                  *both = look(place, two, 4 * MIB);
  g_assert_null(look(place, any, 0));
  g_assert_null(look(place, four, 0));
  g_assert_null(look(place, any, 4 * MIB));
  g_assert_cmpstr(host, ==, "stopped: its changes of files exceed 2 MiB, the most that its host allows");
  g_assert_cmpstr(asked, ==,
                  "stopped: its changes of files exceed 1 MiB, which is what it was given (--limit)");
  g_assert_cmpstr(both, ==, host);
}

/* Who has filled the disk is stopped, and nobody else. */
static void
test_reserve(Place *place, gconstpointer unused)
{
  struct statvfs disk;
  g_assert_cmpint(fstatvfs(place->directory, &disk), ==, 0);
  guint64 whole = (guint64)disk.f_blocks * disk.f_frsize;
  const JobBounds all = {JOB_BOUNDS_NONE, JOB_BOUNDS_NONE, whole + 1},
                  none = {JOB_BOUNDS_NONE, JOB_BOUNDS_NONE, 1};
  g_assert_null(look(place, all, 0));
  fill(place, "much", 20 * MIB);
  g_autofree char *said = look(place, all, 0);
  g_assert_nonnull(said);
  g_assert_true(g_str_has_prefix(said, "stopped: its changes of files have left "));
  g_assert_null(look(place, none, 0));
}

/* A procfs with one process's descriptors: names and what they are open on. */
static void
show(const Place *place, const char *descriptors, const char *name, int file)
{
  g_autofree char *directory = g_build_filename(place->proc, descriptors, NULL),
                  *entry = g_build_filename(directory, name, NULL),
                  *target = g_strdup_printf("/proc/self/fd/%d", file);
  g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
  g_assert_cmpint(symlink(target, entry), ==, 0);
}

static void
forget(const char *path)
{
  g_autoptr(GDir) listing = g_dir_open(path, 0, NULL);
  for (const char *name; listing && (name = g_dir_read_name(listing));) {
    g_autofree char *entry = g_build_filename(path, name, NULL);
    if (unlink(entry) < 0)
      forget(entry);
  }
  g_assert_cmpint(g_rmdir(path), ==, 0);
}

/* A file that has no name any more takes its room all the same, once; what is in memory takes none. */
static void
test_nameless(Place *place, gconstpointer unused)
{
  const JobBounds six = {JOB_BOUNDS_NONE, 6 * MIB, 0}, twelve = {JOB_BOUNDS_NONE, 12 * MIB, 0};
  fill(place, "much", 5 * MIB);
  g_auto(Fd) gone = openat(place->directory, "much", O_RDONLY | O_CLOEXEC),
             named = openat(place->directory, "d/two", O_RDONLY | O_CLOEXEC),
             memory = memfd_create("memory", MFD_CLOEXEC);
  g_autofree char *bytes = g_strnfill(20 * MIB, 'x');
  g_assert_true(io_write_all(memory, bytes, 20 * MIB));
  g_assert_cmpint(unlinkat(place->directory, "much", 0), ==, 0);
  g_assert_null(look(place, six, 0));
  place->proc = g_dir_make_tmp("doppel-bounds-proc-XXXXXX", NULL);
  show(place, "7/task/7/fd", "0", named);
  show(place, "7/task/7/fd", "1", memory);
  g_assert_null(look(place, six, 0));
  show(place, "7/task/8/fd", "5", gone); /* of a thread with descriptors of its own */
  show(place, "7/task/8/fd", "6", gone);
  show(place, "9/task/9/fd", "0", gone);
  g_autofree char *said = look(place, six, 0);
  g_assert_cmpstr(said, ==, "stopped: its changes of files exceed 6 MiB, the most that its host allows");
  g_assert_null(look(place, twelve, 0));
  forget(place->proc);
  g_autofree char *unseen = look(place, twelve, 0); /* no procfs at all */
  g_assert_nonnull(unseen);
  g_clear_pointer(&place->proc, g_free);
}

static void
test_nameless_reserve(Place *place, gconstpointer unused)
{
  struct statvfs disk;
  g_assert_cmpint(fstatvfs(place->directory, &disk), ==, 0);
  const JobBounds all = {JOB_BOUNDS_NONE, JOB_BOUNDS_NONE, (guint64)disk.f_blocks * disk.f_frsize + 1};
  fill(place, "much", 20 * MIB);
  g_auto(Fd) gone = openat(place->directory, "much", O_RDONLY | O_CLOEXEC);
  g_assert_cmpint(unlinkat(place->directory, "much", 0), ==, 0);
  place->proc = g_dir_make_tmp("doppel-bounds-proc-XXXXXX", NULL);
  g_assert_null(look(place, all, 0));
  show(place, "7/task/7/fd", "3", gone);
  g_autofree char *said = look(place, all, 0);
  g_assert_nonnull(said);
  forget(place->proc);
  g_clear_pointer(&place->proc, g_free);
}

/* Who hides what it has open is not held to have written it, until somebody has to have filled the disk. */
static void
test_unseen(Place *place, gconstpointer unused)
{
  enum { NOBODY = 65534 };
  struct statvfs disk;
  gboolean root = geteuid() == 0;
  g_assert_cmpint(fstatvfs(place->directory, &disk), ==, 0);
  const JobBounds six = {JOB_BOUNDS_NONE, 6 * MIB, 0},
                  all = {JOB_BOUNDS_NONE, JOB_BOUNDS_NONE, (guint64)disk.f_blocks * disk.f_frsize + 1};
  place->proc = g_dir_make_tmp("doppel-bounds-proc-XXXXXX", NULL);
  show(place, "7/task/7/fd", "3", place->directory);
  g_autofree char *descriptors = g_build_filename(place->proc, "7/task/7/fd", NULL),
                  *inner = g_build_filename(place->path, "d", NULL);
  if (root) { /* whom no mode keeps out */
    g_assert_cmpint(chown(place->path, NOBODY, NOBODY), ==, 0);
    g_assert_cmpint(chown(inner, NOBODY, NOBODY), ==, 0);
    g_assert_cmpint(chmod(place->proc, 0755), ==, 0);
    for (const char *const *name = (const char *const[]){"7/task", "7", NULL}; *name; name++) {
      g_autofree char *above = g_build_filename(place->proc, *name, NULL);
      g_assert_cmpint(chmod(above, 0755), ==, 0);
    }
    g_assert_cmpint(seteuid(NOBODY), ==, 0);
  } else {
    g_assert_cmpint(chmod(descriptors, 0), ==, 0);
  }
  char *changes = look(place, six, 0), *reserve = look(place, all, 0);
  if (root)
    g_assert_cmpint(seteuid(0), ==, 0);
  else
    g_assert_cmpint(chmod(descriptors, 0700), ==, 0);
  g_assert_null(changes);
  g_assert_nonnull(reserve);
  g_free(reserve);
  forget(place->proc);
  g_clear_pointer(&place->proc, g_free);
}

static void
test_output(void)
{
  const JobBounds host = JOB_BOUNDS_DEFAULT;
  JobBoundsWatch watch;
  job_bounds_begin(&watch, &host, 0, 0);
  g_assert_cmpuint(job_bounds_output(&watch), ==, 1 << 30);
  g_autofree char *usual = job_bounds_output_reason(&watch);
  g_assert_cmpstr(usual, ==, "stopped: its output exceeds 1 GiB, the most that its host allows");
  job_bounds_begin(&watch, &host, 1500, 0);
  g_assert_cmpuint(job_bounds_output(&watch), ==, 1500);
  g_autofree char *asked = job_bounds_output_reason(&watch);
  g_assert_cmpstr(asked, ==, "stopped: its output exceeds 1500 bytes, which is what it was given (--limit)");
  job_bounds_begin(&watch, &host, G_GUINT64_CONSTANT(1) << 40, 0);
  g_assert_cmpuint(job_bounds_output(&watch), ==, 1 << 30);
}

static void
test_amounts(void)
{
  static const struct {
    const char *text;
    guint64 amount; /* 0: refused */
  } cases[] = {{"1", 1},   {"500k", 512000}, {"2M", 2 << 20},    {"3g", G_GUINT64_CONSTANT(3) << 30},
               {"0", 0},   {"", 0},          {"-1", 0},          {"1KB", 0},
               {"1.5", 0}, {"K", 0},         {"9000000000G", 0}, {"99999999999999999999", 0}};
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    guint64 amount;
    gboolean good = job_bounds_parse(cases[i].text, G_MAXINT64, &amount);
    g_assert_cmpint(good, ==, cases[i].amount != 0);
    if (good)
      g_assert_cmpuint(amount, ==, cases[i].amount);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add("/job-bounds/measure", Place, NULL, set_up, test_measure, tear_down);
  g_test_add("/job-bounds/changes", Place, NULL, set_up, test_changes, tear_down);
  g_test_add("/job-bounds/reserve", Place, NULL, set_up, test_reserve, tear_down);
  g_test_add("/job-bounds/unmeasurable", Place, NULL, set_up, test_unmeasurable, tear_down);
  g_test_add("/job-bounds/nameless", Place, NULL, set_up, test_nameless, tear_down);
  g_test_add("/job-bounds/nameless-reserve", Place, NULL, set_up, test_nameless_reserve, tear_down);
  g_test_add("/job-bounds/unseen", Place, NULL, set_up, test_unseen, tear_down);
  g_test_add_func("/job-bounds/output", test_output);
  g_test_add_func("/job-bounds/amounts", test_amounts);
  return g_test_run();
}

/* What a process has written since a moment, by each way to know. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/tracker.h"
#include "rig.h"

enum { PAGE = 4096 };
#define HERE 0x200000000ull
enum { PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, SHARED = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED };

typedef struct {
  MirrorProcess *process;
  MirrorTracker *tracker;
  GArray *runs; /* of the last look */
} World;

/* FALSE: this kernel cannot; the test is skipped. */
static gboolean
begin(World *world, gconstpointer track)
{
  g_autoptr(GError) error = NULL;
  world->process = rig_puppet("sleep");
  world->process->primary = TRUE;
  world->runs = g_array_new(FALSE, FALSE, sizeof(MirrorRun));
  world->tracker = mirror_tracker_new(world->process, GPOINTER_TO_INT(track), -1, &error);
  if (world->tracker)
    return TRUE;
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  g_test_skip(error->message);
  rig_end(world->process);
  g_array_unref(world->runs);
  return FALSE;
}

static void
end(World *world)
{
  mirror_tracker_free(world->tracker);
  g_array_unref(world->runs);
  rig_end(world->process);
}

static void
look(World *world)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorLayout) layout = mirror_layout_read(world->process, &error);
  g_assert_no_error(error);
  g_array_set_size(world->runs, 0);
  mirror_tracker_changed(world->tracker, layout, world->runs, &error);
  g_assert_no_error(error);
}

/* What the last look said of one page. */
typedef enum { SAME, DATA, HOLE } Word;
static Word
word(World *world, guint64 address)
{
  Word said = SAME;
  for (guint i = 0; i < world->runs->len; i++) {
    const MirrorRun *run = &g_array_index(world->runs, MirrorRun, i);
    if (address < run->address || address >= run->address + run->length)
      continue;
    g_assert_cmpint(said, ==, SAME); /* once */
    said = run->kind == MIRROR_RUN_DATA ? DATA : HOLE;
  }
  return said;
}

/* One letter per page: '.', 'D', 'O'. */
static void
assert_pages(World *world, guint64 start, const char *wanted)
{
  g_autoptr(GString) got = g_string_new(NULL);
  for (gsize i = 0; i < strlen(wanted); i++)
    g_string_append_c(got, ".DO"[word(world, start + i * PAGE)]);
  g_assert_cmpstr(got->str, ==, wanted);
}

static void
fill(World *world, guint64 start, gsize pages)
{
  rig_scramble(world->process, start, pages * PAGE);
}

/* ---- */

static void
test_first_look(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  rig_map(world.process, HERE, 8 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  fill(&world, HERE + PAGE, 2);
  look(&world);
  assert_pages(&world, HERE, "ODDOOOOO");
  /* By address, in whole pages, none twice. */
  guint64 last = 0;
  for (guint i = 0; i < world.runs->len; i++) {
    const MirrorRun *run = &g_array_index(world.runs, MirrorRun, i);
    g_assert_cmpuint(run->address % PAGE + run->length % PAGE, ==, 0);
    g_assert_cmpuint(run->address, >=, last);
    last = run->address + run->length;
  }
  /* The scratch is no part of it. */
  g_assert_cmpint(word(&world, world.process->scratch), ==, SAME);
  end(&world);
}

static void
test_writes(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  rig_map(world.process, HERE, 8 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  fill(&world, HERE, 4);
  look(&world);
  look(&world);
  assert_pages(&world, HERE, "........");
  fill(&world, HERE + PAGE, 1);     /* by a system call */
  fill(&world, HERE + 5 * PAGE, 1); /* where nothing was */
  rig_write(world.process, HERE + 3 * PAGE + 17, "tracer", 6);
  look(&world);
  assert_pages(&world, HERE, ".D.D.D..");
  /* By an instruction. Only who compares contents can tell that it changed nothing. */
  rig_store(world.process, HERE + 2 * PAGE);
  look(&world);
  g_assert_cmpint(word(&world, HERE + 2 * PAGE), ==,
                  GPOINTER_TO_INT(track) == MIRROR_TRACK_HASH ? SAME : DATA);
  /* Reading is no writing. */
  guint8 bytes[8 * PAGE];
  rig_read(world.process, HERE, bytes, sizeof bytes);
  look(&world);
  assert_pages(&world, HERE, "......");
  end(&world);
}

static void
test_let_go(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  rig_map(world.process, HERE, 8 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  fill(&world, HERE, 8);
  look(&world);
  RIG_DO(world.process, SYS_madvise, HERE + PAGE, 3 * PAGE, MADV_DONTNEED);
  fill(&world, HERE + 2 * PAGE, 1); /* and written anew */
  look(&world);
  assert_pages(&world, HERE, ".ODO....");
  look(&world);
  g_assert_cmpint(word(&world, HERE + 2 * PAGE), ==, SAME);
  end(&world);
}

static void
test_moved(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  guint64 there = HERE + 64 * PAGE;
  rig_map(world.process, HERE, 4 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  fill(&world, HERE, 3);
  look(&world);
  RIG_DO(world.process, SYS_mremap, HERE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, there);
  look(&world);
  for (int page = 0; page < 3; page++)
    g_assert_cmpint(word(&world, there + page * PAGE), ==, DATA);
  g_assert_cmpint(word(&world, there + 3 * PAGE), !=, DATA);
  look(&world);
  assert_pages(&world, there, "....");
  fill(&world, there, 1);
  look(&world);
  assert_pages(&world, there, "D...");
  end(&world);
}

static void
test_replaced_in_place(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  rig_map(world.process, HERE, 4 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  fill(&world, HERE, 4);
  look(&world);
  RIG_DO(world.process, SYS_munmap, HERE, 4 * PAGE);
  rig_map(world.process, HERE, 4 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  fill(&world, HERE + PAGE, 1);
  look(&world);
  assert_pages(&world, HERE, "ODOO");
  /* In the middle of another. */
  rig_map(world.process, HERE + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  look(&world);
  g_assert_cmpint(word(&world, HERE + 1 * PAGE), ==, SAME);
  end(&world);
}

/* The same bytes at the same place in memory of another kind: the other side has made it anew. */
static void
test_same_bytes_of_another_kind(gconstpointer track)
{
  World world;
  guint8 bytes[2 * PAGE];
  if (!begin(&world, track))
    return;
  rig_map(world.process, HERE, 2 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  fill(&world, HERE, 2);
  rig_read(world.process, HERE, bytes, sizeof bytes);
  look(&world);
  rig_map(world.process, HERE, 2 * PAGE, PROT_READ | PROT_WRITE, SHARED);
  rig_write(world.process, HERE, bytes, sizeof bytes);
  look(&world);
  assert_pages(&world, HERE, "DD");
  end(&world);
}

static void
test_no_access(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  rig_map(world.process, HERE, 4 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  fill(&world, HERE, 2);
  RIG_DO(world.process, SYS_mprotect, HERE, 4 * PAGE, PROT_NONE);
  look(&world);
  assert_pages(&world, HERE, "DDOO");
  look(&world);
  assert_pages(&world, HERE, "....");
  RIG_DO(world.process, SYS_mprotect, HERE, 4 * PAGE, PROT_READ | PROT_WRITE);
  fill(&world, HERE + PAGE, 2);
  RIG_DO(world.process, SYS_mprotect, HERE, 4 * PAGE, PROT_NONE);
  look(&world);
  assert_pages(&world, HERE, ".DD.");
  end(&world);
}

static guint64
map_file(World *world, const char *directory, int prot, int flags)
{
  g_autofree char *path = g_build_filename(directory, "file", NULL);
  g_autofree char *content = g_strnfill(4 * PAGE, 'f');
  g_assert_true(g_file_set_contents(path, content, 4 * PAGE, NULL));
  gint64 fd = rig_open(world->process, path, flags & MAP_SHARED ? O_RDWR : O_RDONLY, 0);
  RIG_DO(world->process, SYS_mmap, HERE, 4 * PAGE, prot, flags | MAP_FIXED, fd, 0);
  RIG_DO(world->process, SYS_close, fd);
  return HERE;
}

static void
test_private_file(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  char *directory = rig_tree_make();
  map_file(&world, directory, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  rig_word(world.process, HERE + 2 * PAGE); /* a page that is the file's */
  fill(&world, HERE + PAGE, 1);
  look(&world);
  assert_pages(&world, HERE, "ODOO");
  fill(&world, HERE + 3 * PAGE, 1);
  look(&world);
  assert_pages(&world, HERE, "...D");
  fill(&world, HERE + 3 * PAGE, 1);
  RIG_DO(world.process, SYS_madvise, HERE + 3 * PAGE, PAGE, MADV_DONTNEED);
  look(&world);
  g_assert_cmpint(word(&world, HERE + 3 * PAGE), !=, DATA);
  end(&world);
  rig_tree_remove(directory);
}

/* Its name is gone: what was the file's has to be told, though nobody has written to it. */
static void
test_file_loses_its_name(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  char *directory = rig_tree_make();
  g_autofree char *path = g_build_filename(directory, "file", NULL);
  map_file(&world, directory, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  fill(&world, HERE + PAGE, 1);
  look(&world);
  g_assert_no_errno(unlink(path));
  look(&world);
  assert_pages(&world, HERE, "DDDD");
  look(&world);
  assert_pages(&world, HERE, "....");
  fill(&world, HERE, 1);
  look(&world);
  assert_pages(&world, HERE, "D...");
  end(&world);
  rig_tree_remove(directory);
}

static void
test_shared_file(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  char *directory = rig_tree_make();
  map_file(&world, directory, PROT_READ | PROT_WRITE, MAP_SHARED);
  look(&world);
  g_assert_cmpint(word(&world, HERE + 3 * PAGE), ==, SAME); /* it is in the file */
  fill(&world, HERE + PAGE, 1);
  look(&world);
  g_assert_cmpint(word(&world, HERE + PAGE), ==, DATA);
  if (GPOINTER_TO_INT(track) == MIRROR_TRACK_PAGEMAP) /* the others also tell what came along */
    assert_pages(&world, HERE, ".D..");
  /* What the mirror writes goes home with the file. */
  world.process->primary = FALSE;
  fill(&world, HERE + 2 * PAGE, 1);
  look(&world);
  assert_pages(&world, HERE, "....");
  end(&world);
  rig_tree_remove(directory);
}

/* Pages of shared memory that the process has not got before it are there all the same. */
static void
test_shared_memory(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  rig_map(world.process, HERE, 6 * PAGE, PROT_READ | PROT_WRITE, SHARED);
  fill(&world, HERE, 3);
  RIG_DO(world.process, SYS_madvise, HERE, PAGE, MADV_DONTNEED); /* forgets nothing */
  look(&world);
  assert_pages(&world, HERE, "DDDOOO");
  fill(&world, HERE + PAGE, 1);
  RIG_DO(world.process, SYS_madvise, HERE + PAGE, PAGE, MADV_DONTNEED);
  look(&world);
  g_assert_cmpint(word(&world, HERE + PAGE), !=, HOLE);
  if (GPOINTER_TO_INT(track) == MIRROR_TRACK_HASH)
    g_assert_cmpint(word(&world, HERE + PAGE), ==, DATA);
  end(&world);
}

static void
test_huge_pages(gconstpointer track)
{
  World world;
  enum { HUGE_PAGE = 2 << 20 };
  if (!begin(&world, track))
    return;
  rig_map(world.process, HERE, 4 * HUGE_PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  RIG_DO(world.process, SYS_madvise, HERE, 4 * HUGE_PAGE, MADV_HUGEPAGE);
  rig_write(world.process, HERE, "x", 1);
  rig_write(world.process, HERE + HUGE_PAGE, "x", 1);
  look(&world);
  g_assert_cmpint(word(&world, HERE), ==, DATA);
  g_assert_cmpint(word(&world, HERE + HUGE_PAGE), ==, DATA);
  g_assert_cmpint(word(&world, HERE + 3 * HUGE_PAGE), ==, HOLE);
  look(&world);
  g_assert_cmpint(word(&world, HERE), ==, SAME);
  rig_write(world.process, HERE + 5 * PAGE, "y", 1);
  RIG_DO(world.process, SYS_madvise, HERE + HUGE_PAGE, HUGE_PAGE, MADV_DONTNEED);
  look(&world);
  g_assert_cmpint(word(&world, HERE + 5 * PAGE), ==, DATA);
  g_assert_cmpint(word(&world, HERE + HUGE_PAGE), ==, HOLE);
  g_assert_cmpint(word(&world, HERE + 3 * HUGE_PAGE), ==, SAME);
  end(&world);
}

static gboolean
write_setting(const char *path, const char *value)
{
  g_auto(Fd) fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && io_write_all(fd, value, strlen(value));
}

static void
test_huge_table(gconstpointer track)
{
  World world;
  enum { HUGE_PAGE = 2 << 20 };
  if (!begin(&world, track))
    return;
  /* Where there is none, one is set aside for the time of this test, if we may. */
  const char *setting = "/proc/sys/vm/nr_hugepages";
  g_autofree char *before = NULL;
  g_file_get_contents(setting, &before, NULL, NULL);
  gboolean lent = before && atoi(before) == 0 && write_setting(setting, "1");
  gint64 made = RIG_CALL(world.process, SYS_mmap, HERE, HUGE_PAGE, PROT_READ | PROT_WRITE,
                         PRIVATE | MAP_HUGETLB, (guint64)-1, 0);
  if (made != (gint64)HERE) {
    g_test_skip("this machine has no huge pages set aside (vm.nr_hugepages)");
  } else {
    rig_scramble(world.process, HERE, PAGE);
    look(&world);
    g_assert_cmpint(word(&world, HERE), ==, DATA);
    look(&world);
    g_assert_cmpint(word(&world, HERE), ==, SAME);
    rig_scramble(world.process, HERE + PAGE, PAGE);
    look(&world);
    g_assert_cmpint(word(&world, HERE + PAGE), ==, DATA);
  }
  end(&world);
  if (lent)
    write_setting(setting, before);
}

static void
test_grown(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  rig_map(world.process, HERE, 4 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  fill(&world, HERE, 4);
  look(&world);
  RIG_DO(world.process, SYS_mremap, HERE, 4 * PAGE, 8 * PAGE, 0);
  fill(&world, HERE + 6 * PAGE, 1);
  look(&world);
  g_assert_cmpint(word(&world, HERE + 6 * PAGE), ==, DATA);
  g_assert_cmpint(word(&world, HERE + 5 * PAGE), !=, DATA);
  /* The heap, at both its ends. */
  guint64 heap = RIG_DO(world.process, SYS_brk, 0);
  RIG_DO(world.process, SYS_brk, heap + 6 * PAGE);
  fill(&world, (heap + 2 * PAGE - 1) & -(guint64)PAGE, 1);
  look(&world);
  g_assert_cmpint(word(&world, (heap + 2 * PAGE - 1) & -(guint64)PAGE), ==, DATA);
  end(&world);
}

/* What the caller wrote itself, because the other side said so, is no change. */
static void
test_forget(gconstpointer track)
{
  g_autoptr(GError) error = NULL;
  World world;
  if (!begin(&world, track))
    return;
  rig_map(world.process, HERE, 300 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  fill(&world, HERE, 200);
  look(&world);
  g_autoptr(MirrorLayout) layout = mirror_layout_read(world.process, &error);
  for (int count = 3; count <= 150; count += 147) { /* few runs, and many */
    g_autoptr(GArray) mine = g_array_new(FALSE, FALSE, sizeof(MirrorRun));
    for (int i = 0; i < count; i++) {
      MirrorRun run = {HERE + 2 * i * PAGE, PAGE, i % 5 ? MIRROR_RUN_DATA : MIRROR_RUN_HOLE};
      if (run.kind == MIRROR_RUN_HOLE)
        RIG_DO(world.process, SYS_madvise, run.address, PAGE, MADV_DONTNEED);
      else
        fill(&world, run.address, 1);
      g_array_append_val(mine, run);
    }
    mirror_tracker_forget(world.tracker, layout, mine, &error);
    g_assert_no_error(error);
    look(&world);
    for (int i = 0; i < count; i++)
      g_assert_cmpint(word(&world, HERE + 2 * i * PAGE), !=, DATA);
    fill(&world, HERE + 2 * PAGE, 1);
    look(&world);
    assert_pages(&world, HERE, "..D.");
  }
  end(&world);
}

static void
test_no_descriptor_is_left(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  look(&world);
  g_autofree char *path = g_strdup_printf("/proc/%d/fd", world.process->pid);
  g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
  for (const char *name; (name = g_dir_read_name(directory));) {
    g_autofree char *link = g_build_filename(path, name, NULL), *to = g_file_read_link(link, NULL);
    g_assert_null(to ? strstr(to, "userfaultfd") : NULL);
  }
  end(&world);
}

/* Terabytes of addresses with nothing behind them: refused, before the kernel gets page tables for them all.
 */
static void
test_too_much(gconstpointer track)
{
  World world;
  if (!begin(&world, track))
    return;
  g_autoptr(GError) error = NULL;
  guint64 memory = (guint64)sysconf(_SC_PHYS_PAGES) * PAGE;
  rig_map(world.process, HERE, MIRROR_TRACK_MEMORIES * memory, PROT_READ | PROT_WRITE,
          PRIVATE | MAP_NORESERVE);
  g_autoptr(MirrorLayout) layout = mirror_layout_read(world.process, &error);
  g_assert_no_error(error);
  g_assert_false(mirror_tracker_changed(world.tracker, layout, world.runs, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
  end(&world);
}

static void
test_names(void)
{
  for (MirrorTrack track = MIRROR_TRACK_AUTO; track <= MIRROR_TRACK_HASH; track++) {
    MirrorTrack parsed;
    g_assert_true(mirror_track_parse(mirror_track_name(track), &parsed));
    g_assert_cmpint(parsed, ==, track);
  }
  MirrorTrack parsed;
  g_assert_false(mirror_track_parse("", &parsed));
  g_assert_false(mirror_track_parse("page", &parsed));
}

static void
test_auto(void)
{
  World world;
  g_assert_true(begin(&world, GINT_TO_POINTER(MIRROR_TRACK_AUTO)));
  g_assert_cmpint(mirror_tracker_kind(world.tracker), !=, MIRROR_TRACK_AUTO);
  end(&world);
}

int
main(int argc, char **argv)
{
  static const struct {
    const char *name;
    void (*test)(gconstpointer track);
  } tests[] = {
      {"first-look", test_first_look},
      {"writes", test_writes},
      {"let-go", test_let_go},
      {"moved", test_moved},
      {"replaced-in-place", test_replaced_in_place},
      {"same-bytes-of-another-kind", test_same_bytes_of_another_kind},
      {"no-access", test_no_access},
      {"private-file", test_private_file},
      {"file-loses-its-name", test_file_loses_its_name},
      {"shared-file", test_shared_file},
      {"shared-memory", test_shared_memory},
      {"huge-pages", test_huge_pages},
      {"huge-table", test_huge_table},
      {"grown", test_grown},
      {"forget", test_forget},
      {"no-descriptor-is-left", test_no_descriptor_is_left},
      {"too-much", test_too_much},
  };
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/tracker/names", test_names);
  g_test_add_func("/tracker/auto", test_auto);
  for (MirrorTrack track = MIRROR_TRACK_PAGEMAP; track <= MIRROR_TRACK_HASH; track++)
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++) {
      g_autofree char *path = g_strdup_printf("/tracker/%s/%s", mirror_track_name(track), tests[i].name);
      g_test_add_data_func(path, GINT_TO_POINTER(track), tests[i].test);
    }
  return g_test_run();
}

/* A process's mappings as a list: canonical, packed and unpacked, and what has to happen so that one becomes
 * another. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "mirror/layout.h"
#include "rig.h"

enum { PAGE = 4096, PAGES = 256 };
#define HERE 0x200000000ull
enum { PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, SHARED = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED };

static MirrorLayout *
read_layout(MirrorProcess *process)
{
  g_autoptr(GError) error = NULL;
  MirrorLayout *layout = mirror_layout_read(process, &error);
  g_assert_no_error(error);
  return layout;
}

static const MirrorMapping *
at(const MirrorLayout *layout, guint64 address)
{
  const MirrorMapping *mapping = mirror_layout_find(layout, address);
  g_assert_nonnull(mapping);
  return mapping;
}

/* Ordered, not empty, no two that could be one. */
static void
assert_canonical(const MirrorLayout *layout)
{
  for (guint i = 0; i < layout->mappings->len; i++) {
    const MirrorMapping *mapping = &g_array_index(layout->mappings, MirrorMapping, i);
    g_assert_cmpuint(mapping->start, <, mapping->end);
    g_assert_cmpuint((mapping->start | mapping->end) % PAGE, ==, 0);
    g_assert_cmpint(mapping->kind, !=, MIRROR_MAP_DETACHED);
    gboolean named = mapping->kind == MIRROR_MAP_FILE || mapping->kind == MIRROR_MAP_SHARED_FILE ||
                     mapping->kind == MIRROR_MAP_FOREIGN;
    g_assert_cmpint(mapping->path != NULL, ==, named);
    if (i == 0)
      continue;
    const MirrorMapping *before = mapping - 1;
    g_assert_cmpuint(before->end, <=, mapping->start);
    if (before->end == mapping->start && mirror_mapping_alike(before, mapping))
      g_assert_true(mapping->path && mapping->offset != before->offset + (before->end - before->start));
  }
}

/* ---- reading ---- */

static void
test_of_a_new_process(void)
{
  MirrorProcess *process = rig_puppet("sleep");
  g_autoptr(MirrorLayout) layout = read_layout(process);
  assert_canonical(layout);
  g_assert_cmpuint(layout->vdso_end, >, layout->vdso);
  g_assert_null(mirror_layout_find(layout, layout->vdso));
  g_assert_null(mirror_layout_find(layout, process->scratch));
  g_assert_null(mirror_layout_find(layout, process->scratch + MIRROR_SCRATCH_SIZE - 1));
  guint64 stack = arch_sp(mirror_thread_registers(mirror_thread_leader(process), NULL));
  g_assert_cmpint(at(layout, stack)->kind, ==, MIRROR_MAP_STACK);
  const MirrorMapping *code =
      at(layout, arch_pc(mirror_thread_registers(mirror_thread_leader(process), NULL)));
  g_assert_cmpint(code->kind, ==, MIRROR_MAP_FILE);
  g_assert_cmpint(code->prot, ==, PROT_READ | PROT_EXEC);
  rig_end(process);
}

static void
test_kinds(void)
{
  MirrorProcess *process = rig_puppet("sleep");
  char *directory = rig_tree_make();
  g_autofree char *path = g_build_filename(directory, "two\nlines and (deleted) words", NULL);
  g_autofree char *lost = g_build_filename(directory, "lost", NULL);
  g_assert_true(g_file_set_contents(path, "x", 1, NULL));
  g_assert_true(g_file_set_contents(lost, "x", 1, NULL));
  gint64 fd = rig_open(process, path, O_RDWR, 0), gone = rig_open(process, lost, O_RDWR, 0);
  gint64 zero = rig_open(process, "/dev/zero", O_RDWR, 0);
  static const struct {
    int file, prot, flags; /* file: 0 none, 1 named, 2 deleted, 3 device */
    MirrorMapKind kind, area;
  } table[] = {
      {0, PROT_READ | PROT_WRITE, MAP_PRIVATE, MIRROR_MAP_ANONYMOUS, MIRROR_MAP_ANONYMOUS},
      {0, PROT_NONE, MAP_SHARED, MIRROR_MAP_SHARED, MIRROR_MAP_SHARED},
      {1, PROT_READ | PROT_WRITE, MAP_PRIVATE, MIRROR_MAP_FILE, MIRROR_MAP_FILE},
      {1, PROT_READ, MAP_SHARED, MIRROR_MAP_FILE, MIRROR_MAP_FILE},
      {1, PROT_READ | PROT_WRITE, MAP_SHARED, MIRROR_MAP_SHARED_FILE, MIRROR_MAP_SHARED_FILE},
      {2, PROT_READ | PROT_WRITE, MAP_PRIVATE, MIRROR_MAP_ANONYMOUS, MIRROR_MAP_DETACHED},
      {2, PROT_READ | PROT_WRITE, MAP_SHARED, MIRROR_MAP_FOREIGN, MIRROR_MAP_FOREIGN},
      {3, PROT_READ | PROT_WRITE, MAP_SHARED, MIRROR_MAP_SHARED, MIRROR_MAP_SHARED},
  };
  for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
    const gint64 from[] = {-1, fd, gone, zero};
    int flags = table[i].flags | MAP_FIXED | (table[i].file ? 0 : MAP_ANONYMOUS);
    RIG_DO(process, SYS_mmap, HERE + 2 * i * PAGE, PAGE, table[i].prot, flags, from[table[i].file], 0);
  }
  g_assert_no_errno(unlink(lost));
  g_autoptr(MirrorLayout) layout = read_layout(process);
  assert_canonical(layout);
  for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
    const MirrorMapping *mapping = at(layout, HERE + 2 * i * PAGE);
    g_assert_cmpint(mapping->kind, ==, table[i].kind);
    g_assert_cmpint(mapping->prot, ==, table[i].prot);
    if (mapping->kind == MIRROR_MAP_FILE)
      g_assert_cmpstr(mapping->path, ==, path);
    MirrorMapKind kind = MIRROR_MAP_FOREIGN;
    for (guint k = 0; k < layout->areas->len; k++)
      if (g_array_index(layout->areas, MirrorMapping, k).start == HERE + 2 * i * PAGE)
        kind = g_array_index(layout->areas, MirrorMapping, k).kind;
    g_assert_cmpint(kind, ==, table[i].area);
  }
  rig_end(process);
  rig_tree_remove(directory);
}

/* However the kernel has cut it up. */
static void
test_neighbours_are_one(void)
{
  MirrorProcess *process = rig_puppet("sleep");
  rig_map(process, HERE, 8 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  RIG_DO(process, SYS_madvise, HERE + 2 * PAGE, PAGE, MADV_DONTFORK); /* an area of its own */
  RIG_DO(process, SYS_mprotect, HERE + 5 * PAGE, PAGE, PROT_READ);
  g_autoptr(MirrorLayout) layout = read_layout(process);
  g_assert_cmpuint(at(layout, HERE)->end, ==, HERE + 5 * PAGE);
  g_assert_cmpuint(at(layout, HERE + 5 * PAGE)->end, ==, HERE + 6 * PAGE);
  g_assert_cmpuint(at(layout, HERE + 7 * PAGE)->start, ==, HERE + 6 * PAGE);
  g_assert_cmpuint(layout->areas->len, >, layout->mappings->len);
  /* A file's pages only where they go on. */
  char *directory = rig_tree_make();
  g_autofree char *path = g_build_filename(directory, "file", NULL);
  g_assert_true(g_file_set_contents(path, "x", 1, NULL));
  gint64 fd = rig_open(process, path, O_RDONLY, 0);
  static const int pages[] = {0, 1, 1, 2, 0};
  for (int i = 0; i < 5; i++)
    RIG_DO(process, SYS_mmap, HERE + (100 + i) * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd,
           pages[i] * PAGE);
  mirror_layout_free(g_steal_pointer(&layout));
  layout = read_layout(process);
  assert_canonical(layout);
  g_assert_cmpuint(at(layout, HERE + 101 * PAGE)->start, ==, HERE + 100 * PAGE);
  g_assert_cmpuint(at(layout, HERE + 102 * PAGE)->start, ==, HERE + 102 * PAGE);
  g_assert_cmpuint(at(layout, HERE + 103 * PAGE)->start, ==, HERE + 102 * PAGE);
  g_assert_cmpuint(at(layout, HERE + 104 * PAGE)->start, ==, HERE + 104 * PAGE);
  rig_end(process);
  rig_tree_remove(directory);
}

static void
test_renew(void)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("sleep");
  MirrorLayout *layout = NULL;
  g_assert_true(mirror_layout_renew(process, &layout, &error));
  MirrorLayout *first = layout;
  g_assert_true(mirror_layout_renew(process, &layout, &error));
  g_assert_true(layout == first);
  rig_map(process, HERE, PAGE, PROT_READ, PRIVATE);
  g_assert_true(mirror_layout_renew(process, &layout, &error));
  g_assert_nonnull(mirror_layout_find(layout, HERE));
  mirror_layout_free(layout);
  rig_end(process);
}

/* ---- packing ---- */

static void
assert_same(const MirrorLayout *a, const MirrorLayout *b)
{
  g_assert_cmpuint(a->mappings->len, ==, b->mappings->len);
  for (guint i = 0; i < a->mappings->len; i++) {
    const MirrorMapping *one = &g_array_index(a->mappings, MirrorMapping, i);
    const MirrorMapping *other = &g_array_index(b->mappings, MirrorMapping, i);
    g_assert_cmphex(one->start, ==, other->start);
    g_assert_cmphex(one->end, ==, other->end);
    g_assert_cmphex(one->offset, ==, other->offset);
    g_assert_true(mirror_mapping_alike(one, other));
  }
}

static MirrorLayout *
unpack(GBytes *bytes, GError **error)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  return mirror_layout_unpack(data, length, error);
}

static void
test_round_trip(void)
{
  g_autoptr(GError) error = NULL;
  MirrorProcess *process = rig_puppet("sleep");
  g_autoptr(MirrorLayout) layout = read_layout(process);
  g_autoptr(MirrorLayout) again = unpack(mirror_layout_pack(layout), &error);
  g_assert_no_error(error);
  assert_same(layout, again);
  g_assert_true(g_bytes_equal(mirror_layout_pack(layout), mirror_layout_pack(again)));
  g_autoptr(MirrorLayout) nothing = mirror_layout_unpack((const guint8 *)"", 0, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(nothing->mappings->len, ==, 0);
  rig_end(process);
}

static void
test_hostile(void)
{
  static const struct {
    const char *text;
    gsize length;
  } table[] = {
#define BAD(text) {text, sizeof text}
      BAD(""),
      BAD("x"),
      BAD("200000 1 3 0"),
      BAD("200000 1 3 0 0"),
      BAD("200000 1 3 0 0  "),
      BAD("200000 0 3 0 0 "),                    /* empty */
      BAD("0 1 3 0 0 "),                         /* at nothing */
      BAD("200000 1 8 0 0 "),                    /* such protection */
      BAD("200000 1 3 6 0 "),                    /* foreign */
      BAD("200000 1 3 3 0 "),                    /* detached */
      BAD("200000 1 3 7 0 "),                    /* no kind */
      BAD("200000 1 3 2 0 "),                    /* a file without a name */
      BAD("200000 1 3 2 0 relative"),            /* nor from the root */
      BAD("200000 1 3 0 0 /name"),               /* a name without a file */
      BAD("200000000000 1 3 0 0 "),              /* beyond what there is */
      BAD("200000 ffffffffffffe 3 0 0 "),        /* over the end */
      BAD("1ffffffffffffff 1 3 0 0 "),           /* digits */
      BAD("200000 2 3 0 0 \000200001 1 3 0 0 "), /* over another */
      BAD("200001 1 3 0 0 \000200000 1 3 0 0 "), /* in no order */
      {"200000 1 3 0 0 ", 15},                   /* no end */
      {"200000 1 3 0 0 \000200001", 22},
  };
  for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(MirrorLayout) layout =
        mirror_layout_unpack((const guint8 *)table[i].text, table[i].length, &error);
    if (layout)
      g_error("taken: %s", table[i].text);
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  }
}

/* ---- steps ---- */

static void
take(MirrorProcess *process, const MirrorStep *step)
{
  const MirrorMapping *m = &step->mapping;
  gint64 fd = -1;
  int flags = MAP_FIXED;
  switch (step->kind) {
  case MIRROR_STEP_UNMAP:
    RIG_DO(process, SYS_munmap, m->start, m->end - m->start);
    return;
  case MIRROR_STEP_PROTECT:
    RIG_DO(process, SYS_mprotect, m->start, m->end - m->start, m->prot);
    return;
  case MIRROR_STEP_GROW_STACK:
    rig_store(process, m->start);
    return;
  case MIRROR_STEP_MAP:
    if (m->path)
      fd = rig_open(process, m->path, m->kind == MIRROR_MAP_SHARED_FILE ? O_RDWR : O_RDONLY, 0);
    flags |= m->kind == MIRROR_MAP_SHARED || m->kind == MIRROR_MAP_SHARED_FILE ? MAP_SHARED : MAP_PRIVATE;
    flags |= m->path ? 0 : MAP_ANONYMOUS;
    RIG_DO(process, SYS_mmap, m->start, m->end - m->start, m->prot, flags, fd, m->offset);
    if (fd >= 0)
      RIG_DO(process, SYS_close, fd);
  }
}

/* Whatever is done to the one at random, the steps do to the other, and nothing is left to do then. */
static void
test_steps(void)
{
  g_autoptr(GRand) random = rig_random();
  g_autoptr(GError) error = NULL;
  char *directory = rig_tree_make();
  g_autofree char *path = g_build_filename(directory, "file", NULL);
  g_autofree char *content = g_strnfill(PAGES * PAGE, 'c');
  g_assert_true(g_file_set_contents(path, content, PAGES * PAGE, NULL));
  MirrorProcess *one = rig_puppet("sleep"), *other = rig_puppet("sleep");
  gint64 fd = rig_open(one, path, O_RDWR, 0);
  guint64 stack = arch_sp(mirror_thread_registers(mirror_thread_leader(one), NULL));
  guint most = 0;
  for (int turn = 0; turn < 60; turn++) {
    for (int i = g_rand_int_range(random, 0, 15); i > 0; i--) {
      int first = g_rand_int_range(random, 0, PAGES),
          count = 1 + g_rand_int_range(random, 0, 1 + (PAGES - first) / 3);
      static const int prots[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC};
      int prot = prots[g_rand_int_range(random, 0, 4)];
      guint64 start = HERE + first * PAGE, length = count * PAGE;
      switch (g_rand_int_range(random, 0, 8)) {
      case 0:
      case 1:
        RIG_CALL(one, SYS_mmap, start, length, prot, PRIVATE, (guint64)-1, 0);
        break;
      case 2:
        RIG_CALL(one, SYS_mmap, start, length, prot, SHARED, (guint64)-1, 0);
        break;
      case 3:
        RIG_CALL(one, SYS_mmap, start, length, prot,
                 MAP_FIXED | (g_rand_boolean(random) ? MAP_PRIVATE : MAP_SHARED), fd,
                 g_rand_int_range(random, 0, 4) * PAGE);
        break;
      case 4:
      case 5:
        RIG_CALL(one, SYS_munmap, start, length);
        break;
      case 6:
        RIG_CALL(one, SYS_mprotect, start, length, prot);
        break;
      case 7:
        stack -= g_rand_int_range(random, 0, 4) * PAGE;
        rig_store(one, stack);
        break;
      }
    }
    g_autoptr(MirrorLayout) wanted = read_layout(one);
    g_autoptr(MirrorLayout) have = read_layout(other);
    assert_canonical(wanted);
    g_autoptr(MirrorLayout) told = unpack(mirror_layout_pack(wanted), &error);
    g_assert_no_error(error);
    g_autoptr(GArray) steps = mirror_layout_steps(have, told);
    most = MAX(most, steps->len);
    for (guint i = 0; i < steps->len; i++)
      take(other, &g_array_index(steps, MirrorStep, i));
    g_autoptr(MirrorLayout) now = read_layout(other);
    assert_same(wanted, now);
    g_autoptr(GArray) rest = mirror_layout_steps(now, told);
    g_assert_cmpuint(rest->len, ==, 0);
  }
  g_assert_cmpuint(most, >, 5);
  rig_end(one);
  rig_end(other);
  rig_tree_remove(directory);
}

/* What is as it should be is not touched: its contents are not told anew. */
static void
test_steps_leave_the_rest(void)
{
  MirrorProcess *process = rig_puppet("sleep");
  rig_map(process, HERE, 8 * PAGE, PROT_READ | PROT_WRITE, PRIVATE);
  g_autoptr(MirrorLayout) before = read_layout(process);
  RIG_DO(process, SYS_munmap, HERE + 2 * PAGE, PAGE);
  RIG_DO(process, SYS_mprotect, HERE + 4 * PAGE, PAGE, PROT_READ);
  rig_map(process, HERE + 6 * PAGE, PAGE, PROT_READ | PROT_WRITE, SHARED);
  g_autoptr(MirrorLayout) after = read_layout(process);
  g_autoptr(GArray) steps = mirror_layout_steps(before, after);
  g_assert_cmpuint(steps->len, ==, 3);
  static const struct {
    MirrorStepKind kind;
    int page;
  } wanted[] = {{MIRROR_STEP_UNMAP, 2}, {MIRROR_STEP_PROTECT, 4}, {MIRROR_STEP_MAP, 6}};
  for (guint i = 0; i < 3; i++) {
    const MirrorStep *step = &g_array_index(steps, MirrorStep, i);
    g_assert_cmpint(step->kind, ==, wanted[i].kind);
    g_assert_cmphex(step->mapping.start, ==, HERE + wanted[i].page * PAGE);
    g_assert_cmphex(step->mapping.end, ==, HERE + (wanted[i].page + 1) * PAGE);
  }
  rig_end(process);
}

/* A part of the stack that is protected otherwise is no stack any more to the kernel; it is where it was all
 * the same. */
static void
test_stack_in_pieces(void)
{
  MirrorProcess *process = rig_puppet("sleep");
  guint64 top = arch_sp(mirror_thread_registers(mirror_thread_leader(process), NULL)) & -(guint64)PAGE;
  rig_store(process, top - 40 * PAGE);
  g_autoptr(MirrorLayout) before = read_layout(process);
  RIG_DO(process, SYS_mprotect, top - 20 * PAGE, PAGE, PROT_NONE);
  g_autoptr(MirrorLayout) after = read_layout(process);
  g_autoptr(GArray) steps = mirror_layout_steps(before, after);
  g_assert_cmpuint(steps->len, ==, 1);
  g_assert_cmpint(g_array_index(steps, MirrorStep, 0).kind, ==, MIRROR_STEP_PROTECT);
  rig_end(process);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/layout/read/new-process", test_of_a_new_process);
  g_test_add_func("/layout/read/kinds", test_kinds);
  g_test_add_func("/layout/read/neighbours-are-one", test_neighbours_are_one);
  g_test_add_func("/layout/read/renew", test_renew);
  g_test_add_func("/layout/pack/round-trip", test_round_trip);
  g_test_add_func("/layout/pack/hostile", test_hostile);
  g_test_add_func("/layout/steps/random", test_steps);
  g_test_add_func("/layout/steps/leave-the-rest", test_steps_leave_the_rest);
  g_test_add_func("/layout/steps/stack-in-pieces", test_stack_in_pieces);
  return g_test_run();
}

/* Two twins, one of which does something at random to its memory, in turns: afterwards the other is the same,
 * whatever it was, by each way of tracking. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/twin.h"
#include "rig.h"

#define ARENA        0x200000000ull
#define SHARED_ARENA 0x300000000ull
enum { PAGE = 4096, ARENA_PAGES = 2048, FILE_PAGES = 64 };

typedef struct {
  GRand *random;
  MirrorProcess *process;
  guint64 lowest_stack;
  const char *directory;
  GString *story; /* for who looks at a failure */
  guint done, refused;
  MirrorTrack track;
} World;

static guint64
some_page(World *world)
{
  return ARENA + (guint64)g_rand_int_range(world->random, 0, ARENA_PAGES) * PAGE;
}

static gsize
some_length(World *world, guint64 from)
{
  gsize pages = 1 + (g_rand_int(world->random) >> g_rand_int_range(world->random, 20, 32)) % 600;
  return MIN(pages * PAGE, ARENA + ARENA_PAGES * PAGE - from);
}

static int
some_prot(World *world)
{
  static const int prots[] = {
      PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE,
      PROT_READ | PROT_EXEC};
  return prots[g_rand_int_range(world->random, 0, G_N_ELEMENTS(prots))];
}

static gint64
do_call(World *world, const char *what, gint64 number, const guint64 arguments[6])
{
  gint64 result = rig_call(world->process, number, arguments);
  g_string_append_printf(world->story, "%s(0x%lx, 0x%lx, 0x%lx, 0x%lx) = %ld\n", what, arguments[0],
                         arguments[1], arguments[2], arguments[3], (long)result);
  if (result < 0 && result > -4096)
    world->refused++;
  else
    world->done++;
  return result;
}
#define DO(what, number, ...) do_call(world, what, number, (const guint64[6]){__VA_ARGS__})

static void
map_anonymous(World *world)
{
  guint64 at = some_page(world);
  int flags = g_rand_int_range(world->random, 0, 4) ? MAP_PRIVATE : MAP_SHARED;
  DO("mmap", SYS_mmap, at, some_length(world, at), some_prot(world), MAP_ANONYMOUS | MAP_FIXED | flags,
     (guint64)-1, 0);
}

static void
map_file_at(World *world, guint64 at, gsize length, int prot, int flags)
{
  char path[256];
  g_snprintf(path, sizeof path, "%s/file%d", world->directory, g_rand_int_range(world->random, 0, 3));
  gint64 fd = rig_open(world->process, path, O_RDWR, 0);
  length = MIN(length, FILE_PAGES * PAGE);
  guint64 offset = (guint64)g_rand_int_range(world->random, 0, FILE_PAGES - length / PAGE + 1) * PAGE;
  DO("mmap(file)", SYS_mmap, at, length, prot, MAP_FIXED | flags, fd, offset);
  RIG_DO(world->process, SYS_close, fd);
}

static void
map_file(World *world)
{
  guint64 at = some_page(world);
  map_file_at(world, at, some_length(world, at), some_prot(world), MAP_PRIVATE);
}

/* Elsewhere, since the contents of a file that is shared are the file's. */
static void
map_shared_file(World *world)
{
  guint64 at = SHARED_ARENA + (guint64)g_rand_int_range(world->random, 0, FILE_PAGES) * PAGE;
  gsize length = g_rand_int_range(world->random, 1, 20) * PAGE;
  if (g_rand_boolean(world->random))
    map_file_at(world, at, length, PROT_READ | PROT_WRITE, MAP_SHARED);
  else
    DO("munmap", SYS_munmap, at, length);
  DO("getrandom", SYS_getrandom, at, length / 2, 0);
}

/* A file without a name in the other's world: a memory file, or one that is deleted once it is mapped. */
static void
map_nameless(World *world)
{
  guint64 at = some_page(world);
  guint64 room = mirror_scratch_bytes(world->process);
  gsize length = some_length(world, at);
  length = MIN(length, FILE_PAGES * PAGE);
  rig_write(world->process, room, "nameless", 9);
  gint64 fd = RIG_DO(world->process, SYS_memfd_create, room, 0);
  RIG_DO(world->process, SYS_ftruncate, fd, FILE_PAGES * PAGE);
  gint64 made =
      DO("mmap(memfd)", SYS_mmap, at, length, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, fd, 0);
  rig_scramble(world->process, made, PAGE);
  DO("mmap(memfd)", SYS_mmap, at, length, some_prot(world), MAP_FIXED | MAP_PRIVATE, fd, 0);
  RIG_DO(world->process, SYS_close, fd);
}

/* A mapped file loses its name. */
static void
unlink_mapped(World *world)
{
  char path[256], content[PAGE];
  g_snprintf(path, sizeof path, "%s/lost%u", world->directory, g_rand_int(world->random));
  memset(content, 'l', sizeof content);
  g_assert_true(g_file_set_contents(path, content, sizeof content, NULL));
  guint64 at = some_page(world);
  gint64 fd = rig_open(world->process, path, O_RDONLY, 0);
  DO("mmap(lost)", SYS_mmap, at, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE, fd, 0);
  RIG_DO(world->process, SYS_close, fd);
}

static void
lose_names(World *world)
{
  g_autoptr(GDir) directory = g_dir_open(world->directory, 0, NULL);
  for (const char *name; (name = g_dir_read_name(directory));)
    if (g_str_has_prefix(name, "lost")) {
      g_autofree char *path = g_build_filename(world->directory, name, NULL);
      unlink(path);
      g_string_append_printf(world->story, "unlink(%s)\n", name);
    }
}

static void
unmap(World *world)
{
  guint64 at = some_page(world);
  DO("munmap", SYS_munmap, at, some_length(world, at));
}

static void
protect(World *world)
{
  guint64 at = some_page(world);
  DO("mprotect", SYS_mprotect, at, some_length(world, at), some_prot(world));
}

static void
move(World *world)
{
  guint64 at = some_page(world), to = some_page(world);
  gsize length = some_length(world, at), room = some_length(world, to);
  length = MIN(length, room);
  DO("mremap", SYS_mremap, at, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to);
}

static void
resize(World *world)
{
  guint64 at = some_page(world);
  DO("mremap", SYS_mremap, at, some_length(world, at), some_length(world, at), 0);
}

/* See tracker.h: what the kernel does not tell by its page map. */
static gboolean
is_told(World *world, guint64 at, gsize length)
{
  g_autoptr(MirrorLayout) layout = mirror_layout_read(world->process, NULL);
  for (guint i = 0; i < layout->areas->len; i++) {
    const MirrorMapping *area = &g_array_index(layout->areas, MirrorMapping, i);
    if (area->start < at + length && at < area->end && area->kind != MIRROR_MAP_ANONYMOUS)
      return world->track == MIRROR_TRACK_HASH;
  }
  return TRUE;
}

static void
advise(World *world)
{
  static const int advices[] = {MADV_DONTNEED, MADV_DONTNEED, MADV_REMOVE,
                                MADV_HUGEPAGE, MADV_COLD,     MADV_POPULATE_READ};
  guint64 at = some_page(world);
  gsize length = some_length(world, at);
  int advice = advices[g_rand_int_range(world->random, 0, G_N_ELEMENTS(advices))];
  if ((advice != MADV_DONTNEED && advice != MADV_REMOVE) || is_told(world, at, length))

    DO("madvise", SYS_madvise, at, length, advice);
}

static void
lock(World *world)
{
  guint64 at = some_page(world);
  DO(g_rand_boolean(world->random) ? "mlock" : "munlock",
     g_rand_boolean(world->random) ? SYS_mlock : SYS_munlock, at, PAGE);
}

static void
scramble(World *world)
{
  guint64 at = some_page(world);
  DO("getrandom", SYS_getrandom, at + g_rand_int_range(world->random, 0, PAGE), some_length(world, at), 0);
}

/* What is there is moved about: pages that are again as another was. */
static void
copy(World *world)
{
  guint64 room = mirror_scratch_bytes(world->process), from = some_page(world), to = some_page(world);
  struct {
    guint64 base, length;
  } pieces[2] = {{to, PAGE}, {from, PAGE}};
  rig_write(world->process, room, pieces, sizeof pieces);
  DO("copy", SYS_process_vm_readv, world->process->own_pid, room, 1, room + 16, 1, 0);
}

static void
move_brk(World *world)
{
  guint64 now = RIG_DO(world->process, SYS_brk, 0);
  guint64 next =
      now + g_rand_int_range(world->random, -20, 40) * PAGE + g_rand_int_range(world->random, 0, 100);
  guint64 got = (guint64)DO("brk", SYS_brk, next);
  if (got > now)
    RIG_CALL(world->process, SYS_getrandom, now, got - now, 0);
}

static void
grow_stack(World *world)
{
  world->lowest_stack -= g_rand_int_range(world->random, 0, 30) * PAGE;
  g_string_append_printf(world->story, "stack 0x%lx\n", world->lowest_stack);
  rig_store(world->process, world->lowest_stack);
  RIG_CALL(world->process, SYS_getrandom, world->lowest_stack, 100, 0);
}

static void (*const operations[])(World *) = {
    map_anonymous, map_anonymous, map_file, map_shared_file, map_nameless, unlink_mapped,
    lose_names,    unmap,         protect,  protect,         move,         resize,
    advise,        advise,        lock,     scramble,        scramble,     scramble,
    copy,          copy,          move_brk, grow_stack,
};

/* ---- comparing ---- */

/* Past the end of a file without a name the one dies, the other, which has plain memory there, reads zeros.
 */
static gboolean
is_nameless(const MirrorLayout *layout, guint64 address)
{
  for (guint i = 0; i < layout->areas->len; i++) {
    const MirrorMapping *area = &g_array_index(layout->areas, MirrorMapping, i);
    if (area->start <= address && address < area->end)
      return area->kind == MIRROR_MAP_DETACHED;
  }
  return FALSE;
}

static void
assert_same_memory(World *world, MirrorProcess *a, MirrorProcess *b)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorLayout) first = mirror_layout_read(a, &error);
  g_autoptr(MirrorLayout) second = mirror_layout_read(b, &error);
  g_assert_no_error(error);
  static guint8 one[PAGE], other[PAGE];
  for (guint i = 0; i < first->mappings->len; i++) {
    const MirrorMapping *mapping = &g_array_index(first->mappings, MirrorMapping, i);
    for (guint64 at = mapping->start; at < mapping->end; at += PAGE) {
      gboolean there = mirror_memory_read(a, at, one, PAGE, NULL);
      gboolean there_too = mirror_memory_read(b, at, other, PAGE, NULL);
      if (there != there_too && (is_nameless(first, at) || is_nameless(second, at)))
        continue;
      if (there != there_too || (there && memcmp(one, other, PAGE) != 0))
        g_error("page 0x%lx of a mapping of kind %d (0x%lx-0x%lx, %s) differs (%d %02x, %d %02x) after:\n%s",
                at, mapping->kind, mapping->start, mapping->end, mapping->path ? mapping->path : "", there,
                one[PAGE / 2], there_too, other[PAGE / 2], world->story->str);
    }
  }
  if (g_bytes_equal(mirror_layout_pack(first), mirror_layout_pack(second)))
    return;
  for (guint i = 0; i < MAX(first->mappings->len, second->mappings->len); i++) {
    const MirrorMapping nothing = {0};
    const MirrorMapping *m =
        i < first->mappings->len ? &g_array_index(first->mappings, MirrorMapping, i) : &nothing;
    const MirrorMapping *n =
        i < second->mappings->len ? &g_array_index(second->mappings, MirrorMapping, i) : &nothing;
    if (m->start != n->start || m->end != n->end || !mirror_mapping_alike(m, n) || m->offset != n->offset)
      g_error("mappings %lx-%lx %d kind %d %s and %lx-%lx %d kind %d %s differ after:\n%s", m->start, m->end,
              m->prot, m->kind, m->path ? m->path : "", n->start, n->end, n->prot, n->kind,
              n->path ? n->path : "", world->story->str);
  }
}

static gboolean
inherited(int number, void *user)
{
  return number <= 2;
}

static void
carry(World *world, MirrorTwin *from, MirrorTwin *to)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) files = from->primary
                                   ? mirror_files_read_primary(from->process, inherited, NULL, &error)
                                   : mirror_files_read_mirror(from->process, &error);
  g_assert_no_error(error);
  g_autoptr(MirrorDelta) delta = mirror_twin_capture(from, files, &error);
  if (error)
    g_error("%s, after:\n%s", error->message, world->story->str);
  gboolean begun;
  if (!mirror_twin_apply(to, delta, &begun, &error))
    g_error("%s, after:\n%s", error->message, world->story->str);
}

static void
make_files(const char *directory)
{
  static char content[FILE_PAGES * PAGE];
  for (int i = 0; i < 3; i++) {
    g_autofree char *path = g_strdup_printf("%s/file%d", directory, i);
    memset(content, 'A' + i, sizeof content);
    for (int page = 0; page < FILE_PAGES; page++)
      content[page * PAGE] = (char)page;
    g_assert_true(g_file_set_contents(path, content, sizeof content, NULL));
  }
}

static void
one_life(GRand *random, MirrorTrack track, int turns)
{
  g_autoptr(GError) error = NULL;
  char *directory = rig_tree_make();
  make_files(directory);
  MirrorProcess *primary = rig_puppet("sleep"), *mirror = rig_puppet("sleep");
  mirror->own_pid = mirror_thread_leader(mirror)->own_tid = primary->own_pid;
  g_autoptr(MirrorTwin) device = mirror_twin_new(primary, TRUE, track, -1, &error);
  g_autoptr(MirrorTwin) clone = device ? mirror_twin_new(mirror, FALSE, track, -1, &error) : NULL;
  if (g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED)) {
    g_test_skip(error->message);
    rig_end(primary);
    rig_end(mirror);
    rig_tree_remove(directory);
    return;
  }
  g_assert_no_error(error);
  g_autoptr(GString) story = g_string_new(NULL);
  World world = {
      .random = random, .directory = directory, .story = story, .track = track, .process = primary};
  world.lowest_stack = arch_sp(mirror_thread_registers(mirror_thread_leader(primary), NULL));
  for (int i = 0; i < 30; i++) {
    map_anonymous(&world);
    map_file(&world);
    scramble(&world);
  }
  for (int turn = 0; turn < turns; turn++) {
    MirrorTwin *from = turn % 2 ? clone : device, *to = turn % 2 ? device : clone;
    world.process = from->process;
    g_string_append_printf(story, "---- %s\n", from->primary ? "primary" : "mirror");
    for (int i = g_rand_int_range(random, 0, 12); i > 0; i--)
      operations[g_rand_int_range(random, 0, G_N_ELEMENTS(operations))](&world);
    carry(&world, from, to);
    assert_same_memory(&world, primary, mirror);
    if (story->len > 20000)
      g_string_erase(story, 0, story->len - 10000);
  }
  /* Most of what was tried is to have been possible. */
  g_test_message("%u calls done, %u refused", world.done, world.refused);
  rig_end(primary);
  rig_end(mirror);
  rig_tree_remove(directory);
}

static void
test_lives(gconstpointer track)
{
  g_autoptr(GRand) random = rig_random();
  int lives = g_test_slow() ? 100 : 3;
  for (int life = 0; life < lives; life++) {
    guint32 seed = g_rand_int(random);
    g_autoptr(GRand) own = g_rand_new_with_seed(seed);
    one_life(own, GPOINTER_TO_INT(track), 40);
  }
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_data_func("/random/pagemap", GINT_TO_POINTER(MIRROR_TRACK_PAGEMAP), test_lives);
  g_test_add_data_func("/random/soft-dirty", GINT_TO_POINTER(MIRROR_TRACK_SOFT_DIRTY), test_lives);
  g_test_add_data_func("/random/hash", GINT_TO_POINTER(MIRROR_TRACK_HASH), test_lives);
  return g_test_run();
}

/* Pages that come to a running program: what it does to its memory meanwhile, nobody sees but by the kernel's
 * word. The test has the contents, and the threads of the puppet touch them. */
#include "mirror/late.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "rig.h"

enum { PAGE = COPIES_PAGE, ROOM = 256, PATIENCE_MS = 60000 };
#define HERE       0x200000000ull
#define THERE      0x280000000ull
#define AT(page)   (HERE + (guint64)(page)*PAGE)
#define READ_WRITE (PROT_READ | PROT_WRITE)
#define PRIVATE    (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
#define WORKERS    (BOARD_WORKERS + 1) /* and the first thread */

typedef enum { HONEST, LESS, ELSEWHERE, WRONG_KIND, SHORT, FAILING, MANNERS } Manner;

typedef struct {
  MirrorProcess *process;
  MirrorTracker *tracker;
  MirrorLate *late;
  MirrorLayout *layout;
  GArray *runs; /* of the last look */
  Manner manner;
  guint64 asked; /* pages */
  guint failures;
} World;

static guint64
word_of(guint page)
{
  return page % 7 == 6 ? 0 : 0x1000001ull * (page + 1);
}

/* ---- the clone ---- */

static void
say(MirrorDelta *answer, guint64 address, MirrorRunKind kind)
{
  guint64 word = word_of((address - HERE) / PAGE);
  MirrorRun run = {address, PAGE, kind == MIRROR_RUN_DATA && !word ? MIRROR_RUN_HOLE : kind, 0};
  g_array_append_val(answer->runs, run);
  for (gsize done = 0; done < mirror_run_bytes(&run); done += sizeof word)
    g_byte_array_append(answer->data, (const guint8 *)&word, sizeof word);
}

static gboolean
pull(const MirrorRanges *wanted, MirrorDelta *answer, void *user, GError **error)
{
  World *world = user;
  if (world->manner == FAILING)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the link is gone");
  for (guint i = 0; i < wanted->len; i++)
    for (guint64 at = mirror_ranges_get(wanted, i)->start; at < mirror_ranges_get(wanted, i)->end;
         at += PAGE) {
      world->asked++;
      if (world->manner != LESS || at != mirror_ranges_get(wanted, 0)->start)
        say(answer, at, world->manner == WRONG_KIND ? MIRROR_RUN_FAR : MIRROR_RUN_DATA);
    }
  if (world->manner == ELSEWHERE)
    say(answer, AT(ROOM - 1), MIRROR_RUN_DATA);
  if (world->manner == SHORT)
    g_byte_array_set_size(answer->data, answer->data->len / 2);
  return TRUE;
}

static void
failed(const GError *error, void *user)
{
  ((World *)user)->failures++;
}

/* ---- the program ---- */

static void
look(World *world)
{
  g_autoptr(GError) error = NULL;
  mirror_layout_renew(world->process, &world->layout, &error);
  g_assert_no_error(error);
  g_array_set_size(world->runs, 0);
  g_assert_true(mirror_late_before_capture(world->late, world->layout, &error));
  g_assert_true(mirror_tracker_changed(world->tracker, world->layout, world->runs, &error));
  g_assert_true(mirror_late_after_capture(world->late, world->layout, &error));
}

static gboolean
begin(World *world)
{
  g_autoptr(GError) error = NULL;
  *world = (World){.process = rig_puppet("work"), .runs = g_array_new(FALSE, FALSE, sizeof(MirrorRun))};
  rig_ready(world->process, WORKERS);
  world->process->primary = TRUE;
  int device = rig_open(world->process, "/dev/userfaultfd", O_RDWR, 0);
  world->tracker = mirror_tracker_new(world->process, MIRROR_TRACK_PAGEMAP, -1, &error);
  world->late = world->tracker ? mirror_late_new(world->process, device, pull, world, &error) : NULL;
  if (!world->late) {
    g_test_skip(error->message);
    mirror_tracker_free(world->tracker);
    g_array_unref(world->runs);
    rig_end(world->process);
    return FALSE;
  }
  if (device >= 0)
    RIG_DO(world->process, SYS_close, device);
  mirror_late_on_failure(world->late, failed);
  rig_map(world->process, HERE, ROOM * PAGE, READ_WRITE, PRIVATE);
  g_assert_true(mirror_late_attach(world->late, world->tracker, &error));
  look(world);
  return TRUE;
}

static void
end(World *world)
{
  mirror_late_free(world->late);
  mirror_tracker_free(world->tracker);
  mirror_layout_free(world->layout);
  g_array_unref(world->runs);
  rig_end(world->process);
}

static void
arm(World *world, guint page, guint pages)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  MirrorRun run = {AT(page), pages * PAGE, MIRROR_RUN_FAR, 0};
  g_array_append_val(delta->runs, run);
  RIG_CALL(world->process, SYS_madvise, run.address, run.length, MADV_DONTNEED);
  g_assert_true(mirror_late_put_now(world->late, world->layout, delta, &error));
  look(world);
  g_assert_true(mirror_late_arm(world->late, world->layout, delta, &error));
  g_assert_cmpuint(mirror_late_bytes(world->late), >=, pages * PAGE);
}

static guint64
command_at(guint worker)
{
  return BOARD_ADDRESS + G_STRUCT_OFFSET(Board, command) + worker * sizeof(BoardCommand);
}

static void
start(World *world, guint worker, BoardOperation operation, guint64 number, const guint64 argument[6])
{
  BoardCommand command = {.number = number};
  guint64 now = operation;
  memcpy(command.argument, argument, sizeof command.argument);
  rig_write(world->process, command_at(worker), &command, sizeof command);
  rig_write(world->process, command_at(worker), &now, sizeof now);
}

static gint64
result_of(World *world, guint worker)
{
  return (gint64)rig_word(world->process, command_at(worker) + G_STRUCT_OFFSET(BoardCommand, result));
}

/* Looks without serving anybody, as what that comes to is to be seen. */
static gboolean
is_done(World *world, guint worker)
{
  guint64 word = BOARD_NOTHING;
  g_autoptr(GError) error = NULL;
  mirror_memory_read_present(world->process, command_at(worker), &word, sizeof word, &error);
  g_assert_no_error(error);
  return word == BOARD_NOTHING;
}

/* Until all workers are done; FALSE where serving fails. */
static gboolean
serve(World *world)
{
  gint64 deadline = clock_now_ns() + (gint64)PATIENCE_MS * 1000000;
  for (;;) {
    gboolean done = TRUE;
    for (guint worker = 0; worker < BOARD_WORKERS; worker++)
      done = done && is_done(world, worker);
    if (done)
      return TRUE;
    struct pollfd fd = {mirror_late_fd(world->late), POLLIN, 0};
    if (poll(&fd, 1, 1) > 0 && !mirror_late_serve(world->late, NULL))
      return FALSE;
    g_assert_cmpint(clock_now_ns(), <, deadline);
  }
}

static gint64
perform(World *world, BoardOperation operation, guint64 number, const guint64 argument[6])
{
  rig_resume(world->process);
  start(world, 0, operation, number, argument);
  g_assert_true(serve(world));
  rig_freeze(world->process);
  return result_of(world, 0);
}
#define DO(world, operation, ...) perform(world, BOARD_##operation, 0, (const guint64[6]){__VA_ARGS__})
#define CALL(world, number, ...)  perform(world, BOARD_CALL, number, (const guint64[6]){__VA_ARGS__})

static guint64
sum_of(guint page, guint pages)
{
  guint64 sum = 0;
  for (guint i = page; i < page + pages; i++)
    sum += word_of(i) * (PAGE / sizeof(guint64));
  return sum;
}

static void
assert_changes(World *world, guint64 from, const char *wanted)
{
  g_autoptr(GString) got = g_string_new(NULL);
  look(world);
  for (gsize i = 0; i < strlen(wanted); i++)
    g_string_append_c(got, '.');
  for (guint i = 0; i < world->runs->len; i++) {
    const MirrorRun *run = &g_array_index(world->runs, MirrorRun, i);
    for (guint64 at = run->address; at < run->address + run->length; at += PAGE)
      if (at >= from && at < from + got->len * PAGE)
        got->str[(at - from) / PAGE] = run->kind == MIRROR_RUN_DATA ? 'D' : 'O';
  }
  g_assert_cmpstr(got->str, ==, wanted);
}

/* ---- */

static void
test_touch(void)
{
  World world;
  if (!begin(&world))
    return;
  arm(&world, 0, 64);
  g_assert_cmpuint(DO(&world, LOAD, AT(9)), ==, (guint8)word_of(9));
  g_assert_cmpuint(DO(&world, LOAD, AT(13)), ==, 0);
  g_assert_cmpuint(DO(&world, LOAD, AT(100)), ==, 0); /* armed, and never was anything */
  DO(&world, STORE, AT(40), 5);
  g_assert_cmpuint(world.asked, <, 32);
  assert_changes(&world, AT(36), "....D...");
  /* By the kernel: the whole room into a pipe would not fit. */
  g_assert_cmpuint(DO(&world, SUM, AT(41), 23 * PAGE), ==, sum_of(41, 23));
  g_assert_cmpuint(rig_word(world.process, AT(1) + 8), ==, word_of(1)); /* from outside */
  g_autoptr(GError) error = NULL;
  g_assert_true(mirror_late_fill_all(world.late, &error));
  g_assert_cmpuint(mirror_late_bytes(world.late), ==, 0);
  assert_changes(&world, AT(0), "................");
  /* The tracker has it again. */
  DO(&world, STORE, AT(3), 1);
  assert_changes(&world, AT(0), "...D............");
  arm(&world, 0, 8);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 8 * PAGE), ==, sum_of(0, 8));
  end(&world);
}

static void
test_let_go(void)
{
  World world;
  if (!begin(&world))
    return;
  arm(&world, 0, 64);
  g_assert_cmpint(CALL(&world, SYS_madvise, AT(4), 4 * PAGE, MADV_DONTNEED), ==, 0);
  g_assert_cmpint(CALL(&world, SYS_madvise, AT(12), 4 * PAGE, MADV_FREE), ==, 0);
  g_assert_cmpint(CALL(&world, SYS_munmap, AT(20), 4 * PAGE), ==, 0);
  g_assert_cmpuint(mirror_late_bytes(world.late), ==, 52 * PAGE);
  g_assert_cmpuint(DO(&world, SUM, AT(4), 4 * PAGE), ==, 0);
  g_assert_cmpuint(DO(&world, SUM, AT(12), 2 * PAGE), ==, 0);
  RIG_CALL(world.process, SYS_mmap, AT(20), 4 * PAGE, READ_WRITE, PRIVATE, (guint64)-1);
  g_assert_cmpuint(DO(&world, SUM, AT(20), 4 * PAGE), ==, 0);
  g_assert_cmpuint(world.asked, ==, 0);
  /* What reads as zeros on the device is not what the clone has. */
  look(&world);
  guint changed = 0;
  for (guint i = 0; i < world.runs->len; i++) {
    const MirrorRun *run = &g_array_index(world.runs, MirrorRun, i);
    for (guint64 at = run->address; at < run->address + run->length; at += PAGE)
      changed +=
          (at >= AT(4) && at < AT(8)) || (at >= AT(12) && at < AT(14)) || (at >= AT(20) && at < AT(24));
  }
  g_assert_cmpuint(changed, ==, 4 + 2 + 4);
  g_assert_cmpuint(DO(&world, SUM, AT(24), 8 * PAGE), ==, sum_of(24, 8));
  end(&world);
}

/* By calls made in the program's name, which nobody serves but who waits for them. */
static void
test_injected(void)
{
  World world;
  if (!begin(&world))
    return;
  arm(&world, 0, 64);
  RIG_DO(world.process, SYS_madvise, AT(0), 4 * PAGE, MADV_DONTNEED);
  RIG_DO(world.process, SYS_munmap, AT(8), 4 * PAGE);
  g_assert_cmpuint(
      RIG_DO(world.process, SYS_mremap, AT(16), 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, THERE), ==,
      THERE);
  g_assert_cmpuint(mirror_late_bytes(world.late), ==, 56 * PAGE);
  g_assert_cmpuint(DO(&world, SUM, THERE, 8 * PAGE), ==, sum_of(16, 8));
  end(&world);
}

static void
test_moved(void)
{
  World world;
  if (!begin(&world))
    return;
  arm(&world, 0, 64);
  guint64 to = CALL(&world, SYS_mremap, AT(8), 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, THERE);
  g_assert_cmpuint(to, ==, THERE);
  g_assert_cmpuint(DO(&world, LOAD, THERE + PAGE), ==, (guint8)word_of(9));
  g_assert_cmpuint(DO(&world, LOAD, THERE + 12 * PAGE), ==, 0); /* grown */
  g_assert_cmpuint(rig_word(world.process, THERE + 14 * PAGE), ==, 0);
  to = CALL(&world, SYS_mremap, THERE + 2 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(8));
  g_assert_cmpuint(DO(&world, SUM, AT(8), 2 * PAGE), ==, sum_of(10, 2));
  /* New to the tracker, as it is to the clone. */
  assert_changes(&world, THERE, "DD..DODD");
  g_assert_cmpuint(DO(&world, SUM, THERE + 4 * PAGE, 4 * PAGE), ==, sum_of(12, 4));
  g_assert_cmpuint(DO(&world, SUM, AT(16), 16 * PAGE), ==, sum_of(16, 16));
  end(&world);
}

/* The child's memory is looked at by its own exit status. */
static void
test_fork(void)
{
  World world;
  if (!begin(&world))
    return;
  arm(&world, 0, 64);
  pid_t child = CALL(&world, SYS_clone, SIGCHLD);
  g_assert_cmpint(child, >, 0);
  g_assert_cmpuint(mirror_late_bytes(world.late), ==, 0);
  g_assert_false(mirror_late_has_heirs(world.late));
  g_autofree char *path = g_strdup_printf("/proc/%d/mem", child);
  int memory = open(path, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint(memory, >=, 0);
  for (guint page = 0; page < 64; page++) {
    guint64 word = 1;
    g_assert_cmpint(pread(memory, &word, sizeof word, AT(page)), ==, sizeof word);
    g_assert_cmpuint(word, ==, word_of(page));
  }
  close(memory);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 64 * PAGE), ==, sum_of(0, 64));
  kill(child, SIGKILL); /* its parent's signal would want to be taken */
  end(&world);
}

/* All at once: one reads, others take away what it has not reached, or will never. */
static void
test_racing(void)
{
  World world;
  if (!begin(&world))
    return;
  for (guint round = 0; round < 20; round++) {
    arm(&world, 0, 128);
    rig_resume(world.process);
    start(&world, 0, BOARD_SUM, 0, (const guint64[6]){AT(0), 32 * PAGE});
    start(&world, 1, BOARD_CALL, SYS_madvise,
          (const guint64[6]){AT(40 + round), 4 * PAGE, round % 2 ? MADV_DONTNEED : MADV_FREE});
    start(&world, 2, BOARD_CALL, SYS_mremap,
          (const guint64[6]){AT(64), 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, THERE});
    start(&world, 3, BOARD_SUM, 0, (const guint64[6]){AT(96), 32 * PAGE});
    g_assert_true(serve(&world));
    rig_freeze(world.process);
    g_assert_cmpuint(result_of(&world, 0), ==, sum_of(0, 32));
    g_assert_cmpuint(result_of(&world, 3), ==, sum_of(96, 32));
    g_assert_cmpuint(DO(&world, SUM, THERE, 16 * PAGE), ==, sum_of(64, 16));
    for (guint page = 40 + round; page < 44 + round; page++) {
      guint64 sum = DO(&world, SUM, AT(page), PAGE);
      /* What came before, ahead of who walks there, MADV_FREE leaves until the kernel wants the page. */
      g_assert_true(sum == 0 || (round % 2 == 0 && sum == sum_of(page, 1)));
    }
    g_assert_cmpint(CALL(&world, SYS_munmap, THERE, 16 * PAGE), ==, 0);
    rig_map(world.process, AT(64), 16 * PAGE, READ_WRITE, PRIVATE);
    look(&world);
  }
  end(&world);
}

static void
test_answers(gconstpointer manner)
{
  World world;
  if (!begin(&world))
    return;
  arm(&world, 0, 64);
  world.manner = GPOINTER_TO_INT(manner);
  rig_resume(world.process);
  start(&world, 0, BOARD_LOAD, 0, (const guint64[6]){AT(8)});
  g_assert_false(serve(&world));
  g_assert_cmpuint(world.failures, ==, 1);
  end(&world);
}

/* A session ends and another begins: what is armed still is nobody's. */
static void
test_sessions(void)
{
  World world;
  if (!begin(&world))
    return;
  g_autoptr(GError) error = NULL;
  arm(&world, 0, 64);
  g_assert_true(mirror_late_fill_all(world.late, &error));
  mirror_late_detach(world.late);
  mirror_tracker_free(world.tracker);
  DO(&world, STORE, AT(70), 1);
  g_assert_cmpint(CALL(&world, SYS_munmap, AT(80), PAGE), ==, 0);
  world.tracker = mirror_tracker_new(world.process, MIRROR_TRACK_PAGEMAP, -1, &error);
  g_assert_no_error(error);
  g_assert_true(mirror_late_attach(world.late, world.tracker, &error));
  assert_changes(&world, AT(68), "OODO");
  arm(&world, 8, 8);
  g_assert_cmpuint(DO(&world, SUM, AT(8), 8 * PAGE), ==, sum_of(8, 8));
  end(&world);
}

int
main(int argc, char **argv)
{
  static const char *const manners[] = {"honest", "less", "elsewhere", "wrong kind", "short", "failing"};
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/late/touch", test_touch);
  g_test_add_func("/late/let go", test_let_go);
  g_test_add_func("/late/injected", test_injected);
  g_test_add_func("/late/moved", test_moved);
  g_test_add_func("/late/fork", test_fork);
  g_test_add_func("/late/racing", test_racing);
  g_test_add_func("/late/sessions", test_sessions);
  for (int i = HONEST + 1; i < MANNERS; i++) {
    g_autofree char *path = g_strdup_printf("/late/answers/%s", manners[i]);
    g_test_add_data_func(path, GINT_TO_POINTER(i), test_answers);
  }
  return g_test_run();
}

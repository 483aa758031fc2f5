/* Pages that come when they are touched: a process whose memory the test has, and gives when it is asked. */
#include "mirror/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "mirror/withhold.h"
#include "rig.h"

enum { PAGE = COPIES_PAGE, ROOM = 2048, PATIENCE_MS = 20000 };
#define HERE       0x200000000ull
#define AT(page)   (HERE + (guint64)(page)*PAGE)
#define READ_WRITE (PROT_READ | PROT_WRITE)
#define PRIVATE    (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
#define WORKERS    (BOARD_WORKERS + 1) /* and the first thread */

/* What the other side answers. */
typedef enum {
  HONEST,
  GENEROUS, /* more than was asked for, of what is far */
  NOTHING,
  LESS,
  ELSEWHERE,   /* pages that nobody asked for */
  OVERLAPPING, /* twice the same */
  WRONG_KIND,
  BEYOND, /* over the end of what is far */
  FAILING,
  ANSWERS,
} Manner;

typedef struct {
  MirrorProcess *process;
  MirrorTracker *tracker;
  MirrorCopies *copies;
  MirrorPager *pager;
  MirrorLayout *layout;
  guint64 words[ROOM]; /* what each page of the other side is filled with; 0: zeros */
  Manner manner;
  guint64 asked; /* pages */
  GArray *runs;  /* of the last look */
} World;

/* ---- the other side ---- */

static void
say(const World *world, MirrorDelta *answer, guint64 address, MirrorRunKind kind)
{
  guint64 page = (address - HERE) / PAGE, word = page < ROOM ? world->words[page] : 0;
  MirrorRun run = {address, PAGE, kind == MIRROR_RUN_DATA && !word ? MIRROR_RUN_HOLE : kind, 0};
  g_array_append_val(answer->runs, run);
  for (gsize done = 0; done < mirror_run_bytes(&run); done += sizeof word)
    g_byte_array_append(answer->data, (const guint8 *)&word, sizeof word);
}

static gboolean
pull(const MirrorRanges *wanted, MirrorDelta *answer, void *user, GError **error)
{
  World *world = user;
  g_assert_cmpuint(mirror_ranges_sum(wanted), <=, (guint64)MIRROR_GIVE_MAX * PAGE);
  if (world->manner == FAILING)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the link is gone");
  for (guint i = 0; i < wanted->len; i++)
    for (guint64 at = mirror_ranges_get(wanted, i)->start; at < mirror_ranges_get(wanted, i)->end;
         at += PAGE) {
      world->asked++;
      if (world->manner != NOTHING && (world->manner != LESS || at % (2 * PAGE)))
        say(world, answer, at, world->manner == WRONG_KIND ? MIRROR_RUN_HELD : MIRROR_RUN_DATA);
      if (world->manner == OVERLAPPING)
        say(world, answer, at, MIRROR_RUN_DATA);
    }
  if (world->manner == ELSEWHERE)
    say(world, answer, AT(ROOM - 1), MIRROR_RUN_DATA);
  MirrorRange part;
  for (guint page = 0; page < ROOM && world->manner == GENEROUS; page++)
    if (!mirror_ranges_meet(wanted, AT(page), AT(page + 1), &part) &&
        mirror_pager_is_far(world->pager, AT(page), AT(page + 1)))
      say(world, answer, AT(page), MIRROR_RUN_DATA);
  if (world->manner == BEYOND && answer->runs->len) {
    static const guint8 bytes[PAGE];
    MirrorRun *last = &g_array_index(answer->runs, MirrorRun, answer->runs->len - 1);
    last->length += PAGE;
    if (last->kind == MIRROR_RUN_DATA)
      g_byte_array_append(answer->data, bytes, PAGE);
  }
  return TRUE;
}

/* ---- the world ---- */

static void
read_layout(World *world)
{
  g_autoptr(GError) error = NULL;
  mirror_layout_free(world->layout);
  world->layout = mirror_layout_read(world->process, &error);
  g_assert_no_error(error);
}

static void
look(World *world)
{
  g_autoptr(GError) error = NULL;
  read_layout(world);
  g_array_set_size(world->runs, 0);
  mirror_tracker_changed(world->tracker, world->layout, world->runs, &error);
  g_assert_no_error(error);
}

static MirrorTracker *
make_tracker(MirrorProcess *process, MirrorTrack track)
{
  g_autoptr(GError) error = NULL;
  const char *path = "/dev/userfaultfd";
  rig_write(process, mirror_scratch_bytes(process), path, strlen(path) + 1);
  gint64 device = RIG_CALL(process, SYS_openat, (guint64)AT_FDCWD, mirror_scratch_bytes(process), O_RDWR, 0);
  MirrorTracker *tracker =
      mirror_tracker_new_demanding(process, track, device < 0 ? -1 : (int)device, &error);
  if (g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED))
    return NULL;
  g_assert_no_error(error);
  if (device >= 0)
    RIG_DO(process, SYS_close, device);
  return tracker;
}

/* FALSE where pages are to come on demand, and this machine grants that not; the test is skipped. */
static gboolean
begin(World *world, MirrorTrack track)
{
  *world = (World){.process = rig_puppet("work"), .runs = g_array_new(FALSE, FALSE, sizeof(MirrorRun))};
  rig_ready(world->process, WORKERS);
  world->tracker = make_tracker(world->process, track);
  if (world->tracker && track == MIRROR_TRACK_PAGEMAP && mirror_tracker_demand(world->tracker) < 0)
    g_clear_pointer(&world->tracker, mirror_tracker_free);
  if (!world->tracker) {
    g_test_skip("no userfaultfd for the kernel's own faults here");
    g_array_unref(world->runs);
    rig_end(world->process);
    return FALSE;
  }
  world->copies = mirror_copies_new();
  world->pager = mirror_pager_new(world->process, world->tracker, world->copies, pull, world);
  for (guint page = 0; page < ROOM; page++)
    world->words[page] = 0x1000001ull * (page + 1);
  rig_map(world->process, HERE, ROOM * PAGE, READ_WRITE, PRIVATE);
  look(world);
  return TRUE;
}

static void
end(World *world)
{
  mirror_pager_free(world->pager);
  mirror_tracker_free(world->tracker);
  mirror_copies_free(world->copies);
  mirror_layout_free(world->layout);
  g_array_unref(world->runs);
  rig_end(world->process);
}

/* As a twin applies a delta: what is far, held or a hole is let go, data is written, tracking begins anew. */
static gboolean
apply(World *world, const MirrorDelta *delta, GError **error)
{
  guint64 at = 0;
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (run->kind != MIRROR_RUN_DATA) {
      mirror_pager_forget(world->pager, run->address, run->address + run->length);
      RIG_CALL(world->process, SYS_madvise, run->address, run->length, MADV_DONTNEED);
    } else if (!mirror_pager_write(world->pager, run->address, delta->data->data + at, run->length, error)) {
      return FALSE;
    }
    at += mirror_run_bytes(run);
  }
  look(world);
  return mirror_pager_put_now(world->pager, world->layout, delta, error) &&
         mirror_pager_arm(world->pager, world->layout, delta, error);
}

static void
make_run(const World *world, MirrorDelta *delta, guint page, guint pages, MirrorRunKind kind)
{
  MirrorRun run = {AT(page), pages * PAGE, kind, 0};
  g_array_append_val(delta->runs, run);
  for (guint64 done = 0; done < mirror_run_bytes(&run); done += sizeof(guint64))
    g_byte_array_append(delta->data, (const guint8 *)&world->words[page + done / PAGE], sizeof(guint64));
}

static void
arm(World *world, guint page, guint pages, MirrorRunKind kind)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  make_run(world, delta, page, pages, kind);
  apply(world, delta, &error);
  g_assert_no_error(error);
}

/* ---- the process at work ---- */

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

static gboolean
is_done(World *world, guint worker)
{
  return rig_word(world->process, command_at(worker)) == BOARD_NOTHING;
}

static gint64
result_of(World *world, guint worker)
{
  return (gint64)rig_word(world->process, command_at(worker) + G_STRUCT_OFFSET(BoardCommand, result));
}

/* Serves until all workers are done. FALSE where the pager fails. */
static gboolean
serve(World *world, GError **error)
{
  gint64 deadline = clock_now_ns() + (gint64)PATIENCE_MS * 1000000;
  for (;;) {
    gboolean done = TRUE;
    for (guint worker = 0; worker < BOARD_WORKERS; worker++)
      done = done && is_done(world, worker);
    if (done)
      return TRUE;
    struct pollfd poll_fd = {mirror_pager_fd(world->pager), POLLIN, 0};
    if (poll(&poll_fd, poll_fd.fd >= 0, 1) > 0 && !mirror_pager_serve(world->pager, error))
      return FALSE;
    g_assert_cmpint(clock_now_ns(), <, deadline);
  }
}

static gint64
perform(World *world, BoardOperation operation, guint64 number, const guint64 argument[6])
{
  g_autoptr(GError) error = NULL;
  rig_resume(world->process);
  start(world, 0, operation, number, argument);
  serve(world, &error);
  g_assert_no_error(error);
  rig_freeze(world->process);
  return result_of(world, 0);
}
#define DO(world, operation, ...) perform(world, BOARD_##operation, 0, (const guint64[6]){__VA_ARGS__})
#define CALL(world, number, ...)  perform(world, BOARD_CALL, number, (const guint64[6]){__VA_ARGS__})

static guint8
byte_of(const World *world, guint page)
{
  return (guint8)world->words[page];
}

static guint64
sum_of(const World *world, guint page, guint pages)
{
  guint64 sum = 0;
  for (guint i = page; i < page + pages; i++)
    sum += world->words[i] * (PAGE / sizeof(guint64));
  return sum;
}

/* One letter per page: '.', 'D', 'O' for a hole. */
static void
assert_changes(World *world, guint page, const char *wanted)
{
  g_autoptr(GString) got = g_string_new(NULL);
  look(world);
  for (gsize i = 0; i < strlen(wanted); i++)
    g_string_append_c(got, '.');
  for (guint i = 0; i < world->runs->len; i++) {
    const MirrorRun *run = &g_array_index(world->runs, MirrorRun, i);
    for (guint64 at = run->address; at < run->address + run->length; at += PAGE)
      if (at >= AT(page) && at < AT(page + got->len))
        got->str[(at - AT(page)) / PAGE] = run->kind == MIRROR_RUN_DATA ? 'D' : 'O';
  }
  g_assert_cmpstr(got->str, ==, wanted);
}

/* ---- one page ---- */

static void
test_instructions(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  arm(&world, 0, 64, MIRROR_RUN_FAR);
  g_assert_cmpint(DO(&world, LOAD, AT(0) + 96), ==, byte_of(&world, 0));
  g_assert_cmpint(DO(&world, STORE, AT(40) + 8, 5), ==, 0);
  guint64 words[2];
  rig_read(world.process, AT(40), words, sizeof words);
  g_assert_cmpuint(words[0], ==, world.words[40]);
  g_assert_cmpuint(words[1], ==, 5);
  g_assert_cmpuint(mirror_pager_counts(world.pager)->pulls, ==, 2);
  g_assert_cmpuint(mirror_pager_counts(world.pager)->pages, ==, world.asked);
  g_assert_cmpuint(world.asked, <, 64); /* what nobody touched has not come */
  assert_changes(&world, 39, ".D.");
  end(&world);
}

static void
test_walk(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  arm(&world, 0, 1024, MIRROR_RUN_FAR);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 1024 * PAGE), ==, sum_of(&world, 0, 1024));
  g_assert_cmpuint(world.asked, ==, 1024);
  g_assert_cmpuint(mirror_pager_counts(world.pager)->pulls, <, 16);
  look(&world);
  g_assert_false(mirror_pager_is_far(world.pager, AT(0), AT(1024)));
  assert_changes(&world, 0, "........");
  end(&world);
}

static void
test_system_calls(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  guint64 out = RIG_BOARD(world.process, result[1]), in = RIG_BOARD(world.process, result[0]);
  guint8 bytes[3 * PAGE];
  arm(&world, 0, 64, MIRROR_RUN_FAR);
  /* The kernel reads from far pages, over a border, and writes into others, partly. */
  g_assert_cmpint(CALL(&world, SYS_write, out, AT(8) + 1000, 2 * PAGE), ==, 2 * PAGE);
  g_assert_cmpint(CALL(&world, SYS_read, in, AT(32) + 1000, 2 * PAGE), ==, 2 * PAGE);
  rig_read(world.process, AT(32), bytes, sizeof bytes);
  for (gsize i = 0; i < sizeof bytes; i += 8) {
    guint page = i < 1000 || i >= 1000 + 2 * PAGE ? 32 + i / PAGE : 8 + i / PAGE;
    g_assert_cmpmem(bytes + i, 8, &world.words[page], 8);
  }
  assert_changes(&world, 31, ".DDD.");
  assert_changes(&world, 8, "....");
  end(&world);
}

static void
test_zeros(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  world.words[3] = world.words[4] = 0;
  arm(&world, 0, 8, MIRROR_RUN_FAR);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 8 * PAGE), ==, sum_of(&world, 0, 8));
  assert_changes(&world, 0, "........");
  DO(&world, STORE, AT(4), 1);
  assert_changes(&world, 0, "....D...");
  end(&world);
}

/* Between two far ranges that are near each other lie pages of which nothing is known. */
static void
test_gap(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  DO(&world, STORE, AT(5), 77);
  look(&world);
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  make_run(&world, delta, 0, 4, MIRROR_RUN_FAR);
  make_run(&world, delta, 8, 4, MIRROR_RUN_FAR);
  g_assert_true(apply(&world, delta, &error));
  g_assert_cmpint(DO(&world, LOAD, AT(4)), ==, 0);
  g_assert_cmpint(DO(&world, LOAD, AT(5)), ==, 77);
  g_assert_cmpint(DO(&world, LOAD, AT(6)), ==, 0);
  g_assert_cmpuint(world.asked, ==, 0);
  g_assert_cmpint(DO(&world, LOAD, AT(8)), ==, byte_of(&world, 8));
  DO(&world, STORE, AT(7), 1);
  assert_changes(&world, 0, ".......D....");
  end(&world);
}

static void
test_far_again(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  arm(&world, 0, 16, MIRROR_RUN_FAR);
  DO(&world, SUM, AT(0), 16 * PAGE);
  DO(&world, STORE, AT(3), 9);
  for (guint page = 0; page < 16; page++)
    world.words[page] += 1000;
  arm(&world, 2, 4, MIRROR_RUN_FAR);
  g_assert_true(mirror_pager_is_far(world.pager, AT(2), AT(6)));
  g_assert_cmpuint(DO(&world, SUM, AT(2), 4 * PAGE), ==, sum_of(&world, 2, 4));
  g_assert_cmpint(DO(&world, LOAD, AT(1)), ==, (guint8)(byte_of(&world, 1) - (1000 & 255)));
  /* Nobody has touched it, and it is named once more. */
  arm(&world, 20, 4, MIRROR_RUN_FAR);
  arm(&world, 21, 4, MIRROR_RUN_FAR);
  g_assert_cmpuint(DO(&world, SUM, AT(20), 5 * PAGE), ==, sum_of(&world, 20, 5));
  end(&world);
}

static void
test_data_over_far(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  arm(&world, 0, 16, MIRROR_RUN_FAR);
  DO(&world, LOAD, AT(10));
  for (guint page = 0; page < 16; page++)
    world.words[page] += 1000;
  arm(&world, 4, 8, MIRROR_RUN_DATA); /* partly over far ones, partly over present ones */
  guint64 asked = world.asked;
  g_assert_cmpuint(DO(&world, SUM, AT(4), 8 * PAGE), ==, sum_of(&world, 4, 8));
  g_assert_cmpuint(world.asked, ==, asked);
  assert_changes(&world, 0, "................");
  arm(&world, 0, 2, MIRROR_RUN_HOLE);
  g_assert_cmpint(DO(&world, LOAD, AT(1)), ==, 0);
  g_assert_cmpuint(world.asked, ==, asked);
  end(&world);
}

/* ---- held ---- */

static void
assert_untouched(World *world, const char *wanted)
{
  g_autoptr(GArray) ranges = mirror_pager_untouched(world->pager);
  g_autoptr(GString) got = g_string_new(NULL);
  for (guint i = 0; i < ranges->len; i++)
    g_string_append_printf(got, "%s%d-%d", i ? " " : "",
                           (int)((mirror_ranges_get(ranges, i)->start - HERE) / PAGE),
                           (int)((mirror_ranges_get(ranges, i)->end - HERE) / PAGE));
  g_assert_cmpstr(got->str, ==, wanted);
}

static void
test_held(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  arm(&world, 0, 8, MIRROR_RUN_HELD);
  g_assert_cmpint(DO(&world, LOAD, AT(2)), ==, byte_of(&world, 2));
  DO(&world, STORE, AT(5) + 8, 1);
  g_assert_cmpuint(world.asked, ==, 0);
  assert_untouched(&world, "0-2 3-5 6-8");
  assert_untouched(&world, ""); /* told once */
  assert_changes(&world, 0, ".....D..");
  /* Still there, in the next block as well. */
  g_assert_cmpuint(DO(&world, SUM, AT(6), 2 * PAGE), ==, sum_of(&world, 6, 2));
  world.words[3] = 4711;
  arm(&world, 3, 1, MIRROR_RUN_HELD);
  assert_untouched(&world, "3-4");
  g_assert_cmpint(DO(&world, LOAD, AT(3)), ==, byte_of(&world, 3));
  g_assert_cmpuint(world.asked, ==, 0);
  end(&world);
}

/* Who looks from outside gets what is far and what is held, and makes no change by that. */
static void
test_look_from_outside(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  make_run(&world, delta, 0, 4, MIRROR_RUN_HELD);
  make_run(&world, delta, 4, 4, MIRROR_RUN_FAR);
  g_assert_true(apply(&world, delta, &error));
  for (guint page = 0; page < 8; page++)
    g_assert_cmpuint(rig_word(world.process, AT(page) + PAGE - 8), ==, world.words[page]);
  guint64 word;
  rig_read(world.process, AT(3) + PAGE - 4, &word, sizeof word); /* over a border */
  assert_changes(&world, 0, "........");
  arm(&world, 100, 100, MIRROR_RUN_FAR);
  g_assert_true(mirror_pager_fill_all(world.pager, &error));
  g_assert_false(mirror_pager_is_far(world.pager, HERE, AT(ROOM)));
  g_assert_cmpuint(DO(&world, SUM, AT(100), 100 * PAGE), ==, sum_of(&world, 100, 100));
  end(&world);
}

/* More than the other side gives at once, which happens where much is let go. */
static void
test_much(gconstpointer track)
{
  World world;
  enum { MUCH = 2 * MIRROR_GIVE_MAX + 100 };
  if (!begin(&world, GPOINTER_TO_INT(track)))
    return;
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  rig_map(world.process, HERE, (guint64)MUCH * PAGE, READ_WRITE, PRIVATE | MAP_NORESERVE);
  look(&world);
  MirrorRun run = {AT(0), (guint64)MUCH * PAGE, MIRROR_RUN_FAR, 0};
  g_array_append_val(delta->runs, run);
  g_assert_true(mirror_pager_put_now(world.pager, world.layout, delta, &error) &&
                mirror_pager_arm(world.pager, world.layout, delta, &error));
  g_assert_true(mirror_pager_fill(world.pager, HERE, (guint64)MUCH * PAGE, &error));
  g_assert_false(mirror_pager_is_far(world.pager, HERE, AT(MUCH)));
  g_assert_cmpuint(world.asked, ==, MUCH);
  g_assert_cmpuint(DO(&world, SUM, AT(0), ROOM * PAGE), ==, sum_of(&world, 0, ROOM));
  end(&world);
}

/* ---- what happens to mappings ---- */

/* Far from one mapping into the next, with a third that cannot be read between them and the end. */
static void
test_edges(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  RIG_DO(world.process, SYS_mprotect, AT(8), 8 * PAGE, PROT_READ);
  RIG_DO(world.process, SYS_mprotect, AT(24), 8 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
  look(&world);
  arm(&world, 0, 32, MIRROR_RUN_FAR);
  g_assert_cmpint(DO(&world, LOAD, AT(7) + PAGE - 1), ==, (guint8)(world.words[7] >> 56));
  g_assert_cmpuint(DO(&world, SUM, AT(0), 32 * PAGE), ==, sum_of(&world, 0, 32));
  g_assert_cmpuint(world.asked, ==, 32);
  arm(&world, ROOM - 4, 4, MIRROR_RUN_FAR);
  g_assert_cmpuint(DO(&world, SUM, AT(ROOM - 4), 4 * PAGE), ==, sum_of(&world, ROOM - 4, 4));
  assert_changes(&world, 0, "................................");
  /* Through one answer for all of them. */
  arm(&world, 0, 32, MIRROR_RUN_FAR);
  guint8 bytes[32 * PAGE];
  rig_read(world.process, AT(0), bytes, sizeof bytes);
  for (guint page = 0; page < 32; page++)
    g_assert_cmpmem(bytes + page * PAGE, 8, &world.words[page], 8);
  end(&world);
}

/* As the clone does it: the pages come before they are let go. */
static gint64
let_go(World *world, guint page, guint pages, int advice)
{
  g_autoptr(GError) error = NULL;
  mirror_pager_fill(world->pager, AT(page), pages * PAGE, &error);
  g_assert_no_error(error);
  return CALL(world, SYS_madvise, AT(page), pages * PAGE, advice);
}

static void
test_let_go(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  arm(&world, 0, 16, MIRROR_RUN_FAR);
  g_assert_cmpint(let_go(&world, 4, 4, MADV_DONTNEED), ==, 0);
  g_assert_cmpint(DO(&world, LOAD, AT(5)), ==, 0);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 4 * PAGE), ==, sum_of(&world, 0, 4));
  DO(&world, STORE, AT(6), 3);
  g_assert_cmpuint(DO(&world, SUM, AT(8), 8 * PAGE), ==, sum_of(&world, 8, 8));
  look(&world);
  guint letters[16] = {0};
  for (guint i = 0; i < world.runs->len; i++) {
    const MirrorRun *run = &g_array_index(world.runs, MirrorRun, i);
    for (guint64 at = run->address; at < run->address + run->length; at += PAGE)
      if (at >= HERE && at < AT(16))
        letters[(at - HERE) / PAGE] = 1 + run->kind;
  }
  for (guint page = 0; page < 16; page++)
    g_assert_cmpint(letters[page] != 0, ==, page >= 4 && page < 8);
  g_assert_cmpint(letters[6], ==, 1 + MIRROR_RUN_DATA);
  end(&world);
}

static void
test_moved(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  g_autoptr(GError) error = NULL;
  guint64 there = AT(ROOM + 64);
  arm(&world, 0, 16, MIRROR_RUN_FAR);
  g_assert_true(mirror_pager_resize(world.pager, AT(4), 8 * PAGE, 12 * PAGE, &error));
  g_assert_cmpint(CALL(&world, SYS_mremap, AT(4), 8 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, there),
                  ==, (gint64)there);
  g_assert_cmpuint(DO(&world, SUM, there, 12 * PAGE), ==, sum_of(&world, 4, 8));
  g_assert_cmpuint(DO(&world, SUM, AT(12), 4 * PAGE), ==, sum_of(&world, 12, 4));
  look(&world);
  guint64 told = 0;
  for (guint i = 0; i < world.runs->len; i++) {
    const MirrorRun *run = &g_array_index(world.runs, MirrorRun, i);
    if (run->address >= there && run->address < there + 12 * PAGE && run->kind == MIRROR_RUN_DATA)
      told += run->length;
  }
  g_assert_cmpuint(told, >=, 8 * PAGE);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 4 * PAGE), ==, sum_of(&world, 0, 4));
  end(&world);
}

/* Another mapping in the place of far pages: theirs are gone, the neighbours' are not. */
static void
test_replaced(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  arm(&world, 0, 32, MIRROR_RUN_FAR);
  g_assert_cmpint(CALL(&world, SYS_munmap, AT(4), 8 * PAGE), ==, 0);
  g_assert_cmpint(CALL(&world, SYS_mmap, AT(4), 4 * PAGE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                       (guint64)-1),
                  ==, (gint64)AT(4));
  g_assert_cmpuint(DO(&world, SUM, AT(0), 8 * PAGE), ==, sum_of(&world, 0, 4));
  guint64 room[4 * PAGE / 8];
  rig_read(world.process, AT(4), room, sizeof room);
  for (gsize i = 0; i < G_N_ELEMENTS(room); i++)
    g_assert_cmpuint(room[i], ==, 0);
  g_assert_cmpuint(DO(&world, SUM, AT(12), 4 * PAGE), ==, sum_of(&world, 12, 4));
  look(&world);
  g_assert_cmpuint(DO(&world, SUM, AT(16), 16 * PAGE), ==, sum_of(&world, 16, 16));
  g_assert_cmpuint(DO(&world, SUM, AT(4), 4 * PAGE), ==, 0);
  /* And looked at from outside before the tracker has seen it. */
  arm(&world, 40, 16, MIRROR_RUN_FAR);
  g_assert_cmpint(CALL(&world, SYS_mmap, AT(44), 4 * PAGE, READ_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, (guint64)-1),
                  ==, (gint64)AT(44));
  for (guint page = 40; page < 56; page++)
    g_assert_cmpuint(rig_word(world.process, AT(page)), ==, page >= 44 && page < 48 ? 0 : world.words[page]);
  end(&world);
}

/* What is far, and what is held, is unmapped; then the mapping before it grows over the place. */
static void
test_regrown(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  make_run(&world, delta, ROOM - 32, 16, MIRROR_RUN_FAR);
  make_run(&world, delta, ROOM - 16, 16, MIRROR_RUN_HELD);
  g_assert_true(apply(&world, delta, &error));
  g_assert_cmpint(CALL(&world, SYS_munmap, AT(ROOM - 24), 24 * PAGE), ==, 0);
  g_assert_true(mirror_pager_resize(world.pager, AT(0), (ROOM - 24) * PAGE, ROOM * PAGE, &error));
  g_assert_cmpint(CALL(&world, SYS_mremap, AT(0), (ROOM - 24) * PAGE, ROOM * PAGE, 0), ==, (gint64)AT(0));
  g_assert_cmpint(DO(&world, LOAD, AT(ROOM - 20)), ==, 0);
  g_assert_cmpint(DO(&world, LOAD, AT(ROOM - 10)), ==, 0);
  g_assert_cmpuint(rig_word(world.process, AT(ROOM - 2)), ==, 0);
  g_assert_cmpuint(DO(&world, SUM, AT(ROOM - 32), 32 * PAGE), ==, sum_of(&world, ROOM - 32, 8));
  end(&world);
}

static void
test_protected(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  arm(&world, 0, 16, MIRROR_RUN_FAR);
  g_assert_cmpint(CALL(&world, SYS_mprotect, AT(4), 4 * PAGE, PROT_NONE), ==, 0);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 4 * PAGE), ==, sum_of(&world, 0, 4));
  g_assert_cmpuint(rig_word(world.process, AT(5)), ==, world.words[5]);
  g_assert_cmpint(CALL(&world, SYS_mprotect, AT(4), 4 * PAGE, READ_WRITE), ==, 0);
  g_assert_cmpuint(DO(&world, SUM, AT(0), 16 * PAGE), ==, sum_of(&world, 0, 16));
  assert_changes(&world, 0, "................");
  end(&world);
}

static void
test_locked(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  arm(&world, 0, 64, MIRROR_RUN_FAR);
  g_assert_cmpint(CALL(&world, SYS_mlock, AT(0), 8 * PAGE), ==, 0);
  g_assert_false(mirror_pager_is_far(world.pager, AT(0), AT(8)));
  g_assert_cmpuint(DO(&world, SUM, AT(0), 8 * PAGE), ==, sum_of(&world, 0, 8));
  end(&world);
}

/* ---- several at once ---- */

static void
test_together(void)
{
  g_autoptr(GError) error = NULL;
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  for (guint round = 0; round < 20; round++) {
    arm(&world, 0, 512, MIRROR_RUN_FAR);
    rig_resume(world.process);
    for (guint worker = 0; worker < BOARD_WORKERS; worker++) /* over each other */
      start(&world, worker, BOARD_SUM, 0, (const guint64[6]){AT(worker * 64), 256 * PAGE});
    serve(&world, &error);
    g_assert_no_error(error);
    rig_freeze(world.process);
    for (guint worker = 0; worker < BOARD_WORKERS; worker++)
      g_assert_cmpuint(result_of(&world, worker), ==, sum_of(&world, worker * 64, 256));
    for (guint page = 0; page < 512; page++)
      world.words[page] = page % 7 ? world.words[page] + 0x10001 : 0;
  }
  assert_changes(&world, 0, "................");
  end(&world);
}

/* The threads wait, in the kernel and outside, and are to stop. */
static void
test_freeze(void)
{
  g_autoptr(GError) error = NULL;
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  guint64 out = RIG_BOARD(world.process, result[1]);
  for (guint round = 0; round < 20; round++) {
    arm(&world, 0, 512, MIRROR_RUN_FAR);
    rig_resume(world.process);
    start(&world, 0, BOARD_CALL, SYS_write, (const guint64[6]){out, AT(0), 16});
    start(&world, 1, BOARD_LOAD, 0, (const guint64[6]){AT(100)});
    start(&world, 2, BOARD_STORE, 0, (const guint64[6]){AT(200), round});
    start(&world, 3, BOARD_CALL, SYS_getrandom, (const guint64[6]){AT(300), 8, 0});
    struct pollfd waits = {mirror_pager_fd(world.pager), POLLIN, 0};
    g_assert_cmpint(poll(&waits, 1, PATIENCE_MS), ==, 1);
    if (round % 2)
      g_usleep(2000);
    rig_freeze(world.process);
    rig_resume(world.process);
    serve(&world, &error);
    g_assert_no_error(error);
    rig_freeze(world.process);
    g_assert_cmpint(result_of(&world, 0), ==, 16);
    g_assert_cmpint(result_of(&world, 1), ==, byte_of(&world, 100));
    g_assert_cmpuint(rig_word(world.process, AT(200)), ==, round);
    g_assert_cmpuint(rig_word(world.process, AT(200) + 8), ==, world.words[200]);
    g_assert_cmpint(result_of(&world, 3), ==, 8);
    assert_changes(&world, 199, ".D.");
  }
  end(&world);
}

/* ---- a hostile side ---- */

static void
test_answers(gconstpointer manner)
{
  g_autoptr(GError) error = NULL;
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  arm(&world, 0, 16, MIRROR_RUN_FAR);
  if (GPOINTER_TO_INT(manner) == BEYOND) /* what comes with it is over the end */
    arm(&world, 8, 8, MIRROR_RUN_DATA);
  world.manner = GPOINTER_TO_INT(manner);
  rig_resume(world.process);
  start(&world, 0, BOARD_LOAD, 0, (const guint64[6]){AT(2)});
  gboolean good = serve(&world, &error);
  if (world.manner == HONEST || world.manner == GENEROUS) {
    g_assert_no_error(error);
    g_assert_cmpint(result_of(&world, 0), ==, byte_of(&world, 2));
    rig_freeze(world.process);
    g_assert_cmpint(mirror_pager_is_far(world.pager, AT(15), AT(16)), ==, world.manner == HONEST);
    g_assert_cmpuint(DO(&world, SUM, AT(0), 16 * PAGE), ==, sum_of(&world, 0, 16));
  } else {
    g_assert_false(good);
    DoppelErrorCode wanted = world.manner == FAILING ? DOPPEL_ERROR_GONE : DOPPEL_ERROR_HOSTILE;
    g_assert_error(error, DOPPEL_ERROR, (gint)wanted);
  }
  end(&world);
}

/* Runs of a delta where nothing can be far. */
static void
test_arm_hostile(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  g_autofree char *directory = rig_tree_make(), *path = g_build_filename(directory, "file", NULL);
  g_autofree char *content = g_strnfill(4 * PAGE, 'f');
  g_assert_true(g_file_set_contents(path, content, 4 * PAGE, NULL));
  gint64 fd = rig_open(world.process, path, O_RDWR, 0);
  RIG_DO(world.process, SYS_mmap, AT(8), 4 * PAGE, READ_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
  RIG_DO(world.process, SYS_mmap, AT(16), 4 * PAGE, READ_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  rig_map(world.process, AT(24), 4 * PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED);
  RIG_DO(world.process, SYS_munmap, AT(32), 4 * PAGE);
  look(&world);
  static const guint at[] = {8, 16, 24, 32, 6, 30, ROOM - 1, ROOM, ROOM + 1000000};
  for (gsize i = 0; i < G_N_ELEMENTS(at); i++)
    for (MirrorRunKind kind = MIRROR_RUN_FAR; kind <= MIRROR_RUN_HELD; kind++) {
      g_autoptr(GError) error = NULL;
      g_autoptr(MirrorDelta) delta = mirror_delta_new();
      MirrorRun run = {AT(at[i]), 4 * PAGE, kind, 0};
      g_array_append_val(delta->runs, run);
      g_byte_array_set_size(delta->data, mirror_run_bytes(&run));
      g_assert_false(mirror_pager_put_now(world.pager, world.layout, delta, &error) &&
                     mirror_pager_arm(world.pager, world.layout, delta, &error));
      g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    }
  end(&world);
  rig_tree_remove(g_steal_pointer(&directory));
}

/* ---- without a userfaultfd for it ---- */

static void
test_at_once(void)
{
  World world;
  if (!begin(&world, MIRROR_TRACK_HASH))
    return;
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  g_assert_cmpint(mirror_pager_fd(world.pager), ==, -1);
  world.words[5] = 0;
  make_run(&world, delta, 0, 8, MIRROR_RUN_FAR);
  make_run(&world, delta, 8, 4, MIRROR_RUN_HELD);
  make_run(&world, delta, 40, 8, MIRROR_RUN_FAR);
  g_assert_true(apply(&world, delta, &error));
  g_assert_cmpuint(world.asked, ==, 16);
  g_assert_cmpuint(mirror_pager_counts(world.pager)->pulls, ==, 1);
  g_assert_false(mirror_pager_is_far(world.pager, HERE, AT(ROOM)));
  g_assert_cmpuint(DO(&world, SUM, AT(0), 12 * PAGE), ==, sum_of(&world, 0, 12));
  g_assert_cmpuint(DO(&world, SUM, AT(40), 8 * PAGE), ==, sum_of(&world, 40, 8));
  assert_untouched(&world, "");
  g_assert_true(mirror_pager_serve(world.pager, &error));
  static const Manner hostile[] = {NOTHING, LESS, ELSEWHERE, OVERLAPPING, WRONG_KIND, BEYOND};
  for (gsize i = 0; i < G_N_ELEMENTS(hostile); i++) {
    world.manner = hostile[i];
    g_test_message("manner %d", world.manner);
    g_assert_false(apply(&world, delta, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    g_clear_error(&error);
  }
  end(&world);
}

/* ---- everything at random, against a model ---- */

enum { MODEL_PAGES = 160, MODEL_TURNS = 1500 };

typedef struct {
  guint64 first;    /* word of the page; the others are `rest` */
  guint64 rest;     /* of the other side's, or 0 */
  gboolean changed; /* by the process, since the last look */
  gboolean let_go;  /* by it, since then: a hole will do */
  gboolean held;    /* and not touched */
} ModelPage;

static void
model_look(World *world, ModelPage *model)
{
  look(world);
  guint said[MODEL_PAGES] = {0};
  for (guint i = 0; i < world->runs->len; i++) {
    const MirrorRun *run = &g_array_index(world->runs, MirrorRun, i);
    for (guint64 at = run->address; at < run->address + run->length; at += PAGE)
      if (at >= HERE && at < AT(MODEL_PAGES))
        said[(at - HERE) / PAGE] = run->kind == MIRROR_RUN_DATA ? 'D' : 'O';
  }
  for (guint page = 0; page < MODEL_PAGES; page++) {
    ModelPage *is = &model[page];
    if ((said[page] != 0) != is->changed || (said[page] == 'O' && !(is->let_go && !is->first && !is->rest)))
      g_error("page %u: said '%c', changed %d, let go %d", page, said[page] ? (char)said[page] : '.',
              is->changed, is->let_go);
    is->changed = is->let_go = FALSE;
  }
}

static void
model_untouched(World *world, const ModelPage *model)
{
  g_autoptr(GArray) ranges = mirror_pager_untouched(world->pager);
  g_autoptr(GArray) wanted = mirror_ranges_new();
  for (guint page = 0; page < MODEL_PAGES; page++)
    if (model[page].held)
      mirror_ranges_add(wanted, AT(page), AT(page + 1));
  g_assert_cmpmem(ranges->data, ranges->len * sizeof(MirrorRange), wanted->data,
                  wanted->len * sizeof(MirrorRange));
}

static guint
some_pages(GRand *random, guint page, guint limit)
{
  guint pages = g_rand_int_range(random, 1, limit);
  return MIN(pages, MODEL_PAGES - page);
}

/* A new block: some of it is what the other side says. */
static void
model_arm(World *world, ModelPage *model, GRand *random)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  static const MirrorRunKind kinds[] = {MIRROR_RUN_FAR, MIRROR_RUN_FAR, MIRROR_RUN_HELD, MIRROR_RUN_DATA,
                                        MIRROR_RUN_HOLE};
  model_look(world, model);
  for (guint page = 0; page < MODEL_PAGES; page++)
    model[page].held = FALSE; /* told before, if it was */
  g_array_unref(mirror_pager_untouched(world->pager));
  for (guint page = g_rand_int_range(random, 0, 20); page < MODEL_PAGES;) {
    guint pages = some_pages(random, page, 24);
    MirrorRunKind kind = kinds[g_rand_int_range(random, 0, G_N_ELEMENTS(kinds))];
    for (guint i = page; i < page + pages; i++) {
      world->words[i] =
          kind == MIRROR_RUN_HOLE || g_rand_int_range(random, 0, 6) == 0 ? 0 : g_rand_int(random);
      model[i] = (ModelPage){world->words[i], world->words[i], FALSE, FALSE, kind == MIRROR_RUN_HELD};
    }
    make_run(world, delta, page, pages, kind);
    page += pages + (g_rand_boolean(random) ? 0 : g_rand_int_range(random, 1, 40));
  }
  apply(world, delta, &error);
  g_assert_no_error(error);
}

static void
model_touch(ModelPage *model, guint page, guint pages)
{
  for (guint i = page; i < page + pages; i++)
    model[i].held = FALSE;
}

static void
model_store(World *world, ModelPage *model, guint page, guint64 word, gboolean from_outside)
{
  if (from_outside)
    rig_write(world->process, AT(page), &word, sizeof word);
  else
    DO(world, STORE, AT(page), word);
  model[page].first = word;
  model[page].changed = TRUE;
}

static void
model_let_go(World *world, ModelPage *model, guint page, guint pages)
{
  g_assert_cmpint(let_go(world, page, pages, MADV_DONTNEED), ==, 0);
  for (guint i = page; i < page + pages; i++)
    model[i] = (ModelPage){.changed = TRUE, .let_go = TRUE};
}

static void
model_move(World *world, ModelPage *model, GRand *random, guint page, guint pages)
{
  guint64 out = RIG_BOARD(world->process, result[1]), in = RIG_BOARD(world->process, result[0]);
  guint to = g_rand_int_range(random, 0, MODEL_PAGES), word_at = g_rand_int_range(random, 1, PAGE / 8);
  /* By the kernel: a word of one page into the first word of another. */
  g_assert_cmpint(CALL(world, SYS_write, out, AT(page) + word_at * 8, 8), ==, 8);
  g_assert_cmpint(CALL(world, SYS_read, in, AT(to), 8), ==, 8);
  guint64 word = model[page].rest;
  model_touch(model, to, 1);
  model[to].first = word;
  model[to].changed = TRUE;
}

static void
model_check(World *world, ModelPage *model, guint page, guint pages, gboolean from_outside)
{
  if (!from_outside) {
    guint64 sum = 0;
    for (guint i = page; i < page + pages; i++)
      sum += model[i].first + model[i].rest * (PAGE / 8 - 1);
    g_assert_cmpuint(DO(world, SUM, AT(page), pages * PAGE), ==, sum);
    return;
  }
  g_autofree guint64 *words = g_malloc(pages * PAGE);
  rig_read(world->process, AT(page), words, pages * PAGE);
  for (guint i = 0; i < pages * PAGE / 8; i++) {
    const ModelPage *is = &model[page + i / (PAGE / 8)];
    g_assert_cmpuint(words[i], ==, i % (PAGE / 8) ? is->rest : is->first);
  }
}

static void
model_turn(World *world, ModelPage *model, GRand *random)
{
  guint page = g_rand_int_range(random, 0, MODEL_PAGES);
  guint pages = some_pages(random, page, 8);
  gboolean outside = g_rand_int_range(random, 0, 4) == 0;
  switch (g_rand_int_range(random, 0, 12)) {
  case 0:
    model_arm(world, model, random);
    return;
  case 1:
    model_look(world, model);
    return;
  case 2:
    model_untouched(world, model);
    for (guint i = 0; i < MODEL_PAGES; i++)
      model[i].held = FALSE;
    return;
  case 3:
    model_let_go(world, model, page, pages);
    return;
  case 4:
  case 5:
    model_move(world, model, random, page, pages);
    model_touch(model, page, 1);
    return;
  case 6:
  case 7:
  case 8:
    model_touch(model, page, 1);
    model_store(world, model, page, g_rand_int(random), outside);
    return;
  default:
    model_touch(model, page, pages);
    model_check(world, model, page, pages, outside);
  }
}

static void
test_model(gconstpointer manner)
{
  World world;
  g_autoptr(GRand) random = rig_random();
  if (!begin(&world, MIRROR_TRACK_PAGEMAP))
    return;
  world.manner = GPOINTER_TO_INT(manner);
  ModelPage model[MODEL_PAGES] = {0};
  look(&world);
  for (guint turn = 0; turn < MODEL_TURNS; turn++)
    model_turn(&world, model, random);
  model_check(&world, model, 0, MODEL_PAGES, TRUE);
  g_test_message("%" G_GUINT64_FORMAT " pulls, %" G_GUINT64_FORMAT " pages",
                 mirror_pager_counts(world.pager)->pulls, mirror_pager_counts(world.pager)->pages);
  end(&world);
}

int
main(int argc, char **argv)
{
  static const char *const manners[ANSWERS] = {"honest",      "generous",   "nothing", "less",   "elsewhere",
                                               "overlapping", "wrong-kind", "beyond",  "failing"};
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/pager/instructions", test_instructions);
  g_test_add_func("/pager/walk", test_walk);
  g_test_add_func("/pager/system-calls", test_system_calls);
  g_test_add_func("/pager/zeros", test_zeros);
  g_test_add_func("/pager/gap", test_gap);
  g_test_add_func("/pager/far-again", test_far_again);
  g_test_add_func("/pager/data-over-far", test_data_over_far);
  g_test_add_func("/pager/held", test_held);
  g_test_add_func("/pager/look-from-outside", test_look_from_outside);
  g_test_add_data_func("/pager/much", GINT_TO_POINTER(MIRROR_TRACK_PAGEMAP), test_much);
  g_test_add_data_func("/pager/much-at-once", GINT_TO_POINTER(MIRROR_TRACK_HASH), test_much);
  g_test_add_func("/pager/edges", test_edges);
  g_test_add_func("/pager/let-go", test_let_go);
  g_test_add_func("/pager/moved", test_moved);
  g_test_add_func("/pager/replaced", test_replaced);
  g_test_add_func("/pager/regrown", test_regrown);
  g_test_add_func("/pager/protected", test_protected);
  g_test_add_func("/pager/locked", test_locked);
  g_test_add_func("/pager/together", test_together);
  g_test_add_func("/pager/freeze", test_freeze);
  for (Manner manner = HONEST; manner < ANSWERS; manner++) {
    g_autofree char *path = g_strdup_printf("/pager/answers/%s", manners[manner]);
    g_test_add_data_func(path, GINT_TO_POINTER(manner), test_answers);
  }
  g_test_add_func("/pager/arm-hostile", test_arm_hostile);
  g_test_add_func("/pager/at-once", test_at_once);
  g_test_add_data_func("/pager/model/honest", GINT_TO_POINTER(HONEST), test_model);
  g_test_add_data_func("/pager/model/generous", GINT_TO_POINTER(GENEROUS), test_model);
  return g_test_run();
}

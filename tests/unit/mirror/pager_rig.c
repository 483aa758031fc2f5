#include "pager_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "mirror/withhold.h"

enum { PATIENCE_MS = 60000 };

/* ---- the other side ---- */

static void
say(const PagerWorld *world, MirrorDelta *answer, guint64 address, MirrorRunKind kind)
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
  PagerWorld *world = user;
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
read_layout(PagerWorld *world)
{
  g_autoptr(GError) error = NULL;
  mirror_layout_free(world->layout);
  world->layout = mirror_layout_read(world->process, &error);
  g_assert_no_error(error);
}

void
pager_rig_look(PagerWorld *world)
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
  MirrorTracker *tracker = mirror_tracker_new(process, track, device < 0 ? -1 : (int)device, &error);
  if (g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED))
    return NULL;
  g_assert_no_error(error);
  if (device >= 0)
    RIG_DO(process, SYS_close, device);
  return tracker;
}

gboolean
pager_rig_begin(PagerWorld *world, MirrorTrack track)
{
  *world = (PagerWorld){.process = rig_puppet("work"), .runs = g_array_new(FALSE, FALSE, sizeof(MirrorRun))};
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
  pager_rig_look(world);
  return TRUE;
}

void
pager_rig_end(PagerWorld *world)
{
  mirror_pager_free(world->pager);
  mirror_tracker_free(world->tracker);
  mirror_copies_free(world->copies);
  mirror_layout_free(world->layout);
  g_array_unref(world->runs);
  rig_end(world->process);
}

gboolean
pager_rig_apply(PagerWorld *world, const MirrorDelta *delta, GError **error)
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
  pager_rig_look(world);
  return (mirror_pager_put_now(world->pager, world->layout, delta, error) &&
          mirror_pager_arm(world->pager, world->layout, delta, error));
}

void
pager_rig_make_run(const PagerWorld *world, MirrorDelta *delta, guint page, guint pages, MirrorRunKind kind)
{
  MirrorRun run = {AT(page), pages * PAGE, kind, 0};
  g_array_append_val(delta->runs, run);
  for (guint64 done = 0; done < mirror_run_bytes(&run); done += sizeof(guint64))
    g_byte_array_append(delta->data, (const guint8 *)&world->words[page + done / PAGE], sizeof(guint64));
}

void
pager_rig_arm(PagerWorld *world, guint page, guint pages, MirrorRunKind kind)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(MirrorDelta) delta = mirror_delta_new();
  pager_rig_make_run(world, delta, page, pages, kind);
  pager_rig_apply(world, delta, &error);
  g_assert_no_error(error);
}

/* ---- the process at work ---- */

static guint64
command_at(guint worker)
{
  return BOARD_ADDRESS + G_STRUCT_OFFSET(Board, command) + worker * sizeof(BoardCommand);
}

void
pager_rig_start(PagerWorld *world, guint worker, BoardOperation operation, guint64 number,
                const guint64 argument[6])
{
  BoardCommand command = {.number = number};
  guint64 now = operation;
  memcpy(command.argument, argument, sizeof command.argument);
  rig_write(world->process, command_at(worker), &command, sizeof command);
  rig_write(world->process, command_at(worker), &now, sizeof now);
}

static gboolean
is_done(PagerWorld *world, guint worker)
{
  return rig_word(world->process, command_at(worker)) == BOARD_NOTHING;
}

gint64
pager_rig_result_of(PagerWorld *world, guint worker)
{
  return (gint64)rig_word(world->process, command_at(worker) + G_STRUCT_OFFSET(BoardCommand, result));
}

/* Serves until all workers are done. FALSE where the pager fails. */
gboolean
pager_rig_serve(PagerWorld *world, GError **error)
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

gint64
pager_rig_perform(PagerWorld *world, BoardOperation operation, guint64 number, const guint64 argument[6])
{
  g_autoptr(GError) error = NULL;
  rig_resume(world->process);
  pager_rig_start(world, 0, operation, number, argument);
  pager_rig_serve(world, &error);
  g_assert_no_error(error);
  rig_freeze(world->process);
  return pager_rig_result_of(world, 0);
}

guint8
pager_rig_byte_of(const PagerWorld *world, guint page)
{
  return (guint8)world->words[page];
}

guint64
pager_rig_sum_of(const PagerWorld *world, guint page, guint pages)
{
  guint64 sum = 0;
  for (guint i = page; i < page + pages; i++)
    sum += world->words[i] * (PAGE / sizeof(guint64));
  return sum;
}

void
pager_rig_assert_changes(PagerWorld *world, guint page, const char *wanted)
{
  g_autoptr(GString) got = g_string_new(NULL);
  pager_rig_look(world);
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

void
pager_rig_assert_untouched(PagerWorld *world, const char *wanted)
{
  g_autoptr(GArray) ranges = mirror_pager_untouched(world->pager);
  g_autoptr(GString) got = g_string_new(NULL);
  for (guint i = 0; i < ranges->len; i++)
    g_string_append_printf(got, "%s%d-%d", i ? " " : "",
                           (int)((mirror_ranges_get(ranges, i)->start - HERE) / PAGE),
                           (int)((mirror_ranges_get(ranges, i)->end - HERE) / PAGE));
  g_assert_cmpstr(got->str, ==, wanted);
}

gint64
pager_rig_let_go(PagerWorld *world, guint page, guint pages, int advice)
{
  g_autoptr(GError) error = NULL;
  mirror_pager_fill(world->pager, AT(page), pages * PAGE, &error);
  g_assert_no_error(error);
  return CALL(world, SYS_madvise, AT(page), pages * PAGE, advice);
}

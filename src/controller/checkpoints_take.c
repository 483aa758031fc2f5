/* One checkpoint's rounds. */
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "controller/checkpoints.h"

enum { FEW = 4 << 20, ROUNDS_MAX = 8, STOPS_MAX = 256 };

/* ---- the image ---- */

void
checkpoints_forget_image(Checkpoints *checkpoints)
{
  g_clear_pointer(&checkpoints->tracker, mirror_tracker_free);
  g_clear_pointer(&checkpoints->layout, mirror_layout_free);
  g_clear_pointer(&checkpoints->files, mirror_snapshot_files_free);
  if (checkpoints->request)
    doppel__wire__job_request__free_unpacked(checkpoints->request, NULL);
  checkpoints->request = NULL;
  g_array_set_size(checkpoints->data, 0);
  g_array_set_size(checkpoints->holes, 0);
  g_array_set_size(checkpoints->missed, 0);
  g_hash_table_remove_all(checkpoints->known);
  g_hash_table_remove_all(checkpoints->pending);
  checkpoints->whole = checkpoints->stale = TRUE;
}

void
checkpoints_kept(Checkpoints *checkpoints)
{
  GHashTableIter iterator;
  gpointer number, file;
  checkpoints->number++;
  if (checkpoints->stale)
    return;
  checkpoints->whole = FALSE;
  g_array_set_size(checkpoints->data, 0);
  g_array_set_size(checkpoints->holes, 0);
  g_hash_table_iter_init(&iterator, checkpoints->pending);
  while (g_hash_table_iter_next(&iterator, &number, &file)) {
    g_hash_table_iter_steal(&iterator);
    g_hash_table_insert(checkpoints->known, number, file);
  }
}

void
checkpoints_not_kept(Checkpoints *checkpoints)
{
  g_hash_table_remove_all(checkpoints->pending);
}

/* ---- standing still ---- */

typedef struct {
  MirrorStop stops[STOPS_MAX];
  guint count;
} Seen;

static void
see(const MirrorStop *stop, void *user)
{
  Seen *seen = user;
  if (seen->count < STOPS_MAX && stop->kind != MIRROR_STOP_SIGNAL)
    seen->stops[seen->count++] = *stop;
}

/* What came in the way of a freeze is dealt with as at any other time. TRUE where there was anything. */
static gboolean
deal_with(Controller *controller, const Seen *seen, GError **error)
{
  gboolean any = FALSE, good = TRUE;
  for (guint i = 0; good && i < seen->count && !controller->exited; i++) {
    const MirrorStop *stop = &seen->stops[i];
    if (stop->kind == MIRROR_STOP_GONE && stop->thread != mirror_thread_leader(controller->process))
      continue; /* it is off the list */
    any = TRUE;
    good = controller_stopped(controller, stop, error);
  }
  return any || !good;
}

/* *busy: something else is the matter with the program now. */
static gboolean
freeze(Controller *controller, gboolean *busy, GError **error)
{
  Seen seen = {.count = 0};
  gboolean frozen = mirror_process_freeze(controller->process, see, &seen, error);
  GError *why = NULL;
  *busy = deal_with(controller, &seen, &why);
  if (why)
    g_propagate_error(frozen ? error : NULL, why);
  if (!frozen || why || controller->exited)
    return FALSE;
  return *busy || mirror_snapshot_froze(controller->process, error);
}

/* ---- memory ---- */

static guint64
sum_data(const GArray *runs)
{
  guint64 sum = 0;
  for (guint i = 0; i < runs->len; i++) {
    const MirrorRun *run = &g_array_index(runs, MirrorRun, i);
    sum += run->kind == MIRROR_RUN_HOLE ? 0 : run->length;
  }
  return sum;
}

void
checkpoints_note(Checkpoints *checkpoints, const GArray *runs)
{
  for (guint i = 0; i < runs->len; i++) {
    const MirrorRun *run = &g_array_index(runs, MirrorRun, i);
    mirror_ranges_add(run->kind == MIRROR_RUN_HOLE ? checkpoints->holes : checkpoints->data, run->address,
                      run->address + run->length);
  }
}

static void
add_ranges(GArray *runs, const MirrorRanges *ranges, MirrorRunKind kind)
{
  for (guint i = 0; i < ranges->len; i++) {
    const MirrorRange *range = mirror_ranges_get(ranges, i);
    MirrorRun run = {range->start, range->end - range->start, kind, 0};
    g_array_append_val(runs, run);
  }
}

/* In the first round what an earlier checkpoint had that the clone did not get goes along: holes first, since
 * what is read is what is there now. */
static GArray *
first_runs(Checkpoints *checkpoints, const GArray *runs)
{
  GArray *all = g_array_new(FALSE, FALSE, sizeof(MirrorRun));
  checkpoints_note(checkpoints, runs);
  add_ranges(all, checkpoints->holes, MIRROR_RUN_HOLE);
  add_ranges(all, checkpoints->data, MIRROR_RUN_DATA);
  return all;
}

static gboolean
scan(Controller *controller, GArray *runs, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  if (!checkpoints->tracker) {
    checkpoints->tracker = mirror_tracker_new(controller->process, controller->options->track, -1, error);
    if (!checkpoints->tracker)
      return FALSE;
  }
  return mirror_snapshot_memory(controller->process, checkpoints->tracker, &checkpoints->layout, runs, error);
}

static gboolean
hand_over_runs(Controller *controller, const GArray *runs, GError **error)
{
  g_auto(Fd) memory = openat(controller->process->directory, "mem", O_RDONLY | O_CLOEXEC);
  if (memory < 0)
    return doppel_error_errno(error, "cannot read the program's memory");
  controller->checkpoints->phase = CHECKPOINTS_READING;
  return checkpoint_courier_read(controller->checkpoints->courier, memory, runs, error);
}

static CheckpointState *
new_state(Controller *controller)
{
  const Checkpoints *checkpoints = controller->checkpoints;
  CheckpointState *state = g_new(CheckpointState, 1);
  doppel__wire__checkpoint_state__init(state);
  state->number = checkpoints->number + 1;
  state->whole = checkpoints->whole;
  state->taken_us = g_get_real_time();
  state->architecture = g_strdup(arch_name);
  state->features = g_strdup(checkpoints->features);
  state->pid = (guint32)controller->process->own_pid;
  return state;
}

/* ---- a round ---- */

typedef struct {
  GArray *runs;
  CheckpointState *state; /* NULL: another round has to follow */
  gboolean busy;
} Round;

static gboolean
is_last(Checkpoints *checkpoints, const GArray *runs)
{
  guint64 bytes = sum_data(runs) + mirror_ranges_sum(checkpoints->missed), former = checkpoints->last_bytes;
  checkpoints->last_bytes = bytes;
  if (checkpoints->round == 0)
    return FALSE;
  return bytes <= FEW || checkpoints->round >= ROUNDS_MAX ||
         (checkpoints->round >= 3 && bytes > former / 5 * 4);
}

/* While the program stands still. */
static gboolean
look(Controller *controller, CheckpointsRoom *room, Round *round, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  if (!freeze(controller, &round->busy, error))
    return FALSE;
  if (round->busy)
    return TRUE;
  /* What has changed is told once: where it is lost, the next checkpoint is a whole one. */
  if (!scan(controller, round->runs, error)) {
    checkpoints_forget_image(checkpoints);
    return FALSE;
  }
  if (!is_last(checkpoints, round->runs))
    return TRUE;
  checkpoints_note(checkpoints, round->runs);
  round->state = new_state(controller);
  return checkpoints_moment(controller, room, round->runs, round->state, error);
}

/* The program goes on whatever became of the round. */
static gboolean
stand_still(Controller *controller, CheckpointsRoom *room, Round *round, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  gint64 began = clock_now_ns();
  g_autoptr(GError) why = NULL;
  gboolean looked = look(controller, room, round, &why);
  gboolean resumed = controller->exited || controller_resume_all(controller, looked ? &why : NULL);
  gint64 pause = clock_now_ns() - began;
  g_array_append_val(checkpoints->pauses, pause);
  if (round->state)
    round->state->pause_ns = (guint64)pause;
  if (looked && resumed)
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&why));
  return FALSE;
}

static gboolean
seal(Controller *controller, CheckpointsRoom *room, CheckpointState *state, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  gint64 took = clock_now_ns() - checkpoints->began_ns;
  g_array_append_val(checkpoints->copying, took);
  checkpoints->room = room->used;
  state->request = checkpoints->request;
  gboolean done = checkpoints_hand_over(controller, room, state, error);
  state->request = NULL;
  return done;
}

gboolean
checkpoints_round(Controller *controller, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  g_auto(CheckpointsRoom) room = {.file = -1};
  g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(MirrorRun));
  Round round = {.runs = runs};
  gboolean first = checkpoints->round == 0;
  if (first) {
    checkpoints->stale = FALSE;
    g_array_set_size(checkpoints->missed, 0);
    if (!checkpoints->files)
      checkpoints->files = mirror_snapshot_files_new();
    if (!checkpoints_know_request(controller, error))
      return FALSE;
  } else if (!checkpoints_room_open(&room, checkpoints_guess_room(controller), error)) {
    return FALSE;
  }
  gboolean stood = stand_still(controller, &room, &round, error);
  g_autoptr(CheckpointState) state = round.state;
  if (!stood || controller->exited)
    return stood;
  if (round.busy)
    return doppel_error_set(error, DOPPEL_ERROR_ABORTED,
                            "the program was about to become another, or to stop");
  checkpoints->round++;
  if (state)
    return seal(controller, &room, state, error);
  g_autoptr(GArray) wanted = first ? first_runs(checkpoints, runs) : g_array_ref(runs);
  if (!first)
    checkpoints_note(checkpoints, runs);
  return hand_over_runs(controller, wanted, error);
}

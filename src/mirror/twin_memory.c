/* Memory made what a delta says, where the mappings are already. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/error.h"
#include "mirror/lessen.h"
#include "mirror/twin_private.h"

gboolean
twin_runs_sane(const MirrorTwin *twin, const MirrorDelta *delta, GError **error)
{
  guint64 bytes = 0, scratch = twin->process->scratch;
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (twin_overlaps(run->address, run->address + run->length, scratch, scratch + MIRROR_SCRATCH_SIZE))
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "memory that is not the program's");
    if (!twin->pager && run->kind > MIRROR_RUN_CHANGES && !(twin->late && run->kind == MIRROR_RUN_FAR))
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                              "memory that is to be asked for, where nobody can");
    if (mirror_run_bytes(run) > delta->data->len - bytes ||
        (run->kind == MIRROR_RUN_CHANGES &&
         !mirror_changes_apply(delta->data->data + bytes, run->changes, NULL)))
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "changes of memory that make no sense");
    bytes += mirror_run_bytes(run);
  }
  if (bytes != delta->data->len)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "runs of memory that do not fit their contents");
  return TRUE;
}

/* A hole in one area. Shared memory forgets nothing by being let go, and of a file without a name what comes
 * back then is the file. */
static void
add_hole(GArray *calls, const MirrorMapping *area, guint64 start, guint64 end)
{
  int advice = area->kind == MIRROR_MAP_SHARED     ? MADV_REMOVE
               : area->kind == MIRROR_MAP_DETACHED ? -1 /* none does it */
                                                   : MADV_DONTNEED;
  MirrorCall hole = {SYS_madvise, {start, end - start, (guint64)advice}};
  g_array_append_val(calls, hole);
}

static GArray *
plan_holes(const MirrorLayout *layout, const MirrorDelta *delta)
{
  GArray *calls = g_array_new(FALSE, TRUE, sizeof(MirrorCall));
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    guint64 end = run->address + run->length;
    gboolean gone = run->kind == MIRROR_RUN_HOLE || run->kind > MIRROR_RUN_CHANGES;
    for (guint k = twin_area_at(layout, run->address); gone && k < layout->areas->len; k++) {
      const MirrorMapping *area = &g_array_index(layout->areas, MirrorMapping, k);
      if (area->start >= end)
        break;
      add_hole(calls, area, MAX(area->start, run->address), MIN(area->end, end));
    }
  }
  return calls;
}

static gboolean
write_zeros(MirrorProcess *process, guint64 address, guint64 length, GError **error)
{
  static const guint8 zeros[1 << 16];
  for (guint64 done = 0; done < length; done += sizeof zeros)
    if (!mirror_memory_write(process, address + done, zeros, MIN(sizeof zeros, length - done), error))
      return FALSE;
  return TRUE;
}

/* A hole that could not be made in the usual way: locked memory is asked for in another (Linux 5.18). */
static gboolean
retry_hole(MirrorProcess *process, const MirrorCall *hole, GError **error)
{
  const guint64 again[6] = {hole->argument[0], hole->argument[1], 24 /* MADV_DONTNEED_LOCKED */};
  gint64 result = hole->result;
  if (hole->argument[2] != MADV_DONTNEED)
    return write_zeros(process, hole->argument[0], hole->argument[1], error);
  if (result == -EINVAL &&
      !mirror_inject_one(mirror_thread_leader(process), SYS_madvise, again, &result, error))
    return FALSE;
  errno = -result;
  return result >= 0 ||
         doppel_error_errno(error, "emptying memory at 0x%" G_GINT64_MODIFIER "x", hole->argument[0]);
}

static gboolean
write_holes(MirrorTwin *twin, const MirrorDelta *delta, GError **error)
{
  g_autoptr(GArray) calls = plan_holes(twin->layout, delta);
  MirrorThread *leader = mirror_thread_leader(twin->process);
  if (!mirror_inject(leader, (MirrorCall *)(void *)calls->data, calls->len, error))
    return FALSE;
  for (guint i = 0; i < calls->len; i++) {
    const MirrorCall *hole = &g_array_index(calls, MirrorCall, i);
    if (hole->result < 0 && !retry_hole(twin->process, hole, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
is_touched(const MirrorMapping *area, const MirrorDelta *delta)
{
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (twin_overlaps(run->address, run->address + run->length, area->start, area->end))
      return TRUE;
  }
  return FALSE;
}

/* Shared memory that must not be written is the one kind that a tracer cannot write either. */
static gboolean
protect_shared(MirrorTwin *twin, const MirrorDelta *delta, gboolean open, GError **error)
{
  for (guint i = 0; i < twin->layout->areas->len; i++) {
    const MirrorMapping *area = &g_array_index(twin->layout->areas, MirrorMapping, i);
    const guint64 arguments[6] = {area->start, area->end - area->start,
                                  open ? PROT_READ | PROT_WRITE : area->prot};
    gint64 result;
    if (area->kind == MIRROR_MAP_SHARED && !(area->prot & PROT_WRITE) && is_touched(area, delta) &&
        !twin_call(twin->process, SYS_mprotect, arguments, &result, "protecting", area, error))
      return FALSE;
  }
  return TRUE;
}

/* A page made of what it was, and what changed in it. */
static gboolean
write_changes(MirrorTwin *twin, const MirrorRun *run, const guint8 *changes, GError **error)
{
  guint8 room[COPIES_PAGE], *page = mirror_copies_get(twin->copies, run->address);
  if (!page && !mirror_memory_read(twin->process, run->address, room, sizeof room, error))
    return FALSE;
  mirror_changes_apply(changes, run->changes, page ? page : room);
  if (!mirror_memory_write(twin->process, run->address, page ? page : room, COPIES_PAGE, error))
    return FALSE;
  if (!page)
    mirror_copies_note(twin, run->address, room, COPIES_PAGE);
  return TRUE;
}

static gboolean
write_run(MirrorTwin *twin, const MirrorRun *run, const guint8 *bytes, gboolean note, GError **error)
{
  if (twin->late && run->kind != MIRROR_RUN_CHANGES)
    mirror_late_forget(twin->late, run->address, run->address + run->length);
  switch (run->kind) {
  case MIRROR_RUN_CHANGES:
    return write_changes(twin, run, bytes, error);
  case MIRROR_RUN_DATA:
    if (note)
      mirror_copies_note(twin, run->address, bytes, run->length);
    return twin->pager ? mirror_pager_write(twin->pager, run->address, bytes, run->length, error)
                       : mirror_memory_write(twin->process, run->address, bytes, run->length, error);
  default:
    mirror_copies_drop(twin->copies, run->address, run->length);
    if (twin->pager)
      mirror_pager_forget(twin->pager, run->address, run->address + run->length);
    return TRUE;
  }
}

gboolean
twin_write_runs(MirrorTwin *twin, const MirrorDelta *delta, GError **error)
{
  guint64 at = 0;
  gboolean note = delta->data->len <= COPIES_MAX * COPIES_PAGE;
  if (!protect_shared(twin, delta, TRUE, error))
    return FALSE;
  if (!note || mirror_delta_section(delta, MIRROR_SECTION_LAYOUT, 0))
    mirror_copies_clear(twin->copies);
  for (guint i = 0; i < delta->runs->len; i++) {
    const MirrorRun *run = &g_array_index(delta->runs, MirrorRun, i);
    if (!write_run(twin, run, delta->data->data + at, note, error))
      return FALSE;
    at += mirror_run_bytes(run);
  }
  return write_holes(twin, delta, error) && protect_shared(twin, delta, FALSE, error);
}

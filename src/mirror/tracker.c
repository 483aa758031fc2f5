#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/tracker_private.h"

enum { FORGET_RUNS_MAX = 64 };

static const char *const names[] = {"auto", "pagemap", "soft-dirty", "hash"};

gboolean
mirror_track_parse(const char *name, MirrorTrack *track)
{
  for (guint i = 0; i < G_N_ELEMENTS(names); i++)
    if (strcmp(name, names[i]) == 0) {
      *track = i;
      return TRUE;
    }
  return FALSE;
}

const char *
mirror_track_name(MirrorTrack track)
{
  return names[track];
}

MirrorTrack
mirror_tracker_kind(const MirrorTracker *tracker)
{
  return tracker->track;
}

/* ---- what is common ---- */

/* Only memory that can hold something of its own is looked at. What the mirror writes to a file through a
 * mapping goes home with the files; what the primary writes must be in the mirror's mapping before the block.
 */
gboolean
tracker_watches(const MirrorTracker *tracker, const MirrorMapping *area)
{
  switch (area->kind) {
  case MIRROR_MAP_FILE:
    return (area->prot & PROT_WRITE) || area->path != NULL;
  case MIRROR_MAP_SHARED_FILE:
    return tracker->process->primary;
  case MIRROR_MAP_FOREIGN:
    return FALSE;
  default:
    return TRUE;
  }
}

/* In a private mapping a page still shared with the file is not the process's own; elsewhere the file bit
 * tells nothing. */
gboolean
tracker_file_pages_are_clean(const MirrorMapping *area)
{
  return area->kind == MIRROR_MAP_FILE || area->kind == MIRROR_MAP_ANONYMOUS ||
         area->kind == MIRROR_MAP_STACK;
}

void
tracker_emit(GArray *runs, guint64 start, guint64 end, MirrorRunKind kind)
{
  if (!runs || start >= end)
    return;
  MirrorRun *last = runs->len ? &g_array_index(runs, MirrorRun, runs->len - 1) : NULL;
  if (last && last->kind == kind && last->address + last->length == start) {
    last->length += end - start;
    return;
  }
  MirrorRun run = {start, end - start, kind, 0};
  g_array_append_val(runs, run);
}

/* A file that was mapped has lost its name since, say: the other side gets all of it anew, written or not. */
static void
note_turned(MirrorTracker *tracker, const MirrorLayout *layout)
{
  const GArray *now = layout->mappings;
  g_array_set_size(tracker->turned, 0);
  if (tracker->former) {
    GArray *then = tracker->former->mappings;
    if (then->len == now->len && memcmp(then->data, now->data, now->len * sizeof(MirrorMapping)) == 0)
      return;
    g_autoptr(GArray) steps = mirror_layout_steps(tracker->former, layout);
    for (guint i = 0; i < steps->len; i++) {
      const MirrorStep *step = &g_array_index(steps, MirrorStep, i);
      const MirrorMapping *mapping = &step->mapping;
      if (step->kind == MIRROR_STEP_MAP && mirror_layout_find(tracker->former, mapping->start))
        mirror_ranges_add(tracker->turned, mapping->start, mapping->end);
    }
  } else
    tracker->former = mirror_layout_new();
  g_array_set_size(tracker->former->mappings, 0);
  g_array_append_vals(tracker->former->mappings, now->data, now->len);
}

gboolean
tracker_is_turned(const MirrorTracker *tracker, const MirrorMapping *area)
{
  MirrorRange part;
  return mirror_ranges_meet(tracker->turned, area->start, area->end, &part);
}

gboolean
tracker_is_blank(MirrorTracker *tracker, guint64 address)
{
  static const guint8 zeros[65536];
  guint8 bytes[sizeof zeros];
  return !mirror_memory_read(tracker->process, address, bytes, tracker->page, NULL) ||
         memcmp(bytes, zeros, tracker->page) == 0;
}

gboolean
tracker_hides_pages(const MirrorMapping *area)
{
  return area->kind == MIRROR_MAP_SHARED || area->kind == MIRROR_MAP_DETACHED;
}

/* ---- the interface ---- */

int
mirror_tracker_demand(const MirrorTracker *tracker)
{
  return tracker->demand ? tracker->uffd : -1;
}

void
mirror_tracker_set_missing(MirrorTracker *tracker, const MirrorRanges *missing)
{
  tracker->missing = missing;
}

void
mirror_tracker_on_replaced(MirrorTracker *tracker, void (*replaced)(guint64 start, guint64 end, void *user),
                           void *user)
{
  tracker->replaced = replaced;
  tracker->replaced_user = user;
}

static gboolean
backend_start(MirrorTracker *tracker, MirrorTrack track, GError **error)
{
  tracker->track = track;
  switch (track) {
  case MIRROR_TRACK_PAGEMAP:
    return tracker_pagemap_start(tracker, error);
  case MIRROR_TRACK_SOFT_DIRTY:
    if (!tracker_soft_dirty_works())
      return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "this kernel has no soft-dirty bits");
    return TRUE;
  default:
    return TRUE;
  }
}

MirrorTracker *
mirror_tracker_new(MirrorProcess *process, MirrorTrack track, int device, GError **error)
{
  g_autoptr(MirrorTracker) tracker = g_new0(MirrorTracker, 1);
  tracker->process = process;
  tracker->uffd = -1;
  tracker->device = device;
  tracker->page = sysconf(_SC_PAGESIZE);
  tracker->turned = mirror_ranges_new();
  tracker->hashes = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  if (track != MIRROR_TRACK_AUTO) {
    g_autoptr(GError) why = NULL;
    if (!backend_start(tracker, track, &why)) {
      doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "cannot track changed pages by %s: %s",
                       mirror_track_name(track), why->message);
      return NULL;
    }
    return g_steal_pointer(&tracker);
  }
  for (MirrorTrack each = MIRROR_TRACK_PAGEMAP; each < MIRROR_TRACK_HASH; each++)
    if (backend_start(tracker, each, NULL))
      return g_steal_pointer(&tracker);
  return backend_start(tracker, MIRROR_TRACK_HASH, error) ? g_steal_pointer(&tracker) : NULL;
}

void
mirror_tracker_free(MirrorTracker *tracker)
{
  if (!tracker)
    return;
  io_close(&tracker->uffd);
  g_hash_table_unref(tracker->hashes);
  g_array_unref(tracker->turned);
  mirror_layout_free(tracker->former);
  g_clear_pointer(&tracker->barred, g_hash_table_unref);
  g_clear_pointer(&tracker->written, g_array_unref);
  g_free(tracker);
}

/* Every page that is watched costs the kernel 8 bytes of page tables, also where there never was one:
 * programs that reserve terabytes (sanitizers, some virtual machines) would take all memory with them. */
static gboolean
fits(const MirrorTracker *tracker, const MirrorLayout *layout, GError **error)
{
  guint64 limit = (guint64)sysconf(_SC_PHYS_PAGES) * tracker->page * MIRROR_TRACK_MEMORIES, sum = 0;
  for (guint i = 0; i < layout->areas->len; i++) {
    const MirrorMapping *area = &g_array_index(layout->areas, MirrorMapping, i);
    sum += tracker_watches(tracker, area) ? area->end - area->start : 0;
  }
  return sum <= limit ||
         doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                          "the program has reserved %" G_GUINT64_FORMAT
                          " GiB of addresses, of which this machine can watch %" G_GUINT64_FORMAT,
                          sum >> 30, limit >> 30);
}

gboolean
mirror_tracker_changed(MirrorTracker *tracker, const MirrorLayout *layout, GArray *runs, GError **error)
{
  if (!fits(tracker, layout, error))
    return FALSE;
  note_turned(tracker, layout);
  return tracker->track == MIRROR_TRACK_PAGEMAP ? tracker_pagemap_changed(tracker, layout, runs, error)
                                                : tracker_walk_changed(tracker, layout, runs, error);
}

gboolean
mirror_tracker_forget(MirrorTracker *tracker, const MirrorLayout *layout, const GArray *runs, GError **error)
{
  switch (tracker->track) {
  case MIRROR_TRACK_PAGEMAP:
    /* A call for each run, while that is less than to look at all. */
    return runs->len <= FORGET_RUNS_MAX ? tracker_pagemap_forget(tracker, runs, error)
                                        : tracker_pagemap_changed(tracker, layout, NULL, error);
  case MIRROR_TRACK_HASH:
    return tracker_hash_forget(tracker, runs, error);
  default:
    return tracker_walk_changed(tracker, layout, NULL, error);
  }
}

/* Tracking by a write-protecting userfaultfd and PAGEMAP_SCAN. */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/error.h"
#include "mirror/tracker_private.h"
#include "mirror/userfault.h"

/* Not in the headers of the oldest kernel we build on (include/uapi/linux/fs.h). */
struct page_region_abi {
  guint64 start, end, categories;
};
struct pm_scan_abi {
  guint64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
  guint64 category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct pm_scan_abi)
enum { SCAN_WP_MATCHING = 1, SCAN_CHECK_WPASYNC = 2 };
enum { IS_WRITTEN = 2, IS_FILE = 4, IS_PRESENT = 8, IS_SWAPPED = 16, IS_PFNZERO = 32 };

enum { NEAR_PAGES = 128 /* to look at so many costs less than another call */ };

/* Pages that the process has not got before it. */
static void
emit_absent(MirrorTracker *tracker, const MirrorMapping *area, guint64 start, guint64 end, GArray *runs)
{
  if (!runs || area->kind == MIRROR_MAP_SHARED_FILE)
    return;
  if (!tracker_hides_pages(area)) {
    tracker_emit(runs, start, end, MIRROR_RUN_HOLE);
    return;
  }
  for (guint64 at = start; at < end; at += tracker->page)
    tracker_emit(runs, at, at + tracker->page,
                 tracker_is_blank(tracker, at) ? MIRROR_RUN_HOLE : MIRROR_RUN_DATA);
}

/* Best one that holds back the kernel as well; for tracking any will do. */
gboolean
tracker_pagemap_start(MirrorTracker *tracker, GError **error)
{
  MirrorProcess *process = tracker->process;
  gint64 made;
  tracker->written = g_array_new(FALSE, FALSE, sizeof(struct page_region_abi));
  tracker->barred = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  if (!mirror_userfault_make(process, tracker->device, !process->primary, &made, error))
    return FALSE;
  tracker->demand = made >= 0;
  if (made < 0 && !mirror_userfault_make_lesser(process, &made, error))
    return FALSE;
  if (made < 0) {
    errno = -made;
    return doppel_error_errno(error, "creating a userfaultfd");
  }
  tracker->uffd = mirror_userfault_fetch(process, made, error);
  if (tracker->uffd < 0)
    return FALSE;
  if (!mirror_userfault_begin(tracker->uffd, 0))
    return doppel_error_errno(error, "asking for asynchronous write protection");
  struct pm_scan_abi probe = {.size = sizeof probe, .vec_len = 0};
  if (ioctl(process->pagemap, SCAN_IOCTL, &probe) < 0 && errno == ENOTTY)
    return doppel_error_errno(error, "PAGEMAP_SCAN");
  return TRUE;
}

static gboolean
pagemap_failed(const MirrorTracker *tracker, GError **error)
{
  return doppel_error_errno(error, "scanning the pages of process %d", tracker->process->pid);
}

/* One scan of a part of an area, whatever number of regions it has. FALSE with errno. */
static gboolean
pagemap_scan(MirrorTracker *tracker, const MirrorMapping *area, guint64 start, guint64 end, guint64 mask,
             gboolean reset, gboolean fresh, GArray *runs)
{
  static struct page_region_abi regions[2048];
  guint64 clean_at = start; /* fresh: what lies between the regions is as the mapping began */
  for (guint64 at = start; at < end;) {
    struct pm_scan_abi scan = {.size = sizeof scan,
                               .flags = reset ? SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC : 0,
                               .start = at,
                               .end = end,
                               .vec = (guintptr)regions,
                               .vec_len = G_N_ELEMENTS(regions),
                               .category_mask = mask,
                               .return_mask = IS_WRITTEN | IS_FILE | IS_PRESENT | IS_SWAPPED | IS_PFNZERO};
    int found = ioctl(tracker->process->pagemap, SCAN_IOCTL, &scan);
    if (found < 0)
      return FALSE;
    for (int i = 0; i < found; i++) {
      guint64 is = regions[i].categories;
      gboolean there = (is & (IS_PRESENT | IS_SWAPPED)) && !(is & IS_PFNZERO);
      if (there && (is & IS_FILE) &&
          (tracker_file_pages_are_clean(area) || (fresh && area->kind == MIRROR_MAP_SHARED_FILE)))
        there = FALSE;
      if (!there && !fresh)
        emit_absent(tracker, area, regions[i].start, regions[i].end, runs);
      if (!there)
        continue;
      if (fresh)
        emit_absent(tracker, area, clean_at, regions[i].start, runs);
      tracker_emit(runs, regions[i].start, regions[i].end, MIRROR_RUN_DATA);
      clean_at = regions[i].end;
    }
    at = scan.walk_end > at ? scan.walk_end : end;
  }
  if (fresh)
    emit_absent(tracker, area, clean_at, end, runs);
  return TRUE;
}

/* An area that is not registered: new, or moved here, or replaced since. Or one that is to be taken for such.
 */
static gboolean
pagemap_new_area(MirrorTracker *tracker, const MirrorMapping *area, GArray *runs, GError **error)
{
  struct uffdio_register registration = {.range = {area->start, area->end - area->start},
                                         .mode = UFFDIO_REGISTER_MODE_WP};
  if (ioctl(tracker->uffd, UFFDIO_REGISTER, &registration) < 0) {
    /* A file opened for reading only and mapped shared: it can never be written through this. */
    if (errno == EPERM && area->kind == MIRROR_MAP_FILE && !(area->prot & PROT_WRITE)) {
      g_hash_table_add(tracker->barred, g_memdup2(&area->start, sizeof area->start));
      return TRUE;
    }
    return doppel_error_errno(error, "tracking the mapping at 0x%" G_GINT64_MODIFIER "x", area->start);
  }
  g_hash_table_remove(tracker->barred, &area->start);
  if (tracker->replaced)
    tracker->replaced(area->start, area->end, tracker->replaced_user);
  if (runs && !pagemap_scan(tracker, area, area->start, area->end, 0, FALSE, TRUE, runs))
    return pagemap_failed(tracker, error);
  if (!pagemap_scan(tracker, area, area->start, area->end, IS_WRITTEN, TRUE, FALSE, NULL))
    return doppel_error_errno(error, "write-protecting the mapping at 0x%" G_GINT64_MODIFIER "x",
                              area->start);
  return TRUE;
}

static gboolean
pagemap_area(MirrorTracker *tracker, const MirrorMapping *area, GArray *runs, GError **error)
{
  if (pagemap_scan(tracker, area, area->start, area->end, IS_WRITTEN, TRUE, FALSE, runs))
    return TRUE;
  return errno == EPERM ? pagemap_new_area(tracker, area, runs, error) : pagemap_failed(tracker, error);
}

/* Where something was written, and nothing more: the one question that the kernel has a fast loop for
 * (pagemap_scan_pmd_entry() in fs/proc/task_mmu.c). Changes nothing, so that what fails here can be done in
 * another way. FALSE with errno. */
static gboolean
pagemap_written(MirrorTracker *tracker, guint64 start, guint64 end)
{
  static struct page_region_abi regions[2048];
  g_array_set_size(tracker->written, 0);
  for (guint64 at = start; at < end;) {
    struct pm_scan_abi scan = {.size = sizeof scan,
                               .flags = SCAN_CHECK_WPASYNC,
                               .start = at,
                               .end = end,
                               .vec = (guintptr)regions,
                               .vec_len = G_N_ELEMENTS(regions),
                               .category_mask = IS_WRITTEN,
                               .return_mask = IS_WRITTEN};
    int found = ioctl(tracker->process->pagemap, SCAN_IOCTL, &scan);
    if (found < 0)
      return FALSE;
    g_array_append_vals(tracker->written, regions, found);
    at = scan.walk_end > at ? scan.walk_end : end;
  }
  return TRUE;
}

/* How far the area goes on from one written region to the next near one. */
static guint64
near_end(const MirrorTracker *tracker, guint *index, guint64 area_end)
{
  const struct page_region_abi *regions = (const void *)tracker->written->data;
  guint64 end = regions[*index].end, near = NEAR_PAGES * tracker->page;
  while (*index + 1 < tracker->written->len && end < area_end && regions[*index + 1].start < area_end &&
         regions[*index + 1].start - end <= near)
    end = regions[++*index].end;
  return MIN(end, area_end);
}

static gboolean
pagemap_group(MirrorTracker *tracker, const MirrorMapping *areas, guint count, GArray *runs, GError **error)
{
  gboolean all = pagemap_written(tracker, areas[0].start, areas[count - 1].end);
  if (!all && errno != EPERM)
    return pagemap_failed(tracker, error);
  for (guint i = 0; i < count; i++) {
    if (!all && !pagemap_area(tracker, &areas[i], runs, error))
      return FALSE;
    for (guint k = 0; all && k < tracker->written->len; k++) {
      guint64 start = MAX(g_array_index(tracker->written, struct page_region_abi, k).start, areas[i].start);
      guint64 end = near_end(tracker, &k, areas[i].end);
      if (start < end && !pagemap_scan(tracker, &areas[i], start, end, IS_WRITTEN, TRUE, FALSE, runs))
        return pagemap_failed(tracker, error);
    }
  }
  return TRUE;
}

static gboolean
has_missing(const MirrorTracker *tracker, const MirrorMapping *area)
{
  MirrorRange part;
  return tracker->missing && mirror_ranges_meet(tracker->missing, area->start, area->end, &part);
}

/* A part of an area, with the rest of which this one question has made sure of its registration. */
static gboolean
pagemap_part(MirrorTracker *tracker, const MirrorMapping *area, guint64 start, guint64 end, GArray *runs,
             GError **error)
{
  MirrorMapping part = *area;
  part.start = start;
  part.end = end;
  return start >= end || pagemap_group(tracker, &part, 1, runs, error);
}

/* What is missing was not written: a large process is mostly that. A mapping that took its place is found by
 * one page of it. */
static gboolean
pagemap_around(MirrorTracker *tracker, const MirrorMapping *area, GArray *runs, GError **error)
{
  MirrorRange gap;
  guint64 at = area->start;
  if (!pagemap_written(tracker, area->start, area->start + tracker->page))
    return errno == EPERM ? pagemap_new_area(tracker, area, runs, error) : pagemap_failed(tracker, error);
  for (; mirror_ranges_meet(tracker->missing, at, area->end, &gap); at = gap.end)
    if (!pagemap_part(tracker, area, at, gap.start, runs, error))
      return FALSE;
  return pagemap_part(tracker, area, at, area->end, runs, error);
}

/* Neighbours are asked about with one call. */
gboolean
tracker_pagemap_changed(MirrorTracker *tracker, const MirrorLayout *layout, GArray *runs, GError **error)
{
  const MirrorMapping *areas = (const MirrorMapping *)(void *)layout->areas->data;
  guint turned = tracker->turned->len;
  for (guint i = 0, count; i < layout->areas->len; i += count) {
    count = 1;
    if (!tracker_watches(tracker, &areas[i]))
      continue;
    if (turned && tracker_is_turned(tracker, &areas[i])) {
      if (!pagemap_new_area(tracker, &areas[i], runs, error))
        return FALSE;
      continue;
    }
    if (has_missing(tracker, &areas[i])) {
      if (!pagemap_around(tracker, &areas[i], runs, error))
        return FALSE;
      continue;
    }
    if (g_hash_table_contains(tracker->barred, &areas[i].start)) {
      if (!pagemap_area(tracker, &areas[i], runs, error))
        return FALSE;
      continue;
    }
    while (i + count < layout->areas->len && areas[i + count].start == areas[i + count - 1].end &&
           tracker_watches(tracker, &areas[i + count]) && !has_missing(tracker, &areas[i + count]) &&
           !g_hash_table_contains(tracker->barred, &areas[i + count].start) &&
           !(turned && tracker_is_turned(tracker, &areas[i + count])))
      count++;
    if (!pagemap_group(tracker, areas + i, count, runs, error))
      return FALSE;
  }
  return TRUE;
}

/* Begins anew for these pages alone. */
gboolean
tracker_pagemap_forget(MirrorTracker *tracker, const GArray *runs, GError **error)
{
  for (guint i = 0; i < runs->len; i++) {
    const MirrorRun *run = &g_array_index(runs, MirrorRun, i);
    struct pm_scan_abi scan = {.size = sizeof scan,
                               .flags = SCAN_WP_MATCHING,
                               .start = run->address,
                               .end = run->address + run->length,
                               .category_mask = IS_WRITTEN,
                               .return_mask = IS_WRITTEN};
    if (ioctl(tracker->process->pagemap, SCAN_IOCTL, &scan) < 0)
      return pagemap_failed(tracker, error);
  }
  return TRUE;
}

/* What leaves the hands of one userfaultfd loses its marks. Only the other one's are busy. */
static gboolean
hand_over(MirrorTracker *tracker, int from, int to, guint64 start, guint64 end, guint64 mode, GError **error)
{
  struct uffdio_register registration = {.range = {start, end - start}, .mode = mode};
  struct pm_scan_abi protect = {.size = sizeof protect,
                                .flags = SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC,
                                .start = start,
                                .end = end,
                                .category_mask = IS_WRITTEN,
                                .return_mask = IS_WRITTEN};
  gboolean has = ioctl(to, UFFDIO_REGISTER, &registration) == 0;
  return ((has || (errno == EBUSY && ioctl(from, UFFDIO_UNREGISTER, &registration.range) == 0 &&
                   ioctl(to, UFFDIO_REGISTER, &registration) == 0)) &&
          ioctl(tracker->process->pagemap, SCAN_IOCTL, &protect) >= 0) ||
         doppel_error_errno(error, "handing over the memory at 0x%" G_GINT64_MODIFIER "x", start);
}

gboolean
mirror_tracker_lend(MirrorTracker *tracker, int to, guint64 start, guint64 end, GError **error)
{
  return hand_over(tracker, tracker->uffd, to, start, end,
                   UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING, error);
}

gboolean
mirror_tracker_take_back(MirrorTracker *tracker, int from, guint64 start, guint64 end, GError **error)
{
  return hand_over(tracker, from, tracker->uffd, start, end, UFFDIO_REGISTER_MODE_WP, error);
}

gboolean
mirror_tracker_is_bare(const MirrorTracker *tracker, guint64 address)
{
  struct page_region_abi region;
  struct pm_scan_abi scan = {.size = sizeof scan,
                             .start = address,
                             .end = address + tracker->page,
                             .vec = (guintptr)&region,
                             .vec_len = 1,
                             .category_inverted = IS_PRESENT,
                             .category_mask = IS_WRITTEN | IS_PRESENT,
                             .return_mask = IS_WRITTEN};
  return ioctl(tracker->process->pagemap, SCAN_IOCTL, &scan) == 1;
}

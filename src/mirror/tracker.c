#include "mirror/tracker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"

/* Not in the headers of the oldest kernel we build on (include/uapi/linux/fs.h, userfaultfd.h). */
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
enum { FEATURE_WP_UNPOPULATED = 1 << 13, FEATURE_WP_ASYNC = 1 << 15, USER_MODE_ONLY = 1 };

enum { FORGET_RUNS_MAX = 64, NEAR_PAGES = 128 /* to look at so many costs less than another call */ };

/* Bits of an entry of /proc/PID/pagemap. */
#define ENTRY_SOFT_DIRTY (1ull << 55)
#define ENTRY_FILE       (1ull << 61)
#define ENTRY_SWAPPED    (1ull << 62)
#define ENTRY_PRESENT    (1ull << 63)

struct MirrorTracker {
  MirrorProcess *process;
  MirrorTrack track;
  int uffd;
  int device;                  /* in the process, on /dev/userfaultfd; -1: none */
  gboolean demand;             /* the userfaultfd serves the kernel's faults, too */
  const MirrorRanges *missing; /* the owner's: pages that the process cannot have written; NULL: none */
  void (*replaced)(guint64 start, guint64 end, void *user);
  void *replaced_user;
  guint64 page;
  GArray *written;      /* pagemap: struct page_region_abi, of one scan */
  GHashTable *barred;   /* pagemap: starts of areas that cannot be registered, nor written */
  gboolean begun;       /* soft-dirty: the bits mean something */
  GHashTable *hashes;   /* hash: page address → PageHash */
  GHashTable *seen;     /* hash: the table being made by the present scan */
  MirrorLayout *former; /* mappings of the last call; NULL: none yet */
  GArray
      *turned; /* Range: what is of another kind than at the last call, and so made anew on the other side */
};

typedef struct {
  guint64 start, end;
} Range;

typedef struct {
  guint64 address;
  XXH128_hash_t hash;
} PageHash;

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
static gboolean
tracked(const MirrorTracker *tracker, const MirrorMapping *area)
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
static gboolean
file_pages_are_clean(const MirrorMapping *area)
{
  return area->kind == MIRROR_MAP_FILE || area->kind == MIRROR_MAP_ANONYMOUS ||
         area->kind == MIRROR_MAP_STACK;
}

static void
emit(GArray *runs, guint64 start, guint64 end, MirrorRunKind kind)
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
      Range range = {step->mapping.start, step->mapping.end};
      if (step->kind == MIRROR_STEP_MAP && mirror_layout_find(tracker->former, range.start))
        g_array_append_val(tracker->turned, range);
    }
  } else
    tracker->former = mirror_layout_new();
  g_array_set_size(tracker->former->mappings, 0);
  g_array_append_vals(tracker->former->mappings, now->data, now->len);
}

static gboolean
is_turned(const MirrorTracker *tracker, const MirrorMapping *area)
{
  for (guint i = 0; i < tracker->turned->len; i++) {
    const Range *range = &g_array_index(tracker->turned, Range, i);
    if (range->start < area->end && area->start < range->end)
      return TRUE;
  }
  return FALSE;
}

static gboolean
is_blank(MirrorTracker *tracker, guint64 address)
{
  static const guint8 zeros[65536];
  guint8 bytes[sizeof zeros];
  return !mirror_memory_read(tracker->process, address, bytes, tracker->page, NULL) ||
         memcmp(bytes, zeros, tracker->page) == 0;
}

/* Memory of which the process may have a page without having it before it: it is looked at. */
static gboolean
hides_pages(const MirrorMapping *area)
{
  return area->kind == MIRROR_MAP_SHARED || area->kind == MIRROR_MAP_DETACHED;
}

/* Pages that the process has not got before it. */
static void
emit_absent(MirrorTracker *tracker, const MirrorMapping *area, guint64 start, guint64 end, GArray *runs)
{
  if (!runs || area->kind == MIRROR_MAP_SHARED_FILE)
    return;
  if (!hides_pages(area)) {
    emit(runs, start, end, MIRROR_RUN_HOLE);
    return;
  }
  for (guint64 at = start; at < end; at += tracker->page)
    emit(runs, at, at + tracker->page, is_blank(tracker, at) ? MIRROR_RUN_HOLE : MIRROR_RUN_DATA);
}

/* ---- pagemap ---- */

/* Best one that holds back the kernel as well, which needs the right to it; for tracking any will do. */
static gboolean
make_userfaultfd(MirrorTracker *tracker, gint64 *remote, GError **error)
{
  MirrorThread *leader = mirror_thread_leader(tracker->process);
  const guint64 by_device[6] = {tracker->device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK};
  const guint64 by_right[6] = {O_CLOEXEC | O_NONBLOCK};
  const guint64 arguments[6] = {O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY};
  *remote = -EPERM;
  if (tracker->device >= 0 && !mirror_inject_one(leader, SYS_ioctl, by_device, remote, error))
    return FALSE;
  if (*remote < 0 && !tracker->process->primary &&
      !mirror_inject_one(leader, SYS_userfaultfd, by_right, remote, error))
    return FALSE;
  tracker->demand = *remote >= 0;
  return *remote >= 0 || mirror_inject_one(leader, SYS_userfaultfd, arguments, remote, error);
}

static gboolean
pagemap_start(MirrorTracker *tracker, GError **error)
{
  MirrorThread *leader = mirror_thread_leader(tracker->process);
  gint64 remote;
  if (!make_userfaultfd(tracker, &remote, error))
    return FALSE;
  if (remote < 0) {
    errno = -remote;
    return doppel_error_errno(error, "creating a userfaultfd");
  }
  /* Fetched and closed at once: the program never sees an extra descriptor. */
  g_auto(Fd) pidfd = syscall(SYS_pidfd_open, tracker->process->pid, 0);
  if (pidfd >= 0)
    tracker->uffd = syscall(SYS_pidfd_getfd, pidfd, (int)remote, 0);
  int saved = errno;
  gint64 closed;
  const guint64 closing[6] = {remote};
  if (!mirror_inject_one(leader, SYS_close, closing, &closed, error))
    return FALSE;
  errno = saved;
  if (tracker->uffd < 0)
    return doppel_error_errno(error, "fetching the userfaultfd of process %d", tracker->process->pid);
  struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED};
  if (ioctl(tracker->uffd, UFFDIO_API, &api) < 0)
    return doppel_error_errno(error, "asking for asynchronous write protection");
  struct pm_scan_abi probe = {.size = sizeof probe, .vec_len = 0};
  if (ioctl(tracker->process->pagemap, SCAN_IOCTL, &probe) < 0 && errno == ENOTTY)
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
          (file_pages_are_clean(area) || (fresh && area->kind == MIRROR_MAP_SHARED_FILE)))
        there = FALSE;
      if (!there && !fresh)
        emit_absent(tracker, area, regions[i].start, regions[i].end, runs);
      if (!there)
        continue;
      if (fresh)
        emit_absent(tracker, area, clean_at, regions[i].start, runs);
      emit(runs, regions[i].start, regions[i].end, MIRROR_RUN_DATA);
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
static gboolean
pagemap_all(MirrorTracker *tracker, const MirrorLayout *layout, GArray *runs, GError **error)
{
  const MirrorMapping *areas = (const MirrorMapping *)(void *)layout->areas->data;
  guint turned = tracker->turned->len;
  for (guint i = 0, count; i < layout->areas->len; i += count) {
    count = 1;
    if (!tracked(tracker, &areas[i]))
      continue;
    if (turned && is_turned(tracker, &areas[i])) {
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
           tracked(tracker, &areas[i + count]) && !has_missing(tracker, &areas[i + count]) &&
           !g_hash_table_contains(tracker->barred, &areas[i + count].start) &&
           !(turned && is_turned(tracker, &areas[i + count])))
      count++;
    if (!pagemap_group(tracker, areas + i, count, runs, error))
      return FALSE;
  }
  return TRUE;
}

/* Begins anew for these pages alone. */
static gboolean
pagemap_forget(MirrorTracker *tracker, const GArray *runs, GError **error)
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

/* ---- soft-dirty and hash: both walk /proc/PID/pagemap ---- */

static gboolean
soft_dirty_clear(MirrorTracker *tracker)
{
  g_auto(Fd) fd = openat(tracker->process->directory, "clear_refs", O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write(fd, "4", 1) == 1;
}

/* Writing to clear_refs succeeds also where the bit is not compiled in: see whether a page of our own gets
 * it. */
static gboolean
soft_dirty_works(void)
{
  guint64 entry = 0, page = sysconf(_SC_PAGESIZE);
  g_auto(Fd) refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  g_auto(Fd) map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  volatile guint8 *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (refs < 0 || map < 0 || memory == MAP_FAILED)
    return FALSE;
  memory[0] = 1;
  gboolean works = write(refs, "4", 1) == 1;
  works = works && pread(map, &entry, 8, (guintptr)memory / page * 8) == 8 && !(entry & ENTRY_SOFT_DIRTY);
  memory[0] = 2;
  works = works && pread(map, &entry, 8, (guintptr)memory / page * 8) == 8 && (entry & ENTRY_SOFT_DIRTY);
  munmap((void *)memory, page);
  return works;
}

static gboolean
hash_changed(MirrorTracker *tracker, guint64 address, gboolean *changed, GError **error)
{
  guint8 bytes[65536];
  if (!mirror_memory_read(tracker->process, address, bytes, tracker->page, error))
    return FALSE;
  PageHash *now = g_new(PageHash, 1);
  *now = (PageHash){address, XXH3_128bits(bytes, tracker->page)};
  const PageHash *former = g_hash_table_lookup(tracker->hashes, &address);
  *changed = !former || !XXH128_isEqual(former->hash, now->hash);
  g_hash_table_add(tracker->seen, now);
  return TRUE;
}

/* The pages of these runs have been made what both sides have: their hashes are those of what is there now.
 */
static gboolean
hash_forget(MirrorTracker *tracker, const GArray *runs, GError **error)
{
  gboolean done = TRUE;
  tracker->seen = tracker->hashes; /* a page's new hash takes the place of its old one */
  for (guint i = 0; i < runs->len && done; i++) {
    const MirrorRun *run = &g_array_index(runs, MirrorRun, i);
    for (guint64 at = run->address; at < run->address + run->length && done; at += tracker->page) {
      gboolean unused;
      if (run->kind == MIRROR_RUN_HOLE)
        g_hash_table_remove(tracker->hashes, &at);
      else
        done = hash_changed(tracker, at, &unused, error);
    }
  }
  tracker->seen = NULL;
  return done;
}

static gboolean
entry_there(const MirrorMapping *area, guint64 entry)
{
  if (area->kind == MIRROR_MAP_SHARED_FILE)
    return (entry & ENTRY_PRESENT) != 0;
  return (entry & (ENTRY_PRESENT | ENTRY_SWAPPED)) && !((entry & ENTRY_FILE) && file_pages_are_clean(area));
}

/* A page that is the file's, and one of zeros, are not the same. */
static gboolean
file_pages_differ(const MirrorMapping *area)
{
  return area->kind != MIRROR_MAP_ANONYMOUS && area->kind != MIRROR_MAP_STACK;
}

static gboolean
page_changed(MirrorTracker *tracker, const MirrorMapping *area, guint64 address, guint64 entry,
             gboolean fresh, GArray *runs, GError **error)
{
  gboolean present = entry_there(area, entry), changed;
  gboolean there = present || (hides_pages(area) && !is_blank(tracker, address));
  if (tracker->track == MIRROR_TRACK_SOFT_DIRTY)
    changed = (entry & ENTRY_SOFT_DIRTY) || !present;
  else if (there) {
    gboolean known = g_hash_table_contains(tracker->hashes, &address);
    if (!hash_changed(tracker, address, &changed, error))
      return FALSE;
    /* Only read: what was nothing is zeros. */
    if (!known && !file_pages_differ(area) && is_blank(tracker, address))
      changed = FALSE;
  } else
    changed = g_hash_table_contains(tracker->hashes, &address);
  if ((changed || fresh) && (there || area->kind != MIRROR_MAP_SHARED_FILE))
    emit(runs, address, address + tracker->page, there ? MIRROR_RUN_DATA : MIRROR_RUN_HOLE);
  return TRUE;
}

static gboolean
walk_area(MirrorTracker *tracker, const MirrorMapping *area, GArray *runs, GError **error)
{
  static guint64 entries[8192];
  gboolean fresh = !tracker->begun || is_turned(tracker, area);
  for (guint64 at = area->start; at < area->end;) {
    gsize count = MIN(G_N_ELEMENTS(entries), (area->end - at) / tracker->page);
    ssize_t got = pread(tracker->process->pagemap, entries, count * 8, at / tracker->page * 8);
    if (got <= 0)
      return doppel_error_errno(error, "reading the page map of process %d", tracker->process->pid);
    for (gsize i = 0; i < (gsize)got / 8; i++, at += tracker->page)
      if (!page_changed(tracker, area, at, entries[i], fresh, runs, error))
        return FALSE;
  }
  return TRUE;
}

static gboolean
walk_all(MirrorTracker *tracker, const MirrorLayout *layout, GArray *runs, GError **error)
{
  if (tracker->track == MIRROR_TRACK_HASH)
    tracker->seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  for (guint i = 0; i < layout->areas->len; i++) {
    const MirrorMapping *area = &g_array_index(layout->areas, MirrorMapping, i);
    if (tracked(tracker, area) && !walk_area(tracker, area, runs, error)) {
      g_clear_pointer(&tracker->seen, g_hash_table_unref);
      return FALSE;
    }
  }
  if (tracker->track == MIRROR_TRACK_HASH) {
    g_hash_table_unref(tracker->hashes);
    tracker->hashes = g_steal_pointer(&tracker->seen);
  } else if (!soft_dirty_clear(tracker))
    return doppel_error_errno(error, "clearing the soft-dirty bits of process %d", tracker->process->pid);
  tracker->begun = TRUE;
  return TRUE;
}

/* ---- the interface ---- */

int
mirror_tracker_demand(const MirrorTracker *tracker)
{
  return tracker->demand ? tracker->uffd : -1;
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
    return pagemap_start(tracker, error);
  case MIRROR_TRACK_SOFT_DIRTY:
    if (!soft_dirty_works())
      return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "this kernel has no soft-dirty bits");
    return TRUE;
  default:
    return TRUE;
  }
}

MirrorTracker *
mirror_tracker_new(MirrorProcess *process, MirrorTrack track, GError **error)
{
  return mirror_tracker_new_demanding(process, track, -1, error);
}

MirrorTracker *
mirror_tracker_new_demanding(MirrorProcess *process, MirrorTrack track, int device, GError **error)
{
  g_autoptr(MirrorTracker) tracker = g_new0(MirrorTracker, 1);
  tracker->process = process;
  tracker->uffd = -1;
  tracker->device = device;
  tracker->page = sysconf(_SC_PAGESIZE);
  tracker->written = g_array_new(FALSE, FALSE, sizeof(struct page_region_abi));
  tracker->turned = g_array_new(FALSE, FALSE, sizeof(Range));
  tracker->barred = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
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
  g_hash_table_unref(tracker->barred);
  g_array_unref(tracker->turned);
  mirror_layout_free(tracker->former);
  g_array_unref(tracker->written);
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
    sum += tracked(tracker, area) ? area->end - area->start : 0;
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
  return tracker->track == MIRROR_TRACK_PAGEMAP ? pagemap_all(tracker, layout, runs, error)
                                                : walk_all(tracker, layout, runs, error);
}

gboolean
mirror_tracker_forget(MirrorTracker *tracker, const MirrorLayout *layout, const GArray *runs, GError **error)
{
  switch (tracker->track) {
  case MIRROR_TRACK_PAGEMAP:
    /* A call for each run, while that is less than to look at all. */
    return runs->len <= FORGET_RUNS_MAX ? pagemap_forget(tracker, runs, error)
                                        : pagemap_all(tracker, layout, NULL, error);
  case MIRROR_TRACK_HASH:
    return hash_forget(tracker, runs, error);
  default:
    return walk_all(tracker, layout, NULL, error);
  }
}

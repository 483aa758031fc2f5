/* Tracking by soft-dirty bits, and by hashes: both walk /proc/PID/pagemap. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"
#include "mirror/tracker_private.h"

/* Bits of an entry of /proc/PID/pagemap. */
#define ENTRY_SOFT_DIRTY (1ull << 55)
#define ENTRY_FILE       (1ull << 61)
#define ENTRY_SWAPPED    (1ull << 62)
#define ENTRY_PRESENT    (1ull << 63)

typedef struct {
  guint64 address;
  XXH128_hash_t hash;
} PageHash;

static gboolean
soft_dirty_clear(MirrorTracker *tracker)
{
  g_auto(Fd) fd = openat(tracker->process->directory, "clear_refs", O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write(fd, "4", 1) == 1;
}

/* Writing to clear_refs succeeds also where the bit is not compiled in: see whether a page of our own gets
 * it. */
gboolean
tracker_soft_dirty_works(void)
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
gboolean
tracker_hash_forget(MirrorTracker *tracker, const GArray *runs, GError **error)
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
  return (entry & (ENTRY_PRESENT | ENTRY_SWAPPED)) &&
         !((entry & ENTRY_FILE) && tracker_file_pages_are_clean(area));
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
  gboolean there = present || (tracker_hides_pages(area) && !tracker_is_blank(tracker, address));
  if (tracker->track == MIRROR_TRACK_SOFT_DIRTY)
    changed = (entry & ENTRY_SOFT_DIRTY) || !present;
  else if (there) {
    gboolean known = g_hash_table_contains(tracker->hashes, &address);
    if (!hash_changed(tracker, address, &changed, error))
      return FALSE;
    /* Only read: what was nothing is zeros. */
    if (!known && !file_pages_differ(area) && tracker_is_blank(tracker, address))
      changed = FALSE;
  } else
    changed = g_hash_table_contains(tracker->hashes, &address);
  if ((changed || fresh) && (there || area->kind != MIRROR_MAP_SHARED_FILE))
    tracker_emit(runs, address, address + tracker->page, there ? MIRROR_RUN_DATA : MIRROR_RUN_HOLE);
  return TRUE;
}

static gboolean
walk_area(MirrorTracker *tracker, const MirrorMapping *area, GArray *runs, GError **error)
{
  static guint64 entries[8192];
  gboolean fresh = !tracker->begun || tracker_is_turned(tracker, area);
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

gboolean
tracker_walk_changed(MirrorTracker *tracker, const MirrorLayout *layout, GArray *runs, GError **error)
{
  if (tracker->track == MIRROR_TRACK_HASH)
    tracker->seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  for (guint i = 0; i < layout->areas->len; i++) {
    const MirrorMapping *area = &g_array_index(layout->areas, MirrorMapping, i);
    if (tracker_watches(tracker, area) && !walk_area(tracker, area, runs, error)) {
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

/* What a process has written since a moment: dirty-page tracking. Three ways to know, behind one interface;
 * the caller sees the same answer from each, only at another price:
 *
 * - pagemap: a write-protecting userfaultfd in asynchronous mode and PAGEMAP_SCAN (Linux 6.7;
 *   admin-guide/mm/pagemap.rst)
 * - soft-dirty: the bit of that name, where the kernel has it compiled in (admin-guide/mm/soft-dirty.rst)
 * - hash: a 128-bit hash of every page that is present: reads everything, needs nothing
 *
 * One thing only the last of them sees: a page of a mapped file, or of shared memory, that was not written
 * since the last call and is then let go by madvise(2) (MADV_DONTNEED, MADV_REMOVE). The kernel keeps a mark
 * in its place that says clean. */
#pragma once

#include "mirror/layout.h"
#include "mirror/ranges.h"

typedef enum {
  MIRROR_TRACK_AUTO,
  MIRROR_TRACK_PAGEMAP,
  MIRROR_TRACK_SOFT_DIRTY,
  MIRROR_TRACK_HASH
} MirrorTrack;

typedef struct MirrorTracker MirrorTracker;

typedef enum {
  MIRROR_RUN_DATA,    /* these bytes are what is there now */
  MIRROR_RUN_HOLE,    /* back to what the mapping began with: zeros, or the file's bytes */
  MIRROR_RUN_CHANGES, /* one page, by what makes it of what it was: only in a delta (copies.h) */
  MIRROR_RUN_FAR,     /* ask for it when it is touched: only in a delta, as the next (pager.h) */
  MIRROR_RUN_HELD,    /* these bytes, and say whether it was touched */
  MIRROR_RUN_KNOWN, /* what the other side keeps under these names (page_key.h); it may ask if it does not */
  MIRROR_RUN_KINDS,
} MirrorRunKind;
typedef struct {
  guint64 address, length; /* whole pages */
  MirrorRunKind kind;
  guint32 changes; /* CHANGES: bytes of them */
} MirrorRun;

/* Names: "auto", "pagemap", "soft-dirty", "hash". FALSE when there is no such. */
gboolean mirror_track_parse(const char *name, MirrorTrack *track);
const char *mirror_track_name(MirrorTrack track);

/* Starts tracking; until the first mirror_tracker_changed() everything counts as changed. The process must be
 * stopped. AUTO takes the first that works here; a forced one that does not is UNSUPPORTED. By `device`, a
 * descriptor that the process itself has open on /dev/userfaultfd (-1: none), pages can come on demand also
 * where the kernel touches them for the process. */
MirrorTracker *mirror_tracker_new(MirrorProcess *process, MirrorTrack track, int device, GError **error);
void mirror_tracker_free(MirrorTracker *tracker);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MirrorTracker, mirror_tracker_free)

MirrorTrack mirror_tracker_kind(const MirrorTracker *tracker);

/* The userfaultfd, for pages that come on demand; -1 where this backend or this kernel grants none. */
int mirror_tracker_demand(const MirrorTracker *tracker);
/* TRUE where the page is not there and the mark of tracking is gone as well: it was let go (madvise(2)). */
gboolean mirror_tracker_is_bare(const MirrorTracker *tracker, guint64 address);
/* These pages (the caller's list, which may change) are missing: whoever wrote them would have been held
 * back. */
void mirror_tracker_set_missing(MirrorTracker *tracker, const MirrorRanges *missing);
/* Tells of mappings that have become others. */
void mirror_tracker_on_replaced(MirrorTracker *tracker,
                                void (*replaced)(guint64 start, guint64 end, void *user), void *user);

/* Another userfaultfd of the process, with the same features, gets an area (the whole of it) that nothing was
 * written to since the last call below, and tracking goes on there as before. It gives it back in the same
 * way. PAGEMAP alone. */
gboolean mirror_tracker_lend(MirrorTracker *tracker, int to, guint64 start, guint64 end, GError **error);
gboolean mirror_tracker_take_back(MirrorTracker *tracker, int from, guint64 start, guint64 end,
                                  GError **error);

/* Appends to `runs` (MirrorRun, by address) all pages of `layout`, which must be the process's present one,
 * that changed since the last call, and begins anew. A mapping that was not there at the last call, or was
 * replaced, is changed as a whole. The process must be stopped. `runs` NULL: only begins anew (the twins have
 * just been made equal). UNSUPPORTED where the mappings together are more than MIRROR_TRACK_MEMORIES times
 * this machine's memory. */
#define MIRROR_TRACK_MEMORIES 8
gboolean mirror_tracker_changed(MirrorTracker *tracker, const MirrorLayout *layout, GArray *runs,
                                GError **error);

/* These pages, which the caller has written, are what both sides have: they count as unchanged from now on.
 * Everything else stays as it is. `layout` must be the one of the last call above. */
gboolean mirror_tracker_forget(MirrorTracker *tracker, const MirrorLayout *layout, const GArray *runs,
                               GError **error);

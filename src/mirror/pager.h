/* Pages that come when they are touched (CloneCloud section 4: "optimizing wireless bandwidth"). The mirror
 * of a large program gets the contents of few pages; of the others it knows that the sleeping primary has
 * them. Where the mirror, or the kernel for it, touches such a page, a userfaultfd holds it back
 * (userfaultfd(2), missing mode) and the pager fetches the page, with neighbours.
 *
 * A page of the armed ranges is one of:
 *   far     its contents are with the other side
 *   known   the same, but it can be in this machine's store of pages
 *   held    its contents have come, and nobody has touched it: who sent it ahead wants to know
 *   present the process has it
 *   blank   none of these: zeros, when it is touched
 *
 * Nothing else may read or write the process's memory where a page could be missing: it would wait for a page
 * that only the waiting thread can bring. mirror_memory_read() and its kin see to that by process->fill. */
#pragma once

#include "mirror/copies.h"
#include "mirror/delta.h"
#include "mirror/page_store.h"
#include "mirror/ranges.h"

typedef struct MirrorPager MirrorPager;

/* Asks the other side for these pages (MirrorRange, whole pages) and waits. The answer is a delta without
 * sections: contents, and holes for zeros; it may be more than was asked for, never outside what is far. */
typedef gboolean (*MirrorPull)(const MirrorRanges *wanted, MirrorDelta *answer, void *user, GError **error);

/* `tracker` is the process's, and lends its userfaultfd; `copies` gets what has come. All are the caller's
 * and outlive the pager. */
MirrorPager *mirror_pager_new(MirrorProcess *process, MirrorTracker *tracker, MirrorCopies *copies,
                              MirrorPull pull, void *user);
void mirror_pager_free(MirrorPager *pager);

/* Readable when a page is waited for; -1 where pages cannot come on demand: then mirror_pager_arm() fetches
 * all of them at once. */
int mirror_pager_fd(const MirrorPager *pager);
/* Serves all who wait. */
gboolean mirror_pager_serve(MirrorPager *pager, GError **error);

/* Pages that come whole are kept in `store` from now on (the caller's; NULL: nowhere), and those that are
 * named are looked for there. */
void mirror_pager_set_store(MirrorPager *pager, PageStore *store);
/* What cannot wait of a delta (hostile) whose other runs have been written: pages known by name in mapped
 * files, and all, where pages cannot come on demand. */
gboolean mirror_pager_put_now(MirrorPager *pager, const MirrorLayout *layout, const MirrorDelta *delta,
                              GError **error);
/* The FAR, HELD and KNOWN runs of the delta hold from now on. What the process had there is gone already, and
 * tracking has begun anew. `layout` is the process's present one. */
gboolean mirror_pager_arm(MirrorPager *pager, const MirrorLayout *layout, const MirrorDelta *delta,
                          GError **error);
/* The other side has said what is there now: nothing is to be fetched. */
void mirror_pager_forget(MirrorPager *pager, guint64 start, guint64 end);
/* The same, and here are the contents. */
gboolean mirror_pager_write(MirrorPager *pager, guint64 address, const guint8 *bytes, gsize length,
                            GError **error);
/* Sees to it that these pages are present, as far as anything is known of them. */
gboolean mirror_pager_fill(MirrorPager *pager, guint64 address, gsize length, GError **error);
/* The same, but what is blank stays so. */
gboolean mirror_pager_bring(MirrorPager *pager, guint64 address, gsize length, GError **error);
gboolean mirror_pager_fill_all(MirrorPager *pager, GError **error);
/* The process is about to move this part of a mapping, or to give it another length: what is known of its
 * pages becomes present, and the kernel, to which a mapping that is armed in parts is several, takes it for
 * one again. */
gboolean mirror_pager_resize(MirrorPager *pager, guint64 address, gsize length, gsize new_length,
                             GError **error);
gboolean mirror_pager_is_far(const MirrorPager *pager, guint64 start, guint64 end);

/* Pages that were sent ahead with the last delta and that nobody has touched since: MirrorRange. */
MirrorRanges *mirror_pager_untouched(MirrorPager *pager);

typedef struct {
  guint64 pulls, pages, zeros; /* questions; pages that came by them; blank pages that were touched */
} MirrorPagerCounts;
const MirrorPagerCounts *mirror_pager_counts(const MirrorPager *pager);

/* What the files of the pager share and nobody else sees. */
#pragma once

#include "mirror/pager.h"

enum { PAGE = COPIES_PAGE };

struct MirrorPager {
  MirrorProcess *process;
  MirrorTracker *tracker;
  MirrorCopies *copies;
  MirrorPull pull;
  void *user;
  PageStore *store;
  MirrorRanges *armed, *far;
  GHashTable *held;         /* address → HeldPage */
  GHashTable *known;        /* address → KnownPage; far, too */
  guint64 expected, window; /* where a walk through memory would go on; pages */
  MirrorPagerCounts counts;
};

typedef struct {
  guint64 address;
  gboolean told; /* that nobody had touched it */
  guint8 bytes[PAGE];
} HeldPage;

typedef struct {
  guint64 address;
  gboolean told;
  PageKey key;
} KnownPage;

enum { PAGER_WINDOW_MIN = 8, PAGER_WINDOW_MAX = 256 }; /* pages that come with the one that was touched */

extern const guint8 pager_zeros[PAGE];

/* Into memory that is there, or whose faults are nobody's to serve. */
gboolean pager_write_present(MirrorPager *pager, guint64 address, const guint8 *bytes, gsize length,
                             GError **error);
/* Whole pages that both sides have so from now on. Those that are there already are written over, or left as
 * they are. */
gboolean pager_put(MirrorPager *pager, guint64 address, const guint8 *bytes, gsize length, gboolean over,
                   GError **error);
/* Asks for all that is wanted, in as many questions as it takes, and does with each answer as `take` says. */
typedef gboolean (*PagerTake)(MirrorPager *pager, const MirrorRanges *asked, const MirrorDelta *answer,
                              GError **error);
gboolean pager_ask(MirrorPager *pager, const MirrorRanges *wanted, PagerTake take, GError **error);
/* A page came whole: for later runs. */
void pager_keep(MirrorPager *pager, const guint8 *page);

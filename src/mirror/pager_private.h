/* What the files of the pager share and nobody else sees. */
#pragma once

#include "mirror/pager.h"

enum { PAGE = COPIES_PAGE };

/* How the process goes through memory that is not there, as far as its faults tell. */
typedef struct {
  guint64 faults[5];   /* addresses, the newest first */
  guint period;        /* of how many faults the pattern consists: 1 or 2; 0: there is none */
  guint64 steps;       /* so many more periods are fetched with the next one */
  guint64 ahead, used; /* neighbours that were fetched unasked; those that were touched */
} PagerWalk;

struct MirrorPager {
  MirrorProcess *process;
  MirrorTracker *tracker;
  MirrorCopies *copies;
  MirrorPull pull;
  void *user;
  PageStore *store;
  MirrorRanges *armed, *far;
  GHashTable *held;  /* address → HeldPage */
  GHashTable *known; /* address → KnownPage; far, too */
  PagerWalk walk;
  MirrorPagerCounts counts;
};

typedef struct {
  guint64 address;
  gboolean told;  /* that nobody had touched it */
  gboolean ahead; /* it came with a page that was touched */
  guint8 bytes[PAGE];
} HeldPage;

typedef struct {
  guint64 address;
  gboolean told;
  PageKey key;
} KnownPage;

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
/* Contents that have come, and wait to be touched. */
void pager_hold(MirrorPager *pager, guint64 address, const guint8 *bytes, guint64 length, gboolean ahead);

/* pager_walk.c: what to fetch with a page that is touched. */
void pager_walk_begin(MirrorPager *pager);                 /* of a block */
void pager_walk_step(MirrorPager *pager, guint64 address); /* a fault */
void pager_walk_want(MirrorPager *pager, guint64 address, MirrorRanges *wanted);

/* A page came whole: for later runs. */
void pager_keep(MirrorPager *pager, const guint8 *page);

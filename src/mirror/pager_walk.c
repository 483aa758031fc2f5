/* What to fetch with a page that is touched: each question costs a round trip. */
#include <string.h>

#include "mirror/pager_private.h"

enum {
  NEIGHBOURS = 8, /* pages, where nothing speaks against them */
  STEPS_MIN = 4,
  STEPS_MAX = 256,
  TRIED = 64 /* neighbours, before they are judged */
};

void
pager_walk_begin(MirrorPager *pager)
{
  PagerWalk *walk = &pager->walk;
  memset(walk->faults, 0, sizeof walk->faults);
  walk->period = 0;
  walk->steps = 0;
  /* Experience counts, and fades. */
  walk->ahead /= 2;
  walk->used /= 2;
}

static gboolean
has_period(const guint64 *faults, guint period)
{
  return faults[2 * period] && faults[0] - faults[period] == faults[period] - faults[2 * period];
}

/* In steps of one length; or of two, in turn: rows of a table that begin in the middle of a page. */
void
pager_walk_step(MirrorPager *pager, guint64 address)
{
  PagerWalk *walk = &pager->walk;
  if (address == walk->faults[0])
    return;
  memmove(walk->faults + 1, walk->faults, sizeof walk->faults - sizeof *walk->faults);
  walk->faults[0] = address;
  guint period = has_period(walk->faults, 1) ? 1 : has_period(walk->faults, 2) ? 2 : 0;
  if (period != walk->period || !period)
    walk->steps = 0;
  walk->period = period;
}

/* Neighbours are worth fetching while one in four of them is touched. */
static guint64
neighbours(const PagerWalk *walk)
{
  return walk->ahead < TRIED || walk->used * 4 >= walk->ahead ? NEIGHBOURS : 1;
}

static void
want_page(MirrorPager *pager, guint64 address, MirrorRanges *wanted)
{
  MirrorRange part;
  if (mirror_ranges_meet(pager->far, address, address + PAGE, &part))
    mirror_ranges_add(wanted, address, address + PAGE);
}

/* Who goes on as before gets more with each question; others get the neighbours. */
void
pager_walk_want(MirrorPager *pager, guint64 address, MirrorRanges *wanted)
{
  PagerWalk *walk = &pager->walk;
  guint64 count = neighbours(walk), stride = walk->faults[0] - walk->faults[walk->period];
  for (guint64 i = 0; i < count; i++)
    want_page(pager, address + i * PAGE, wanted);
  if (!walk->period)
    return;
  walk->steps = CLAMP(walk->steps * 2, STEPS_MIN, STEPS_MAX);
  for (guint64 i = 1; i <= walk->steps; i++)
    for (guint k = 0; k < walk->period; k++)
      want_page(pager, walk->faults[k] + i * stride, wanted);
}

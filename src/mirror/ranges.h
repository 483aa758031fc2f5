/* Sets of addresses as ranges: sorted, apart from each other, none empty. */
#pragma once

#include <glib.h>

typedef struct {
  guint64 start, end;
} MirrorRange;

typedef GArray MirrorRanges; /* of MirrorRange */

MirrorRanges *mirror_ranges_new(void);
void mirror_ranges_add(MirrorRanges *ranges, guint64 start, guint64 end);
void mirror_ranges_remove(MirrorRanges *ranges, guint64 start, guint64 end);

/* The first range that ends beyond an address: its index, or the number of ranges. */
guint mirror_ranges_from(const MirrorRanges *ranges, guint64 address);
static inline const MirrorRange *
mirror_ranges_get(const MirrorRanges *ranges, guint index)
{
  return &g_array_index(ranges, MirrorRange, index);
}

/* The first part of [start, end) that is in the set; FALSE where nothing is. */
gboolean mirror_ranges_meet(const MirrorRanges *ranges, guint64 start, guint64 end, MirrorRange *part);
guint64 mirror_ranges_sum(const MirrorRanges *ranges);

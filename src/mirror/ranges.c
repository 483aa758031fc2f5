#include "mirror/ranges.h"

MirrorRanges *
mirror_ranges_new(void)
{
  return g_array_new(FALSE, FALSE, sizeof(MirrorRange));
}

guint
mirror_ranges_from(const MirrorRanges *ranges, guint64 address)
{
  guint low = 0, high = ranges->len;
  while (low < high) {
    guint middle = (low + high) / 2;
    if (mirror_ranges_get(ranges, middle)->end > address)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

void
mirror_ranges_add(MirrorRanges *ranges, guint64 start, guint64 end)
{
  if (start >= end)
    return;
  /* Neighbours that only touch become one, too. */
  guint first = mirror_ranges_from(ranges, start ? start - 1 : 0), last = first;
  MirrorRange sum = {start, end};
  for (; last < ranges->len && mirror_ranges_get(ranges, last)->start <= end; last++) {
    sum.start = MIN(sum.start, mirror_ranges_get(ranges, last)->start);
    sum.end = MAX(sum.end, mirror_ranges_get(ranges, last)->end);
  }
  if (last > first)
    g_array_remove_range(ranges, first, last - first);
  g_array_insert_val(ranges, first, sum);
}

void
mirror_ranges_remove(MirrorRanges *ranges, guint64 start, guint64 end)
{
  guint at = mirror_ranges_from(ranges, start);
  while (start < end && at < ranges->len && mirror_ranges_get(ranges, at)->start < end) {
    MirrorRange *range = &g_array_index(ranges, MirrorRange, at), behind = {end, range->end};
    if (range->start >= start && range->end <= end) {
      g_array_remove_index(ranges, at);
    } else if (range->start < start) {
      range->end = start;
      if (behind.start < behind.end)
        g_array_insert_val(ranges, at + 1, behind);
      at++;
    } else {
      range->start = end;
    }
  }
}

gboolean
mirror_ranges_meet(const MirrorRanges *ranges, guint64 start, guint64 end, MirrorRange *part)
{
  guint at = mirror_ranges_from(ranges, start);
  if (start >= end || at == ranges->len || mirror_ranges_get(ranges, at)->start >= end)
    return FALSE;
  const MirrorRange *range = mirror_ranges_get(ranges, at);
  *part = (MirrorRange){MAX(range->start, start), MIN(range->end, end)};
  return TRUE;
}

guint64
mirror_ranges_sum(const MirrorRanges *ranges)
{
  guint64 sum = 0;
  for (guint i = 0; i < ranges->len; i++)
    sum += mirror_ranges_get(ranges, i)->end - mirror_ranges_get(ranges, i)->start;
  return sum;
}

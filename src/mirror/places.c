#include "mirror/places.h"

typedef struct {
  guint64 origin, now, length;
} Moved;

struct MirrorPlaces {
  MirrorRanges *still; /* most: where they were */
  GArray *moved;       /* Moved: few, in no order */
};

MirrorPlaces *
mirror_places_new(void)
{
  MirrorPlaces *places = g_new0(MirrorPlaces, 1);
  places->still = mirror_ranges_new();
  places->moved = g_array_new(FALSE, FALSE, sizeof(Moved));
  return places;
}

MirrorPlaces *
mirror_places_copy(const MirrorPlaces *places)
{
  MirrorPlaces *copy = g_new0(MirrorPlaces, 1);
  copy->still = g_array_copy(places->still);
  copy->moved = g_array_copy(places->moved);
  return copy;
}

void
mirror_places_free(MirrorPlaces *places)
{
  if (!places)
    return;
  g_array_unref(places->still);
  g_array_unref(places->moved);
  g_free(places);
}

void
mirror_places_add(MirrorPlaces *places, guint64 start, guint64 end)
{
  mirror_ranges_add(places->still, start, end);
}

/* Takes [skip, skip + length) out of a piece; what is left of it before and behind stays. The index of the
 * next piece to look at. */
static guint
cut(GArray *moved, guint index, guint64 skip, guint64 length)
{
  Moved piece = g_array_index(moved, Moved, index);
  Moved behind = {piece.origin + skip + length, piece.now + skip + length, piece.length - skip - length};
  g_array_remove_index(moved, index);
  if (behind.length)
    g_array_insert_val(moved, index, behind);
  piece.length = skip;
  if (piece.length)
    g_array_insert_val(moved, index, piece);
  return index + (piece.length != 0) + (behind.length != 0);
}

/* The part of [at, at + length) that lies in [start, end), as a distance from `at`. */
static gboolean
overlap(guint64 at, guint64 length, guint64 start, guint64 end, guint64 *skip, guint64 *common)
{
  guint64 from = MAX(at, start), to = MIN(at + length, end);
  *skip = from - at;
  *common = to - from;
  return from < to;
}

void
mirror_places_move(MirrorPlaces *places, guint64 from, guint64 to, guint64 length)
{
  g_autoptr(GArray) arrived = g_array_new(FALSE, FALSE, sizeof(Moved));
  MirrorRange part;
  guint64 skip, common;
  while (mirror_ranges_meet(places->still, from, from + length, &part)) {
    Moved piece = {part.start, part.start - from + to, part.end - part.start};
    g_array_append_val(arrived, piece);
    mirror_ranges_remove(places->still, part.start, part.end);
  }
  for (guint i = 0; i < places->moved->len;) {
    const Moved *piece = &g_array_index(places->moved, Moved, i);
    if (!overlap(piece->now, piece->length, from, from + length, &skip, &common)) {
      i++;
      continue;
    }
    Moved again = {piece->origin + skip, piece->now + skip - from + to, common};
    g_array_append_val(arrived, again);
    i = cut(places->moved, i, skip, common);
  }
  g_array_append_vals(places->moved, arrived->data, arrived->len);
}

void
mirror_places_clear(MirrorPlaces *places, guint64 start, guint64 end, MirrorRanges *into)
{
  MirrorRange part;
  guint64 skip, common;
  for (guint64 at = start; into && mirror_ranges_meet(places->still, at, end, &part); at = part.end)
    mirror_ranges_add(into, part.start, part.end);
  mirror_ranges_remove(places->still, start, end);
  for (guint i = 0; i < places->moved->len;) {
    const Moved *piece = &g_array_index(places->moved, Moved, i);
    if (!overlap(piece->now, piece->length, start, end, &skip, &common)) {
      i++;
      continue;
    }
    if (into)
      mirror_ranges_add(into, piece->now + skip, piece->now + skip + common);
    i = cut(places->moved, i, skip, common);
  }
}

void
mirror_places_lost(MirrorPlaces *places, guint64 start, guint64 end)
{
  mirror_ranges_remove(places->still, start, end);
}

void
mirror_places_came(MirrorPlaces *places, guint64 start, guint64 end)
{
  guint64 skip, common;
  mirror_ranges_remove(places->still, start, end);
  for (guint i = 0; i < places->moved->len;) {
    const Moved *piece = &g_array_index(places->moved, Moved, i);
    i = overlap(piece->origin, piece->length, start, end, &skip, &common)
            ? cut(places->moved, i, skip, common)
            : i + 1;
  }
}

gboolean
mirror_places_empty(const MirrorPlaces *places)
{
  return !places->still->len && !places->moved->len;
}

guint64
mirror_places_sum(const MirrorPlaces *places)
{
  guint64 sum = mirror_ranges_sum(places->still);
  for (guint i = 0; i < places->moved->len; i++)
    sum += g_array_index(places->moved, Moved, i).length;
  return sum;
}

gboolean
mirror_places_now(const MirrorPlaces *places, guint64 origin, guint64 *now)
{
  MirrorRange part;
  *now = origin;
  if (mirror_ranges_meet(places->still, origin, origin + 1, &part))
    return TRUE;
  for (guint i = 0; i < places->moved->len; i++) {
    const Moved *piece = &g_array_index(places->moved, Moved, i);
    *now = piece->now + (origin - piece->origin);
    if (origin >= piece->origin && origin - piece->origin < piece->length)
      return TRUE;
  }
  return FALSE;
}

gboolean
mirror_places_meet(const MirrorPlaces *places, guint64 start, guint64 end, MirrorRange *part, guint64 *origin)
{
  guint64 skip, common;
  gboolean met = mirror_ranges_meet(places->still, start, end, part);
  if (met)
    *origin = part->start;
  for (guint i = 0; i < places->moved->len; i++) {
    const Moved *piece = &g_array_index(places->moved, Moved, i);
    if (!overlap(piece->now, piece->length, start, end, &skip, &common) ||
        (met && part->start <= piece->now + skip))
      continue;
    *part = (MirrorRange){piece->now + skip, piece->now + skip + common};
    *origin = piece->origin + skip;
    met = TRUE;
  }
  return met;
}

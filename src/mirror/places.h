/* Where pages that are elsewhere belong: a page goes by the address that it had when it stayed behind, its
 * origin; the program may have moved its place since (mremap(2)). Whole pages. */
#pragma once

#include "mirror/ranges.h"

typedef struct MirrorPlaces MirrorPlaces;

MirrorPlaces *mirror_places_new(void);
MirrorPlaces *mirror_places_copy(const MirrorPlaces *places);
void mirror_places_free(MirrorPlaces *places);

/* These pages belong where they were. */
void mirror_places_add(MirrorPlaces *places, guint64 start, guint64 end);
/* What belongs to [from, from + length) now belongs to the same distance from `to`. */
void mirror_places_move(MirrorPlaces *places, guint64 from, guint64 to, guint64 length);
/* Nothing belongs to [start, end) any more. What did is added to `into` (may be NULL). */
void mirror_places_clear(MirrorPlaces *places, guint64 start, guint64 end, MirrorRanges *into);
/* Nothing belongs there any more of what has never been moved. */
void mirror_places_lost(MirrorPlaces *places, guint64 start, guint64 end);
/* The pages of these origins have come. */
void mirror_places_came(MirrorPlaces *places, guint64 start, guint64 end);

gboolean mirror_places_empty(const MirrorPlaces *places);
guint64 mirror_places_sum(const MirrorPlaces *places); /* bytes */
/* Where the page of an origin belongs now; FALSE: nowhere. */
gboolean mirror_places_now(const MirrorPlaces *places, guint64 origin, guint64 *now);
/* The first part of [start, end) that something belongs to, and its origins (in one piece). */
gboolean mirror_places_meet(const MirrorPlaces *places, guint64 start, guint64 end, MirrorRange *part,
                            guint64 *origin);

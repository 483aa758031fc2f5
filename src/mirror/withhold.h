/* What the primary does not send until it is asked (the other side of pager.h): pages that changed and that
 * the block may never touch. As the primary sleeps while the block runs, it has them still as they were. And
 * what the mirror does not send home (kept.h). */
#pragma once

#include "mirror/twin.h"

/* Splits the DATA runs of a capture into what is sent (DATA), lent (HELD) and kept (FAR), page by page, as
 * twin->choose says. Only private memory without a file can be lent or kept. */
void mirror_withhold(MirrorTwin *twin, MirrorDelta *delta);
/* The primary's delta is on its way: which pages the other side has to ask for now. */
void mirror_withheld_note(MirrorTwin *twin, const MirrorDelta *delta);
/* The mirror's is: what stays behind of it is kept as it is now. */
gboolean mirror_kept_note(MirrorTwin *twin, const MirrorDelta *delta, GError **error);
/* The other side's delta has been applied: of these pages it has the newer contents, or other ones are here.
 */
void mirror_withheld_superseded(MirrorTwin *twin, const MirrorDelta *delta);
/* Answers a question (hostile) for pages: contents, and holes where they are zeros. Pages that the other side
 * has are left out. UNSUPPORTED for more than MIRROR_GIVE_MAX pages. */
#define MIRROR_GIVE_MAX 65536
gboolean mirror_withheld_give(MirrorTwin *twin, const MirrorRanges *wanted, MirrorDelta *answer,
                              GError **error);

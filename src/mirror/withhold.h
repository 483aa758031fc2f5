/* What the primary does not send until it is asked (the other side of pager.h): pages that changed and that
 * the block may never touch. As the primary sleeps while the block runs, it has them still as they were. */
#pragma once

#include "mirror/twin.h"

/* Splits the DATA runs of a capture into what is sent (DATA), lent (HELD) and kept (FAR), page by page, as
 * twin->choose says. Only private memory without a file can be lent or kept. */
void mirror_withhold(MirrorTwin *twin, MirrorDelta *delta);
/* The delta is on its way, or has been applied: which pages the other side has to ask for now. */
void mirror_withheld_note(MirrorTwin *twin, const MirrorDelta *delta);
/* Answers a question (hostile) for pages: contents, and holes where they are zeros. Pages that the other side
 * has are left out. UNSUPPORTED for more than MIRROR_GIVE_MAX pages. */
#define MIRROR_GIVE_MAX 65536
gboolean mirror_withheld_give(MirrorTwin *twin, const MirrorRanges *wanted, MirrorDelta *answer,
                              GError **error);

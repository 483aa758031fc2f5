/* What of a captured delta need not travel whole: pages of zeros, pages of which the other side has the
 * former contents (copies.h), and those that it keeps from earlier (page_index.h). */
#pragma once

#include "mirror/twin.h"

void mirror_lessen(MirrorTwin *twin, MirrorDelta *delta);

/* Both sides have these whole pages now. */
void mirror_copies_note(MirrorTwin *twin, guint64 address, const guint8 *bytes, guint64 length);

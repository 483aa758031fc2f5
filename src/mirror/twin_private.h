/* What the files of a twin share and nobody else sees. */
#pragma once

#include "mirror/twin.h"

static inline gboolean
twin_overlaps(guint64 a_start, guint64 a_end, guint64 b_start, guint64 b_end)
{
  return a_start < b_end && b_start < a_end;
}

/* Pages of which one of the twins has no mapping any more are with nobody. */
void twin_forget_unmapped(MirrorTwin *twin);

/* twin_mappings.c. One call in the process's name; where it fails, the error says what was done to which
 * mapping. */
gboolean twin_call(MirrorProcess *process, gint64 nr, const guint64 arguments[6], gint64 *result,
                   const char *what, const MirrorMapping *mapping, GError **error);
/* Index of the first area that ends beyond an address. */
guint twin_area_at(const MirrorLayout *layout, guint64 address);
/* FALSE where steps (MirrorStep) go through what is ours in the process. */
gboolean twin_steps_sane(MirrorProcess *process, const GArray *steps, GError **error);
/* New mappings where nothing is now are what can fail for want of memory: they are made first, and taken back
 * if one fails. */
gboolean twin_make_new_first(MirrorTwin *twin, GArray *steps, GError **error);
gboolean twin_take_step(MirrorTwin *twin, const GArray *steps, guint index, GError **error);

/* twin_memory.c. The runs of a delta (hostile): whether they fit their contents and this twin; and made so.
 */
gboolean twin_runs_sane(const MirrorTwin *twin, const MirrorDelta *delta, GError **error);
gboolean twin_write_runs(MirrorTwin *twin, const MirrorDelta *delta, GError **error);

/* What two sequences have in common, in order: Myers, "An O(ND) difference algorithm and its variations"
 * (Algorithmica 1986), section 4b, in linear space. */
#pragma once

#include <glib.h>

/* Sets the marks of what `a` has and `b` has not, and of what `b` has and `a` has not; what is not marked is
 * the same in both, in order. TRUE: as little is marked as can be. FALSE: finding that would have taken more
 * than a good part of `work`, in steps of some ten nanoseconds, and all of a stretch is marked that differs
 * in part only. What was done is taken off `work`. */
gboolean doc_difference(const guint32 *a, gsize a_count, guint8 *a_marks, const guint32 *b, gsize b_count,
                        guint8 *b_marks, gint64 *work);

/* Texts that were changed elsewhere, in an editor say, as operations of a document. */
#pragma once

#include "clonedoc/ot/op.h"

/* The operation that makes the text `to` of the text `from`, always exactly: what differs by lines, and
 * within lines that changed by characters. It is small where the texts are alike; where finding what they
 * have in common would take long (most of a second with texts of a megabyte), less of it is found. NULL with
 * USAGE: one of the two is no text (ot_utf8_check()) or too long for a document. */
OtOp *doc_merge_difference(const char *from, gsize from_bytes, const char *to, gsize to_bytes,
                           GError **error);

/* Three ways: `base` became `saved` somewhere, while `meanwhile` was done to it here. What is to be done to
 * the text of here, for it to have both. Where both inserted at one place, what came meanwhile is first.
 * `meanwhile` has to fit the base: else NULL with HOSTILE. */
OtOp *doc_merge_saved(const char *base, gsize base_bytes, const char *saved, gsize saved_bytes,
                      const OtOp *meanwhile, GError **error);

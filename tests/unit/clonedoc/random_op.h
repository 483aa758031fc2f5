/* Texts and operations by chance, of characters of one to four bytes. */
#pragma once

#include "clonedoc/ot/op.h"

/* How many cases a test goes through: DOPPEL_OT_CASES of the environment, else `usual`. */
guint64 ot_cases(guint64 usual);

/* A string of `scalars`, to be freed; `bytes` gets its length. */
char *ot_random_string(GRand *rand, gsize scalars, gsize *bytes);
OtText *ot_random_text(GRand *rand, gsize scalars);

/* An operation that fits a text of `length`, of at most `changes` insertions and deletions. */
OtOp *ot_random_op(GRand *rand, gsize length, guint changes);

/* `text` after `op`, a new one. */
OtText *ot_applied(const OtText *text, const OtOp *op);

/* One end of a pair as a program would have it: with the text that it shows. */
#pragma once

#include "clonedoc/pair.h"

typedef struct {
  DocPair *pair;
  OtText *text;
} PairEnd;

void pair_end_init(PairEnd *end, DocPairEnd which);
void pair_end_clear(PairEnd *end);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PairEnd, pair_end_clear)

/* `deleted` scalar values from `at` on make way for `utf8`. */
void pair_end_type(PairEnd *end, gsize at, gsize deleted, const char *utf8);

/* The message is taken, and what it gives is done to the text. FALSE: it was refused, and all is as it was.
 */
gboolean pair_end_hear(PairEnd *end, GBytes *message, GError **error);

char *pair_end_text(const PairEnd *end);

/* What the two said to each other. */
typedef struct {
  guint messages, bundles; /* of either */
  gsize longest;           /* bytes of a message */
  GString *bytes;          /* of all messages; NULL: nobody wants them */
} PairTalk;

/* They meet over a new link, and talk until both have nothing more to say. `talk` may be NULL. */
void pair_meet(PairEnd *one, PairEnd *other, PairTalk *talk);

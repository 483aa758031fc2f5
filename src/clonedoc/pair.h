/* The text that a device shows and the one that its clone keeps, in step over a link that may be cut at any
 * moment: the two-way operational transformation of Jupiter (Nichols et al., UIST 1995, section 6) with one
 * bundle in flight each way and the rest composed behind it, as the client-user consistency protocol of
 * Clone2Clone section 5.1. Neither end ever waits to change its own text.
 *
 * An end is a state machine without a network, a clock or threads: bytes in, bytes out. What comes after an
 * absence of any length is one bundle each way, composed: what was inserted and deleted again is not in it.
 * (One that is larger than a message follows in pieces.) "Encrypted once" is the link's part: messages are
 * for a link between exactly these two ends that is encrypted and authenticated already (link/link.h), and
 * nothing here encrypts or signs.
 *
 * Both ends begin with an empty text. A clone that has one already gives it to doc_pair_edit() as one
 * insertion. A clone with several devices has a pair for each: what it takes of one is edited into the others
 * and into the document, and what the document takes is edited into all.
 *
 * ---- Being killed ----
 * What an end has in memory is lost when it is killed. Nothing of anybody is lost or doubled if the caller
 * keeps to this order, each time that it has something to send:
 *
 *   1. changes: doc_pair_edit() for what the text got, doc_pair_take() with its result done to the text,
 *      doc_pair_begin()
 *   2. doc_pair_next()
 *   3. doc_pair_save(), kept together with the text (with the clone: the document and its other pairs) in one
 *      step that happens wholly or not at all, and on stable storage when it is done
 *   4. the bytes of 2 are sent
 *
 * Killed before 3 is done, the end goes on from the step before, as if 1 had not been: what it took comes
 * again. Killed after it, whether or not anything was sent, it goes on from there by doc_pair_load() and
 * doc_pair_begin(). Only what was typed since the last 3 is gone: who does not want that does 3 after each
 * doc_pair_edit(), without 2 and 4 while there is no link. */
#pragma once

#include "clonedoc/ot/op.h"

#define DOC_PAIR_EDIT_MAX    (2u << 20)               /* bytes of a packed operation in one message */
#define DOC_PAIR_MESSAGE_MAX (DOC_PAIR_EDIT_MAX + 64) /* bytes of a message */
/* What a text may hold, in scalar values: so many fit into any OtText. */
#define DOC_PAIR_LENGTH_MAX (OT_TEXT_BYTES_MAX / 4)

typedef enum {
  DOC_PAIR_DEVICE,
  DOC_PAIR_CLONE, /* where both insert at one place, what it inserts comes first */
} DocPairEnd;

typedef struct DocPair DocPair;

DocPair *doc_pair_new(DocPairEnd end);
void doc_pair_free(DocPair *pair);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocPair, doc_pair_free)

/* The shown text was changed here, by `op`. FALSE, and nothing is noted: it does not fit that text (HOSTILE),
 * or the text would become too long (UNSUPPORTED). */
gboolean doc_pair_edit(DocPair *pair, const OtOp *op, GError **error);

/* There is a new link, and whatever was on the way over one before is not to be counted on. Both ends say
 * this of each new link; from then on only what comes over that one is given to doc_pair_take(). */
void doc_pair_begin(DocPair *pair);

/* The bytes to send now, to be asked until NULL: nothing is to be said until something changes. */
GBytes *doc_pair_next(DocPair *pair);

/* Takes a message from the other end. `shown` gets what is to be done to the shown text, NULL: nothing; it
 * always fits. Cursors go along by ot_op_move(). What comes a second time over one link, or was said for an
 * earlier one, changes nothing and is no error.
 *
 * FALSE: nothing has changed, and the link is to be given up. HOSTILE and UNSUPPORTED: no correct end of this
 * version says that, or not in this order. MISMATCH: the hello is of an earlier link, or one of the two ends
 * goes on from an older state than it has shown; where that comes with each new link, both have to begin with
 * doc_pair_new(). */
gboolean doc_pair_take(DocPair *pair, const void *data, gsize length, OtOp **shown, GError **error);

/* Whether the other end has said hello over this link. From then on what is to be said may be left until
 * there is more of it. */
gboolean doc_pair_is_open(const DocPair *pair);

/* Whether everything that was edited here is on its way over this link, or was. */
gboolean doc_pair_has_said_all(const DocPair *pair);

/* Whether the other end has said hello over any link: who never did has nothing yet that a new pair would not
 * have. */
gboolean doc_pair_has_met(const DocPair *pair);

/* Whether the other end has, and keeps, everything that was edited here. */
gboolean doc_pair_is_settled(const DocPair *pair);

/* How long the shown text is, in scalar values: what is loaded has to fit the text that was kept with it. */
gsize doc_pair_length(const DocPair *pair);

/* Everything that has to survive. */
GBytes *doc_pair_save(const DocPair *pair);

/* NULL with HOSTILE: those bytes are no state of such an end. */
DocPair *doc_pair_load(DocPairEnd end, const void *data, gsize length, GError **error);

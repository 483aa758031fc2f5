/* A device's copy of one document: its text, which programs change as they like and at once, with the clone
 * or without it, and the device's end of the pair that keeps it in step with the clone's (clonedoc/pair.h).
 *
 * What is edited is on the disk when the call returns. Any number of programs may have the same copy open;
 * each sees what the others do to it. One of them at a time is the *keeper*, who talks with the clone. */
#pragma once

#include "clonedoc/device/copies.h"
#include "clonedoc/ot/op.h"

typedef struct DocCopy DocCopy;

/* Of a document that `copies` knows, which has to live longer. NOT_FOUND. */
DocCopy *doc_copy_open(DocCopies *copies, const DocName *document, GError **error);
void doc_copy_free(DocCopy *copy);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocCopy, doc_copy_free)

/* As of the last call of those below. */
const OtText *doc_copy_text(const DocCopy *copy);
const DocName *doc_copy_name(const DocCopy *copy);

/* What the clone knows this copy by, and whether it has ever talked with it. */
#define DOC_COPY_LENGTH 16
void doc_copy_id(const DocCopy *copy, guint8 id[DOC_COPY_LENGTH], gboolean *begun);

/* Whether the clone's text has ever come: an empty text means nothing before. */
gboolean doc_copy_is_filled(const DocCopy *copy);
gboolean doc_copy_set_filled(DocCopy *copy, GError **error);

/* What other programs did to it since: *shown (may be NULL) gets it as one operation on doc_copy_text(), NULL
 * where it is nothing. NOT_FOUND: the copy is no more. */
gboolean doc_copy_refresh(DocCopy *copy, OtOp **shown, GError **error);

/* Edits doc_copy_text(). *meanwhile (may be NULL) is what others had done to it, as it is after `op`; NULL
 * where it is nothing. HOSTILE: it does not fit; UNSUPPORTED: the text would be too long. */
gboolean doc_copy_edit(DocCopy *copy, const OtOp *op, OtOp **meanwhile, GError **error);

/* Whether the clone has, and keeps, everything that was edited on this device. */
gboolean doc_copy_is_settled(DocCopy *copy, gboolean *settled, GError **error);

/* ---- the keeper ---- */

/* Becomes it, for a new link to the clone. ABORTED: another program is. */
gboolean doc_copy_keep(DocCopy *copy, GError **error);
gboolean doc_copy_is_keeper(const DocCopy *copy);
/* Is it no more, as after an error of doc_copy_step(). */
void doc_copy_let_go(DocCopy *copy);

/* Takes the messages `in` (of GBytes) from the clone, and everything that was edited since; `out` gets what
 * is to be sent now: what it says is on the disk; NULL: nothing is sent yet. *shown as doc_copy_refresh().
 * FALSE: the link is to be given up; as doc_pair_take(). */
gboolean doc_copy_step(DocCopy *copy, const GPtrArray *in, GPtrArray *out, OtOp **shown, GError **error);

/* Begins with the clone anew, where both ends came to differ about what they said (MISMATCH): the copy is
 * empty until the clone's text comes. `*lost` gets the text that was there, if the clone may not have all of
 * it; NULL else. Only the keeper. */
gboolean doc_copy_anew(DocCopy *copy, char **lost, GError **error);

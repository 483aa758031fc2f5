/* Entries from the server, taken one after another. */
#include <string.h>

#include "base/error.h"
#include "clonedoc/document_struct.h"

void
doc_taken_clear(DocTaken *taken)
{
  g_clear_pointer(&taken->shown, ot_op_free);
}

OtOp *
doc_document_operation(const DocDocument *doc, const DocKeyring *ring, const DocEnvelope *envelope,
                       guint64 until)
{
  g_autoptr(GBytes) body = doc_body_open(ring, doc_document_name(doc), envelope, NULL);
  gsize length;
  const guint8 *bytes = body ? g_bytes_get_data(body, &length) : NULL;
  g_autoptr(OtOp) op = body ? ot_op_unpack(bytes, length, NULL) : NULL;
  for (guint64 number = envelope->base + 1; op && number <= until; number++) {
    const DocDone *done = doc_document_done(doc, number);
    if (!done)
      return NULL;
    if (!done->op)
      continue;
    OtOp *others = NULL, *later = NULL;
    ot_op_transform(done->op, op, &others, &later);
    ot_op_free(others);
    ot_op_free(op);
    op = later;
  }
  return g_steal_pointer(&op);
}

static gboolean
fits(const OtOp *op, const OtText *text)
{
  return ot_op_reach(op) <= ot_text_length(text) &&
         ot_op_inserted_bytes(op) + ot_text_bytes(text) <= DOC_TEXT_MAX;
}

/* What a member shows is never longer than what is committed and what it typed itself while that was within
 * DOC_TEXT_MAX: it is within what a text may hold. */
static void
apply(const OtOp *op, OtText *text)
{
  gboolean applied = ot_op_apply(op, text, NULL);
  g_assert(applied);
}

static void
put_before_pending(DocDocument *doc, const OtOp *op)
{
  OtOp *both = ot_op_compose(op, doc->pending);
  ot_op_free(doc->pending);
  doc->pending = both;
}

/* Somebody else's operation goes below one's own, and what is left of it is shown. */
static OtOp *
go_below(DocDocument *doc, const OtOp *op)
{
  g_autoptr(OtOp) after_flight = NULL;
  OtOp *shown, *pending;
  if (doc->flight) {
    OtOp *flight;
    ot_op_transform(op, doc->flight, &after_flight, &flight);
    ot_op_free(doc->flight);
    doc->flight = flight;
  }
  ot_op_transform(after_flight ? after_flight : op, doc->pending, &shown, &pending);
  ot_op_free(doc->pending);
  doc->pending = pending;
  return shown;
}

/* What was made anew came after all: it is taken back once. */
static void
take_back(DocDocument *doc, OtOp **shown)
{
  g_autoptr(OtOp) inverse = ot_op_invert(*shown, doc->shown);
  OtOp *pending = ot_op_compose(doc->pending, inverse), *net = ot_op_compose(*shown, inverse);
  ot_op_free(doc->pending);
  ot_op_free(*shown);
  doc->pending = pending;
  *shown = net;
}

static void
take_edit(DocDocument *doc, const DocEnvelope *envelope, gboolean flown, DocTaken *taken)
{
  guint64 number = doc_document_number(doc);
  g_autoptr(OtOp) op =
      flown ? g_steal_pointer(&doc->flight) : doc_document_operation(doc, doc->ring, envelope, number - 1);
  DocChain digest;
  if (!op || !fits(op, doc->committed)) {
    if (flown)
      put_before_pending(doc, op);
    doc->unread++;
    return;
  }
  if (!flown) {
    taken->shown = go_below(doc, op);
    doc_entry_digest(envelope, &digest);
    if (taken->own && doc_chain_equal(&digest, &doc->withdrawn))
      take_back(doc, &taken->shown);
    apply(taken->shown, doc->shown);
  }
  apply(op, doc->committed);
  if (!ot_op_empty(op))
    g_array_index(doc->done, DocDone, doc->done->len - 1).op = g_steal_pointer(&op);
}

static void
take_checkpoint(DocDocument *doc, const DocEnvelope *envelope, gboolean flown, DocTaken *taken)
{
  gboolean unknown = FALSE;
  if (flown)
    doc->wanted = FALSE;
  else
    taken->lie = !doc_document_is_true(doc, envelope, &unknown) && !unknown;
  if (taken->lie || unknown)
    return;
  doc->checkpoint.number = doc_document_number(doc);
  doc_entry_digest(envelope, &doc->checkpoint.digest);
}

static void
take_good(DocDocument *doc, const DocEnvelope *envelope, gboolean flown, DocTaken *taken)
{
  switch (envelope->kind) {
  case DOC_EDIT:
    take_edit(doc, envelope, flown, taken);
    break;
  case DOC_MEMBERS:
    doc_document_learn(doc, envelope);
    doc_document_fulfil(doc, envelope, flown);
    break;
  case DOC_CHECKPOINT:
    take_checkpoint(doc, envelope, flown, taken);
    break;
  }
}

/* An entry that would count, and whose key is not here. */
static gboolean
lacks_key(const DocDocument *doc, const DocEnvelope *envelope)
{
  return envelope->kind == DOC_EDIT && envelope->epoch == doc_history_epoch(doc->history) &&
         doc_history_role(doc->history, &envelope->author) >= DOC_WRITER &&
         !doc_keyring_has(doc->ring, envelope->epoch);
}

/* The checkpoint that this replica began with has to be where it was said to be. */
static gboolean
is_start(const DocDocument *doc, const DocEnvelope *envelope)
{
  DocChain digest;
  DocVerdict verdict;
  DocFault fault;
  doc_entry_digest(envelope, &digest);
  return doc_chain_equal(&digest, &doc->start.digest) &&
         doc_history_would_take(doc->history, envelope, &verdict, &fault) && verdict == DOC_GOOD;
}

static gboolean
check(DocDocument *doc, guint64 number, const DocEnvelope *envelope, GError **error)
{
  DocFault fault = doc_history_fault(doc->history);
  if (!envelope)
    return doc_history_stop(doc->history, fault ? fault : DOC_FAULT_DAMAGED, number, error);
  if (fault || number != doc_document_number(doc) + 1)
    return TRUE; /* the history says why not */
  if (lacks_key(doc, envelope))
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "this member has not the key of entry %" G_GUINT64_FORMAT
                            " of the document: begin at a checkpoint, or ask its owner for an invitation",
                            number);
  if (number == doc->start.number && !is_start(doc, envelope))
    return doc_history_stop(doc->history, DOC_FAULT_FORK, number, error);
  return TRUE;
}

gboolean
doc_document_take(DocDocument *doc, guint64 number, const void *entry, gsize length, DocTaken *taken,
                  GError **error)
{
  *taken = (DocTaken){0};
  if (doc_document_is_removed(doc))
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "this member was removed from the document");
  if (number <= doc_document_number(doc) && doc_document_knows(doc, number, entry, length)) {
    taken->again = TRUE;
    return TRUE;
  }
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(entry, length, NULL);
  if (!check(doc, number, envelope, error))
    return FALSE;
  DocChain digest;
  doc_entry_digest(envelope, &digest);
  gboolean flown = doc->entry && doc_chain_equal(&digest, &doc->digest);
  /* What comes back as it was sent, signature and all, was signed here. */
  if (!(flown ? doc_history_take_again : doc_history_take)(doc->history, number, envelope, &taken->verdict,
                                                           error))
    return FALSE;
  if (number == doc->start.number)
    doc->start.number = 0;
  taken->author = envelope->author;
  taken->kind = envelope->kind;
  taken->own = identity_public_equal(&envelope->author, identity_key_public(doc->own));
  gboolean good = taken->verdict == DOC_GOOD;
  doc_document_add_done(doc, NULL, taken->own ? g_bytes_new(entry, length) : NULL, good);
  if (good)
    take_good(doc, envelope, flown, taken);
  /* Where another entry of one's own had the sequence, the flight cannot come any more. */
  if (taken->own && doc->entry)
    doc_document_land(doc);
  return TRUE;
}

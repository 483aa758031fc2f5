/* Checkpoints: a text with what one needs to go on from it. All of it follows from the history, so that each
 * member can tell a true one from a lie by making its bytes itself. */
#include <string.h>

#include "base/error.h"
#include "clonedoc/document_wire.h"

/* Sealed, with its nonce and tag, and with the statement around it. */
#define BODY_MAX (DOC_BODY_MAX - 256)

static void
add_piece(const char *utf8, gsize bytes, gpointer user_data)
{
  g_byte_array_append(user_data, (const guint8 *)utf8, (guint)bytes);
}

/* As it is, or was, after entry `number`, when the text was `text`. NULL: what is needed is not there. */
static GBytes *
body_at(const DocDocument *doc, guint64 number, const OtText *text)
{
  g_autoptr(GBytes) history = doc_history_pack(doc->history, number, DOC_BEHIND_MAX);
  guint64 first = number - MIN(number, DOC_BEHIND_MAX) + 1;
  if (!history || first < doc_document_done_first(doc))
    return NULL;
  g_auto(DocDoneWire) done = {0};
  g_autoptr(GByteArray) utf8 = g_byte_array_new();
  doc_done_wire(&done, doc, first, number, FALSE);
  ot_text_each(text, add_piece, utf8);
  Doppel__Wire__DocCheckpointBody body = DOPPEL__WIRE__DOC_CHECKPOINT_BODY__INIT;
  body.history = wire_borrow_bytes(history);
  body.text = wire_borrow(utf8->data, utf8->len);
  body.done = (Doppel__Wire__DocDone **)done.of_wire->pdata;
  body.n_done = done.of_wire->len;
  return wire_pack(&body.base);
}

GBytes *
doc_document_checkpoint_body(const DocDocument *doc)
{
  if (ot_text_bytes(doc->committed) > BODY_MAX)
    return NULL;
  g_autoptr(GBytes) body = body_at(doc, doc_document_number(doc), doc->committed);
  return body && g_bytes_get_size(body) <= BODY_MAX ? g_steal_pointer(&body) : NULL;
}

gboolean
doc_document_checkpoint(DocDocument *doc, GError **error)
{
  g_autoptr(GBytes) body = doc_document_number(doc) > 0 ? doc_document_checkpoint_body(doc) : NULL;
  if (!body)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "a document of more than %u MiB cannot have a checkpoint", BODY_MAX >> 20);
  doc->wanted = TRUE;
  return TRUE;
}

gboolean
doc_document_last_checkpoint(const DocDocument *doc, DocCheckpoint *checkpoint)
{
  *checkpoint = doc->checkpoint;
  return checkpoint->number > 0;
}

/* ---- whether one is true ---- */

static Doppel__Wire__DocCheckpointBody *
unpack(GBytes *body)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(body, &length);
  return doppel__wire__doc_checkpoint_body__unpack(NULL, length, bytes);
}

/* The text, with what was done since, is the present one. One that differs in what was deleted meanwhile
 * would pass; from it everybody comes to the same text, too. */
static gboolean
leads_here(const DocDocument *doc, guint64 number, OtText *text)
{
  while (++number <= doc_document_number(doc)) {
    const DocDone *done = doc_document_done(doc, number);
    if (done->op && !ot_op_apply(done->op, text, NULL))
      return FALSE;
  }
  return ot_text_equal(text, doc->committed);
}

gboolean
doc_document_is_true(const DocDocument *doc, const DocEnvelope *envelope, gboolean *unknown)
{
  g_autoptr(GBytes) body = doc_body_open(doc->ring, doc_document_name(doc), envelope, NULL);
  Doppel__Wire__DocCheckpointBody *wire = body ? unpack(body) : NULL;
  g_autoptr(OtText) text = wire ? doc_text_new(wire->text.data, wire->text.len) : NULL;
  if (wire)
    doppel__wire__doc_checkpoint_body__free_unpacked(wire, NULL);
  if (!text)
    return FALSE;
  g_autoptr(GBytes) expected = body_at(doc, envelope->base, text);
  *unknown = expected == NULL;
  return expected && g_bytes_equal(expected, body) && leads_here(doc, envelope->base, text);
}

/* ---- beginning with one ---- */

static gboolean
refuse(DoppelErrorCode code, const char *why, GError **error)
{
  return doppel_error_set(error, code, "the checkpoint of the document is refused: %s", why);
}

/* The author is one who may make it, by what the checkpoint itself says. */
static gboolean
history_fits(const DocHistory *history, const DocEnvelope *envelope)
{
  return doc_history_number(history) == envelope->base &&
         doc_chain_equal(doc_history_chain(history, envelope->base), &envelope->chain) &&
         doc_history_epoch(history) == envelope->epoch &&
         doc_history_role(history, &envelope->author) >= DOC_WRITER &&
         doc_history_sequence(history, &envelope->author) < envelope->sequence;
}

static gboolean
take_body(DocDocument *doc, const DocEnvelope *envelope, const Doppel__Wire__DocCheckpointBody *wire)
{
  g_autoptr(OtText) text = doc_text_new(wire->text.data, wire->text.len);
  DocHistory *history =
      doc_history_unpack(wire->history.data, wire->history.len, doc_document_name(doc), DOC_BEHIND_MAX, NULL);
  if (!history)
    return FALSE;
  doc_history_free(doc->history);
  doc->history = history;
  if (!text || !history_fits(history, envelope) ||
      !doc_done_take(doc, wire->done, wire->n_done, DOC_BEHIND_MAX, FALSE))
    return FALSE;
  ot_text_free(doc->committed);
  ot_text_free(doc->shown);
  doc->shown = doc_text_copy(text);
  doc->committed = g_steal_pointer(&text);
  return TRUE;
}

/* After a failure the replica is as new. */
static void
forget(DocDocument *doc)
{
  DocName name = *doc_document_name(doc);
  doc_history_free(doc->history);
  doc->history = doc_history_new(&name);
  g_array_set_size(doc->done, 0);
}

static gboolean
open_body(DocDocument *doc, const DocEnvelope *envelope, GError **error)
{
  g_autoptr(GBytes) body = doc_body_open(doc->ring, doc_document_name(doc), envelope, error);
  if (!body)
    return FALSE;
  Doppel__Wire__DocCheckpointBody *wire = unpack(body);
  gboolean taken = wire && take_body(doc, envelope, wire);
  if (wire)
    doppel__wire__doc_checkpoint_body__free_unpacked(wire, NULL);
  if (taken)
    return TRUE;
  forget(doc);
  return refuse(DOPPEL_ERROR_HOSTILE, "its author sealed something else", error);
}

gboolean
doc_document_start(DocDocument *doc, const DocCheckpoint *at, const void *entry, gsize length, GError **error)
{
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(entry, length, error);
  DocChain digest;
  if (!envelope)
    return FALSE;
  if (doc_document_number(doc) > 0 || doc->entry)
    return refuse(DOPPEL_ERROR_USAGE, "this member has begun otherwise", error);
  doc_entry_digest(envelope, &digest);
  if (!doc_chain_equal(&digest, &at->digest))
    return refuse(DOPPEL_ERROR_DENIED, "it is another than the one that was named", error);
  if (envelope->kind != DOC_CHECKPOINT || envelope->base >= at->number ||
      !doc_envelope_is_signed(envelope, doc_document_name(doc)))
    return refuse(DOPPEL_ERROR_HOSTILE, "it is none, or not signed by its author", error);
  if (!open_body(doc, envelope, error))
    return FALSE;
  doc->start = doc->checkpoint = *at;
  doc->since = doc_document_number(doc);
  return TRUE;
}

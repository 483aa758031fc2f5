/* A member's own: from what is typed to what is sent. */
#include <string.h>

#include "base/error.h"
#include "clonedoc/document_struct.h"

static gboolean
may_write(const DocDocument *doc)
{
  /* Who creates a document types before its first entry is back. */
  if (doc_document_number(doc) == 0)
    return doc->entry != NULL;
  return doc_document_role(doc) >= DOC_WRITER;
}

gboolean
doc_document_edit(DocDocument *doc, const OtOp *op, GError **error)
{
  if (!may_write(doc))
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "this member may not write in the document");
  if (ot_op_inserted_bytes(op) + ot_text_bytes(doc->shown) > DOC_TEXT_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "a document may have %u MiB of text",
                            DOC_TEXT_MAX >> 20);
  if (!ot_op_apply(op, doc->shown, error))
    return FALSE;
  OtOp *pending = ot_op_compose(doc->pending, op);
  ot_op_free(doc->pending);
  doc->pending = pending;
  return TRUE;
}

/* ---- flights ---- */

void
doc_document_fly(DocDocument *doc, const DocEnvelope *envelope, GBytes *entry, OtOp *flight)
{
  doc->entry = entry;
  doc->kind = envelope->kind;
  doc->flight = flight;
  doc_entry_digest(envelope, &doc->digest);
}

/* What did not count stays to be done: its operation is before what was typed since. */
void
doc_document_land(DocDocument *doc)
{
  if (doc->flight) {
    OtOp *pending = ot_op_compose(doc->flight, doc->pending);
    ot_op_free(doc->pending);
    doc->pending = pending;
  }
  g_clear_pointer(&doc->flight, ot_op_free);
  g_clear_pointer(&doc->entry, g_bytes_unref);
}

void
doc_document_drop_own(DocDocument *doc)
{
  g_clear_pointer(&doc->flight, ot_op_free);
  g_clear_pointer(&doc->entry, g_bytes_unref);
  ot_op_free(doc->pending);
  doc->pending = ot_op_new();
  g_array_set_size(doc->wishes, 0);
  doc->wanted = FALSE;
  doc->withdrawn = (DocChain){0};
  ot_text_free(doc->shown);
  doc->shown = doc_text_copy(doc->committed);
}

GBytes *
doc_document_flight(const DocDocument *doc)
{
  return doc->entry ? g_bytes_ref(doc->entry) : NULL;
}

/* ---- making entries ---- */

DocEnvelope *
doc_document_envelope(const DocDocument *doc, DocKind kind)
{
  DocEnvelope *envelope = g_new0(DocEnvelope, 1);
  envelope->author = *identity_key_public(doc->own);
  envelope->sequence = doc_history_sequence(doc->history, &envelope->author) + 1;
  envelope->base = doc_document_number(doc);
  envelope->chain = *doc_history_chain(doc->history, envelope->base);
  envelope->epoch = doc_history_epoch(doc->history);
  envelope->kind = kind;
  return envelope;
}

void
doc_document_seal(const DocDocument *doc, DocEnvelope *envelope, const void *body, gsize length)
{
  envelope->sealed = doc_body_seal(doc->ring, doc_document_name(doc), envelope, body, length);
  doc_envelope_sign(envelope, doc_document_name(doc), doc->own);
}

/* As many bytes of a stretch as there is room for, in whole scalar values, one at least. */
static gsize
scalars_within(const OtPart *part, gsize room)
{
  gsize bytes = MIN(part->bytes, MAX(room, 4)), scalars = 0;
  for (gsize i = 0; i < bytes; i++)
    scalars += ((guint8)part->utf8[i] & 0xc0) != 0x80;
  return bytes == part->bytes ? part->scalars : MAX(scalars - 1, 1);
}

/* Takes from the beginning of `op` about what one entry carries; `rest` is what is left, to be done after it.
 */
static OtOp *
first_of(const OtOp *op, OtOp **rest)
{
  enum { PART = 5 }; /* bytes of a packed part, at most, without its text */
  OtOp *first = ot_op_new();
  gsize room = DOC_EDIT_MAX;
  OtCursor cursor;
  OtPart part;
  *rest = ot_op_new();
  for (ot_cursor_init(&cursor, op); cursor.left.scalars > 0 && room > PART;) {
    gsize scalars = cursor.left.scalars;
    if (cursor.left.kind == OT_INSERT)
      scalars = scalars_within(&cursor.left, room - PART);
    ot_cursor_take(&cursor, scalars, &part);
    room -= MIN(room, PART + (part.kind == OT_INSERT ? part.bytes : 0));
    if (part.kind == OT_DELETE) {
      ot_op_delete(first, part.scalars);
      continue;
    }
    if (part.kind == OT_KEEP)
      ot_op_keep(first, part.scalars);
    else
      ot_op_insert(first, part.utf8, part.bytes, part.scalars);
    ot_op_keep(*rest, part.scalars);
  }
  while (cursor.left.scalars > 0) {
    ot_cursor_take(&cursor, cursor.left.scalars, &part);
    if (part.kind == OT_KEEP)
      ot_op_keep(*rest, part.scalars);
    else if (part.kind == OT_DELETE)
      ot_op_delete(*rest, part.scalars);
    else
      ot_op_insert(*rest, part.utf8, part.bytes, part.scalars);
  }
  return first;
}

static DocEnvelope *
next_edit(DocDocument *doc, OtOp **flight)
{
  OtOp *rest;
  *flight = first_of(doc->pending, &rest);
  ot_op_free(doc->pending);
  doc->pending = rest;
  g_autoptr(GByteArray) body = g_byte_array_new();
  ot_op_pack(*flight, body);
  DocEnvelope *envelope = doc_document_envelope(doc, DOC_EDIT);
  doc_document_seal(doc, envelope, body->data, body->len);
  return envelope;
}

/* NULL: the text has become too long for one. */
static DocEnvelope *
next_checkpoint(DocDocument *doc)
{
  g_autoptr(GBytes) body = doc_document_checkpoint_body(doc);
  doc->wanted = body != NULL;
  if (!body)
    return NULL;
  DocEnvelope *envelope = doc_document_envelope(doc, DOC_CHECKPOINT);
  gsize length;
  const void *bytes = g_bytes_get_data(body, &length);
  doc_document_seal(doc, envelope, bytes, length);
  return envelope;
}

GBytes *
doc_document_submit(DocDocument *doc)
{
  if (doc->entry || doc_document_number(doc) == 0 || doc->start.number > 0 ||
      doc_history_fault(doc->history) != DOC_FAULT_NONE || doc_document_role(doc) < DOC_WRITER ||
      !doc_keyring_has(doc->ring, doc_history_epoch(doc->history)))
    return NULL;
  OtOp *flight = NULL;
  g_autoptr(DocEnvelope) envelope = doc_document_next_change(doc);
  if (!envelope && doc->wanted)
    envelope = next_checkpoint(doc);
  if (!envelope && !ot_op_empty(doc->pending))
    envelope = next_edit(doc, &flight);
  if (!envelope)
    return NULL;
  doc_document_fly(doc, envelope, doc_envelope_pack(envelope), flight);
  return doc_document_flight(doc);
}

#include <sodium.h>
#include <string.h>

#include "base/error.h"
#include "clonedoc/document_struct.h"

static void
done_clear(gpointer data)
{
  DocDone *done = data;
  g_clear_pointer(&done->op, ot_op_free);
  g_clear_pointer(&done->entry, g_bytes_unref);
}

DocDocument *
doc_document_new(DocHistory *history, const IdentityKey *own)
{
  DocDocument *doc = g_new0(DocDocument, 1);
  doc->own = identity_key_from_seed(identity_key_seed(own));
  doc->history = history;
  doc->ring = doc_keyring_new();
  doc->committed = ot_text_new();
  doc->shown = ot_text_new();
  doc->done = g_array_new(FALSE, FALSE, sizeof(DocDone));
  g_array_set_clear_func(doc->done, done_clear);
  doc->pending = ot_op_new();
  doc->wishes = g_array_new(FALSE, FALSE, sizeof(DocWish));
  return doc;
}

void
doc_document_free(DocDocument *doc)
{
  if (!doc)
    return;
  identity_key_free(doc->own);
  doc_history_free(doc->history);
  doc_keyring_free(doc->ring);
  ot_text_free(doc->committed);
  ot_text_free(doc->shown);
  g_array_unref(doc->done);
  g_clear_pointer(&doc->entry, g_bytes_unref);
  ot_op_free(doc->flight);
  ot_op_free(doc->pending);
  g_array_unref(doc->wishes);
  g_free(doc);
}

DocDocument *
doc_document_create(const IdentityKey *own, const IdentityPublic *user)
{
  const IdentityPublic *key = identity_key_public(own);
  DocMember owner = {*user, *key, DOC_OWNER};
  g_autoptr(DocKeyring) ring = doc_keyring_new();
  g_autoptr(DocEnvelope) first = g_new0(DocEnvelope, 1);
  first->author = *key;
  first->sequence = 1;
  first->epoch = 1;
  first->kind = DOC_MEMBERS;
  first->changes = g_array_new(FALSE, FALSE, sizeof(DocMember));
  first->keys = g_ptr_array_new_with_free_func((GDestroyNotify)doc_sealed_keys_free);
  g_array_append_val(first->changes, owner);
  doc_keyring_make(ring, 1);
  g_ptr_array_add(first->keys, doc_keyring_seal(ring, 1, 1, key, NULL));
  randombytes_buf(first->salt, sizeof first->salt);
  doc_envelope_sign(first, NULL, own);
  DocName name;
  doc_envelope_name(first, &name);
  DocDocument *doc = doc_document_new(doc_history_new(&name), own);
  doc_document_fly(doc, first, doc_envelope_pack(first), NULL);
  return doc;
}

DocDocument *
doc_document_join(const DocName *document, const IdentityKey *own, const void *invitation, gsize length,
                  GError **error)
{
  g_autoptr(DocDocument) doc = doc_document_new(doc_history_new(document), own);
  g_autoptr(DocEnvelope) envelope = NULL;
  if (!invitation)
    return g_steal_pointer(&doc);
  envelope = doc_envelope_decode(invitation, length, error);
  if (!envelope)
    return NULL;
  if (envelope->kind == DOC_MEMBERS)
    doc_document_learn(doc, envelope);
  if (!doc_keyring_has(doc->ring, envelope->epoch)) {
    doppel_error_set(error, DOPPEL_ERROR_DENIED,
                     "the invitation to the document has no key for this member: ask its owner for another");
    return NULL;
  }
  return g_steal_pointer(&doc);
}

/* ---- what it is ---- */

const DocHistory *
doc_document_history(const DocDocument *doc)
{
  return doc->history;
}

const DocName *
doc_document_name(const DocDocument *doc)
{
  return doc_history_document(doc->history);
}

guint64
doc_document_number(const DocDocument *doc)
{
  return doc_history_number(doc->history);
}

const OtText *
doc_document_text(const DocDocument *doc)
{
  return doc->shown;
}

const OtText *
doc_document_committed(const DocDocument *doc)
{
  return doc->committed;
}

DocRole
doc_document_role(const DocDocument *doc)
{
  return doc_history_role(doc->history, identity_key_public(doc->own));
}

gboolean
doc_document_is_removed(const DocDocument *doc)
{
  return doc_history_is_removed(doc->history, identity_key_public(doc->own));
}

gboolean
doc_document_is_settled(const DocDocument *doc)
{
  return !doc->entry && ot_op_empty(doc->pending) && doc->wishes->len == 0 && !doc->wanted;
}

guint
doc_document_unread(const DocDocument *doc)
{
  return doc->unread;
}

gboolean
doc_document_check_head(DocDocument *doc, const DocHead *head, GError **error)
{
  return doc_history_check_head(doc->history, head, error);
}

gboolean
doc_document_stop(DocDocument *doc, DocFault fault, guint64 number, GError **error)
{
  return doc_history_stop(doc->history, fault, number, error);
}

/* ---- what was done ---- */

guint64
doc_document_done_first(const DocDocument *doc)
{
  return doc_document_number(doc) + 1 - doc->done->len;
}

const DocDone *
doc_document_done(const DocDocument *doc, guint64 number)
{
  guint64 first = doc_document_done_first(doc);
  if (number < first || number > doc_document_number(doc))
    return NULL;
  return &g_array_index(doc->done, DocDone, number - first);
}

void
doc_document_add_done(DocDocument *doc, OtOp *op, GBytes *entry, gboolean good)
{
  DocDone done = {op, entry, good};
  g_array_append_val(doc->done, done);
  if (doc->done->len > DOC_KEPT + DOC_BEHIND_MAX)
    g_array_remove_range(doc->done, 0, doc->done->len - DOC_KEPT);
}

void
doc_entry_digest(const DocEnvelope *envelope, DocChain *digest)
{
  *digest = (DocChain){0};
  doc_envelope_chain(envelope, digest);
}

gboolean
doc_document_knows(const DocDocument *doc, guint64 number, const void *entry, gsize length)
{
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(entry, length, NULL);
  if (!envelope || number <= doc_history_first(doc->history) || number > doc_document_number(doc))
    return FALSE;
  DocChain chain = *doc_history_chain(doc->history, number - 1);
  doc_envelope_chain(envelope, &chain);
  return doc_chain_equal(&chain, doc_history_chain(doc->history, number));
}

/* ---- texts ---- */

static void
add_piece(const char *utf8, gsize bytes, gpointer user_data)
{
  OtText *copy = user_data;
  gsize scalars;
  if (ot_utf8_check(utf8, bytes, &scalars))
    ot_text_insert(copy, ot_text_length(copy), utf8, bytes, scalars);
}

OtText *
doc_text_copy(const OtText *text)
{
  OtText *copy = ot_text_new();
  ot_text_each(text, add_piece, copy);
  return copy;
}

OtText *
doc_text_new(const void *utf8, gsize length)
{
  gsize scalars;
  if (length > DOC_TEXT_MAX || !ot_utf8_check(utf8, length, &scalars))
    return NULL;
  OtText *text = ot_text_new();
  if (length > 0)
    ot_text_insert(text, 0, utf8, length, scalars);
  return text;
}

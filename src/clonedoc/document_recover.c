/* Going over to another history, after a fault. */
#include "base/error.h"
#include "clonedoc/document_struct.h"

/* What may be in the other history already, or come yet: the first entry of one's own after the fork, as far
 * as its base is before it. Every later one was made on the history that is left. */
typedef struct {
  guint64 at; /* its place in the history that is left; 0: in flight */
  gboolean good;
  GBytes *entry; /* NULL: there is none */
  DocEnvelope *envelope;
  OtOp *op; /* of an edit, on the text after the fork */
} Sent;

static void
sent_clear(Sent *sent)
{
  g_clear_pointer(&sent->entry, g_bytes_unref);
  g_clear_pointer(&sent->envelope, doc_envelope_free);
  g_clear_pointer(&sent->op, ot_op_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Sent, sent_clear)

static DocEnvelope *
decode(GBytes *entry)
{
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  return doc_envelope_decode(bytes, length, NULL);
}

static void
find_sent(Sent *sent, const DocDocument *from, guint64 fork)
{
  *sent = (Sent){.good = TRUE};
  GBytes *entry = from->entry;
  for (guint64 number = fork + 1; number <= doc_document_number(from); number++) {
    const DocDone *done = doc_document_done(from, number);
    if (!done->entry)
      continue;
    sent->at = number;
    sent->good = done->good;
    entry = done->entry;
    break;
  }
  g_autoptr(DocEnvelope) envelope = entry ? decode(entry) : NULL;
  if (!envelope || envelope->base > fork)
    return;
  if (envelope->kind == DOC_EDIT)
    sent->op = doc_document_operation(from, from->ring, envelope, fork);
  sent->entry = g_bytes_ref(entry);
  sent->envelope = g_steal_pointer(&envelope);
}

static guint
first_key(const DocEnvelope *envelope, const IdentityPublic *key)
{
  for (guint i = 0; i < envelope->keys->len; i++) {
    const DocSealedKeys *keys = envelope->keys->pdata[i];
    if (identity_public_equal(&keys->key, key))
      return keys->first;
  }
  return DOC_FROM_NOW;
}

static void
wish_again(DocDocument *onto, const DocDocument *from, guint64 fork)
{
  for (guint64 number = fork + 1; number <= doc_document_number(from); number++) {
    const DocDone *done = doc_document_done(from, number);
    g_autoptr(DocEnvelope) envelope = done->entry && done->good ? decode(done->entry) : NULL;
    for (guint i = 0; envelope && envelope->kind == DOC_MEMBERS && i < envelope->changes->len; i++) {
      DocWish wish = {.member = g_array_index(envelope->changes, DocMember, i)};
      wish.first = first_key(envelope, &wish.member.key);
      g_array_append_val(onto->wishes, wish);
    }
  }
  g_array_append_vals(onto->wishes, from->wishes->data, from->wishes->len);
}

static gboolean
check(const DocDocument *onto, const DocDocument *from, GError **error)
{
  guint64 fork = doc_document_number(onto);
  const IdentityPublic *one = identity_key_public(onto->own), *two = identity_key_public(from->own);
  if (fork == 0 || !identity_public_equal(one, two) ||
      !doc_name_equal(doc_document_name(onto), doc_document_name(from)) || !doc_document_is_settled(onto))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "a document recovers onto a new replica of the same member only");
  if (fork > doc_document_number(from))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "the histories do not part");
  if (fork < from->since || fork < doc_history_first(from->history) ||
      fork + 1 < doc_document_done_first(from))
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "the document's histories parted at entry %" G_GUINT64_FORMAT
                            ", before what this member remembers: copy from its text what is missing",
                            fork);
  if (!doc_chain_equal(doc_history_chain(onto->history, fork), doc_history_chain(from->history, fork)))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "the histories parted before");
  return TRUE;
}

gboolean
doc_document_recover(DocDocument *onto, const DocDocument *from, GError **error)
{
  guint64 fork = doc_document_number(onto);
  g_auto(Sent) sent = {0};
  if (!check(onto, from, error))
    return FALSE;
  find_sent(&sent, from, fork);
  gboolean flies = sent.entry && sent.good && (sent.op || sent.envelope->kind != DOC_EDIT);
  g_autoptr(OtOp) rest = doc_layers_rest(from, fork, sent.at, flies ? sent.op : NULL);
  g_autoptr(OtText) shown = doc_text_copy(onto->committed);
  if ((flies && sent.op && !ot_op_apply(sent.op, shown, error)) || !ot_op_apply(rest, shown, error))
    return FALSE;
  ot_op_free(onto->pending);
  ot_text_free(onto->shown);
  onto->pending = g_steal_pointer(&rest);
  onto->shown = g_steal_pointer(&shown);
  wish_again(onto, from, fork);
  onto->wanted = from->wanted || (flies && sent.envelope->kind == DOC_CHECKPOINT);
  onto->withdrawn = from->withdrawn;
  if (flies)
    doc_document_fly(onto, sent.envelope, g_steal_pointer(&sent.entry), g_steal_pointer(&sent.op));
  else if (sent.entry && sent.envelope->kind == DOC_EDIT)
    doc_entry_digest(sent.envelope, &onto->withdrawn);
  return TRUE;
}

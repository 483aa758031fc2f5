/* Changes of members: those that come, and those that this member wants. */
#include "base/error.h"
#include "clonedoc/document_struct.h"

/* Whether the keys open only this member can see; who has none says so at the first entry that needs them. */
void
doc_document_learn(DocDocument *doc, const DocEnvelope *envelope)
{
  for (guint i = 0; i < envelope->keys->len; i++) {
    const DocSealedKeys *keys = envelope->keys->pdata[i];
    if (identity_public_equal(&keys->key, identity_key_public(doc->own)))
      doc_keyring_open(doc->ring, keys, envelope->epoch, doc->own, NULL);
  }
}

gboolean
doc_document_change(DocDocument *doc, const DocMember *member, guint first, GError **error)
{
  DocWish wish = {*member, first};
  if (doc_document_role(doc) != DOC_OWNER)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "only an owner of the document may change its members");
  if (doc_history_is_removed(doc->history, &member->key))
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "a key that was removed from a document does not come back: invite the user's present clone");
  if (first == 0)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "there is no key number 0 of a document");
  g_array_append_val(doc->wishes, wish);
  return TRUE;
}

static gboolean
give(const DocDocument *doc, DocEnvelope *envelope, const DocKeyring *ring, guint first,
     const IdentityPublic *to)
{
  DocSealedKeys *keys = doc_keyring_seal(ring, first, envelope->epoch, to, NULL);
  if (keys)
    g_ptr_array_add(envelope->keys, keys);
  return keys != NULL;
}

/* A new key of the document, for all who stay. It reaches this member's own ring when the entry comes back as
 * a good one: until then another's may become that epoch's. */
static gboolean
give_all(const DocDocument *doc, DocEnvelope *envelope, const IdentityPublic *but)
{
  g_autoptr(DocKeyring) fresh = doc_keyring_new();
  g_autoptr(GArray) members = doc_history_members(doc->history);
  gboolean given = TRUE;
  envelope->epoch++;
  doc_keyring_make(fresh, envelope->epoch);
  for (guint i = 0; given && i < members->len; i++) {
    const DocMember *member = &g_array_index(members, DocMember, i);
    if (!identity_public_equal(&member->key, but))
      given = give(doc, envelope, fresh, envelope->epoch, &member->key);
  }
  return given;
}

static gboolean
give_new(const DocDocument *doc, DocEnvelope *envelope, const DocWish *wish)
{
  guint first = doc_keyring_first(doc->ring, envelope->epoch);
  return first > 0 &&
         give(doc, envelope, doc->ring, CLAMP(wish->first, first, envelope->epoch), &wish->member.key);
}

/* NULL: on the history as it is, it cannot be done, or needs not. */
static DocEnvelope *
change(const DocDocument *doc, const DocWish *wish)
{
  DocRole before = doc_history_role(doc->history, &wish->member.key);
  g_autoptr(DocEnvelope) envelope = doc_document_envelope(doc, DOC_MEMBERS);
  gboolean given = TRUE;
  DocVerdict verdict;
  DocFault fault;
  if (before == wish->member.role || envelope->epoch >= DOC_EPOCHS_MAX)
    return NULL;
  envelope->changes = g_array_new(FALSE, FALSE, sizeof(DocMember));
  envelope->keys = g_ptr_array_new_with_free_func((GDestroyNotify)doc_sealed_keys_free);
  g_array_append_val(envelope->changes, wish->member);
  if (wish->member.role == DOC_NONE)
    given = give_all(doc, envelope, &wish->member.key);
  else if (before == DOC_NONE)
    given = give_new(doc, envelope, wish);
  doc_envelope_sign(envelope, doc_document_name(doc), doc->own);
  if (!given || !doc_history_would_take(doc->history, envelope, &verdict, &fault) || verdict != DOC_GOOD)
    return NULL;
  return g_steal_pointer(&envelope);
}

DocEnvelope *
doc_document_next_change(DocDocument *doc)
{
  while (doc->wishes->len > 0) {
    DocEnvelope *envelope = change(doc, &g_array_index(doc->wishes, DocWish, 0));
    if (envelope)
      return envelope;
    g_array_remove_index(doc->wishes, 0);
  }
  return NULL;
}

void
doc_document_fulfil(DocDocument *doc, const DocEnvelope *envelope, gboolean flown)
{
  const DocMember *changed = &g_array_index(envelope->changes, DocMember, 0);
  const DocWish *first = doc->wishes->len > 0 ? &g_array_index(doc->wishes, DocWish, 0) : NULL;
  if (flown && first && identity_public_equal(&first->member.key, &changed->key))
    g_array_remove_index(doc->wishes, 0);
  /* They are not to come true when it owns the document again, some other day. */
  if (doc_document_role(doc) != DOC_OWNER)
    g_array_set_size(doc->wishes, 0);
}

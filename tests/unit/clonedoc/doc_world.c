#include "doc_world.h"

#include <string.h>

Person *
person_new(guint8 seed)
{
  guint8 bytes[IDENTITY_SEED_LENGTH];
  Person *person = g_new0(Person, 1);
  memset(bytes, seed, sizeof bytes);
  person->key = identity_key_from_seed(bytes);
  bytes[0] = 0xaa;
  person->user = identity_key_from_seed(bytes);
  person->ring = doc_keyring_new();
  return person;
}

void
person_free(Person *person)
{
  identity_key_free(person->key);
  identity_key_free(person->user);
  doc_keyring_free(person->ring);
  g_free(person);
}

DocMember
person_as(const Person *person, DocRole role)
{
  return (DocMember){*identity_key_public(person->user), *identity_key_public(person->key), role};
}

DocEnvelope *
person_entry(Person *person, const DocHistory *history, DocKind kind)
{
  DocEnvelope *envelope = g_new0(DocEnvelope, 1);
  envelope->author = *identity_key_public(person->key);
  envelope->sequence = ++person->sequence;
  envelope->kind = kind;
  envelope->epoch = 1;
  if (kind == DOC_MEMBERS) {
    envelope->changes = g_array_new(FALSE, FALSE, sizeof(DocMember));
    envelope->keys = g_ptr_array_new_with_free_func((GDestroyNotify)doc_sealed_keys_free);
  }
  if (history) {
    envelope->base = doc_history_number(history);
    envelope->chain = *doc_history_chain(history, envelope->base);
    envelope->epoch = doc_history_epoch(history);
  }
  return envelope;
}

static void
give(DocEnvelope *envelope, const DocKeyring *ring, guint first, const IdentityPublic *key)
{
  GError *error = NULL;
  DocSealedKeys *keys = doc_keyring_seal(ring, first, envelope->epoch, key, &error);
  g_assert_no_error(error);
  g_ptr_array_add(envelope->keys, keys);
}

static void
add(DocEnvelope *envelope, const Person *person, DocRole role)
{
  DocMember member = person_as(person, role);
  g_array_append_val(envelope->changes, member);
}

DocEnvelope *
person_found(Person *owner, Person *const *others, guint count, DocName *document)
{
  DocEnvelope *envelope = person_entry(owner, NULL, DOC_MEMBERS);
  memset(envelope->salt, 7, sizeof envelope->salt);
  doc_keyring_make(owner->ring, 1);
  add(envelope, owner, DOC_OWNER);
  give(envelope, owner->ring, 1, identity_key_public(owner->key));
  for (guint i = 0; i < count; i++) {
    add(envelope, others[i], DOC_WRITER);
    give(envelope, owner->ring, 1, identity_key_public(others[i]->key));
  }
  doc_envelope_sign(envelope, NULL, owner->key);
  doc_envelope_name(envelope, document);
  return envelope;
}

DocEnvelope *
person_edit(Person *person, const DocHistory *history, const char *body)
{
  DocEnvelope *envelope = person_entry(person, history, DOC_EDIT);
  const DocName *document = doc_history_document(history);
  envelope->sealed = doc_body_seal(person->ring, document, envelope, body, strlen(body));
  doc_envelope_sign(envelope, document, person->key);
  return envelope;
}

DocEnvelope *
person_change(Person *owner, const DocHistory *history, const Person *who, DocRole role, guint first)
{
  const IdentityPublic *key = identity_key_public(who->key);
  DocEnvelope *envelope = person_entry(owner, history, DOC_MEMBERS);
  g_autoptr(GArray) members = doc_history_members(history);
  add(envelope, who, role);
  if (role == DOC_NONE) {
    envelope->epoch++;
    doc_keyring_make(owner->ring, envelope->epoch);
    for (guint i = 0; i < members->len; i++) {
      const DocMember *member = &g_array_index(members, DocMember, i);
      if (!identity_public_equal(&member->key, key))
        give(envelope, owner->ring, envelope->epoch, &member->key);
    }
  } else if (doc_history_role(history, key) == DOC_NONE) {
    give(envelope, owner->ring, first, key);
  }
  doc_envelope_sign(envelope, doc_history_document(history), owner->key);
  return envelope;
}

gboolean
person_learn(Person *person, const DocEnvelope *envelope)
{
  for (guint i = 0; i < envelope->keys->len; i++) {
    const DocSealedKeys *keys = envelope->keys->pdata[i];
    if (identity_public_equal(&keys->key, identity_key_public(person->key)))
      return doc_keyring_open(person->ring, keys, envelope->epoch, person->key, NULL);
  }
  return FALSE;
}

DocVerdict
history_add(DocHistory *history, const DocEnvelope *envelope)
{
  GError *error = NULL;
  DocVerdict verdict;
  doc_history_take(history, doc_history_number(history) + 1, envelope, &verdict, &error);
  g_assert_no_error(error);
  return verdict;
}

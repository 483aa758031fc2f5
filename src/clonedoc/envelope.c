#include "clonedoc/envelope.h"

#include <sodium.h>
#include <string.h>

#include "base/error.h"
#include "identity/statement.h"
#include "wire/doc.pb-c.h"
#include "wire/message.h"
#include "wire/unpack.h"

#define VERSION    1
#define SEALED_MIN (crypto_aead_xchacha20poly1305_ietf_NPUBBYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES)

void
doc_sealed_keys_free(DocSealedKeys *keys)
{
  if (!keys)
    return;
  g_bytes_unref(keys->sealed);
  g_free(keys);
}

DocSealedKeys *
doc_sealed_keys_new(const IdentityPublic *key, guint first, GBytes *sealed)
{
  DocSealedKeys *keys = g_new(DocSealedKeys, 1);
  *keys = (DocSealedKeys){*key, first, g_bytes_ref(sealed)};
  return keys;
}

void
doc_envelope_free(DocEnvelope *envelope)
{
  if (!envelope)
    return;
  g_clear_pointer(&envelope->sealed, g_bytes_unref);
  g_clear_pointer(&envelope->changes, g_array_unref);
  g_clear_pointer(&envelope->keys, g_ptr_array_unref);
  g_clear_pointer(&envelope->statement, g_bytes_unref);
  g_free(envelope);
}

gboolean
doc_name_equal(const DocName *a, const DocName *b)
{
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

guint
doc_name_hash(gconstpointer name)
{
  guint hash;
  memcpy(&hash, ((const DocName *)name)->bytes, sizeof hash);
  return hash;
}

gboolean
doc_name_is(gconstpointer a, gconstpointer b)
{
  return doc_name_equal(a, b);
}

gboolean
doc_chain_equal(const DocChain *a, const DocChain *b)
{
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* ---- making one ---- */

/* Packs what borrows from the envelope: the arrays of pointers that protobuf-c wants live here. */
static GBytes *
pack_members(const DocEnvelope *envelope, Doppel__Wire__DocStatement *statement)
{
  guint changes = envelope->changes ? envelope->changes->len : 0,
        keys = envelope->keys ? envelope->keys->len : 0;
  g_autofree Doppel__Wire__DocMember *members = g_new(Doppel__Wire__DocMember, changes);
  g_autofree Doppel__Wire__DocMember **of_members = g_new(Doppel__Wire__DocMember *, changes);
  g_autofree Doppel__Wire__DocKeys *sealed = g_new(Doppel__Wire__DocKeys, keys);
  g_autofree Doppel__Wire__DocKeys **of_sealed = g_new(Doppel__Wire__DocKeys *, keys);
  Doppel__Wire__DocMembers body = DOPPEL__WIRE__DOC_MEMBERS__INIT;
  for (guint i = 0; i < changes; i++) {
    const DocMember *change = &g_array_index(envelope->changes, DocMember, i);
    members[i] = (Doppel__Wire__DocMember)DOPPEL__WIRE__DOC_MEMBER__INIT;
    members[i].user = wire_borrow(change->user.bytes, sizeof change->user.bytes);
    members[i].key = wire_borrow(change->key.bytes, sizeof change->key.bytes);
    members[i].role = (Doppel__Wire__DocRole)change->role;
    of_members[i] = &members[i];
  }
  for (guint i = 0; i < keys; i++) {
    const DocSealedKeys *each = envelope->keys->pdata[i];
    sealed[i] = (Doppel__Wire__DocKeys)DOPPEL__WIRE__DOC_KEYS__INIT;
    sealed[i].key = wire_borrow(each->key.bytes, sizeof each->key.bytes);
    sealed[i].first = each->first;
    sealed[i].sealed = wire_borrow_bytes(each->sealed);
    of_sealed[i] = &sealed[i];
  }
  body.changes = of_members;
  body.n_changes = changes;
  body.keys = of_sealed;
  body.n_keys = keys;
  if (envelope->base == 0)
    body.salt = wire_borrow(envelope->salt, sizeof envelope->salt);
  statement->members = &body;
  statement->body_case = DOPPEL__WIRE__DOC_STATEMENT__BODY_MEMBERS;
  return wire_pack(&statement->base);
}

static GBytes *
pack_statement(const DocEnvelope *envelope)
{
  Doppel__Wire__DocStatement statement = DOPPEL__WIRE__DOC_STATEMENT__INIT;
  statement.version = VERSION;
  statement.author = wire_borrow(envelope->author.bytes, sizeof envelope->author.bytes);
  statement.sequence = envelope->sequence;
  statement.known = envelope->base;
  statement.chain = wire_borrow(envelope->chain.bytes, sizeof envelope->chain.bytes);
  statement.epoch = envelope->epoch;
  if (envelope->kind == DOC_MEMBERS)
    return pack_members(envelope, &statement);
  if (envelope->kind == DOC_EDIT) {
    statement.edit = wire_borrow_bytes(envelope->sealed);
    statement.body_case = DOPPEL__WIRE__DOC_STATEMENT__BODY_EDIT;
  } else {
    statement.checkpoint = wire_borrow_bytes(envelope->sealed);
    statement.body_case = DOPPEL__WIRE__DOC_STATEMENT__BODY_CHECKPOINT;
  }
  return wire_pack(&statement.base);
}

/* What is signed: no entry of one document is one of another. */
static GByteArray *
signed_bytes(const DocEnvelope *envelope, const DocName *document)
{
  static const DocName none;
  gsize length;
  const guint8 *bytes = g_bytes_get_data(envelope->statement, &length);
  GByteArray *all = g_byte_array_sized_new((guint)(DOC_NAME_LENGTH + length));
  g_byte_array_append(all, document ? document->bytes : none.bytes, DOC_NAME_LENGTH);
  g_byte_array_append(all, bytes, (guint)length);
  return all;
}

void
doc_envelope_sign(DocEnvelope *envelope, const DocName *document, const IdentityKey *key)
{
  g_clear_pointer(&envelope->statement, g_bytes_unref);
  envelope->statement = pack_statement(envelope);
  g_autoptr(GByteArray) bytes = signed_bytes(envelope, document);
  statement_sign(key, STATEMENT_DOC_ENTRY, bytes->data, bytes->len, envelope->signature);
}

GBytes *
doc_envelope_pack(const DocEnvelope *envelope)
{
  Doppel__Wire__DocEntry wire = DOPPEL__WIRE__DOC_ENTRY__INIT;
  wire.statement = wire_borrow_bytes(envelope->statement);
  wire.signature = wire_borrow(envelope->signature, sizeof envelope->signature);
  return wire_pack(&wire.base);
}

/* ---- taking one ---- */

static gboolean
take_changes(DocEnvelope *envelope, const Doppel__Wire__DocMembers *body)
{
  if (body->n_changes == 0 || body->n_changes > DOC_MEMBERS_MAX)
    return FALSE;
  envelope->changes = g_array_new(FALSE, FALSE, sizeof(DocMember));
  for (gsize i = 0; i < body->n_changes; i++) {
    const Doppel__Wire__DocMember *from = body->changes[i];
    DocMember member = {.role = (DocRole)from->role};
    if (from->role < DOPPEL__WIRE__DOC_ROLE__DOC_NONE || from->role > DOPPEL__WIRE__DOC_ROLE__DOC_OWNER ||
        !wire_take(&from->user, member.user.bytes, sizeof member.user.bytes) ||
        !wire_take(&from->key, member.key.bytes, sizeof member.key.bytes))
      return FALSE;
    g_array_append_val(envelope->changes, member);
  }
  return TRUE;
}

static gboolean
take_keys(DocEnvelope *envelope, const Doppel__Wire__DocMembers *body)
{
  if (body->n_keys > DOC_MEMBERS_MAX)
    return FALSE;
  envelope->keys = g_ptr_array_new_with_free_func((GDestroyNotify)doc_sealed_keys_free);
  for (gsize i = 0; i < body->n_keys; i++) {
    const Doppel__Wire__DocKeys *from = body->keys[i];
    IdentityPublic key;
    if (from->first == 0 || from->first > DOC_EPOCHS_MAX ||
        !wire_take(&from->key, key.bytes, sizeof key.bytes))
      return FALSE;
    g_autoptr(GBytes) sealed = g_bytes_new(from->sealed.data, from->sealed.len);
    g_ptr_array_add(envelope->keys, doc_sealed_keys_new(&key, from->first, sealed));
  }
  return TRUE;
}

static gboolean
take_members(DocEnvelope *envelope, const Doppel__Wire__DocMembers *body)
{
  envelope->kind = DOC_MEMBERS;
  gboolean salted = envelope->base == 0 ? wire_take(&body->salt, envelope->salt, sizeof envelope->salt)
                                        : body->salt.len == 0;
  return salted && take_changes(envelope, body) && take_keys(envelope, body);
}

static gboolean
take_sealed(DocEnvelope *envelope, DocKind kind, const ProtobufCBinaryData *from)
{
  if (from->len < SEALED_MIN || from->len > DOC_BODY_MAX || envelope->base == 0)
    return FALSE;
  envelope->kind = kind;
  envelope->sealed = g_bytes_new(from->data, from->len);
  return TRUE;
}

static gboolean
take_statement(DocEnvelope *envelope, const Doppel__Wire__DocStatement *statement)
{
  static const DocChain none;
  if (statement->version != VERSION || statement->sequence == 0 || statement->epoch == 0 ||
      statement->epoch > DOC_EPOCHS_MAX ||
      !wire_take(&statement->author, envelope->author.bytes, sizeof envelope->author.bytes) ||
      !wire_take(&statement->chain, envelope->chain.bytes, sizeof envelope->chain.bytes))
    return FALSE;
  envelope->sequence = statement->sequence;
  envelope->base = statement->known;
  envelope->epoch = statement->epoch;
  if (envelope->base == 0 && !doc_chain_equal(&envelope->chain, &none))
    return FALSE;
  switch (statement->body_case) {
  case DOPPEL__WIRE__DOC_STATEMENT__BODY_EDIT:
    return take_sealed(envelope, DOC_EDIT, &statement->edit);
  case DOPPEL__WIRE__DOC_STATEMENT__BODY_CHECKPOINT:
    return take_sealed(envelope, DOC_CHECKPOINT, &statement->checkpoint);
  case DOPPEL__WIRE__DOC_STATEMENT__BODY_MEMBERS:
    return take_members(envelope, statement->members);
  default:
    return FALSE;
  }
}

static gboolean
take_wire(DocEnvelope *envelope, const Doppel__Wire__DocEntry *wire)
{
  if (!wire_take(&wire->signature, envelope->signature, sizeof envelope->signature))
    return FALSE;
  Doppel__Wire__DocStatement *statement =
      wire_unpack(&doppel__wire__doc_statement__descriptor, wire->statement.data, wire->statement.len);
  if (!statement)
    return FALSE;
  envelope->statement = g_bytes_new(wire->statement.data, wire->statement.len);
  gboolean taken = take_statement(envelope, statement);
  doppel__wire__doc_statement__free_unpacked(statement, NULL);
  return taken;
}

DocEnvelope *
doc_envelope_decode(const void *data, gsize length, GError **error)
{
  g_autoptr(DocEnvelope) envelope = g_new0(DocEnvelope, 1);
  Doppel__Wire__DocEntry *wire =
      length <= DOC_ENVELOPE_MAX ? wire_unpack(&doppel__wire__doc_entry__descriptor, data, length) : NULL;
  gboolean taken = wire && take_wire(envelope, wire);
  if (wire)
    doppel__wire__doc_entry__free_unpacked(wire, NULL);
  if (!taken) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "an entry of a document's history is damaged (%zu bytes)",
                     length);
    return NULL;
  }
  return g_steal_pointer(&envelope);
}

gboolean
doc_envelope_is_signed(const DocEnvelope *envelope, const DocName *document)
{
  g_autoptr(GByteArray) bytes = signed_bytes(envelope, document);
  return statement_verify(&envelope->author, STATEMENT_DOC_ENTRY, bytes->data, bytes->len,
                          envelope->signature);
}

/* ---- hashes ---- */

/* The signature has one length, so that what is hashed can be read in one way only. */
static void
hash(const char *heading, const DocChain *before, const DocEnvelope *envelope, guint8 to[DOC_CHAIN_LENGTH])
{
  crypto_generichash_state state;
  gsize length;
  const guint8 *bytes = g_bytes_get_data(envelope->statement, &length);
  crypto_generichash_init(&state, NULL, 0, DOC_CHAIN_LENGTH);
  crypto_generichash_update(&state, (const guint8 *)heading, strlen(heading) + 1);
  crypto_generichash_update(&state, before->bytes, sizeof before->bytes);
  crypto_generichash_update(&state, bytes, length);
  crypto_generichash_update(&state, envelope->signature, sizeof envelope->signature);
  crypto_generichash_final(&state, to, DOC_CHAIN_LENGTH);
}

void
doc_envelope_name(const DocEnvelope *envelope, DocName *name)
{
  static const DocChain none;
  G_STATIC_ASSERT(DOC_NAME_LENGTH == DOC_CHAIN_LENGTH);
  hash("doppel document name 1", &none, envelope, name->bytes);
}

void
doc_envelope_chain(const DocEnvelope *envelope, DocChain *chain)
{
  DocChain before = *chain;
  hash("doppel document chain 1", &before, envelope, chain->bytes);
}

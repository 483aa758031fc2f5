/* Invitations that people pass on: whatever is opened was signed by the author of its entry. */
#include "clonedoc/keys.h"
#include "clonedoc/room/handed.h"
#include "identity/statement.h"
#include "input.h"
#include "wire/message.h"

static IdentityKey *owner, *other;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static void
look_at_sealed(GBytes *sealed)
{
  IdentityPublic from;
  g_autoptr(DocRoomInvitation) invitation =
      doc_handed_open(g_bytes_get_data(sealed, NULL), g_bytes_get_size(sealed), other, &from, NULL);
  if (!invitation)
    return;
  g_autoptr(DocEnvelope) entry = doc_envelope_decode(invitation->entry.data, invitation->entry.len, NULL);
  demand(entry && identity_public_equal(&entry->author, &from));
}

/* Whatever it is, sealed to who opens it. */
static void
look_at_plain(const void *data, gsize length)
{
  g_autoptr(GBytes) sealed = doc_box_seal(identity_key_public(other), data, length, NULL);
  look_at_sealed(sealed);
}

/* Signed as it has to be, too. */
static void
look_at_signed(const void *data, gsize length)
{
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  Doppel__Room__Handed handed = DOPPEL__ROOM__HANDED__INIT;
  g_autoptr(GByteArray) statement = g_byte_array_new();
  g_byte_array_append(statement, identity_key_public(other)->bytes, IDENTITY_PUBLIC_LENGTH);
  g_byte_array_append(statement, data, (guint)length);
  statement_sign(owner, STATEMENT_DOC_HANDED, statement->data, statement->len, signature);
  handed.invitation = wire_borrow(data, length);
  handed.from = wire_borrow(identity_key_public(owner)->bytes, IDENTITY_PUBLIC_LENGTH);
  handed.signature = wire_borrow(signature, sizeof signature);
  g_autoptr(GBytes) plain = wire_pack(&handed.base);
  look_at_plain(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain));
}

/* An invitation as the owner makes it, about an entry that may be any of theirs. */
static void
look_at_entry(Input input)
{
  DocName document = {{1}};
  DocRoomInvitation invitation = DOPPEL__ROOM__INVITATION__INIT;
  char *addresses[] = {(char *)"localhost:1"};
  DocEnvelope entry = {.author = *identity_key_public(input_below(&input, 2) ? owner : other),
                       .sequence = 1 + input_below(&input, 3),
                       .base = input_below(&input, 3),
                       .epoch = 1,
                       .kind = (DocKind)(1 + input_below(&input, 3))};
  if (entry.kind == DOC_MEMBERS) {
    DocMember member = {entry.author, entry.author, DOC_WRITER};
    entry.changes = g_array_new(FALSE, FALSE, sizeof(DocMember));
    entry.keys = g_ptr_array_new_with_free_func((GDestroyNotify)doc_sealed_keys_free);
    g_array_append_val(entry.changes, member);
  } else
    entry.sealed = g_bytes_new(input.data, MIN(input.left, 100));
  doc_envelope_sign(&entry, entry.base == 0 ? NULL : &document, owner);
  g_autoptr(GBytes) packed = doc_envelope_pack(&entry);
  if (entry.base == 0 && input_below(&input, 2))
    doc_envelope_name(&entry, &document);
  invitation.document = wire_borrow(document.bytes, sizeof document.bytes);
  invitation.title = (char *)"title";
  invitation.addresses = addresses;
  invitation.n_addresses = 1;
  invitation.server = wire_borrow(identity_key_public(other)->bytes, IDENTITY_PUBLIC_LENGTH);
  invitation.number = input_below(&input, 3);
  invitation.entry = wire_borrow_bytes(packed);
  g_autoptr(GBytes) whole = wire_pack(&invitation.base);
  look_at_signed(g_bytes_get_data(whole, NULL), g_bytes_get_size(whole));
  g_autoptr(GBytes) sealed = doc_handed_seal(&invitation, owner, identity_key_public(other), NULL);
  if (sealed)
    look_at_sealed(sealed);
  g_clear_pointer(&entry.changes, g_array_unref);
  g_clear_pointer(&entry.keys, g_ptr_array_unref);
  g_clear_pointer(&entry.sealed, g_bytes_unref);
  g_clear_pointer(&entry.statement, g_bytes_unref);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  Input input = {data, size};
  guint8 seed[IDENTITY_SEED_LENGTH] = {1};
  if (!owner) {
    owner = identity_key_from_seed(seed);
    seed[0] = 2;
    other = identity_key_from_seed(seed);
  }
  guint kind = input_below(&input, 4);
  g_autoptr(GBytes) rest = g_bytes_new(input.data, input.left);
  if (kind == 0)
    look_at_sealed(rest);
  else if (kind == 1)
    look_at_plain(input.data, input.left);
  else if (kind == 2)
    look_at_signed(input.data, input.left);
  else
    look_at_entry(input);
  return 0;
}

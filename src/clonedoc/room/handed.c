#include "clonedoc/room/handed.h"

#include <string.h>

#include "base/error.h"
#include "clonedoc/keys.h"
#include "identity/statement.h"
#include "wire/message.h"

/* What is signed: for whom it is, and the invitation. */
static GByteArray *
statement_of(const IdentityPublic *to, const void *invitation, gsize length)
{
  GByteArray *statement = g_byte_array_new();
  g_byte_array_append(statement, to->bytes, sizeof to->bytes);
  g_byte_array_append(statement, invitation, (guint)length);
  return statement;
}

static gboolean
is_author(const DocRoomInvitation *invitation, const IdentityPublic *from)
{
  DocName document;
  g_autoptr(DocEnvelope) entry = doc_envelope_decode(invitation->entry.data, invitation->entry.len, NULL);
  memcpy(document.bytes, invitation->document.data, sizeof document.bytes);
  return entry && entry->kind == DOC_MEMBERS && identity_public_equal(&entry->author, from) &&
         doc_envelope_is_signed(entry, &document);
}

GBytes *
doc_handed_seal(const DocRoomInvitation *invitation, const IdentityKey *from, const IdentityPublic *to,
                GError **error)
{
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  Doppel__Room__Handed handed = DOPPEL__ROOM__HANDED__INIT;
  gsize length;
  if (!is_author(invitation, identity_key_public(from))) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE,
                     "somebody else has made them a member, and has to give them the invitation");
    return NULL;
  }
  g_autoptr(GBytes) packed = wire_pack(&invitation->base);
  const void *data = g_bytes_get_data(packed, &length);
  g_autoptr(GByteArray) statement = statement_of(to, data, length);
  statement_sign(from, STATEMENT_DOC_HANDED, statement->data, statement->len, signature);
  handed.invitation = wire_borrow_bytes(packed);
  handed.from = wire_borrow(identity_key_public(from)->bytes, IDENTITY_PUBLIC_LENGTH);
  handed.signature = wire_borrow(signature, sizeof signature);
  g_autoptr(GBytes) plain = wire_pack(&handed.base);
  data = g_bytes_get_data(plain, &length);
  if (length <= DOC_HANDED_MAX - DOC_BOX_MORE)
    return doc_box_seal(to, data, length, error);
  doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                   "the invitation would be too long: let them read from now on only");
  return NULL;
}

static gboolean
is_signed(const Doppel__Room__Handed *handed, const IdentityPublic *to)
{
  if (handed->from.len != IDENTITY_PUBLIC_LENGTH || handed->signature.len != IDENTITY_SIGNATURE_LENGTH)
    return FALSE;
  g_autoptr(GByteArray) statement = statement_of(to, handed->invitation.data, handed->invitation.len);
  return statement_verify((const IdentityPublic *)handed->from.data, STATEMENT_DOC_HANDED, statement->data,
                          statement->len, handed->signature.data);
}

DocRoomInvitation *
doc_handed_open(const void *sealed, gsize length, const IdentityKey *own, IdentityPublic *from,
                GError **error)
{
  g_autoptr(GBytes) plain = length <= DOC_HANDED_MAX ? doc_box_open(own, sealed, length, error) : NULL;
  if (!plain) {
    if (length > DOC_HANDED_MAX)
      doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "it is too long");
    g_prefix_error(error, "that is no invitation to this member: ");
    return NULL;
  }
  const void *data = g_bytes_get_data(plain, &length);
  Doppel__Room__Handed *handed = doppel__room__handed__unpack(NULL, length, data);
  g_autoptr(DocRoomInvitation) invitation =
      handed && is_signed(handed, identity_key_public(own))
          ? doc_room_invitation_take(handed->invitation.data, handed->invitation.len, NULL)
          : NULL;
  if (invitation)
    memcpy(from->bytes, handed->from.data, sizeof from->bytes);
  doppel__room__handed__free_unpacked(handed, NULL);
  if (invitation && is_author(invitation, from))
    return g_steal_pointer(&invitation);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                   "that invitation is not what a member of the document has written: ask for another");
  return NULL;
}

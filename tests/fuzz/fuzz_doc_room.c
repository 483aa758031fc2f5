/* What is said to a room of documents: whatever is taken is within the limits that those who take it rely on.
 * And invitations that people pass on: whatever is opened was signed by the author of its entry. */
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

typedef gpointer Take(const void *data, gsize length, GError **error);
typedef void Free(gpointer message);

static const struct {
  Take *take;
  Free *free;
} kinds[] = {
    {(Take *)doc_room_question_take, (Free *)doc_room_question_free},
    {(Take *)doc_room_answer_take, (Free *)doc_room_answer_free},
    {(Take *)doc_room_invitation_take, (Free *)doc_room_invitation_free},
    {(Take *)doc_room_heads_take, (Free *)doc_room_heads_free},
    {(Take *)doc_room_peer_answer_take, (Free *)doc_room_peer_answer_free},
    {(Take *)doc_room_caller_take, (Free *)doc_room_caller_free},
};

static void
look_at_question(const DocRoomQuestion *question)
{
  if (question->what_case == DOC_ROOM_ASK(CHANGE)) {
    const Doppel__Room__Change *change = question->change;
    demand(change->document.len == DOC_NAME_LENGTH && strlen(change->user) <= DOC_ROOM_USER_MAX);
    demand(change->key.len == 0 || change->key.len == IDENTITY_PUBLIC_LENGTH);
    demand(change->origin.len == 0 || change->origin.len == IDENTITY_PUBLIC_LENGTH);
  } else if (question->what_case == DOC_ROOM_ASK(OPEN)) {
    demand(question->open->document.len == DOC_NAME_LENGTH &&
           question->open->copy.len == DOC_ROOM_COPY_LENGTH);
  } else if (question->what_case == DOC_ROOM_ASK(BRING)) {
    demand(question->bring.len <= DOC_HANDED_MAX);
  } else if (question->what_case == DOC_ROOM_ASK(CREATE)) {
    demand(question->create->n_addresses >= 1 && question->create->server.len == IDENTITY_PUBLIC_LENGTH);
    demand(g_utf8_validate(question->create->title, -1, NULL));
  }
}

static void
look_at_answer(const DocRoomAnswer *answer)
{
  if (answer->what_case == DOC_ROOM_TELL(ROW)) {
    demand(answer->row->document.len == DOC_NAME_LENGTH && answer->row->n_addresses >= 1);
    demand(g_utf8_validate(answer->row->words, -1, NULL) && !strchr(answer->row->words, '\n'));
  } else if (answer->what_case == DOC_ROOM_TELL(PERSON)) {
    demand(answer->person->user.len == IDENTITY_PUBLIC_LENGTH &&
           answer->person->key.len == IDENTITY_PUBLIC_LENGTH);
  }
}

static void
look_at_message(guint kind, const void *data, gsize length)
{
  gpointer message = kinds[kind].take(data, length, NULL);
  if (!message)
    return;
  if (kind == 0)
    look_at_question(message);
  else if (kind == 1)
    look_at_answer(message);
  g_autoptr(GBytes) packed = wire_pack(message);
  kinds[kind].free(message);
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
  guint kind = input_below(&input, G_N_ELEMENTS(kinds) + 4);
  g_autoptr(GBytes) rest = g_bytes_new(input.data, input.left);
  if (kind < G_N_ELEMENTS(kinds))
    look_at_message(kind, input.data, input.left);
  else if (kind == G_N_ELEMENTS(kinds))
    look_at_sealed(rest);
  else if (kind == G_N_ELEMENTS(kinds) + 1)
    look_at_plain(input.data, input.left);
  else if (kind == G_N_ELEMENTS(kinds) + 2)
    look_at_signed(input.data, input.left);
  else
    look_at_entry(input);
  return 0;
}

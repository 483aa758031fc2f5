#include "clonedoc/room/room_call.h"

#include <string.h>

#include "base/error.h"
#include "base/line.h"
#include "clonedoc/evidence.h"
#include "clonedoc/history.h"
#include "clonedoc/room/handed.h"
#include "wire/message.h"
#include "wire/unpack.h"

/* ---- what has to hold ---- */

gboolean
doc_room_is_line(const char *text, gsize least, gsize most)
{
  return line_is_plain(text, least, most);
}

static gboolean
is_name(const ProtobufCBinaryData *name)
{
  return name->len == DOC_NAME_LENGTH;
}

static gboolean
is_key(const ProtobufCBinaryData *key)
{
  return key->len == IDENTITY_PUBLIC_LENGTH;
}

static gboolean
is_key_or_none(const ProtobufCBinaryData *key)
{
  return key->len == 0 || is_key(key);
}

static gboolean
is_role(Doppel__Room__Role role)
{
  return role >= DOPPEL__ROOM__ROLE__NO_MEMBER && role <= DOPPEL__ROOM__ROLE__OWNER;
}

gboolean
doc_room_are_addresses(char **addresses, gsize count, gsize least)
{
  gboolean good = count >= least && count <= DOC_ROOM_ADDRESSES_MAX;
  for (gsize i = 0; good && i < count; i++)
    good = doc_room_is_line(addresses[i], 1, DOC_ROOM_ADDRESS_MAX) && !strchr(addresses[i], ' ');
  return good;
}

static gboolean
is_change(const Doppel__Room__Change *change)
{
  return is_name(&change->document) && doc_room_is_line(change->user, 0, DOC_ROOM_USER_MAX) &&
         is_role(change->role) && is_key_or_none(&change->origin) && is_key_or_none(&change->key) &&
         doc_room_is_line(change->name, 0, DOC_ROOM_USER_MAX) && (change->user[0] || change->origin.len > 0);
}

static gboolean
is_question(gconstpointer unpacked)
{
  const DocRoomQuestion *question = unpacked;
  switch (question->what_case) {
  case DOC_ROOM_ASK(LIST):
    return TRUE;
  case DOC_ROOM_ASK(CREATE):
    return doc_room_is_line(question->create->title, 1, DOC_ROOM_TITLE_MAX) &&
           doc_room_are_addresses(question->create->addresses, question->create->n_addresses, 1) &&
           is_key(&question->create->server);
  case DOC_ROOM_ASK(ACCEPT):
    return is_name(&question->accept);
  case DOC_ROOM_ASK(CHANGE):
    return is_change(question->change);
  case DOC_ROOM_ASK(MEMBERS):
    return is_name(&question->members);
  case DOC_ROOM_ASK(LOG):
    return is_name(&question->log->document) && question->log->count <= DOC_ROOM_LOG_MAX;
  case DOC_ROOM_ASK(VERIFY):
    return is_name(&question->verify);
  case DOC_ROOM_ASK(CHECK):
    return is_name(&question->check);
  case DOC_ROOM_ASK(LEAVE):
    return is_name(&question->leave->document);
  case DOC_ROOM_ASK(RECOVER):
    return is_name(&question->recover->document) &&
           doc_room_are_addresses(question->recover->addresses, question->recover->n_addresses, 0) &&
           question->recover->server.len ==
               (question->recover->n_addresses > 0 ? IDENTITY_PUBLIC_LENGTH : 0u);
  case DOC_ROOM_ASK(OPEN):
    return is_name(&question->open->document) && question->open->copy.len == DOC_ROOM_COPY_LENGTH;
  case DOC_ROOM_ASK(SELF):
  case DOC_ROOM_ASK(STAY):
    return TRUE;
  case DOC_ROOM_ASK(BRING):
    return question->bring.len > 0 && question->bring.len <= DOC_HANDED_MAX;
  case DOC_ROOM_ASK(PAIR):
    return question->pair.len > 0 && question->pair.len <= DOC_PAIR_MESSAGE_MAX;
  default:
    return FALSE;
  }
}

static gboolean
is_failed(const Doppel__Room__Failed *failed)
{
  return failed->why > DOPPEL__ROOM__WHY__NONE && failed->why <= DOPPEL__ROOM__WHY__BROKEN &&
         doc_room_is_line(failed->words, 0, DOC_ROOM_WORDS_MAX);
}

static gboolean
is_row(const Doppel__Room__Row *row)
{
  return is_name(&row->document) && doc_room_is_line(row->title, 1, DOC_ROOM_TITLE_MAX) &&
         doc_room_are_addresses(row->addresses, row->n_addresses, 1) && is_key(&row->server) &&
         is_role(row->role) && row->state >= DOPPEL__ROOM__STATE__JOINED &&
         row->state <= DOPPEL__ROOM__STATE__RECOVERING && doc_room_is_line(row->from, 0, DOC_ROOM_USER_MAX) &&
         is_key_or_none(&row->from_user) && row->length <= DOC_PAIR_LENGTH_MAX &&
         row->members <= DOC_MEMBERS_MAX && doc_room_is_line(row->fault, 0, DOC_ROOM_WORDS_MAX) &&
         doc_room_is_line(row->words, 0, DOC_ROOM_WORDS_MAX);
}

static gboolean
is_person(const Doppel__Room__Person *person)
{
  return is_key(&person->user) && is_key(&person->key) &&
         doc_room_is_line(person->name, 0, DOC_ROOM_USER_MAX) && is_role(person->role) &&
         doc_room_is_line(person->words, 0, DOC_ROOM_WORDS_MAX);
}

static gboolean
is_entry(const Doppel__Room__Entry *entry)
{
  gboolean good =
      is_key(&entry->author) && doc_room_is_line(entry->name, 0, DOC_ROOM_USER_MAX) &&
      entry->kind >= DOPPEL__ROOM__KIND__NO_ENTRY && entry->kind <= DOPPEL__ROOM__KIND__CHECKPOINT &&
      doc_room_is_line(entry->verdict, 0, DOC_ROOM_WORDS_MAX) && entry->n_changes <= DOC_MEMBERS_MAX;
  for (gsize i = 0; good && i < entry->n_changes; i++)
    good = is_person(entry->changes[i]);
  return good;
}

static gboolean
is_answer(gconstpointer unpacked)
{
  const DocRoomAnswer *answer = unpacked;
  switch (answer->what_case) {
  case DOC_ROOM_TELL(END):
  case DOC_ROOM_TELL(READY):
  case DOC_ROOM_TELL(SAID):
    return TRUE;
  case DOC_ROOM_TELL(INVITATION):
    return answer->invitation.len > 0 && answer->invitation.len <= DOC_HANDED_MAX;
  case DOC_ROOM_TELL(FAILED):
    return is_failed(answer->failed);
  case DOC_ROOM_TELL(ROW):
    return is_row(answer->row);
  case DOC_ROOM_TELL(PERSON):
    return is_person(answer->person);
  case DOC_ROOM_TELL(ENTRY):
    return is_entry(answer->entry);
  case DOC_ROOM_TELL(FINDING):
    return doc_room_is_line(answer->finding->fault, 0, DOC_ROOM_WORDS_MAX) &&
           doc_room_is_line(answer->finding->words, 0, DOC_ROOM_WORDS_MAX) &&
           doc_room_is_line(answer->finding->damage, 0, DOC_ROOM_WORDS_MAX);
  case DOC_ROOM_TELL(CHECKED):
    return answer->checked->number <= answer->checked->of;
  case DOC_ROOM_TELL(PROOF):
    return answer->proof.len > 0 && answer->proof.len <= DOC_ROOM_PROOF_PIECE;
  case DOC_ROOM_TELL(PAIR):
    return answer->pair.len > 0 && answer->pair.len <= DOC_PAIR_MESSAGE_MAX;
  default:
    return FALSE;
  }
}

static gboolean
is_invitation(gconstpointer unpacked)
{
  const DocRoomInvitation *invitation = unpacked;
  return is_name(&invitation->document) && doc_room_is_line(invitation->title, 1, DOC_ROOM_TITLE_MAX) &&
         doc_room_are_addresses(invitation->addresses, invitation->n_addresses, 1) &&
         is_key(&invitation->server) && invitation->number > 0 && invitation->entry.len > 0 &&
         invitation->entry.len <= DOC_ENVELOPE_MAX &&
         invitation->digest.len == (invitation->start > 0 ? DOC_CHAIN_LENGTH : 0u);
}

static gboolean
are_heads(Doppel__Room__Head **heads, gsize count)
{
  gboolean good = count <= DOC_ROOM_HEADS_MAX;
  for (gsize i = 0; good && i < count; i++)
    good = is_name(&heads[i]->document) && heads[i]->head.len <= DOC_HEAD_MAX;
  return good;
}

static gboolean
is_heads(gconstpointer unpacked)
{
  const DocRoomHeads *heads = unpacked;
  return are_heads(heads->heads, heads->n_heads);
}

static gboolean
is_peer_answer(gconstpointer unpacked)
{
  const DocRoomPeerAnswer *answer = unpacked;
  return (answer->failed ? is_failed(answer->failed) : answer->taken) &&
         are_heads(answer->heads, answer->n_heads);
}

static gboolean
is_caller(gconstpointer unpacked)
{
  const DocRoomCaller *caller = unpacked;
  return caller->service >= DOPPEL__ROOM__CALLER__SERVICE__DEVICE &&
         caller->service <= DOPPEL__ROOM__CALLER__SERVICE__HEADS && is_key(&caller->user) &&
         doc_room_is_line(caller->name, 0, DOC_ROOM_USER_MAX);
}

/* ---- taking ---- */

static gpointer
take(const ProtobufCMessageDescriptor *type, gboolean (*good)(gconstpointer message), const void *data,
     gsize length, GError **error)
{
  ProtobufCMessage *message = wire_unpack(type, data, length);
  if (message && good(message))
    return message;
  if (message)
    protobuf_c_message_free_unpacked(message, NULL);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message about documents is malformed");
  return NULL;
}

DocRoomQuestion *
doc_room_question_take(const void *data, gsize length, GError **error)
{
  return take(&doppel__room__question__descriptor, is_question, data, length, error);
}

DocRoomAnswer *
doc_room_answer_take(const void *data, gsize length, GError **error)
{
  return take(&doppel__room__answer__descriptor, is_answer, data, length, error);
}

DocRoomInvitation *
doc_room_invitation_take(const void *data, gsize length, GError **error)
{
  return take(&doppel__room__invitation__descriptor, is_invitation, data, length, error);
}

DocRoomHeads *
doc_room_heads_take(const void *data, gsize length, GError **error)
{
  return take(&doppel__room__heads__descriptor, is_heads, data, length, error);
}

DocRoomPeerAnswer *
doc_room_peer_answer_take(const void *data, gsize length, GError **error)
{
  return take(&doppel__room__peer_answer__descriptor, is_peer_answer, data, length, error);
}

DocRoomCaller *
doc_room_caller_take(const void *data, gsize length, GError **error)
{
  return take(&doppel__room__caller__descriptor, is_caller, data, length, error);
}

#define FREE(NAME, TYPE)                                                                                     \
  void doc_room_##NAME##_free(TYPE *message)                                                                 \
  {                                                                                                          \
    if (message)                                                                                             \
      protobuf_c_message_free_unpacked(&message->base, NULL);                                                \
  }
FREE(question, DocRoomQuestion)
FREE(answer, DocRoomAnswer)
FREE(invitation, DocRoomInvitation)
FREE(heads, DocRoomHeads)
FREE(peer_answer, DocRoomPeerAnswer)
FREE(caller, DocRoomCaller)

/* ---- failures ---- */

static const struct {
  DoppelErrorCode code;
  Doppel__Room__Why why;
} reasons[] = {
    {DOPPEL_ERROR_USAGE, DOC_ROOM_WHY(MISUSED)}, {DOPPEL_ERROR_NOT_FOUND, DOC_ROOM_WHY(NOT_FOUND)},
    {DOPPEL_ERROR_DENIED, DOC_ROOM_WHY(DENIED)}, {DOPPEL_ERROR_UNSUPPORTED, DOC_ROOM_WHY(LIMIT)},
    {DOPPEL_ERROR_MISMATCH, DOC_ROOM_WHY(ANEW)}, {DOPPEL_ERROR_GONE, DOC_ROOM_WHY(LATER)},
    {DOPPEL_ERROR_ABORTED, DOC_ROOM_WHY(FAULT)}, {DOPPEL_ERROR_HOSTILE, DOC_ROOM_WHY(MALFORMED)},
    {DOPPEL_ERROR_FAILED, DOC_ROOM_WHY(BROKEN)},
};

void
doc_room_failed_init(Doppel__Room__Failed *failed, const GError *error, char **words)
{
  *failed = (Doppel__Room__Failed)DOPPEL__ROOM__FAILED__INIT;
  failed->why = DOC_ROOM_WHY(BROKEN);
  for (guint i = 0; i < G_N_ELEMENTS(reasons); i++)
    if (g_error_matches(error, DOPPEL_ERROR, (int)reasons[i].code))
      failed->why = reasons[i].why;
  failed->words = *words = line_of(error->message, DOC_ROOM_WORDS_MAX);
}

gboolean
doc_room_failed(const Doppel__Room__Failed *failed, GError **error)
{
  DoppelErrorCode code = DOPPEL_ERROR_FAILED;
  for (guint i = 0; i < G_N_ELEMENTS(reasons); i++)
    if (failed->why == reasons[i].why)
      code = reasons[i].code;
  return doppel_error_set(error, code, "%s", failed->words[0] ? failed->words : "it failed");
}

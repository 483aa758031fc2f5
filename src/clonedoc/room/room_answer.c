/* What a device is told. */
#include <string.h>

#include "base/error.h"
#include "clonedoc/room/room_struct.h"
#include "wire/message.h"

#define LOG_USUAL     100u
#define LOG_BYTES_MAX (8u << 20) /* of an answer */

static Doppel__Room__State
state_of(const RoomDocument *document)
{
  if (document->doc && document->stage != ROOM_STAGE(RECOVERING) && room_fault(document) != DOC_FAULT_NONE)
    return ROOM_STAGE(STOPPED);
  if (document->doc && doc_document_is_removed(document->doc))
    return ROOM_STAGE(REMOVED);
  return document->stage;
}

static Doppel__Room__Role
role_of(const RoomDocument *document)
{
  if (!document->doc)
    return DOPPEL__ROOM__ROLE__NO_MEMBER;
  if (doc_document_number(document->doc) == 0 && !document->invitation)
    return DOPPEL__ROOM__ROLE__OWNER;
  return (Doppel__Room__Role)doc_document_role(document->doc);
}

static const char *
words_of(const RoomDocument *document)
{
  DocClient *client = document->server->client;
  const GError *trouble = client && !doc_client_is_up(client) ? doc_client_trouble(client) : NULL;
  if (room_fault(document) != DOC_FAULT_NONE && document->fault_words)
    return document->fault_words;
  return document->words ? document->words : trouble ? trouble->message : "";
}

/* Words of others, as one line. */
static char *
line(const char *words)
{
  g_autoptr(GError) error = g_error_new_literal(DOPPEL_ERROR, DOPPEL_ERROR_FAILED, words ? words : "");
  Doppel__Room__Failed failed;
  char *said;
  doc_room_failed_init(&failed, error, &said);
  return said;
}

void
room_tell_row(RoomTalk *talk, const RoomDocument *document)
{
  Doppel__Room__Row row = DOPPEL__ROOM__ROW__INIT;
  DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
  DocFault fault = room_fault(document);
  g_autofree char *words = line(words_of(document));
  row.document = wire_borrow(document->name.bytes, sizeof document->name);
  row.title = document->title;
  row.addresses = document->server->addresses;
  row.n_addresses = g_strv_length(document->server->addresses);
  row.server = wire_borrow(document->server->key.bytes, sizeof document->server->key);
  row.role = role_of(document);
  row.state = state_of(document);
  if (document->from) {
    row.from = document->from;
    row.from_user = wire_borrow(document->from_user.bytes, sizeof document->from_user);
  }
  if (document->doc) {
    g_autoptr(GArray) members = doc_history_members(doc_document_history(document->doc));
    row.number = doc_document_number(document->doc);
    row.length = ot_text_length(doc_document_text(document->doc));
    row.members = members->len;
    row.settled = doc_document_is_settled(document->doc);
  }
  row.up = document->server->client && doc_client_is_up(document->server->client);
  if (fault != DOC_FAULT_NONE)
    row.fault = (char *)doc_fault_name(fault);
  row.words = words;
  row.changed = document->changed;
  answer.row = &row;
  room_tell(talk, &answer, DOC_ROOM_TELL(ROW));
}

static void
tell_person(RoomTalk *talk, const RoomDocument *document, const RoomPerson *person, DocRole role)
{
  Doppel__Room__Person told = DOPPEL__ROOM__PERSON__INIT;
  DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
  g_autofree char *words = line(person->words);
  told.user = wire_borrow(person->user.bytes, sizeof person->user);
  told.key = wire_borrow(person->key.bytes, sizeof person->key);
  told.name = person->name;
  told.role = (Doppel__Room__Role)role;
  told.own = identity_public_equal(&person->key, identity_key_public(document->room->key));
  told.head = person->head;
  told.head_at = person->head_at;
  told.invited = person->invite != ROOM_INVITE_NONE;
  told.words = words;
  answer.person = &told;
  room_tell(talk, &answer, DOC_ROOM_TELL(PERSON));
}

void
room_tell_self(RoomTalk *talk)
{
  Doppel__Room__Person told = DOPPEL__ROOM__PERSON__INIT;
  DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
  const DocRoom *room = talk->room;
  told.user = wire_borrow(room->options.user.bytes, IDENTITY_PUBLIC_LENGTH);
  told.key = wire_borrow(identity_key_public(room->key)->bytes, IDENTITY_PUBLIC_LENGTH);
  told.own = TRUE;
  answer.person = &told;
  room_tell(talk, &answer, DOC_ROOM_TELL(PERSON));
}

/* Who was removed is told, too, without a role; and who is about to be invited. */
void
room_tell_people(RoomTalk *talk, const RoomDocument *document)
{
  for (guint i = 0; i < document->people->len; i++) {
    const RoomPerson *person = document->people->pdata[i];
    tell_person(talk, document, person,
                document->doc ? doc_history_role(doc_document_history(document->doc), &person->key)
                              : DOC_NONE);
  }
}

/* ---- the log ---- */

typedef struct {
  RoomTalk *talk;
  RoomDocument *document;
} Log;

static const char *
name_of(RoomDocument *document, const IdentityPublic *key)
{
  const RoomPerson *person = room_person(document, key);
  return person ? person->name : "";
}

static void
fill_changes(Log *log, const DocEnvelope *envelope, Doppel__Room__Entry *entry, Doppel__Room__Person *people)
{
  for (guint i = 0; i < envelope->changes->len; i++) {
    const DocMember *member = &g_array_index(envelope->changes, DocMember, i);
    people[i] = (Doppel__Room__Person)DOPPEL__ROOM__PERSON__INIT;
    people[i].user = wire_borrow(member->user.bytes, sizeof member->user);
    people[i].key = wire_borrow(member->key.bytes, sizeof member->key);
    people[i].name = (char *)name_of(log->document, &member->key);
    people[i].role = (Doppel__Room__Role)member->role;
    entry->changes[i] = &people[i];
  }
  entry->n_changes = envelope->changes->len;
}

static gboolean
tell_entry(guint64 number, GBytes *bytes, DocVerdict verdict, gint64 time, gpointer data)
{
  Log *log = data;
  gsize length;
  const void *packed = g_bytes_get_data(bytes, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(packed, length, NULL);
  if (!envelope)
    return TRUE;
  guint changes = envelope->changes ? envelope->changes->len : 0;
  g_autofree Doppel__Room__Person *people = g_new(Doppel__Room__Person, changes);
  g_autofree Doppel__Room__Person **of_people = g_new(Doppel__Room__Person *, changes);
  Doppel__Room__Entry entry = DOPPEL__ROOM__ENTRY__INIT;
  DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
  entry.number = number;
  entry.author = wire_borrow(envelope->author.bytes, sizeof envelope->author);
  entry.name = (char *)name_of(log->document, &envelope->author);
  entry.kind = (Doppel__Room__Kind)envelope->kind;
  entry.verdict = (char *)doc_verdict_name(verdict);
  entry.bytes = (guint32)length;
  entry.time = time;
  entry.changes = of_people;
  if (changes > 0)
    fill_changes(log, envelope, &entry, people);
  answer.entry = &entry;
  room_tell(log->talk, &answer, DOC_ROOM_TELL(ENTRY));
  return log->talk->held->len < LOG_BYTES_MAX;
}

gboolean
room_tell_log(RoomTalk *talk, const RoomDocument *document, const Doppel__Room__Range *range, GError **error)
{
  Log log = {talk, (RoomDocument *)document};
  guint count = range->count > 0 ? range->count : LOG_USUAL;
  guint64 last = document->doc ? doc_document_number(document->doc) : 0;
  guint64 from = range->from > 0 ? range->from : last - MIN(last, count) + 1;
  return from > last ||
         room_entries_each(document, from, MIN(from + count - 1, last), tell_entry, &log, error);
}

/* ---- what was found ---- */

void
room_tell_finding(RoomTalk *talk, const RoomDocument *document)
{
  Doppel__Room__Finding finding = DOPPEL__ROOM__FINDING__INIT;
  DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
  DocFault fault = room_fault(document);
  g_autofree char *words = line(words_of(document));
  if (document->doc) {
    finding.number = doc_document_number(document->doc);
    finding.first = document->start.number > 0 ? document->start.number : 1;
  }
  finding.server = document->ahead.packed ? document->ahead.number : document->head.number;
  if (fault != DOC_FAULT_NONE)
    finding.fault = (char *)doc_fault_name(fault);
  finding.words = words;
  finding.proof = document->proof != NULL;
  finding.time = document->fault_at;
  const char *damage = talk->check ? room_check_damage(talk->check, &finding.damaged) : NULL;
  g_autofree char *damage_line = line(damage);
  finding.damage = damage_line;
  finding.unread = talk->check ? room_check_unread(talk->check) : 0;
  finding.silent = room_peers_silent(document, talk->verify_at);
  answer.finding = &finding;
  room_tell(talk, &answer, DOC_ROOM_TELL(FINDING));
  gsize length = 0;
  const guint8 *proof = document->proof ? g_bytes_get_data(document->proof, &length) : NULL;
  for (gsize at = 0; at < length; at += DOC_ROOM_PROOF_PIECE) {
    DocRoomAnswer piece = DOPPEL__ROOM__ANSWER__INIT;
    piece.proof = wire_borrow(proof + at, MIN(DOC_ROOM_PROOF_PIECE, length - at));
    room_tell(talk, &piece, DOC_ROOM_TELL(PROOF));
  }
}

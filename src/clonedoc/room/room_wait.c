/* What is answered when something has come to be: an invitation to be handed on, when its entry is in the
 * history; and to who works with a room that is there for as long as somebody does, that it has what the
 * servers have, and in the end that these have what it has. */
#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/room/handed.h"
#include "clonedoc/room/room_struct.h"
#include "wire/message.h"

#define MEET_MS  5000
#define LEAVE_MS 30000
#define HAND_MS  25000

gboolean
room_is_vain(const RoomDocument *document)
{
  DocClient *client = document->server->client;
  return !client || (!doc_client_is_up(client) && doc_client_trouble(client)) ||
         document->again_at > clock_now_ns() || document->stuck ||
         (room_fault(document) != DOC_FAULT_NONE && document->stage != ROOM_STAGE(RECOVERING));
}

/* ---- who stays ---- */

void
room_stay(RoomTalk *talk)
{
  const DocRoom *room = talk->room;
  talk->stay = ROOM_STAY_MEETS;
  talk->patience = clock_now_ns() + MS(MEET_MS);
  for (guint i = 0; i < room->documents->len; i++) {
    RoomDocument *document = room->documents->pdata[i];
    if (room_follows(document) && document->ask == 0 && document->server->client)
      document->ask = doc_client_head(document->server->client, &document->name);
  }
}

/* Whether the history has all that the server says there is. */
static gboolean
has_met(const RoomDocument *document)
{
  if (room_is_vain(document))
    return TRUE;
  if (document->stage == ROOM_STAGE(RECOVERING))
    return FALSE;
  return !room_follows(document) ||
         (document->ask == 0 && !document->ahead.packed && document->stage == ROOM_STAGE(JOINED));
}

static gboolean
is_on_its_way(const RoomDocument *document)
{
  return document->doc && !document->left && !doc_document_is_removed(document->doc) &&
         (!doc_document_is_settled(document->doc) || document->stage == ROOM_STAGE(JOINING) ||
          document->stage == ROOM_STAGE(RECOVERING));
}

static void
drive_stay(RoomTalk *talk)
{
  const DocRoom *room = talk->room;
  gboolean over = TRUE;
  if (talk->ended && talk->stay != ROOM_STAY_LEAVES) {
    talk->stay = ROOM_STAY_LEAVES;
    talk->patience = clock_now_ns() + MS(LEAVE_MS);
  }
  for (guint i = 0; i < room->documents->len; i++) {
    const RoomDocument *document = room->documents->pdata[i];
    over = over && (talk->stay == ROOM_STAY_MEETS ? has_met(document)
                                                  : !is_on_its_way(document) || room_is_vain(document));
  }
  if (talk->stay == ROOM_STAY_STAYS || (!over && clock_now_ns() < talk->patience))
    return;
  talk->patience = 0;
  if (talk->stay == ROOM_STAY_MEETS) {
    DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
    answer.ready = TRUE;
    room_tell(talk, &answer, DOC_ROOM_TELL(READY));
    talk->stay = ROOM_STAY_STAYS;
    return;
  }
  for (guint i = 0; i < room->documents->len; i++)
    if (is_on_its_way(room->documents->pdata[i]))
      room_tell_row(talk, room->documents->pdata[i]);
  room_tell_end(talk);
}

/* ---- an invitation ---- */

gboolean
room_hand(RoomTalk *talk, RoomDocument *document, const Doppel__Room__Change *change, GError **error)
{
  if (change->role == DOPPEL__ROOM__ROLE__NO_MEMBER)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "who is removed is not invited");
  if (!room_change(document, change, error))
    return FALSE;
  const RoomPerson *person = room_meant(document, change);
  if (!person)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "%s is no member of this document", change->user);
  talk->document = document;
  talk->hands = TRUE;
  talk->invited = person->key;
  talk->patience = clock_now_ns() + MS(HAND_MS);
  room_tell_row(talk, document);
  return TRUE;
}

static gboolean
hand_out(RoomTalk *talk, const RoomDocument *document, RoomPerson *person, GError **error)
{
  DocRoomInvitation invitation;
  DocCheckpoint checkpoint;
  g_autoptr(GBytes) entry = NULL;
  if (!room_invitation_fill(document, person, &invitation, &entry, &checkpoint))
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                            "the entry that makes them a member is not here any more");
  g_autoptr(GBytes) sealed = doc_handed_seal(&invitation, talk->room->key, &person->key, error);
  if (!sealed)
    return FALSE;
  DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
  answer.invitation = wire_borrow_bytes(sealed);
  room_tell(talk, &answer, DOC_ROOM_TELL(INVITATION));
  person->invite = ROOM_INVITE_NONE;
  g_clear_pointer(&person->words, g_free);
  person->dirty = TRUE;
  return TRUE;
}

static void
drive_hand(RoomTalk *talk)
{
  g_autoptr(GError) error = NULL;
  RoomDocument *document = talk->document;
  RoomPerson *person = room_person(document, &talk->invited);
  gboolean ready = person && room_invitation_ready(document, person);
  if (!ready && clock_now_ns() < talk->patience && !room_is_vain(document))
    return;
  talk->hands = FALSE;
  talk->document = NULL;
  talk->patience = 0;
  if (!ready)
    doppel_error_set(&error, DOPPEL_ERROR_GONE,
                     "the document's server has not taken that yet: ask for the invitation again later");
  if (ready && hand_out(talk, document, person, &error))
    room_tell_end(talk);
  else
    room_tell_failed(talk, error);
}

void
room_wait_drive(RoomTalk *talk)
{
  if (talk->hands)
    drive_hand(talk);
  else
    drive_stay(talk);
}

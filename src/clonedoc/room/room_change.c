/* What a device's questions change. */
#include <string.h>

#include "base/error.h"
#include "clonedoc/keys.h"
#include "clonedoc/room/handed.h"
#include "clonedoc/room/room_struct.h"

static guint
count_stage(const DocRoom *room, gboolean invited, const IdentityPublic *user)
{
  guint count = 0;
  for (guint i = 0; i < room->documents->len; i++) {
    const RoomDocument *document = room->documents->pdata[i];
    if (!document->left && (document->stage == ROOM_STAGE(INVITED)) == invited &&
        (!user || identity_public_equal(&document->from_user, user)))
      count++;
  }
  return count;
}

static gboolean
has_room(const DocRoom *room, GError **error)
{
  return count_stage(room, FALSE, NULL) < room->options.documents_max ||
         doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                          "there are %u documents here, and no more may be: leave one",
                          room->options.documents_max);
}

RoomDocument *
room_create(DocRoom *room, const Doppel__Room__Create *create, GError **error)
{
  if (!has_room(room, error))
    return NULL;
  RoomServer *server = room_server_get(room, create->addresses, create->n_addresses,
                                       (const IdentityPublic *)create->server.data, error);
  if (!server)
    return NULL;
  DocDocument *doc = doc_document_create(room->key, &room->options.user);
  RoomDocument *document = room_document_new(room, doc_document_name(doc), create->title);
  document->server = server;
  document->doc = doc;
  document->stage = ROOM_STAGE(JOINED);
  document->changed = g_get_real_time() / G_USEC_PER_SEC;
  document->facts_dirty = document->state_dirty = document->own_dirty = TRUE;
  g_ptr_array_add(room->documents, document);
  return document;
}

gboolean
room_accept(RoomDocument *document, GError **error)
{
  gsize length;
  if (document->stage != ROOM_STAGE(INVITED))
    return TRUE;
  const void *entry = g_bytes_get_data(document->invitation, &length);
  if (!has_room(document->room, error))
    return FALSE;
  document->doc = doc_document_join(&document->name, document->room->key, entry, length, error);
  if (!document->doc)
    return FALSE;
  document->stage = ROOM_STAGE(JOINING);
  document->facts_dirty = document->state_dirty = document->own_dirty = TRUE;
  document->version++;
  return TRUE;
}

/* ---- members ---- */

static gboolean
is_meant(const RoomPerson *person, const Doppel__Room__Change *change, const IdentityPublic *origin)
{
  if (origin)
    return identity_public_equal(&person->user, origin);
  return person->name[0] && strcmp(person->name, change->user) == 0;
}

/* NULL: it is not said, or (FALSE) said wrongly. */
static gboolean
origin_of(const Doppel__Room__Change *change, IdentityPublic *buffer, const IdentityPublic **origin,
          GError **error)
{
  *origin = change->origin.len > 0 ? (const IdentityPublic *)change->origin.data : NULL;
  if (*origin || !g_str_has_prefix(change->user, "key:"))
    return TRUE;
  *origin = buffer;
  return identity_public_from_text(change->user + strlen("key:"), buffer, error);
}

RoomPerson *
room_meant(RoomDocument *document, const Doppel__Room__Change *change)
{
  IdentityPublic by_text;
  const IdentityPublic *origin;
  if (change->key.len > 0)
    return room_person(document, (const IdentityPublic *)change->key.data);
  for (guint i = 0; origin_of(change, &by_text, &origin, NULL) && i < document->people->len; i++)
    if (is_meant(document->people->pdata[i], change, origin))
      return document->people->pdata[i];
  return NULL;
}

static gboolean
is_or_will_be(const RoomDocument *document, const RoomPerson *person)
{
  return person->invite != ROOM_INVITE_NONE ||
         doc_history_role(doc_document_history(document->doc), &person->key) != DOC_NONE;
}

/* Several people may be called the same: by their owner, by others, by directories. `origin` NULL: a name is
 * all that was said; else with a name of its own it is what a clone has found under that. */
static gboolean
is_clear(const RoomDocument *document, const Doppel__Room__Change *change, const IdentityPublic *origin,
         GError **error)
{
  const IdentityPublic *first = origin;
  gboolean by_name = !origin || change->name[0];
  for (guint i = 0; by_name && i < document->people->len; i++) {
    const RoomPerson *person = document->people->pdata[i];
    if (!is_or_will_be(document, person) || !is_meant(person, change, NULL))
      continue;
    if (first && !identity_public_equal(first, &person->user))
      return doppel_error_set(
          error, DOPPEL_ERROR_USAGE,
          origin ? "a member is called %s who is not the one that your clone finds in a directory: write the "
                   "\"key:...\" of the one whom you mean (\"doppel whois\", or \"doppel doc members --json\")"
                 : "several members are called %s: write the \"user\" of the one whom you mean, as "
                   "\"doppel doc members --json\" says it",
          change->user);
    first = &person->user;
  }
  return TRUE;
}

/* Gives that role to each key of the user that is a member's. How many there are. */
static guint
change_known(RoomDocument *document, const Doppel__Room__Change *change, const IdentityPublic *origin,
             const IdentityPublic *key, gboolean *failed, GError **error)
{
  const DocHistory *history = doc_document_history(document->doc);
  guint found = 0;
  for (guint i = 0; i < document->people->len && !*failed; i++) {
    RoomPerson *person = document->people->pdata[i];
    DocRole role = doc_history_role(history, &person->key);
    DocMember member = {person->user, person->key, (DocRole)change->role};
    if (!is_or_will_be(document, person) || !is_meant(person, change, origin))
      continue;
    found++;
    /* An invitation that got lost is sent once more. */
    if (role == member.role && key && identity_public_equal(&person->key, key) && person->entry > 0)
      person->invite = ROOM_INVITE_DUE;
    if (member.role == DOC_NONE)
      person->invite = ROOM_INVITE_NONE;
    person->dirty = TRUE;
    *failed = role != member.role && !doc_document_change(document->doc, &member, 1, error);
  }
  return found;
}

/* What the history would not take is dropped when its turn comes: who asks for it is told now. */
static gboolean
can_join(const RoomDocument *document, const IdentityPublic *key, GError **error)
{
  g_autoptr(GArray) members = doc_history_members(doc_document_history(document->doc));
  g_autoptr(GBytes) sealed = doc_box_seal(key, "", 0, NULL);
  if (!sealed)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "that is nobody's key: invite what \"doppel doc key\" prints there");
  return members->len < DOC_MEMBERS_MAX ||
         doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "a document may have %u members",
                          (guint)DOC_MEMBERS_MAX);
}

static gboolean
invite(RoomDocument *document, const Doppel__Room__Change *change, const DocMember *member, GError **error)
{
  if (!can_join(document, &member->key, error))
    return FALSE;
  if (document->people->len >= 4 * DOC_MEMBERS_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "the document has had too many members");
  /* Without a checkpoint who reads from now on has nothing to begin at. */
  if (change->from_now && !doc_document_checkpoint(document->doc, error))
    return FALSE;
  if (!doc_document_change(document->doc, member, change->from_now ? DOC_FROM_NOW : 1, error))
    return FALSE;
  RoomPerson *person = room_person_add(document, member, change->name[0] ? change->name : change->user);
  person->invite = ROOM_INVITE_WANTED;
  person->entry = 0;
  person->from_now = change->from_now;
  person->tries = 0;
  person->due_at = 0;
  person->dirty = TRUE;
  return TRUE;
}

static gboolean
may_change(const RoomDocument *document, GError **error)
{
  if (!document->doc)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "accept the invitation to this document first");
  if (room_fault(document) != DOC_FAULT_NONE)
    return doppel_error_set(error, DOPPEL_ERROR_ABORTED,
                            "the document's server was found to lie: verify and recover the document first");
  return doc_document_number(document->doc) > 0 ||
         doppel_error_set(error, DOPPEL_ERROR_GONE,
                          "the document is not with its server yet: try again when that can be reached");
}

gboolean
room_change(RoomDocument *document, const Doppel__Room__Change *change, GError **error)
{
  IdentityPublic by_text;
  const IdentityPublic *origin;
  const IdentityPublic *key = change->key.len > 0 ? (const IdentityPublic *)change->key.data : NULL;
  gboolean failed = FALSE;
  if (!may_change(document, error) || !origin_of(change, &by_text, &origin, error) ||
      !is_clear(document, change, origin, error))
    return FALSE;
  guint found = change_known(document, change, origin, key, &failed, error);
  gboolean new_key = key && origin && doc_history_role(doc_document_history(document->doc), key) == DOC_NONE;
  if (!failed && change->role != DOPPEL__ROOM__ROLE__NO_MEMBER && new_key) {
    DocMember member = {*origin, *key, (DocRole)change->role};
    failed = !invite(document, change, &member, error);
  } else if (!failed && found == 0) {
    return doppel_error_set(
        error, DOPPEL_ERROR_NOT_FOUND, "%s is no member of this document%s", change->user,
        change->role != DOPPEL__ROOM__ROLE__NO_MEMBER ? ": invite what \"doppel doc key\" prints there" : "");
  }
  document->own_dirty = TRUE;
  document->version++;
  return !failed;
}

gboolean
room_leave(RoomDocument *document, gboolean unsent, GError **error)
{
  if (document->doc && !unsent && !doc_document_is_settled(document->doc) &&
      !doc_document_is_removed(document->doc))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "something that was written here is not with the document's server yet");
  document->left = TRUE;
  room_document_quiet(document);
  room_talks_forget(document->room, document, NULL);
  return TRUE;
}

/* ---- invitations of others ---- */

/* In the place of `document`, an invitation to the same one that was not accepted; NULL: there is none. */
static gboolean
take(DocRoom *room, RoomDocument *document, const IdentityPublic *user, const char *name,
     const DocRoomInvitation *invitation, GError **error)
{
  DocName of;
  memcpy(of.bytes, invitation->document.data, sizeof of);
  if (!document && (count_stage(room, TRUE, NULL) >= room->options.invitations_max ||
                    count_stage(room, TRUE, user) >= MAX(room->options.invitations_max / 4, 1)))
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "too many invitations wait to be accepted or left here");
  g_autoptr(DocDocument) could =
      doc_document_join(&of, room->key, invitation->entry.data, invitation->entry.len, error);
  if (!could)
    return FALSE;
  RoomServer *server = room_server_get(room, invitation->addresses, invitation->n_addresses,
                                       (const IdentityPublic *)invitation->server.data, error);
  if (!server)
    return FALSE;
  if (document) {
    room_talks_forget(room, document, NULL); /* a device may be asking about it */
    g_ptr_array_remove(room->documents, document);
  }
  document = room_document_new(room, &of, invitation->title);
  document->server = server;
  document->stage = ROOM_STAGE(INVITED);
  document->from = g_strdup(name ? name : "");
  document->from_user = *user;
  document->invitation = g_bytes_new(invitation->entry.data, invitation->entry.len);
  document->invitation_number = invitation->number;
  document->start.number = invitation->start;
  if (invitation->start > 0)
    memcpy(document->start.digest.bytes, invitation->digest.data, DOC_CHAIN_LENGTH);
  document->changed = g_get_real_time() / G_USEC_PER_SEC;
  document->facts_dirty = TRUE;
  g_ptr_array_add(room->documents, document);
  return TRUE;
}

gboolean
room_take_invitation(DocRoom *room, const IdentityPublic *user, const char *name,
                     const DocRoomInvitation *invitation, GError **error)
{
  RoomDocument *document = room_find(room, invitation->document.data);
  /* The same one comes again where the answer was lost. */
  if (document &&
      (document->stage != ROOM_STAGE(INVITED) || !identity_public_equal(&document->from_user, user)))
    return TRUE;
  return take(room, document, user, name, invitation, error);
}

/* It goes before one that came by itself, whoever has sent that: a person has chosen it. */
RoomDocument *
room_bring(DocRoom *room, const ProtobufCBinaryData *sealed, GError **error)
{
  IdentityPublic from;
  g_autoptr(DocRoomInvitation) invitation =
      doc_handed_open(sealed->data, sealed->len, room->key, &from, error);
  if (!invitation)
    return NULL;
  RoomDocument *document = room_find(room, invitation->document.data);
  if (document && document->stage != ROOM_STAGE(INVITED)) {
    doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "that document is here already, as \"%s\": to begin with this invitation, leave it first",
        document->title);
    return NULL;
  }
  g_autofree char *key = identity_public_to_text(&from);
  g_autofree char *name = g_strconcat("key:", key, NULL);
  return take(room, document, &from, name, invitation, error) ? room_find(room, invitation->document.data)
                                                              : NULL;
}

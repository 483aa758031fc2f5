/* The other members' rooms: invitations to them, and heads to and from them. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/room/room_struct.h"
#include "wire/message.h"

#define INVITE_FIRST_MS                                                                                      \
  5000 /* before an invitation that did not arrive is sent again; then twice that, ... */
#define INVITE_MOST_MS 900000
#define TOLD_MOST_MS   900000 /* between two tellings to who is away */
#define SHORTEST_MS    200    /* between two tellings, however many entries come */
#define ALL_MAX        8u     /* members who are all told; of more as many, by chance */
#define MESSAGE_BYTES  (8u << 20)
#define LONG_HISTORY   4096u /* entries, beyond which a newcomer begins at a checkpoint */

typedef struct {
  DocName name;
  gint64 told;
  gboolean proof, answered;
} About;

struct RoomErrand {
  guint64 id;
  IdentityPublic user, key;
  gboolean invites;
  GArray *about; /* of About */
};

void
room_errand_free(RoomErrand *errand)
{
  g_array_unref(errand->about);
  g_free(errand);
}

void
doc_errand_free(DocErrand *errand)
{
  if (!errand)
    return;
  g_bytes_unref(errand->message);
  g_free(errand);
}

static gboolean
is_other(const RoomDocument *document, const RoomPerson *person)
{
  return document->doc && !identity_public_equal(&person->user, &document->room->options.user) &&
         doc_history_role(doc_document_history(document->doc), &person->key) != DOC_NONE;
}

static gint64
number_of(const RoomDocument *document)
{
  return document->head.packed ? (gint64)document->head.number : 0;
}

static gboolean
has_proof(const RoomDocument *document)
{
  return room_fault(document) != DOC_FAULT_NONE && document->proof &&
         g_bytes_get_size(document->proof) <= ROOM_PROOF_MAX;
}

static gint64
pause_before(const DocRoomOptions *options, const RoomPerson *person)
{
  gint64 pause = (gint64)options->interval_ms << MIN(person->failures, 20);
  return MAX(MIN(pause, TOLD_MOST_MS), options->interval_ms);
}

/* When the member has to be told; G_MAXINT64: there is nothing to tell. */
static gint64
head_due(const RoomDocument *document, const RoomPerson *person)
{
  const DocRoomOptions *options = &document->room->options;
  gint64 number = number_of(document), pause = pause_before(options, person);
  if (document->left || document->stage != ROOM_STAGE(JOINED) || !is_other(document, person) ||
      doc_document_is_removed(document->doc))
    return G_MAXINT64;
  if (has_proof(document))
    return person->proof_told ? G_MAXINT64 : person->told_at == 0 ? 0 : person->told_at + MS(pause);
  if (room_fault(document) != DOC_FAULT_NONE || person->told == number)
    return G_MAXINT64;
  if (person->told >= 0 && number - person->told >= options->entries_each && !person->words)
    pause = MIN(pause, SHORTEST_MS);
  return person->told_at == 0 ? 0 : person->told_at + MS(pause);
}

gboolean
room_invitation_ready(const RoomDocument *document, const RoomPerson *person)
{
  DocCheckpoint checkpoint;
  return !document->left && person->entry > 0 && is_other(document, person) &&
         room_fault(document) == DOC_FAULT_NONE &&
         (!person->from_now ||
          (doc_document_last_checkpoint(document->doc, &checkpoint) && checkpoint.number > person->entry));
}

static gboolean
invite_ready(const RoomDocument *document, const RoomPerson *person)
{
  return person->invite == ROOM_INVITE_DUE && room_invitation_ready(document, person);
}

static gboolean
is_busy(const DocRoom *room, const IdentityPublic *user, gboolean invites)
{
  for (guint i = 0; i < room->errands->len; i++) {
    const RoomErrand *errand = room->errands->pdata[i];
    if (errand->invites == invites && identity_public_equal(&errand->user, user))
      return TRUE;
  }
  return FALSE;
}

gint64
room_peers_due(const DocRoom *room)
{
  gint64 due = G_MAXINT64;
  for (guint i = 0; i < room->documents->len; i++) {
    const RoomDocument *document = room->documents->pdata[i];
    for (guint j = 0; j < document->people->len; j++) {
      const RoomPerson *person = document->people->pdata[j];
      if (invite_ready(document, person) && !is_busy(room, &person->user, TRUE))
        due = MIN(due, person->due_at);
      if (!is_busy(room, &person->user, FALSE))
        due = MIN(due, head_due(document, person));
    }
  }
  return due;
}

void
room_peers_soon(RoomDocument *document)
{
  for (guint i = 0; i < document->people->len; i++) {
    RoomPerson *person = document->people->pdata[i];
    person->told = -1;
    person->told_at = 0;
    person->failures = 0;
    person->soon = TRUE;
  }
}

gboolean
room_peers_asked(const RoomDocument *document, gint64 since)
{
  gboolean asked = TRUE;
  if (room_fault(document) != DOC_FAULT_NONE || document->stage != ROOM_STAGE(JOINED))
    return TRUE;
  for (guint i = 0; asked && i < document->people->len; i++) {
    const RoomPerson *person = document->people->pdata[i];
    asked = !is_other(document, person) || person->asked_at >= since;
  }
  return asked;
}

guint
room_peers_silent(const RoomDocument *document, gint64 since)
{
  guint silent = 0;
  for (guint i = 0; i < document->people->len; i++) {
    const RoomPerson *person = document->people->pdata[i];
    silent += is_other(document, person) && (person->asked_at < since || person->words);
  }
  return silent;
}

/* ---- errands ---- */

static DocErrand *
hand_out(DocRoom *room, RoomErrand *errand, const ProtobufCMessage *message)
{
  DocErrand *out = g_new0(DocErrand, 1);
  errand->id = ++room->last_errand;
  g_ptr_array_add(room->errands, errand);
  out->id = errand->id;
  out->user = errand->user;
  out->service = errand->invites ? "doc-invite" : "doc-heads";
  out->message = wire_pack(message);
  return out;
}

static RoomErrand *
errand_new(const RoomPerson *person, gboolean invites)
{
  RoomErrand *errand = g_new0(RoomErrand, 1);
  errand->user = person->user;
  errand->key = person->key;
  errand->invites = invites;
  errand->about = g_array_new(FALSE, FALSE, sizeof(About));
  return errand;
}

/* Of what the document has, and of what `entry` and `checkpoint` get. FALSE: the entry is not there. */
gboolean
room_invitation_fill(const RoomDocument *document, const RoomPerson *person, DocRoomInvitation *invitation,
                     GBytes **entry, DocCheckpoint *checkpoint)
{
  g_autoptr(GPtrArray) entries = room_entries(document, person->entry, person->entry, NULL);
  if (!entries)
    return FALSE;
  *entry = g_bytes_ref(entries->pdata[0]);
  *invitation = (DocRoomInvitation)DOPPEL__ROOM__INVITATION__INIT;
  invitation->document = wire_borrow(document->name.bytes, sizeof document->name);
  invitation->title = document->title;
  invitation->addresses = document->server->addresses;
  invitation->n_addresses = g_strv_length(document->server->addresses);
  invitation->server = wire_borrow(document->server->key.bytes, sizeof document->server->key);
  invitation->number = person->entry;
  invitation->entry = wire_borrow_bytes(*entry);
  gboolean any = doc_document_last_checkpoint(document->doc, checkpoint);
  if (any && (person->from_now || checkpoint->number > LONG_HISTORY)) {
    invitation->start = checkpoint->number;
    invitation->digest = wire_borrow(checkpoint->digest.bytes, sizeof checkpoint->digest);
  }
  return TRUE;
}

static DocErrand *
make_invitation(RoomDocument *document, RoomPerson *person)
{
  DocRoomInvitation invitation;
  DocCheckpoint checkpoint;
  g_autoptr(GBytes) entry = NULL;
  if (!room_invitation_fill(document, person, &invitation, &entry, &checkpoint)) {
    person->invite = ROOM_INVITE_NONE;
    person->dirty = TRUE;
    return NULL;
  }
  RoomErrand *errand = errand_new(person, TRUE);
  About about = {.name = document->name};
  g_array_append_val(errand->about, about);
  return hand_out(document->room, errand, &invitation.base);
}

/* At a fault it is told, and no head. */
static void
fill_head(Doppel__Room__Head *head, const RoomDocument *document, gboolean with_proof)
{
  *head = (Doppel__Room__Head)DOPPEL__ROOM__HEAD__INIT;
  head->document = wire_borrow(document->name.bytes, sizeof document->name);
  if (document->head.packed && room_fault(document) == DOC_FAULT_NONE)
    head->head = wire_borrow_bytes(document->head.packed);
  if (has_proof(document) ||
      (with_proof && document->proof && g_bytes_get_size(document->proof) <= ROOM_PROOF_MAX))
    head->proof = wire_borrow_bytes(document->proof);
}

/* All that this user has to be told now, of whatever document. */
static DocErrand *
make_heads(DocRoom *room, const RoomPerson *to)
{
  Doppel__Room__Head heads[DOC_ROOM_HEADS_MAX], *of_heads[DOC_ROOM_HEADS_MAX];
  RoomErrand *errand = errand_new(to, FALSE);
  DocRoomHeads message = DOPPEL__ROOM__HEADS__INIT;
  gsize bytes = 0;
  gint64 now = clock_now_ns();
  for (guint i = 0; i < room->documents->len && message.n_heads < DOC_ROOM_HEADS_MAX && bytes < MESSAGE_BYTES;
       i++) {
    const RoomDocument *document = room->documents->pdata[i];
    gboolean due = FALSE;
    for (guint j = 0; !due && j < document->people->len; j++) {
      const RoomPerson *person = document->people->pdata[j];
      due = identity_public_equal(&person->user, &to->user) && head_due(document, person) <= now;
    }
    if (!due)
      continue;
    Doppel__Room__Head *head = &heads[message.n_heads];
    fill_head(head, document, FALSE);
    of_heads[message.n_heads++] = head;
    bytes += head->proof.len + DOC_HEAD_MAX;
    About about = {document->name, number_of(document), head->proof.len > 0};
    g_array_append_val(errand->about, about);
  }
  message.heads = of_heads;
  return hand_out(room, errand, &message.base);
}

/* In a large group each tells some only; what one finds out all are told. */
static gboolean
is_chosen(const RoomDocument *document)
{
  guint others = 0;
  for (guint i = 0; i < document->people->len; i++)
    others += is_other(document, document->people->pdata[i]);
  return others <= ALL_MAX || has_proof(document) || g_random_int_range(0, (gint32)others) < (gint32)ALL_MAX;
}

DocErrand *
doc_room_next_errand(DocRoom *room)
{
  gint64 now = clock_now_ns();
  for (guint i = 0; i < room->documents->len; i++) {
    RoomDocument *document = room->documents->pdata[i];
    for (guint j = 0; j < document->people->len; j++) {
      RoomPerson *person = document->people->pdata[j];
      DocErrand *errand = NULL;
      if (invite_ready(document, person) && person->due_at <= now && !is_busy(room, &person->user, TRUE))
        errand = make_invitation(document, person);
      if (!errand && head_due(document, person) <= now && !is_busy(room, &person->user, FALSE)) {
        if (person->soon || is_chosen(document))
          errand = make_heads(room, person);
        else
          person->told_at = now;
        person->soon = FALSE;
      }
      if (errand)
        return errand;
    }
  }
  return NULL;
}

/* The same words for who never was a member, who is none any more, and who asks for what is not here: so they
 * learn nothing from them. */
static GError *
not_theirs(void)
{
  return g_error_new_literal(DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND,
                             "their clone does not know this document, or not who asks as a member of it");
}

static void
note_words(RoomPerson *person, const char *words)
{
  g_free(person->words);
  person->words = g_strdup(words);
}

static void
invited(RoomDocument *document, const RoomErrand *errand, const GError *why)
{
  RoomPerson *person = room_person(document, &errand->key);
  if (!person || person->invite != ROOM_INVITE_DUE)
    return;
  note_words(person, why ? why->message : NULL);
  if (!why)
    person->invite = ROOM_INVITE_NONE;
  person->due_at = clock_now_ns() + MS(MIN(INVITE_FIRST_MS << MIN(person->tries, 10), INVITE_MOST_MS));
  person->tries++;
  person->dirty = TRUE;
}

static void
told(RoomDocument *document, const RoomErrand *errand, const About *about, const GError *why)
{
  gint64 now = clock_now_ns();
  for (guint i = 0; i < document->people->len; i++) {
    RoomPerson *person = document->people->pdata[i];
    if (!identity_public_equal(&person->user, &errand->user))
      continue;
    person->told_at = person->asked_at = now;
    person->failures = why ? person->failures + 1 : 0;
    if (person->invite == ROOM_INVITE_NONE)
      note_words(person, why ? why->message : NULL);
    if (!why) {
      person->told = about->told;
      person->proof_told = person->proof_told || about->proof;
    }
  }
}

static gboolean
take_answer(DocRoom *room, RoomErrand *errand, GBytes *bytes, GError **error)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(DocRoomPeerAnswer) answer = doc_room_peer_answer_take(data, length, error);
  if (!answer || (answer->failed && !doc_room_failed(answer->failed, error)))
    return FALSE;
  for (gsize i = 0; i < answer->n_heads; i++) {
    RoomDocument *document = room_find(room, answer->heads[i]->document.data);
    for (guint j = 0; document && j < errand->about->len; j++) {
      About *about = &g_array_index(errand->about, About, j);
      if (!doc_name_equal(&about->name, &document->name))
        continue;
      about->answered = TRUE;
      room_peer_head(document, &errand->user, answer->heads[i]);
    }
  }
  return TRUE;
}

void
doc_room_errand_done(DocRoom *room, guint64 id, GBytes *answer, const GError *why)
{
  g_autoptr(GError) error = why ? g_error_copy(why) : NULL;
  for (guint i = 0; i < room->errands->len; i++) {
    RoomErrand *errand = room->errands->pdata[i];
    if (errand->id != id)
      continue;
    if (answer && !error)
      take_answer(room, errand, answer, &error);
    g_autoptr(GError) unknown = error ? g_error_copy(error) : not_theirs();
    for (guint j = 0; j < errand->about->len; j++) {
      const About *about = &g_array_index(errand->about, About, j);
      RoomDocument *document = room_find(room, about->name.bytes);
      if (document && document->doc && errand->invites)
        invited(document, errand, error);
      else if (document && document->doc)
        told(document, errand, about, about->answered ? NULL : unknown);
    }
    g_ptr_array_remove_index(room->errands, i);
    return;
  }
}

/* ---- what others ask ---- */

static gboolean
is_member(const RoomDocument *document, const IdentityPublic *user)
{
  if (!document->doc)
    return FALSE;
  g_autoptr(GArray) members = doc_history_members(doc_document_history(document->doc));
  for (guint i = 0; i < members->len; i++)
    if (identity_public_equal(&g_array_index(members, DocMember, i).user, user))
      return TRUE;
  return FALSE;
}

gboolean
room_knows(const DocRoom *room, const IdentityPublic *user)
{
  for (guint i = 0; i < room->documents->len; i++)
    if (is_member(room->documents->pdata[i], user))
      return TRUE;
  return FALSE;
}

static void
heard_of(RoomDocument *document, const IdentityPublic *user)
{
  for (guint i = 0; i < document->people->len; i++) {
    RoomPerson *person = document->people->pdata[i];
    if (identity_public_equal(&person->user, user))
      person->failures = 0;
  }
}

/* All that is told is taken before any of it is answered: what is said of a document may change by the next.
 */
gboolean
room_answer_heads(RoomTalk *talk, const DocRoomHeads *heads, GError **error)
{
  RoomDocument *about[DOC_ROOM_HEADS_MAX];
  gboolean late[DOC_ROOM_HEADS_MAX];
  Doppel__Room__Head own[DOC_ROOM_HEADS_MAX], *of_own[DOC_ROOM_HEADS_MAX];
  DocRoomPeerAnswer answer = DOPPEL__ROOM__PEER_ANSWER__INIT;
  guint count = 0;
  gsize bytes = 0;
  for (gsize i = 0; i < heads->n_heads; i++) {
    RoomDocument *document = room_find(talk->room, heads->heads[i]->document.data);
    if (!document || !is_member(document, &talk->user))
      continue;
    heard_of(document, &talk->user);
    if (room_peer_waits(document, &talk->user, heads->heads[i]))
      continue;
    late[count] = room_peer_head(document, &talk->user, heads->heads[i]);
    about[count++] = document;
  }
  for (guint i = 0; i < count && bytes < MESSAGE_BYTES; i++) {
    fill_head(&own[i], about[i], late[i]);
    bytes += own[i].proof.len + DOC_HEAD_MAX;
    of_own[answer.n_heads++] = &own[i];
  }
  if (answer.n_heads == 0) {
    g_propagate_error(error, not_theirs());
    return FALSE;
  }
  answer.heads = of_own;
  answer.taken = TRUE;
  wire_stream_put(talk->held, &answer.base);
  return TRUE;
}

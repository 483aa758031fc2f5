/* Heads, held against the history and against one another; faults, and what shows them. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/evidence.h"
#include "clonedoc/room/room_struct.h"

#define PROOFS_MS 10000

/* The history takes nothing more: notes why. `proof` (may be NULL) is taken. */
void
room_faulty(RoomDocument *document, const GError *why, GBytes *proof)
{
  g_free(document->fault_words);
  document->fault_words = g_strdup(why->message);
  document->fault_at = g_get_real_time() / G_USEC_PER_SEC;
  g_clear_pointer(&document->proof, g_bytes_unref);
  document->proof = proof;
  document->facts_dirty = document->state_dirty = document->own_dirty = TRUE;
  document->version++;
  room_document_quiet(document);
  room_peers_soon(document);
}

/* The kept entries from number `from` on, the wrong one and those behind it, as far as the server has signed.
 */
static GPtrArray *
entries_from(RoomDocument *document, guint64 from, const DocAnswer *answer, guint index)
{
  GPtrArray *entries = room_entries(document, from, doc_document_number(document->doc), NULL);
  for (guint i = index; entries && i < answer->entries->len; i++)
    g_ptr_array_add(entries, g_bytes_ref(answer->entries->pdata[i]));
  return entries;
}

/* The shortest that shows it: the entry alone, with as many before it as may count, with all whose chain is
 * known; or the whole history, which who began at a checkpoint has not. */
static GBytes *
prove_entry(RoomDocument *document, const DocAnswer *answer, guint index, const DocHead *head)
{
  const DocHistory *history = doc_document_history(document->doc);
  const IdentityPublic *server = &document->server->key;
  guint64 last = doc_history_number(history), first = MAX(doc_history_first(history) + 1, 2);
  const guint64 from[] = {last + 1, last - MIN(last, DOC_BEHIND_MAX), first};
  GBytes *proof = NULL;
  for (guint i = 0; !proof && i < G_N_ELEMENTS(from) && first <= last + 1; i++) {
    guint64 number = MAX(from[i], first);
    g_autoptr(GPtrArray) entries = entries_from(document, number, answer, index);
    if (entries)
      proof = doc_evidence_of_part(head, doc_history_chain(history, number - 1), entries, server, NULL);
  }
  g_autoptr(GPtrArray) all = proof ? NULL : entries_from(document, 1, answer, index);
  return all ? doc_evidence_of_history(head, all, server, NULL) : proof;
}

void
room_faulty_entry(RoomDocument *document, const GError *why, const DocAnswer *answer, guint index,
                  const DocHead *head)
{
  gboolean is_signed = head->packed && head->number == answer->number + answer->entries->len - 1 &&
                       answer->number + index == doc_document_number(document->doc) + 1;
  room_faulty(document, why, is_signed ? prove_entry(document, answer, index, head) : NULL);
}

/* Two signed heads, of which `b` is the longer: its entries are those that are kept here. */
static GBytes *
prove(RoomDocument *document, const DocHead *a, const DocHead *b)
{
  const DocHistory *history = doc_document_history(document->doc);
  g_autoptr(GPtrArray) entries = room_entries(document, a->number + 1, b->number, NULL);
  if (!entries || a->number > b->number || a->number < doc_history_first(history))
    return NULL;
  return doc_evidence_of_heads(a, b, doc_history_chain(history, a->number), entries, &document->server->key,
                               NULL);
}

static gboolean
differs(const RoomDocument *document, const DocHead *head)
{
  const DocHistory *history = doc_document_history(document->doc);
  return head->number >= doc_history_first(history) && head->number <= doc_history_number(history) &&
         !doc_chain_equal(&head->chain, doc_history_chain(history, head->number));
}

static void
two_heads(RoomDocument *document, const DocHead *other)
{
  g_autoptr(GError) error = NULL;
  GBytes *proof = NULL;
  if (document->head.packed && document->head.number >= other->number)
    proof = prove(document, other, &document->head);
  doc_document_stop(document->doc, DOC_FAULT_TWO_HEADS, other->number, &error);
  room_faulty(document, error, proof);
}

static void
take_over(DocHead *to, DocHead *from)
{
  doc_head_clear(to);
  *to = *from;
  *from = (DocHead){0};
}

/* What others have shown is held against what the server has signed here. */
static void
compare_ahead(RoomDocument *document)
{
  for (guint i = 0; i < document->people->len && room_fault(document) == DOC_FAULT_NONE; i++) {
    RoomPerson *person = document->people->pdata[i];
    if (!person->ahead.packed || person->ahead.number > document->head.number)
      continue;
    if (person->ahead.number > document->pardon && differs(document, &person->ahead))
      two_heads(document, &person->ahead);
    doc_head_clear(&person->ahead);
  }
}

/* Of the server's. It is taken. */
void
room_take_head(RoomDocument *document, DocHead *head)
{
  g_autoptr(GError) error = NULL;
  guint64 number = doc_document_number(document->doc);
  if (room_fault(document) != DOC_FAULT_NONE)
    return;
  if (!doc_document_check_head(document->doc, head, &error)) {
    GBytes *proof = document->head.packed && document->head.number >= head->number && differs(document, head)
                        ? prove(document, head, &document->head)
                        : NULL;
    room_faulty(document, error, proof);
    return;
  }
  document->own_dirty = TRUE;
  /* The first that is further on stays until the history is there: else one after the other could be signed
   * and none ever be looked at. */
  if (head->number > number) {
    if (!document->ahead.packed)
      take_over(&document->ahead, head);
    return;
  }
  if (head->number >= document->head.number)
    take_over(&document->head, head);
  compare_ahead(document);
}

/* After an entry: the head that was further on may say something now. */
void
room_reached(RoomDocument *document)
{
  if (!document->ahead.packed || room_fault(document) != DOC_FAULT_NONE ||
      document->ahead.number > doc_document_number(document->doc))
    return;
  if (differs(document, &document->ahead)) {
    two_heads(document, &document->ahead);
  } else if (document->ahead.number >= document->head.number) {
    take_over(&document->head, &document->ahead);
    compare_ahead(document);
  }
  doc_head_clear(&document->ahead);
  document->own_dirty = TRUE;
}

/* ---- what others tell ---- */

/* The room has one thread, which a proof may hold up by its length: so much is looked at of each user's in
 * PROOFS_MS, whatever it is about. */
static gboolean
may_prove(const DocRoom *room, const IdentityPublic *user, gsize length)
{
  gint64 since = clock_now_ns() - MS(PROOFS_MS);
  for (guint i = 0; i < room->documents->len; i++) {
    const RoomDocument *document = room->documents->pdata[i];
    for (guint j = 0; j < document->people->len; j++) {
      const RoomPerson *person = document->people->pdata[j];
      if (person->proofs_at > since && identity_public_equal(&person->user, user))
        length += person->proofs;
    }
  }
  return length <= ROOM_PROOF_MAX;
}

static gboolean
note_proof(RoomDocument *document, const IdentityPublic *user, gsize length)
{
  gint64 now = clock_now_ns();
  for (guint i = 0; i < document->people->len; i++) {
    RoomPerson *person = document->people->pdata[i];
    if (!identity_public_equal(&person->user, user))
      continue;
    if (person->proofs_at <= now - MS(PROOFS_MS)) {
      person->proofs_at = now;
      person->proofs = 0;
    }
    person->proofs += length;
    return TRUE;
  }
  return FALSE;
}

/* Whether anything is to be learned from others. */
static gboolean
listens(const RoomDocument *document)
{
  return document->doc && document->stage != ROOM_STAGE(RECOVERING) && room_fault(document) == DOC_FAULT_NONE;
}

gboolean
room_peer_waits(const RoomDocument *document, const IdentityPublic *user, const Doppel__Room__Head *told)
{
  return listens(document) && told->proof.len > 0 && told->proof.len <= ROOM_PROOF_MAX &&
         !may_prove(document->room, user, told->proof.len);
}

static void
take_proof(RoomDocument *document, const IdentityPublic *user, const ProtobufCBinaryData *proof)
{
  DocEvidence evidence;
  g_autoptr(GError) error = NULL;
  if (proof->len == 0 || proof->len > ROOM_PROOF_MAX || !may_prove(document->room, user, proof->len) ||
      !note_proof(document, user, proof->len) ||
      !doc_evidence_check(proof->data, proof->len, &document->server->key, &evidence, NULL) ||
      !doc_name_equal(&evidence.document, &document->name) || evidence.number <= document->pardon)
    return;
  doc_document_stop(document->doc, evidence.fault, evidence.number, &error);
  room_faulty(document, error, g_bytes_new(proof->data, proof->len));
}

static void
note_head(RoomDocument *document, const IdentityPublic *user, const DocHead *head)
{
  for (guint i = 0; i < document->people->len; i++) {
    RoomPerson *person = document->people->pdata[i];
    if (!identity_public_equal(&person->user, user))
      continue;
    person->head = head->number;
    person->head_at = g_get_real_time() / G_USEC_PER_SEC;
    person->dirty = TRUE;
  }
}

static void
keep_ahead(RoomDocument *document, const IdentityPublic *user, DocHead *head)
{
  for (guint i = 0; i < document->people->len; i++) {
    RoomPerson *person = document->people->pdata[i];
    if (identity_public_equal(&person->user, user) && !person->ahead.packed) {
      take_over(&person->ahead, head);
      return;
    }
  }
}

/* Nothing of it is believed but what the server has signed. A conflict counts once the server has signed as
 * much here: then it is one that can be shown to others. */
gboolean
room_peer_head(RoomDocument *document, const IdentityPublic *user, const Doppel__Room__Head *told)
{
  g_auto(DocHead) head = {0};
  if (!listens(document))
    return FALSE;
  take_proof(document, user, &told->proof);
  if (told->head.len == 0 || room_fault(document) != DOC_FAULT_NONE ||
      !doc_head_decode(&head, told->head.data, told->head.len, &document->server->key, NULL) ||
      !doc_name_equal(&head.document, &document->name))
    return FALSE;
  note_head(document, user, &head);
  if (!document->head.packed || head.number > document->head.number) {
    keep_ahead(document, user, &head);
    return FALSE;
  }
  gboolean conflict = differs(document, &head), known = head.number <= document->pardon;
  if (conflict && !known)
    two_heads(document, &head);
  return conflict && known;
}

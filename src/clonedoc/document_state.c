/* A replica as bytes. What is loaded is checked as if anybody had written it. */
#include <sodium.h>
#include <string.h>

#include "base/error.h"
#include "clonedoc/document_wire.h"

#define VERSION 1

static gboolean
damaged(GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "what was kept of the document is damaged");
}

/* ---- one's own ---- */

GBytes *
doc_document_save_own(const DocDocument *doc)
{
  static const DocChain none;
  Doppel__Wire__DocOwn own = DOPPEL__WIRE__DOC_OWN__INIT;
  g_autoptr(GByteArray) flight = doc_op_pack(doc->flight), pending = doc_op_pack(doc->pending);
  guint count = doc->wishes->len;
  g_autofree Doppel__Wire__DocMember *members = g_new(Doppel__Wire__DocMember, count);
  g_autofree Doppel__Wire__DocWish *wishes = g_new(Doppel__Wire__DocWish, count);
  g_autofree Doppel__Wire__DocWish **of_wishes = g_new(Doppel__Wire__DocWish *, count);
  for (guint i = 0; i < count; i++) {
    const DocWish *wish = &g_array_index(doc->wishes, DocWish, i);
    members[i] = (Doppel__Wire__DocMember)DOPPEL__WIRE__DOC_MEMBER__INIT;
    members[i].user = wire_borrow(wish->member.user.bytes, sizeof(IdentityPublic));
    members[i].key = wire_borrow(wish->member.key.bytes, sizeof(IdentityPublic));
    members[i].role = (Doppel__Wire__DocRole)wish->member.role;
    wishes[i] = (Doppel__Wire__DocWish)DOPPEL__WIRE__DOC_WISH__INIT;
    wishes[i].member = &members[i];
    wishes[i].first = wish->first;
    of_wishes[i] = &wishes[i];
  }
  own.version = VERSION;
  own.number = doc_document_number(doc);
  if (doc->entry)
    own.entry = wire_borrow_bytes(doc->entry);
  own.flight = wire_borrow(flight->data, flight->len);
  own.pending = wire_borrow(pending->data, pending->len);
  own.wishes = of_wishes;
  own.n_wishes = count;
  own.checkpoint = doc->wanted;
  if (!doc_chain_equal(&doc->withdrawn, &none))
    own.withdrawn = wire_borrow(doc->withdrawn.bytes, sizeof doc->withdrawn.bytes);
  return wire_pack(&own.base);
}

gboolean
doc_own_number(const void *data, gsize length, guint64 *number, GError **error)
{
  Doppel__Wire__DocOwn *own = doppel__wire__doc_own__unpack(NULL, length, data);
  gboolean good = own && own->version == VERSION;
  if (good)
    *number = own->number;
  if (own)
    doppel__wire__doc_own__free_unpacked(own, NULL);
  return good || damaged(error);
}

static gboolean
take_wish(GArray *wishes, const Doppel__Wire__DocWish *from)
{
  DocWish wish = {.first = from->first};
  if (!from->member || from->first == 0 || from->member->role < DOPPEL__WIRE__DOC_ROLE__DOC_NONE ||
      from->member->role > DOPPEL__WIRE__DOC_ROLE__DOC_OWNER ||
      !wire_take(&from->member->user, wish.member.user.bytes, sizeof(IdentityPublic)) ||
      !wire_take(&from->member->key, wish.member.key.bytes, sizeof(IdentityPublic)))
    return FALSE;
  wish.member.role = (DocRole)from->member->role;
  g_array_append_val(wishes, wish);
  return TRUE;
}

/* The entry in flight is this member's, and there is an operation where it is an edit. */
static gboolean
take_flight(DocDocument *doc, const Doppel__Wire__DocOwn *own)
{
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(own->entry.data, own->entry.len, NULL);
  g_autoptr(OtOp) op = doc_op_take(&own->flight);
  if (!envelope || !op || !identity_public_equal(&envelope->author, identity_key_public(doc->own)) ||
      (envelope->kind != DOC_EDIT && !ot_op_empty(op)))
    return FALSE;
  GBytes *entry = g_bytes_new(own->entry.data, own->entry.len);
  doc_document_fly(doc, envelope, entry, envelope->kind == DOC_EDIT ? g_steal_pointer(&op) : NULL);
  return TRUE;
}

/* What it shows then is within what a text may hold, whatever others write. */
static gboolean
show_own(DocDocument *doc)
{
  g_autoptr(OtOp) both = doc->flight ? ot_op_compose(doc->flight, doc->pending) : ot_op_copy(doc->pending);
  return ot_op_inserted_bytes(both) <= DOC_TEXT_MAX &&
         (!doc->flight || ot_op_apply(doc->flight, doc->shown, NULL)) &&
         ot_op_apply(doc->pending, doc->shown, NULL);
}

static gboolean
take_own(DocDocument *doc, const Doppel__Wire__DocOwn *own)
{
  OtOp *pending = doc_op_take(&own->pending);
  if (!pending)
    return FALSE;
  ot_op_free(doc->pending);
  doc->pending = pending;
  doc->wanted = own->checkpoint;
  for (gsize i = 0; i < own->n_wishes; i++)
    if (!take_wish(doc->wishes, own->wishes[i]))
      return FALSE;
  if (own->withdrawn.len > 0 && !wire_take(&own->withdrawn, doc->withdrawn.bytes, DOC_CHAIN_LENGTH))
    return FALSE;
  if (own->entry.len > 0 ? !take_flight(doc, own) : own->flight.len > 0)
    return FALSE;
  return show_own(doc);
}

gboolean
doc_document_load_own(DocDocument *doc, const void *data, gsize length, GError **error)
{
  Doppel__Wire__DocOwn *own = doppel__wire__doc_own__unpack(NULL, length, data);
  gboolean good = own && own->version == VERSION, here = good && own->number == doc_document_number(doc);
  if (here) {
    doc_document_drop_own(doc);
    good = take_own(doc, own);
    if (!good)
      doc_document_drop_own(doc);
  }
  if (own)
    doppel__wire__doc_own__free_unpacked(own, NULL);
  if (good && !here)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "what was kept of the document is of another entry than the replica is at");
  return good || damaged(error);
}

/* ---- keys ---- */

/* Sealed to oneself, a message for each run of epochs. */
static GPtrArray *
seal_keys(const DocDocument *doc)
{
  GPtrArray *runs = g_ptr_array_new_with_free_func((GDestroyNotify)doc_sealed_keys_free);
  guint last = DOC_EPOCHS_MAX;
  while (last > 0) {
    guint first = doc_keyring_first(doc->ring, last);
    if (first > 0)
      g_ptr_array_add(runs, doc_keyring_seal(doc->ring, first, last, identity_key_public(doc->own), NULL));
    last = (first > 0 ? first : last) - 1;
  }
  return runs;
}

static gboolean
open_keys(DocDocument *doc, const Doppel__Wire__DocKeys *from)
{
  gsize keys = (from->sealed.len - MIN(from->sealed.len, crypto_box_SEALBYTES)) /
               crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
  if (from->first == 0 || from->first > DOC_EPOCHS_MAX || keys == 0 ||
      keys > DOC_EPOCHS_MAX - from->first + 1)
    return FALSE;
  g_autoptr(GBytes) bytes = g_bytes_new(from->sealed.data, from->sealed.len);
  DocSealedKeys *sealed = doc_sealed_keys_new(identity_key_public(doc->own), from->first, bytes);
  gboolean opened = doc_keyring_open(doc->ring, sealed, from->first + (guint)keys - 1, doc->own, NULL);
  doc_sealed_keys_free(sealed);
  return opened;
}

/* ---- all of it ---- */

static void
add_piece(const char *utf8, gsize bytes, gpointer user_data)
{
  g_byte_array_append(user_data, (const guint8 *)utf8, (guint)bytes);
}

static void
set_pointer(Doppel__Wire__DocPointer *pointer, const DocCheckpoint *checkpoint)
{
  *pointer = (Doppel__Wire__DocPointer)DOPPEL__WIRE__DOC_POINTER__INIT;
  pointer->number = checkpoint->number;
  pointer->digest = wire_borrow(checkpoint->digest.bytes, sizeof checkpoint->digest.bytes);
}

GBytes *
doc_document_save(const DocDocument *doc)
{
  guint64 number = doc_document_number(doc);
  g_autoptr(GBytes) history = doc_history_pack(doc->history, number, DOC_KEPT);
  g_autoptr(GBytes) own = doc_document_save_own(doc);
  g_autoptr(GByteArray) utf8 = g_byte_array_new();
  g_autoptr(GPtrArray) runs = seal_keys(doc);
  g_autofree Doppel__Wire__DocKeys *keys = g_new(Doppel__Wire__DocKeys, runs->len);
  g_autofree Doppel__Wire__DocKeys **of_keys = g_new(Doppel__Wire__DocKeys *, runs->len);
  g_auto(DocDoneWire) done = {0};
  Doppel__Wire__DocPointer start, checkpoint;
  Doppel__Wire__DocState state = DOPPEL__WIRE__DOC_STATE__INIT;
  for (guint i = 0; i < runs->len; i++) {
    const DocSealedKeys *run = runs->pdata[i];
    keys[i] = (Doppel__Wire__DocKeys)DOPPEL__WIRE__DOC_KEYS__INIT;
    keys[i].first = run->first;
    keys[i].sealed = wire_borrow_bytes(run->sealed);
    of_keys[i] = &keys[i];
  }
  doc_done_wire(&done, doc, number - MIN(number, DOC_KEPT) + 1, number, TRUE);
  ot_text_each(doc->committed, add_piece, utf8);
  set_pointer(&start, &doc->start);
  set_pointer(&checkpoint, &doc->checkpoint);
  state.version = VERSION;
  state.document = wire_borrow(doc_document_name(doc)->bytes, DOC_NAME_LENGTH);
  if (history)
    state.history = wire_borrow_bytes(history);
  state.signed_ = doc_history_signed(doc->history);
  state.fault = (guint32)doc_history_fault(doc->history);
  state.text = wire_borrow(utf8->data, utf8->len);
  state.done = (Doppel__Wire__DocDone **)done.of_wire->pdata;
  state.n_done = done.of_wire->len;
  state.keys = of_keys;
  state.n_keys = runs->len;
  state.since = doc->since;
  state.start = &start;
  state.checkpoint = &checkpoint;
  state.own = wire_borrow_bytes(own);
  return wire_pack(&state.base);
}

static gboolean
take_pointer(const Doppel__Wire__DocPointer *from, DocCheckpoint *to)
{
  if (!from || !wire_take(&from->digest, to->digest.bytes, sizeof to->digest.bytes))
    return FALSE;
  to->number = from->number;
  return TRUE;
}

static DocHistory *
take_history(const Doppel__Wire__DocState *state)
{
  DocName name;
  if (state->version != VERSION || state->fault >= DOC_FAULTS ||
      !wire_take(&state->document, name.bytes, sizeof name.bytes))
    return NULL;
  DocHistory *history = state->history.len == 0 ? doc_history_new(&name)
                                                : doc_history_unpack(state->history.data, state->history.len,
                                                                     &name, DOC_KEPT, NULL);
  if (history)
    doc_history_set_signed(history, state->signed_, (DocFault)state->fault);
  return history;
}

static gboolean
take_state(DocDocument *doc, const Doppel__Wire__DocState *state)
{
  g_autoptr(OtText) text = doc_text_new(state->text.data, state->text.len);
  if (!text || !take_pointer(state->start, &doc->start) ||
      !take_pointer(state->checkpoint, &doc->checkpoint) || state->since > doc_document_number(doc) ||
      (doc->start.number > 0 && doc->start.number <= doc_document_number(doc)) ||
      !doc_done_take(doc, state->done, state->n_done, DOC_KEPT, TRUE))
    return FALSE;
  for (gsize i = 0; i < state->n_keys; i++)
    if (!open_keys(doc, state->keys[i]))
      return FALSE;
  doc->since = state->since;
  ot_text_free(doc->committed);
  doc->committed = g_steal_pointer(&text);
  return doc_document_load_own(doc, state->own.data, state->own.len, NULL);
}

DocDocument *
doc_document_load(const IdentityKey *own, const void *data, gsize length, GError **error)
{
  Doppel__Wire__DocState *state = doppel__wire__doc_state__unpack(NULL, length, data);
  DocHistory *history = state ? take_history(state) : NULL;
  g_autoptr(DocDocument) doc = history ? doc_document_new(history, own) : NULL;
  gboolean taken = doc && take_state(doc, state);
  if (state)
    doppel__wire__doc_state__free_unpacked(state, NULL);
  if (!taken) {
    damaged(error);
    return NULL;
  }
  return g_steal_pointer(&doc);
}

/* One document of a room. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/merge.h"
#include "clonedoc/room/room_struct.h"

RoomDocument *
room_document_new(DocRoom *room, const DocName *name, const char *title)
{
  RoomDocument *document = g_new0(RoomDocument, 1);
  document->room = room;
  document->name = *name;
  document->title = g_strdup(title);
  document->given = g_array_new(FALSE, FALSE, sizeof(guint64));
  document->fresh = g_ptr_array_new_with_free_func((GDestroyNotify)room_entry_free);
  document->copies = g_ptr_array_new_with_free_func((GDestroyNotify)room_copy_free);
  document->people = g_ptr_array_new_with_free_func((GDestroyNotify)room_person_free);
  return document;
}

void
room_document_free(RoomDocument *document)
{
  if (document->server) {
    room_document_quiet(document);
    room_server_leave(document->server);
  }
  g_free(document->title);
  g_free(document->from);
  g_clear_pointer(&document->invitation, g_bytes_unref);
  g_clear_pointer(&document->start_entry, g_bytes_unref);
  doc_document_free(document->doc);
  doc_document_free(document->onto);
  g_clear_pointer(&document->appended, g_bytes_unref);
  g_free(document->words);
  doc_head_clear(&document->head);
  doc_head_clear(&document->ahead);
  g_clear_pointer(&document->proof, g_bytes_unref);
  g_free(document->fault_words);
  g_array_unref(document->given);
  g_ptr_array_unref(document->fresh);
  g_ptr_array_unref(document->copies);
  g_ptr_array_unref(document->people);
  g_free(document);
}

RoomDocument *
room_find(const DocRoom *room, const void *name)
{
  for (guint i = 0; i < room->documents->len; i++) {
    RoomDocument *document = room->documents->pdata[i];
    if (!document->left && memcmp(document->name.bytes, name, DOC_NAME_LENGTH) == 0)
      return document;
  }
  return NULL;
}

void
room_person_free(RoomPerson *person)
{
  g_free(person->name);
  g_free(person->words);
  doc_head_clear(&person->ahead);
  g_free(person);
}

void
room_copy_free(RoomCopy *copy)
{
  doc_pair_free(copy->pair);
  g_free(copy);
}

void
room_entry_free(RoomEntry *entry)
{
  g_bytes_unref(entry->entry);
  g_free(entry);
}

RoomPerson *
room_person(RoomDocument *document, const IdentityPublic *key)
{
  for (guint i = 0; i < document->people->len; i++) {
    RoomPerson *person = document->people->pdata[i];
    if (identity_public_equal(&person->key, key))
      return person;
  }
  return NULL;
}

/* `name` NULL: not known. What the owner calls somebody goes before what others do. */
RoomPerson *
room_person_add(RoomDocument *document, const DocMember *member, const char *name)
{
  RoomPerson *person = room_person(document, &member->key);
  if (!person) {
    person = g_new0(RoomPerson, 1);
    person->user = member->user;
    person->key = member->key;
    person->name = g_strdup(name ? name : "");
    person->told = -1;
    person->dirty = TRUE;
    g_ptr_array_add(document->people, person);
  } else if (name && name[0] && strcmp(name, person->name) != 0) {
    g_free(person->name);
    person->name = g_strdup(name);
    person->dirty = TRUE;
  }
  return person;
}

DocFault
room_fault(const RoomDocument *document)
{
  return document->doc ? doc_history_fault(doc_document_history(document->doc)) : DOC_FAULT_NONE;
}

gboolean
room_follows(const RoomDocument *document)
{
  return document->doc && !document->left && !document->stuck && room_fault(document) == DOC_FAULT_NONE &&
         document->stage != ROOM_STAGE(RECOVERING) && !doc_document_is_removed(document->doc);
}

void
room_words(RoomDocument *document, const char *words)
{
  if (g_strcmp0(document->words, words) == 0)
    return;
  g_free(document->words);
  document->words = g_strdup(words);
  document->version++;
}

/* ---- copies ---- */

RoomCopy *
room_copy_find(RoomDocument *document, const void *id)
{
  for (guint i = 0; i < document->copies->len; i++) {
    RoomCopy *copy = document->copies->pdata[i];
    if (memcmp(copy->id, id, sizeof copy->id) == 0)
      return copy;
  }
  return NULL;
}

static gboolean
is_open(const RoomDocument *document, const RoomCopy *copy)
{
  for (guint i = 0; i < document->room->talks->len; i++)
    if (((const RoomTalk *)document->room->talks->pdata[i])->copy == copy)
      return TRUE;
  return FALSE;
}

static OtOp *
whole(const OtText *text)
{
  gsize bytes;
  g_autofree char *utf8 = ot_text_copy(text, 0, ot_text_length(text), &bytes);
  return ot_op_new_edit(0, 0, utf8, bytes);
}

static gboolean
goes_before(const RoomCopy *copy, const RoomCopy *other)
{
  gboolean met = doc_pair_has_met(copy->pair), other_met = doc_pair_has_met(other->pair);
  return met != other_met ? other_met : copy->used < other->used;
}

/* NULL: all of them are in use. Each link of a device until the first that does not break leaves a copy that
 * the device has nothing of: these go first. */
RoomCopy *
room_copy_add(RoomDocument *document, const void *id)
{
  while (document->copies->len >= ROOM_COPIES_MAX) {
    RoomCopy *first = NULL;
    for (guint i = 0; i < document->copies->len; i++) {
      RoomCopy *copy = document->copies->pdata[i];
      if (!is_open(document, copy) && (!first || goes_before(copy, first)))
        first = copy;
    }
    if (!first)
      return NULL;
    g_ptr_array_remove(document->copies, first);
  }
  document->copies_dirty = TRUE;
  RoomCopy *copy = g_new0(RoomCopy, 1);
  g_autoptr(OtOp) all = whole(doc_document_text(document->doc));
  memcpy(copy->id, id, sizeof copy->id);
  copy->pair = doc_pair_new(DOC_PAIR_CLONE);
  if (!ot_op_empty(all))
    doc_pair_edit(copy->pair, all, NULL);
  g_ptr_array_add(document->copies, copy);
  return copy;
}

/* A copy that cannot follow has to be begun anew. */
void
room_copies_edit(RoomDocument *document, const OtOp *op, const RoomCopy *except)
{
  for (guint i = document->copies->len; i > 0 && !ot_op_empty(op); i--) {
    RoomCopy *copy = document->copies->pdata[i - 1];
    if (copy == except)
      continue;
    copy->dirty = TRUE;
    if (!doc_pair_edit(copy->pair, op, NULL)) {
      room_talks_forget(document->room, document, copy);
      g_ptr_array_remove_index(document->copies, i - 1);
      document->copies_dirty = TRUE;
    }
  }
}

/* ---- after entries ---- */

static void
changed(RoomDocument *document)
{
  document->changed = g_get_real_time() / G_USEC_PER_SEC;
  document->own_dirty = TRUE;
}

static void
took_members(RoomDocument *document, guint64 number)
{
  g_autoptr(GArray) members = doc_history_members(doc_document_history(document->doc));
  for (guint i = 0; i < members->len; i++) {
    const DocMember *member = &g_array_index(members, DocMember, i);
    RoomPerson *person = room_person_add(document, member, NULL);
    if (person->entry == 0) {
      person->entry = number;
      person->dirty = TRUE;
    }
    if (person->invite == ROOM_INVITE_WANTED) {
      person->invite = ROOM_INVITE_DUE;
      person->dirty = TRUE;
      /* Who reads from now on only begins at the text as it is. */
      if (person->from_now)
        doc_document_checkpoint(document->doc, NULL);
    }
  }
}

void
room_document_took(RoomDocument *document, guint64 number, GBytes *entry, const DocTaken *taken)
{
  DocRoom *room = document->room;
  RoomEntry *fresh = g_new0(RoomEntry, 1);
  *fresh = (RoomEntry){number, g_bytes_ref(entry), taken->verdict};
  g_ptr_array_add(document->fresh, fresh);
  document->bytes += g_bytes_get_size(entry);
  changed(document);
  if (taken->shown)
    room_copies_edit(document, taken->shown, NULL);
  if (taken->shown && room->options.shown)
    room->options.shown(&document->name, taken->shown, room->options.data);
  if (taken->kind == DOC_MEMBERS && taken->verdict == DOC_GOOD)
    took_members(document, number);
  if (taken->lie)
    room_words(document, "a member has made a checkpoint that does not say what the document is");
  if (taken->own && number % room->options.checkpoint_each == 0)
    doc_document_checkpoint(document->doc, NULL);
  if (document->stage == ROOM_STAGE(JOINING) && number >= document->invitation_number) {
    document->stage = ROOM_STAGE(JOINED);
    document->facts_dirty = TRUE;
    document->version++;
    if (doc_document_role(document->doc) == DOC_NONE)
      room_words(document, "the document's history does not make you a member: ask for another invitation");
  }
  if (document->bytes > room->options.document_bytes) {
    document->stuck = TRUE;
    room_words(document, "the document has become too large to be kept here");
  }
  if (doc_document_is_removed(document->doc))
    room_document_quiet(document);
}

DocDocument *
room_document_begin(const RoomDocument *document, GError **error)
{
  gsize length = 0;
  const void *bytes = document->invitation ? g_bytes_get_data(document->invitation, &length) : NULL;
  g_autoptr(DocDocument) doc = doc_document_join(&document->name, document->room->key, bytes, length, error);
  if (!doc || !document->start_entry)
    return g_steal_pointer(&doc);
  bytes = g_bytes_get_data(document->start_entry, &length);
  return doc_document_start(doc, &document->start, bytes, length, error) ? g_steal_pointer(&doc) : NULL;
}

/* Copies follow a text that has become another one, not by an entry. */
void
room_document_follow(RoomDocument *document, const char *from, gsize from_bytes, const OtText *after)
{
  gsize to_bytes;
  g_autofree char *to = ot_text_copy(after, 0, ot_text_length(after), &to_bytes);
  g_autoptr(OtOp) op = doc_merge_difference(from, from_bytes, to, to_bytes, NULL);
  if (op)
    room_copies_edit(document, op, NULL);
}

/* Another replica takes the place of the one that was. */
void
room_document_replace(RoomDocument *document, DocDocument *doc)
{
  const OtText *before = doc_document_text(document->doc);
  gsize from_bytes;
  g_autofree char *from = ot_text_copy(before, 0, ot_text_length(before), &from_bytes);
  room_document_follow(document, from, from_bytes, doc_document_text(doc));
  doc_document_free(document->doc);
  document->doc = doc;
  document->state_dirty = TRUE;
  document->version++;
  changed(document);
}

/* doppel doc invite, accept, remove, members, leave: who a document's members are. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cmd/doc.h"
#include "cmd/doc_words.h"
#include "cmd/network_ask.h"
#include "cmd/table.h"
#include "wire/message.h"

/* The document and what this device keeps of all. */
typedef struct {
  DocCopies *copies;
  DocKnown *known;
} Document;

static void
document_clear(Document *document)
{
  g_clear_pointer(&document->known, doc_known_free);
  g_clear_pointer(&document->copies, doc_copies_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Document, document_clear)

static gboolean
open_document(Document *document, const char *word, GError **error)
{
  document->copies = doc_copies(error);
  document->known = document->copies ? doc_known_find(document->copies, word, doc_ask, error) : NULL;
  return document->known != NULL;
}

static ProtobufCBinaryData
name_of(const Document *document)
{
  return wire_borrow(document->known->document.bytes, DOC_NAME_LENGTH);
}

/* ---- changing ---- */

static gboolean
change(char **words, Doppel__Room__Role role, const DocOptions *options, GError **error)
{
  g_auto(DocMemberWord) member = {0};
  g_auto(Document) document = {0};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Change change = DOPPEL__ROOM__CHANGE__INIT;
  if (!doc_member_word(words[1], &member, error) || !open_document(&document, words[0], error))
    return FALSE;
  change.document = name_of(&document);
  change.user = member.name;
  if (member.keyed) {
    change.origin = wire_borrow(member.user.bytes, sizeof member.user);
    change.key = wire_borrow(member.key.bytes, sizeof member.key);
  }
  change.role = role;
  change.from_now = options->from_now;
  change.by_hand = role != DOPPEL__ROOM__ROLE__NO_MEMBER && (member.keyed || options->invitation);
  question.what_case = DOC_ROOM_ASK(CHANGE);
  question.change = &change;
  return change.by_hand ? doc_hand_out(document.copies, &question, options->invitation, error)
                        : doc_ask_row(document.copies, &question, error);
}

gboolean
doc_invite(char **words, const DocOptions *options, GError **error)
{
  Doppel__Room__Role role = DOPPEL__ROOM__ROLE__WRITER;
  if (options->role && !doc_role_parse(options->role, &role))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%.40s\" is no role: reader, writer or owner",
                            options->role);
  return change(words, role, options, error);
}

gboolean
doc_remove(char **words, const DocOptions *options, GError **error)
{
  return change(words, DOPPEL__ROOM__ROLE__NO_MEMBER, options, error);
}

gboolean
doc_accept(char **words, const DocOptions *options, GError **error)
{
  g_auto(Document) document = {0};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  DocName brought;
  gboolean by_hand = doc_hand_is(words[0]);
  if (by_hand) {
    document.copies = doc_copies(error);
    if (!document.copies || !doc_hand_bring(document.copies, words[0], &brought, error))
      return FALSE;
  } else if (!open_document(&document, words[0], error)) {
    return FALSE;
  }
  question.what_case = DOC_ROOM_ASK(ACCEPT);
  question.accept = by_hand ? wire_borrow(brought.bytes, DOC_NAME_LENGTH) : name_of(&document);
  return doc_ask_row(document.copies, &question, error);
}

gboolean
doc_leave(char **words, const DocOptions *options, GError **error)
{
  g_auto(DocAt) at = {0};
  gboolean settled;
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Leave leave = DOPPEL__ROOM__LEAVE__INIT;
  g_auto(Document) document = {0};
  if (!open_document(&document, words[0], error))
    return FALSE;
  g_autoptr(DocCopy) copy = doc_copy_open(document.copies, &document.known->document, error);
  if (!copy || !doc_copy_is_settled(copy, &settled, error))
    return FALSE;
  if (!settled && !options->unsent)
    return doppel_error_set(
        error, DOPPEL_ERROR_USAGE,
        "something that was typed here is not with the clone yet: \"doppel doc open\" brings "
        "it there, \"leave --unsent\" forgets it");
  leave.document = name_of(&document);
  leave.unsent = options->unsent;
  question.what_case = DOC_ROOM_ASK(LEAVE);
  question.leave = &leave;
  return doc_ask(&question, NULL, NULL, error) &&
         doc_copies_forget(document.copies, &document.known->document, error);
}

/* ---- listing ---- */

static const TableColumn columns[] = {
    {"NAME", "name", TABLE_TEXT},     {"ROLE", "role", TABLE_TEXT}, {"SEEN", "head", TABLE_NUMBER},
    {"AT", "head_at", TABLE_TEXT},    {"", "words", TABLE_TEXT},    {NULL, "own", TABLE_BOOLEAN},
    {NULL, "invited", TABLE_BOOLEAN}, {NULL, "user", TABLE_TEXT},   {NULL, "key", TABLE_TEXT}};

Table *
doc_people_table(void)
{
  return table_new(columns, G_N_ELEMENTS(columns));
}

void
doc_people_add(Table *table, const Doppel__Room__Person *person)
{
  g_autofree char *user = network_key(&person->user), *key = network_key(&person->key),
                  *at = network_time(person->head_at),
                  *head = g_strdup_printf("%" G_GUINT64_FORMAT, person->head);
  const char *words = person->words[0]  ? person->words
                      : person->invited ? "the invitation is on its way"
                      : person->own     ? "you"
                                        : "";
  const char *cells[] = {
      person->name[0] ? person->name : user, doc_role_word(person->role),        head, at, words,
      person->own ? "true" : "false",        person->invited ? "true" : "false", user, key};
  table_add(table, cells);
}

static gboolean
add_person(const DocRoomAnswer *answer, gpointer data, GError **error)
{
  if (answer->what_case == DOC_ROOM_TELL(PERSON))
    doc_people_add(data, answer->person);
  return TRUE;
}

gboolean
doc_members(char **words, const DocOptions *options, GError **error)
{
  g_auto(Document) document = {0};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  g_autoptr(Table) table = doc_people_table();
  if (!open_document(&document, words[0], error))
    return FALSE;
  question.what_case = DOC_ROOM_ASK(MEMBERS);
  question.members = name_of(&document);
  if (!doc_ask(&question, add_person, table, error))
    return FALSE;
  table_print(table, options->json, stdout);
  return TRUE;
}

/* doppel doc list, open, log, verify, recover: documents and their histories. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "cmd/doc.h"
#include "cmd/doc_server.h"
#include "cmd/doc_words.h"
#include "cmd/network_ask.h"
#include "cmd/table.h"
#include "wire/message.h"

/* ---- list, open ---- */

static const TableColumn columns[] = {
    {"DOCUMENT", "document", TABLE_TEXT}, {"TITLE", "title", TABLE_TEXT},
    {"ROLE", "role", TABLE_TEXT},         {"STATE", "state", TABLE_TEXT},
    {"LENGTH", "length", TABLE_NUMBER},   {"MEMBERS", "members", TABLE_NUMBER},
    {"CHANGED", "changed", TABLE_TEXT},   {"", "words", TABLE_TEXT},
    {NULL, "copy", TABLE_BOOLEAN},        {NULL, "unsent", TABLE_BOOLEAN},
    {NULL, "settled", TABLE_BOOLEAN},     {NULL, "up", TABLE_BOOLEAN},
    {NULL, "entries", TABLE_NUMBER},      {NULL, "fault", TABLE_TEXT},
    {NULL, "from", TABLE_TEXT},           {NULL, "server", TABLE_TEXT}};

static const char *
boolean(gboolean is)
{
  return is ? "true" : "false";
}

static char *
server_of(const DocRow *row)
{
  g_autofree char *key = network_key(&row->server);
  g_autoptr(GString) all = g_string_new(NULL);
  for (gsize i = 0; i < row->n_addresses; i++)
    g_string_append_printf(all, "%s%s", i > 0 ? "," : "", row->addresses[i]);
  g_string_append_printf(all, "=%s", g_str_has_prefix(key, "key:") ? key + strlen("key:") : key);
  return g_string_free(g_steal_pointer(&all), FALSE);
}

/* What there is to be said of it, in the order of how much it matters. */
static char *
words_of(const DocRow *row, gboolean unsent)
{
  if (row->fault[0])
    return g_strdup_printf("the server: %s; see \"verify\"", row->fault);
  if (row->state == DOPPEL__ROOM__STATE__INVITED)
    return g_strdup_printf("%s invites you: \"accept\"", row->from);
  if (unsent)
    return g_strdup("typed here, not with the clone yet");
  if (row->words[0])
    return g_strdup(row->words);
  return g_strdup(row->settled ? "" : "on its way to the server");
}

static gboolean
add_row(Table *table, DocCopies *copies, const DocKnown *known, gboolean json, GError **error)
{
  g_autoptr(DocRow) row = doc_known_row(known);
  g_autoptr(DocCopy) copy = doc_copy_open(copies, &known->document, error);
  gboolean delivered;
  if (!copy || !doc_copy_is_settled(copy, &delivered, error))
    return FALSE;
  if (!row)
    return TRUE;
  g_autofree char *name = doc_name_text(&known->document, json ? 2 * DOC_NAME_LENGTH : 8),
                  *length = g_strdup_printf("%" G_GUINT64_FORMAT, row->length),
                  *members = g_strdup_printf("%u", row->members), *changed = network_time(row->changed),
                  *words = words_of(row, !delivered), *server = server_of(row),
                  *number = g_strdup_printf("%" G_GUINT64_FORMAT, row->number);
  const char *cells[] = {name,
                         row->title,
                         doc_role_word(row->role),
                         doc_state_word(row->state),
                         length,
                         members,
                         changed,
                         words,
                         boolean(doc_copy_is_filled(copy)),
                         boolean(!delivered),
                         boolean(row->settled),
                         boolean(row->up),
                         number,
                         row->fault,
                         row->from,
                         server};
  table_add(table, cells);
  return TRUE;
}

gboolean
doc_list(char **words, const DocOptions *options, GError **error)
{
  g_autoptr(DocCopies) copies = doc_copies(error);
  g_autoptr(GError) away = NULL;
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  if (!copies)
    return FALSE;
  gboolean asked = !options->offline && doc_known_update(copies, doc_ask, &away);
  g_autoptr(GPtrArray) list = doc_copies_list(copies, error);
  for (guint i = 0; list && i < list->len; i++)
    if (!add_row(table, copies, list->pdata[i], options->json, error))
      return FALSE;
  if (!list)
    return FALSE;
  /* Nothing to show instead of an answer is no answer. */
  if (away && list->len == 0) {
    g_propagate_error(error, g_steal_pointer(&away));
    return FALSE;
  }
  if (away)
    fprintf(stderr, "doppel doc: %s cannot be reached (%s): this is what this device knows.\n",
            doc_room_called(), away->message);
  if (options->json || list->len > 0)
    table_print(table, options->json, stdout);
  else if (asked)
    fputs("There are no documents yet: \"doppel doc create TITLE --server=ADDRESS=KEY\" makes one.\n",
          stderr);
  return TRUE;
}

gboolean
doc_open(char **words, const DocOptions *options, GError **error)
{
  g_auto(DocAt) at = {0};
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  if (!doc_at_open(&at, words[0], FALSE, error) || !doc_at_meet(&at, DOC_AT_PATIENCE_MS, NULL, error) ||
      !doc_at_deliver(&at, DOC_AT_DELIVER_MS, NULL, error))
    return FALSE;
  g_autofree char *name = doc_name_text(&at.known->document, 2 * DOC_NAME_LENGTH);
  g_autoptr(DocKnown) known = doc_known_find(at.copies, name, NULL, error);
  if (!known || !add_row(table, at.copies, known, options->json, error))
    return FALSE;
  table_print(table, options->json, stdout);
  return TRUE;
}

/* ---- log ---- */

static const TableColumn log_columns[] = {
    {"NUMBER", "number", TABLE_NUMBER}, {"TIME", "time", TABLE_TEXT},     {"AUTHOR", "author", TABLE_TEXT},
    {"KIND", "kind", TABLE_TEXT},       {"BYTES", "bytes", TABLE_NUMBER}, {"VERDICT", "verdict", TABLE_TEXT},
    {"", "changes", TABLE_TEXT},        {NULL, "key", TABLE_TEXT}};

static gboolean
add_entry(const DocRoomAnswer *answer, gpointer data, GError **error)
{
  if (answer->what_case != DOC_ROOM_TELL(ENTRY))
    return TRUE;
  const Doppel__Room__Entry *entry = answer->entry;
  g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, entry->number),
                  *time = network_time(entry->time), *key = network_key(&entry->author),
                  *bytes = g_strdup_printf("%u", entry->bytes);
  g_autoptr(GString) changes = g_string_new(NULL);
  for (gsize i = 0; i < entry->n_changes; i++) {
    g_autofree char *changed = network_key(&entry->changes[i]->key);
    g_string_append_printf(changes, "%s%s: %s", i > 0 ? ", " : "",
                           entry->changes[i]->name[0] ? entry->changes[i]->name : changed,
                           doc_role_word(entry->changes[i]->role));
  }
  const char *cells[] = {number,
                         time,
                         entry->name[0] ? entry->name : key,
                         doc_kind_word(entry->kind),
                         bytes,
                         entry->verdict,
                         changes->str,
                         key};
  table_add(data, cells);
  return TRUE;
}

gboolean
doc_log(char **words, const DocOptions *options, GError **error)
{
  g_autoptr(DocCopies) copies = doc_copies(error);
  g_autoptr(DocKnown) known = copies ? doc_known_find(copies, words[0], doc_ask, error) : NULL;
  g_autoptr(Table) table = table_new(log_columns, G_N_ELEMENTS(log_columns));
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Range range = DOPPEL__ROOM__RANGE__INIT;
  if (!known)
    return FALSE;
  range.document = wire_borrow(known->document.bytes, DOC_NAME_LENGTH);
  range.count = options->count;
  question.what_case = DOC_ROOM_ASK(LOG);
  question.log = &range;
  if (!doc_ask(&question, add_entry, table, error))
    return FALSE;
  table_print(table, options->json, stdout);
  return TRUE;
}

/* ---- verify ---- */

typedef struct {
  Table *people;
  Doppel__Room__Finding *finding;
  GByteArray *proof;
} Verdict;

static void
verdict_clear(Verdict *verdict)
{
  g_clear_pointer(&verdict->people, table_free);
  g_clear_pointer(&verdict->proof, g_byte_array_unref);
  if (verdict->finding)
    doppel__room__finding__free_unpacked(verdict->finding, NULL);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Verdict, verdict_clear)

static gboolean
take_verdict(const DocRoomAnswer *answer, gpointer data, GError **error)
{
  Verdict *verdict = data;
  if (answer->what_case == DOC_ROOM_TELL(CHECKED)) {
    g_autofree char *words =
        g_strdup_printf("entry %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " is read again",
                        answer->checked->number, answer->checked->of);
    doc_ask_now(words);
  }
  if (answer->what_case == DOC_ROOM_TELL(PERSON))
    doc_people_add(verdict->people, answer->person);
  if (answer->what_case == DOC_ROOM_TELL(PROOF))
    g_byte_array_append(verdict->proof, answer->proof.data, answer->proof.len);
  if (answer->what_case != DOC_ROOM_TELL(FINDING) || verdict->finding)
    return TRUE;
  g_autoptr(GBytes) copy = wire_pack(&answer->finding->base);
  verdict->finding =
      doppel__room__finding__unpack(NULL, g_bytes_get_size(copy), g_bytes_get_data(copy, NULL));
  return TRUE;
}

static gboolean
write_proof(const char *path, const GByteArray *proof, GError **error)
{
  g_autoptr(GError) why = NULL;
  if (g_file_set_contents_full(path, (const char *)proof->data, proof->len, G_FILE_SET_CONTENTS_CONSISTENT,
                               0666, &why))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "the evidence cannot be written: %s", why->message);
}

static void
print_verdict(const Verdict *verdict, const DocKnown *known, const char *written, gboolean json)
{
  const char *title = known->title;
  g_autoptr(DocRow) row = doc_known_row(known);
  g_autofree char *key = row ? network_key(&row->server) : g_strdup("");
  const char *server_key = g_str_has_prefix(key, "key:") ? key + strlen("key:") : key;
  const Doppel__Room__Finding *finding = verdict->finding;
  g_autofree char *time = network_time(finding->time);
  if (!json) {
    table_print(verdict->people, FALSE, stdout);
    printf("%s: entries %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
           " checked; the server says %" G_GUINT64_FORMAT ".\n",
           title, finding->first, finding->number, finding->server);
    if (finding->damaged > 0)
      printf("Entry %" G_GUINT64_FORMAT " is damaged where the clone keeps it: %s.\n", finding->damaged,
             finding->damage);
    else if (finding->damage[0])
      printf("What the clone keeps is damaged: %s.\n", finding->damage);
    if (finding->unread > 0)
      printf("Edits that nobody with this document's key can open: %u.\n", finding->unread);
    if (finding->silent > 0)
      printf("Members' clones that did not answer, and were not compared: %u.\n", finding->silent);
    if (!finding->fault[0])
      printf("No fault of the server's was found.%s%s\n", finding->words[0] ? " " : "", finding->words);
    else
      printf("The server is at fault since %s: %s. %s\n", time, finding->fault, finding->words);
    if (written)
      printf("The evidence is in %s: \"doppel doc check %s --server-key=%s\" tells anybody what it shows.\n",
             written, written, server_key);
    else if (finding->proof)
      puts("There is evidence of it: --evidence=FILE writes it.");
    return;
  }
  g_autoptr(GString) text = g_string_new("{\"title\": ");
  json_append_string(text, title);
  g_string_append_printf(text,
                         ", \"first\": %" G_GUINT64_FORMAT ", \"number\": %" G_GUINT64_FORMAT
                         ", \"server\": %" G_GUINT64_FORMAT ", \"proof\": %s, \"fault\": ",
                         finding->first, finding->number, finding->server, finding->proof ? "true" : "false");
  json_append_string(text, finding->fault);
  g_string_append(text, ", \"time\": ");
  json_append_string(text, time);
  g_string_append(text, ", \"words\": ");
  json_append_string(text, finding->words);
  g_string_append_printf(text,
                         ", \"unread\": %u, \"silent\": %u, \"damaged\": %" G_GUINT64_FORMAT ", \"damage\": ",
                         finding->unread, finding->silent, finding->damaged);
  json_append_string(text, finding->damage);
  g_string_append(text, ", \"members\":\n");
  fputs(text->str, stdout);
  table_print(verdict->people, TRUE, stdout);
  puts("}");
}

gboolean
doc_verify(char **words, const DocOptions *options, GError **error)
{
  g_autoptr(DocCopies) copies = doc_copies(error);
  g_autoptr(DocKnown) known = copies ? doc_known_find(copies, words[0], doc_ask, error) : NULL;
  g_auto(Verdict) verdict = {.people = doc_people_table(), .proof = g_byte_array_new()};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  if (!known)
    return FALSE;
  question.what_case = DOC_ROOM_ASK(VERIFY);
  question.verify = wire_borrow(known->document.bytes, DOC_NAME_LENGTH);
  if (!doc_ask(&question, take_verdict, &verdict, error))
    return FALSE;
  if (!verdict.finding)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone did not say what it found");
  gboolean write = options->evidence && verdict.proof->len > 0;
  if (write && !write_proof(options->evidence, verdict.proof, error))
    return FALSE;
  print_verdict(&verdict, known, write ? options->evidence : NULL, options->json);
  if (!verdict.finding->fault[0])
    return !verdict.finding->damage[0] ||
           doppel_error_set(
               error, DOPPEL_ERROR_MISMATCH,
               "what the clone keeps of \"%s\" is damaged, which is not the server's doing: put an "
               "older copy of the clone's disk in its place, or \"leave\" and be invited anew",
               known->title);
  return doppel_error_set(
      error, DOPPEL_ERROR_MISMATCH,
      "the server of \"%s\" is at fault (%s): nothing more is taken from it; \"doppel doc recover\" "
      "goes on with the history that it has now, or --server another one's",
      known->title, verdict.finding->fault);
}

/* ---- recover ---- */

gboolean
doc_recover(char **words, const DocOptions *options, GError **error)
{
  g_autoptr(DocCopies) copies = doc_copies(error);
  g_autoptr(DocKnown) known = copies ? doc_known_find(copies, words[0], doc_ask, error) : NULL;
  g_auto(DocServer) server = {0};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Recover recover = DOPPEL__ROOM__RECOVER__INIT;
  if (!known || (options->server && !doc_server_parse(options->server, &server, error)))
    return FALSE;
  recover.document = wire_borrow(known->document.bytes, DOC_NAME_LENGTH);
  if (options->server) {
    recover.addresses = server.addresses;
    recover.n_addresses = g_strv_length(server.addresses);
    recover.server = wire_borrow(server.key.bytes, sizeof server.key.bytes);
  }
  question.what_case = DOC_ROOM_ASK(RECOVER);
  question.recover = &recover;
  return doc_ask_row(copies, &question, error);
}

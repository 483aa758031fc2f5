/* Going over to the history that a server has: it is read from the beginning as far as it is the one that was
 * known here (clonedoc/document.h). Where the server's ends before, it is given the entries again that are
 * kept, whoever's they are: so after a loss of the server's, or on another server, nobody loses anything. */
#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/room/room_struct.h"

#define PAUSE_MS   2000
#define GIVE_MOST  32u        /* entries on their way at a time, */
#define GIVE_BYTES (1u << 20) /* or of so many bytes */
#define AHEAD_MOST (2 * DOC_BEHIND_MAX)

static void
forget_heads(RoomDocument *document)
{
  doc_head_clear(&document->head);
  doc_head_clear(&document->ahead);
  document->head.number = document->ahead.number = 0;
  for (guint i = 0; i < document->people->len; i++) {
    RoomPerson *person = document->people->pdata[i];
    doc_head_clear(&person->ahead);
    person->proof_told = FALSE;
    person->told = -1;
  }
}

static gboolean
choose_server(RoomDocument *document, char **addresses, gsize count, const IdentityPublic *key,
              GError **error)
{
  DocRoom *room = document->room;
  if (count > 0) {
    RoomServer *server = room_server_get(room, addresses, count, key, error);
    if (!server)
      return FALSE;
    room_document_quiet(document);
    room_server_leave(document->server);
    document->server = server;
    return TRUE;
  }
  room_document_quiet(document);
  if (!document->server->client)
    document->server->client = doc_client_new((const char *const *)document->server->addresses,
                                              &document->server->key, room->key, error);
  return document->server->client != NULL;
}

gboolean
room_recover_begin(RoomDocument *document, char **addresses, gsize count, const IdentityPublic *key,
                   GError **error)
{
  if (!document->doc || document->stage == ROOM_STAGE(INVITED) || doc_document_number(document->doc) == 0)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "nothing of this document is known here yet");
  if (count == 0 && room_fault(document) == DOC_FAULT_NONE && document->stage != ROOM_STAGE(RECOVERING))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "nothing is wrong with the history of this document");
  if (!choose_server(document, addresses, count, key, error))
    return FALSE;
  document->stage = ROOM_STAGE(RECOVERING);
  g_clear_pointer(&document->onto, doc_document_free);
  document->give_next = 0;
  document->give_most = 1;
  document->again_at = 0;
  document->failures = 0;
  document->stuck = FALSE;
  forget_heads(document);
  room_words(document, NULL);
  document->facts_dirty = document->own_dirty = TRUE;
  document->version++;
  return TRUE;
}

/* It stays at the fault, and says why. */
static void
give_up(RoomDocument *document, const GError *why)
{
  document->stage = ROOM_STAGE(JOINED);
  g_clear_pointer(&document->onto, doc_document_free);
  room_document_quiet(document);
  room_words(document, why->message);
  g_free(document->fault_words);
  document->fault_words = g_strdup(why->message);
  document->facts_dirty = TRUE;
  document->version++;
}

void
room_recover_drive(RoomDocument *document)
{
  g_autoptr(GError) error = NULL;
  if (!document->onto && !(document->onto = room_document_begin(document, &error))) {
    give_up(document, error);
    return;
  }
  if (document->read == 0 && document->give_next == 0)
    document->read = doc_client_read(document->server->client, &document->name,
                                     doc_document_number(document->onto) + 1, 0);
}

/* The old conflict is known, with what others had of it. However long a history their server has signed: from
 * some number on a conflict is a new one. */
static void
pardon(RoomDocument *document)
{
  guint64 number = doc_document_number(document->doc);
  document->pardon = MAX(document->pardon, number);
  for (guint i = 0; i < document->people->len; i++) {
    const RoomPerson *person = document->people->pdata[i];
    document->pardon = MAX(document->pardon, MIN(person->head, number + AHEAD_MOST));
  }
}

static void
finish(RoomDocument *document)
{
  g_autoptr(GError) error = NULL;
  if (!doc_document_recover(document->onto, document->doc, &error)) {
    give_up(document, error);
    return;
  }
  DocDocument *onto = g_steal_pointer(&document->onto);
  pardon(document);
  document->stage =
      doc_document_number(onto) < document->invitation_number ? ROOM_STAGE(JOINING) : ROOM_STAGE(JOINED);
  document->forget_entries = TRUE;
  document->forget_after = doc_document_number(onto);
  g_clear_pointer(&document->fault_words, g_free);
  g_clear_pointer(&document->appended, g_bytes_unref);
  document->facts_dirty = TRUE;
  room_document_replace(document, onto);
  room_words(document, NULL);
}

static gboolean
is_known(const RoomDocument *document, guint64 number, GBytes *entry)
{
  if (number > doc_document_number(document->doc))
    return FALSE;
  g_autoptr(GPtrArray) kept = room_entries(document, number, number, NULL);
  return kept && g_bytes_equal(kept->pdata[0], entry);
}

/* FALSE: that was all that is to be done with this answer. */
static gboolean
take(RoomDocument *document, guint64 number, GBytes *entry)
{
  g_autoptr(GError) error = NULL;
  g_auto(DocTaken) taken = {0};
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  if (!is_known(document, number, entry)) {
    finish(document);
    return FALSE;
  }
  if (doc_document_take(document->onto, number, bytes, length, &taken, &error))
    return TRUE;
  give_up(document, error);
  return FALSE;
}

void
room_recover_read(RoomDocument *document, const DocClientEvent *event)
{
  const DocAnswer *answer = event->answer;
  document->read = 0;
  if (answer->status != DOC_STATUS(OK) && answer->status != DOC_STATUS(UNKNOWN)) {
    document->again_at = clock_now_ns() + MS(PAUSE_MS);
    room_words(document, answer->words ? answer->words : doc_status_name(answer->status));
    return;
  }
  for (guint i = 0; i < answer->entries->len; i++)
    if (!take(document, answer->number + i, answer->entries->pdata[i]))
      return;
  if (event->head.number > doc_document_number(document->onto))
    return;
  if (doc_document_number(document->doc) > doc_document_number(document->onto))
    document->give_next = doc_document_number(document->onto) + 1;
  else
    finish(document);
}

/* ---- giving ---- */

typedef struct {
  RoomDocument *document;
  gsize bytes;
  IdentityPublic author; /* of the last one */
} Giving;

/* Whether no server takes it without the one before it: where a server is busy with that one, it is not to
 * get that one's number. */
static gboolean
needs_last(const Giving *giving, const DocEnvelope *envelope, guint64 number)
{
  return envelope->base == number - 1 || identity_public_equal(&envelope->author, &giving->author);
}

static gboolean
give(guint64 number, GBytes *entry, DocVerdict verdict, gint64 time, gpointer data)
{
  Giving *giving = data;
  RoomDocument *document = giving->document;
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(bytes, length, NULL);
  if (!envelope || number != document->give_next + document->given->len ||
      (document->given->len > 0 && !needs_last(giving, envelope, number)))
    return FALSE;
  giving->author = envelope->author;
  guint64 call = doc_client_append(document->server->client, &document->name, entry);
  g_array_append_val(document->given, call);
  giving->bytes += length;
  return document->given->len < document->give_most && giving->bytes < GIVE_BYTES;
}

/* What is kept is sent as it was: it has the number that it had, unless others were first. */
void
room_recover_release(RoomDocument *document)
{
  g_autoptr(GError) error = NULL;
  Giving giving = {document};
  if (document->give_next == 0 || document->given->len > 0)
    return;
  room_entries_each(document, document->give_next, doc_document_number(document->doc), give, &giving, NULL);
  if (document->given->len > 0)
    return;
  doppel_error_set(&error, DOPPEL_ERROR_NOT_FOUND, "the server lacks entries that are not kept here");
  give_up(document, error);
}

/* One of those under way has not the number that it had. Those behind it are not waited for, and fewer are
 * sent then: where the server was busy with one, it has judged the next without it. */
static void
look_again(RoomDocument *document, const DocAnswer *answer)
{
  room_document_quiet(document);
  document->give_most = 1;
  document->give_next = 0;
  if (answer->status != DOC_STATUS(FULL) && answer->status != DOC_STATUS(FAILED))
    return;
  document->again_at = clock_now_ns() + MS(PAUSE_MS);
  room_words(document, answer->words ? answer->words : doc_status_name(answer->status));
}

gboolean
room_recover_appended(RoomDocument *document, const DocClientEvent *event)
{
  gboolean found = FALSE, all = TRUE;
  for (guint i = 0; i < document->given->len; i++) {
    guint64 *call = &g_array_index(document->given, guint64, i);
    if (*call == event->call &&
        (event->answer->status != DOC_STATUS(OK) || event->answer->number != document->give_next + i)) {
      look_again(document, event->answer);
      return TRUE;
    }
    found = found || *call == event->call;
    *call = *call == event->call ? 0 : *call;
    all = all && *call == 0;
  }
  if (!found || !all)
    return found;
  document->give_next += document->given->len;
  g_array_set_size(document->given, 0);
  document->give_most = MIN(2 * document->give_most, GIVE_MOST);
  if (document->give_next > doc_document_number(document->doc))
    document->give_next = 0; /* looks what is there now */
  return TRUE;
}

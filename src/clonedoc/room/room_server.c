/* The servers: what is asked of them, and what they answer. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/room/room_struct.h"

#define SLICE_MS      100   /* of what servers told, in one step */
#define PAUSE_MOST_MS 30000 /* before what failed is tried again */

RoomServer *
room_server_get(DocRoom *room, char **addresses, gsize count, const IdentityPublic *key, GError **error)
{
  g_autoptr(GPtrArray) list = g_ptr_array_new();
  for (gsize i = 0; i < count; i++)
    g_ptr_array_add(list, addresses[i]);
  g_ptr_array_add(list, NULL);
  const char *const *wanted = (const char *const *)list->pdata;
  for (guint i = 0; i < room->servers->len; i++) {
    RoomServer *server = room->servers->pdata[i];
    if (identity_public_equal(&server->key, key) &&
        g_strv_equal((const char *const *)server->addresses, wanted)) {
      server->users++;
      return server;
    }
  }
  DocClient *client = doc_client_new(wanted, key, room->key, error);
  if (!client)
    return NULL;
  RoomServer *server = g_new0(RoomServer, 1);
  *server = (RoomServer){room, g_strdupv((char **)wanted), *key, client, 1};
  g_ptr_array_add(room->servers, server);
  return server;
}

void
room_server_leave(RoomServer *server)
{
  if (--server->users == 0)
    g_ptr_array_remove_fast(server->room->servers, server);
}

void
room_server_free(RoomServer *server)
{
  g_strfreev(server->addresses);
  doc_client_free(server->client);
  g_free(server);
}

static void
end_call(RoomDocument *document, guint64 *call)
{
  if (*call > 0 && document->server->client)
    doc_client_end(document->server->client, *call);
  *call = 0;
}

void
room_document_quiet(RoomDocument *document)
{
  end_call(document, &document->follow);
  end_call(document, &document->append);
  end_call(document, &document->read);
  end_call(document, &document->ask);
  for (guint i = 0; i < document->given->len; i++)
    end_call(document, &g_array_index(document->given, guint64, i));
  g_array_set_size(document->given, 0);
  g_clear_pointer(&document->appended, g_bytes_unref);
}

/* Later, less and less often. */
static void
pause_after(RoomDocument *document, const char *words)
{
  guint pause = MIN(500u << MIN(document->failures, 6), PAUSE_MOST_MS);
  document->failures++;
  document->again_at = clock_now_ns() + MS(pause);
  room_words(document, words);
}

static void
went_well(RoomDocument *document)
{
  if (document->failures > 0)
    room_words(document, NULL);
  document->failures = 0;
  document->again_at = 0;
}

/* ---- answers ---- */

/* FALSE: nothing more of this answer is to be taken. */
static gboolean
take_entry(RoomDocument *document, const DocClientEvent *event, guint index)
{
  g_autoptr(GError) error = NULL;
  g_auto(DocTaken) taken = {0};
  GBytes *entry = event->answer->entries->pdata[index];
  guint64 number = event->answer->number + index;
  gsize length;
  const void *bytes = g_bytes_get_data(entry, &length);
  if (!doc_document_take(document->doc, number, bytes, length, &taken, &error)) {
    if (room_fault(document) != DOC_FAULT_NONE) {
      room_faulty_entry(document, error, event->answer, index, &event->head);
    } else {
      document->stuck = TRUE;
      room_document_quiet(document);
      room_words(document, error->message);
    }
    return FALSE;
  }
  if (!taken.again)
    room_document_took(document, number, entry, &taken);
  room_reached(document);
  return room_follows(document);
}

static void
on_follow(RoomDocument *document, DocClientEvent *event)
{
  const DocAnswer *answer = event->answer;
  if (answer->status == DOC_STATUS(OK))
    went_well(document);
  else
    document->follow = 0;
  for (guint i = 0; i < answer->entries->len; i++)
    if (!take_entry(document, event, i))
      return;
  if (event->head.packed) {
    room_take_head(document, &event->head);
    room_reached(document);
  }
  if (answer->status == DOC_STATUS(UNKNOWN))
    pause_after(document, "the server has not this document");
  else if (answer->status != DOC_STATUS(OK))
    pause_after(document, answer->words ? answer->words : doc_status_name(answer->status));
}

static void
on_append(RoomDocument *document, DocClientEvent *event)
{
  const DocAnswer *answer = event->answer;
  document->append = 0;
  if (event->head.packed)
    room_take_head(document, &event->head);
  if (answer->status == DOC_STATUS(OK)) {
    went_well(document);
    return;
  }
  g_autofree char *words = g_strdup_printf("the server does not take what is written here: %s",
                                           answer->words ? answer->words : doc_status_name(answer->status));
  g_clear_pointer(&document->appended, g_bytes_unref);
  pause_after(document, words);
}

/* The checkpoint to begin at. */
static void
on_start(RoomDocument *document, const DocClientEvent *event)
{
  g_autoptr(GError) error = NULL;
  const DocAnswer *answer = event->answer;
  document->read = 0;
  if (answer->status != DOC_STATUS(OK) || answer->entries->len != 1 ||
      answer->number != document->start.number) {
    pause_after(document, "the server has not the checkpoint that the invitation names");
    return;
  }
  GBytes *entry = answer->entries->pdata[0];
  gsize length, before_bytes;
  const void *bytes = g_bytes_get_data(entry, &length);
  /* A device may have opened it already, with what there was to see. */
  const OtText *text = doc_document_text(document->doc);
  g_autofree char *before = ot_text_copy(text, 0, ot_text_length(text), &before_bytes);
  if (!doc_document_start(document->doc, &document->start, bytes, length, &error)) {
    document->stuck = TRUE;
    room_words(document, error->message);
    return;
  }
  room_document_follow(document, before, before_bytes, doc_document_text(document->doc));
  document->start_entry = g_bytes_ref(entry);
  document->facts_dirty = document->state_dirty = document->own_dirty = TRUE;
}

static void
on_event(RoomDocument *document, DocClientEvent *event)
{
  if (event->call == document->follow) {
    on_follow(document, event);
  } else if (event->call == document->append) {
    on_append(document, event);
  } else if (event->call == document->read) {
    if (document->stage == ROOM_STAGE(RECOVERING))
      room_recover_read(document, event);
    else
      on_start(document, event);
  } else if (event->call == document->ask) {
    document->ask = 0;
    if (event->head.packed && room_fault(document) == DOC_FAULT_NONE &&
        document->stage != ROOM_STAGE(RECOVERING))
      room_take_head(document, &event->head);
  } else {
    room_recover_appended(document, event);
  }
}

/* It said what no correct server says: nothing of it is believed any more. */
static void
found_out(RoomServer *server, const GError *why)
{
  DocRoom *room = server->room;
  for (guint i = 0; i < room->documents->len; i++) {
    RoomDocument *document = room->documents->pdata[i];
    if (document->server != server)
      continue;
    document->follow = document->append = document->read = document->ask = 0;
    g_array_set_size(document->given, 0);
    g_clear_pointer(&document->appended, g_bytes_unref);
    if (document->doc && room_fault(document) == DOC_FAULT_NONE) {
      doc_document_stop(document->doc, DOC_FAULT_DAMAGED, doc_document_number(document->doc), NULL);
      room_faulty(document, why, NULL);
    } else {
      room_words(document, why->message);
    }
  }
  g_clear_pointer(&server->client, doc_client_free);
}

static gboolean
server_work(RoomServer *server, gint64 until)
{
  g_autoptr(GError) error = NULL;
  gboolean good = doc_client_work(server->client, &error);
  for (;;) {
    g_autoptr(DocClientEvent) event = doc_client_take(server->client);
    if (!event)
      break;
    RoomDocument *document = room_find(server->room, event->document.bytes);
    if (document && document->server == server && document->doc)
      on_event(document, event);
    if (clock_now_ns() > until)
      return TRUE;
  }
  if (!good)
    found_out(server, error);
  return FALSE;
}

gboolean
room_servers_work(DocRoom *room)
{
  gint64 until = clock_now_ns() + MS(SLICE_MS);
  gboolean more = FALSE;
  for (guint i = 0; i < room->servers->len; i++) {
    RoomServer *server = room->servers->pdata[i];
    if (server->client)
      more = server_work(server, until) || more;
  }
  return more;
}

/* ---- what is wanted of them ---- */

/* Where there is nothing yet, the one who makes the document has to have sent its first entry. */
static gboolean
is_there(const RoomDocument *document)
{
  return doc_document_number(document->doc) > 0 || document->invitation ||
         (document->appended && !document->append);
}

static void
drive(RoomDocument *document)
{
  DocClient *client = document->server->client;
  if (document->again_at > clock_now_ns())
    return;
  document->again_at = 0;
  if (!client || !document->doc || document->left)
    return;
  if (document->stage == ROOM_STAGE(RECOVERING)) {
    room_recover_drive(document);
    return;
  }
  if (!room_follows(document))
    return;
  gboolean starts = document->start.number > 0 && !document->start_entry;
  if (starts && document->read == 0)
    document->read = doc_client_read(client, &document->name, document->start.number, 1);
  if (!starts && document->follow == 0 && is_there(document))
    document->follow = doc_client_follow(client, &document->name, doc_document_number(document->doc) + 1);
  g_autoptr(GBytes) entry = doc_document_submit(document->doc);
  if (entry)
    document->own_dirty = TRUE;
}

void
room_servers_drive(DocRoom *room)
{
  for (guint i = 0; i < room->documents->len; i++)
    drive(room->documents->pdata[i]);
}

static void
release(RoomDocument *document)
{
  if (!document->server->client || document->again_at > clock_now_ns())
    return;
  if (document->stage == ROOM_STAGE(RECOVERING)) {
    room_recover_release(document);
    return;
  }
  if (!room_follows(document) || document->append > 0)
    return;
  g_autoptr(GBytes) flight = doc_document_flight(document->doc);
  if (!flight || (document->appended && g_bytes_equal(flight, document->appended)))
    return;
  g_clear_pointer(&document->appended, g_bytes_unref);
  document->appended = g_bytes_ref(flight);
  document->append = doc_client_append(document->server->client, &document->name, flight);
}

void
room_servers_release(DocRoom *room)
{
  for (guint i = 0; i < room->documents->len; i++)
    release(room->documents->pdata[i]);
}

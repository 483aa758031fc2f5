#include "clonedoc/room/room.h"

#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/room/room_struct.h"

DocRoom *
doc_room_open(const DocRoomOptions *options, GError **error)
{
  g_autoptr(DocRoom) room = g_new0(DocRoom, 1);
  room->options = *options;
  room->options.path = g_strdup(options->path);
  room->key = identity_key_from_seed(identity_key_seed(options->key));
  room->servers = g_ptr_array_new_with_free_func((GDestroyNotify)room_server_free);
  room->documents = g_ptr_array_new_with_free_func((GDestroyNotify)room_document_free);
  room->talks = g_ptr_array_new_with_free_func((GDestroyNotify)room_talk_free);
  room->errands = g_ptr_array_new_with_free_func((GDestroyNotify)room_errand_free);
  return room_store_open(room, error) ? g_steal_pointer(&room) : NULL;
}

void
doc_room_free(DocRoom *room)
{
  if (!room)
    return;
  g_ptr_array_unref(room->talks);
  g_ptr_array_unref(room->errands);
  g_ptr_array_unref(room->documents);
  g_ptr_array_unref(room->servers);
  if (room->statements)
    database_statements_free(room->statements);
  sqlite3_close(room->db);
  identity_key_free(room->key);
  g_free((char *)room->options.path);
  g_free(room);
}

guint
doc_room_talks(const DocRoom *room)
{
  return room->talks->len;
}

static void
shorten(int *timeout_ms, gint64 due)
{
  int left = clock_left_ms(due);
  if (due != G_MAXINT64)
    *timeout_ms = *timeout_ms < 0 ? left : MIN(*timeout_ms, left);
}

void
doc_room_prepare(DocRoom *room, GArray *fds, int *timeout_ms)
{
  for (guint i = 0; i < room->servers->len; i++) {
    RoomServer *server = room->servers->pdata[i];
    struct pollfd of_server[LINK_POLL_MAX];
    guint count = server->client ? doc_client_prepare(server->client, of_server, timeout_ms) : 0;
    g_array_append_vals(fds, of_server, count);
  }
  for (guint i = 0; i < room->talks->len; i++) {
    const RoomTalk *talk = room->talks->pdata[i];
    struct pollfd fd = {
        .fd = talk->ended && talk->out->len == 0 ? -1 : talk->fd, /* its end is known */
        .events = (short)((talk->out->len > 0 ? POLLOUT : 0) | (talk->ending || talk->ended ? 0 : POLLIN))};
    g_array_append_val(fds, fd);
    shorten(timeout_ms, talk->deadline);
    if (talk->patience > 0)
      shorten(timeout_ms, talk->patience);
    if (talk->copy && talk->pair_at > 0 && talk->out->len < ROOM_OUT_MAX)
      shorten(timeout_ms, talk->pair_at);
  }
  for (guint i = 0; i < room->documents->len; i++) {
    const RoomDocument *document = room->documents->pdata[i];
    if (document->again_at > 0)
      shorten(timeout_ms, document->again_at);
  }
  shorten(timeout_ms, room_peers_due(room));
  if (room->more)
    *timeout_ms = 0;
}

static void
bury(DocRoom *room)
{
  for (guint i = room->documents->len; i > 0; i--) {
    RoomDocument *document = room->documents->pdata[i - 1];
    if (document->left)
      g_ptr_array_remove_index(room->documents, i - 1);
  }
}

gboolean
doc_room_work(DocRoom *room, GError **error)
{
  room->more = room_servers_work(room);
  room->more = room_talks_work(room) || room->more;
  room_servers_drive(room);
  room_talks_drive(room);
  if (!room_store_keep(room, error)) {
    g_prefix_error(error, "%s: ", room->options.path);
    return FALSE;
  }
  room_servers_release(room);
  room_talks_release(room);
  bury(room);
  return TRUE;
}

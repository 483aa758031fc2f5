#include "controller/device_sends.h"

#include "base/error.h"
#include "replica/pull.h"

enum { SENDS_MAX = 64, MORE_MAX = 64 };

struct DeviceSends {
  Link *link;
  GHashTable *sends; /* id to ReplicaSend */
};

DeviceSends *
device_sends_new(Link *link)
{
  DeviceSends *sends = g_new0(DeviceSends, 1);
  sends->link = link;
  sends->sends =
      g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, (GDestroyNotify)replica_send_free);
  return sends;
}

void
device_sends_free(DeviceSends *sends)
{
  g_hash_table_unref(sends->sends);
  g_free(sends);
}

static gboolean
send_failure(DeviceSends *sends, guint64 id, const GError *why, GError **error)
{
  Doppel__Engine__Content content = DOPPEL__ENGINE__CONTENT__INIT;
  content.id = id;
  content.has_again = TRUE;
  content.again = g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
  content.error = why->message;
  g_hash_table_remove(sends->sends, &id);
  return ENGINE_SEND(sends->link, CONTENT, content, &content, error);
}

static gboolean
send_parts(DeviceSends *sends, guint64 id, ReplicaSend *send, guint count, GError **error)
{
  for (guint i = 0; i < count; i++) {
    g_autoptr(GError) why = NULL;
    g_autoptr(GBytes) part = replica_send_next(send, &why);
    if (why)
      return send_failure(sends, id, why, error);
    if (!part) {
      g_hash_table_remove(sends->sends, &id);
      return TRUE;
    }
    Doppel__Engine__Content content = DOPPEL__ENGINE__CONTENT__INIT;
    content.id = id;
    content.has_part = TRUE;
    content.part.data = (guint8 *)g_bytes_get_data(part, &content.part.len);
    if (!ENGINE_SEND(sends->link, CONTENT, content, &content, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
device_sends_answer(DeviceSends *sends, int root, const Doppel__Engine__AskContent *ask, GError **error)
{
  ReplicaSend *send = g_hash_table_lookup(sends->sends, &ask->id);
  if (ask->more > MORE_MAX || (ask->has_request && (send || g_hash_table_size(sends->sends) >= SENDS_MAX)))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone asks for contents as no clone does");
  if (!ask->has_request) /* one that has ended already may still be asked for more */
    return !send || send_parts(sends, ask->id, send, ask->more, error);
  g_autoptr(GError) why = NULL;
  send = replica_send_new(root, ask->request.data, ask->request.len, &why);
  if (!send)
    return !g_error_matches(why, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE)
               ? send_failure(sends, ask->id, why, error)
               : (g_propagate_error(error, g_steal_pointer(&why)), FALSE);
  guint64 *key = g_new(guint64, 1);
  *key = ask->id;
  g_hash_table_insert(sends->sends, key, send);
  return send_parts(sends, ask->id, send, ask->more, error);
}

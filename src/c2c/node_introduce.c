/* Who is at the other end of a link: the record that it introduces itself with is checked against the key
 * that TLS has proved, and against what is known of that user. */
#include "base/clock.h"
#include "base/error.h"
#include "c2c/node_private.h"

#define INTRODUCE_PAUSE_NS G_GINT64_CONSTANT(1000000000) /* between two introductions on a link */

gboolean
node_introduce(NodeLink *link, GError **error)
{
  Node *node = link->node;
  Doppel__Wire__MuxIntroduce message = DOPPEL__WIRE__MUX_INTRODUCE__INIT;
  if (!node->own)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "this clone has no name yet: \"doppel name claim NAME\" gives it one");
  gsize length;
  message.record.data = (guint8 *)g_bytes_get_data(node->own->bytes, &length);
  message.record.len = length;
  g_autoptr(GPtrArray) heads = node_directory_heads(node->directory);
  g_autofree ProtobufCBinaryData *list = g_new0(ProtobufCBinaryData, heads->len + 1);
  for (guint i = 0; i < heads->len; i++) {
    gsize size;
    list[i].data = (guint8 *)g_bytes_get_data(heads->pdata[i], &size);
    list[i].len = size;
  }
  message.heads = list;
  message.n_heads = heads->len;
  return mux_introduce(link->mux, &message, error);
}

/* What needs nobody else: that the record is the peer's, whose key TLS has proved, and holds now. */
static gboolean
check_claim(const NodeLink *link, const Record *record, GError **error)
{
  const IdentityPublic *key = link_peer(mux_link(link->mux));
  gint64 now = node_now();
  if (!key || !identity_public_equal(key, &record->clone_key))
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "a clone introduced itself with another's record");
  if (record->revoked)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "the clone is no longer its user's");
  if (record->expires <= now || record->whereabouts_expires <= now)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "the clone's record has expired");
  return TRUE;
}

/* The record of somebody is known: does it agree? An older one of the same clone is only old; one of another
 * clone is that of a clone that was lost. */
static gboolean
check_known(const Record *known, const Record *record, GError **error)
{
  if (record_supersedes(record, known) ||
      (!known->revoked && identity_public_equal(&known->clone_key, &record->clone_key)))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_DENIED, "the clone is no longer its user's");
}

static void
settle(NodeLink *link, Record *record)
{
  NodePeer *peer = node_peer(link->node, &record->origin, TRUE);
  node_peer_learn(peer, record);
  if (link->ended)
    return;
  node_directory_learn(link->node->directory, record);
  node_peer_attach(peer, link);
  if (link->ended)
    return;
  for (guint i = 0; i < link->held->len; i++) {
    NodeHeld *held = link->held->pdata[i];
    node_stream_opened(link, held->stream, held->service);
  }
  g_ptr_array_set_size(link->held, 0);
}

typedef struct {
  Node *node;
  guint64 link;
} Question;

static void
on_looked(Record *record, const NodeAnswer *answer, const GError *error, void *data)
{
  g_autofree Question *question = data;
  g_autoptr(GError) problem = NULL;
  NodeLink *link = node_link_by_id(question->node, question->link);
  if (!link || !link->claim)
    return;
  /* Where no directory can be asked the record stands for itself: it is signed and has not expired. */
  g_autoptr(Record) claim = g_steal_pointer(&link->claim);
  const NodePeer *known = node_peer(question->node, &claim->origin, FALSE);
  /* The user's clone of now may have come meanwhile. */
  if ((record && !check_known(record, claim, &problem)) ||
      (known && known->record && !check_known(known->record, claim, &problem))) {
    g_info("%s", problem->message);
    node_link_end(link);
    return;
  }
  settle(link, claim);
}

static gboolean
take_claim(NodeLink *link, Record *record, GError **error)
{
  Node *node = link->node;
  NodePeer *known = node_peer(node, &record->origin, FALSE);
  if (link->peer && !identity_public_equal(&link->peer->origin, &record->origin))
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "a clone introduced itself as another user's");
  if (known && known->record && !check_known(known->record, record, error))
    return FALSE;
  if (link->peer || (known && known->record)) {
    settle(link, record);
    return TRUE;
  }
  g_clear_pointer(&link->claim, record_unref);
  link->claim = record_ref(record);
  Question *question = g_new(Question, 1);
  *question = (Question){node, link->id};
  node_directory_find_origin(node->directory, &record->origin, FALSE, on_looked, question);
  return TRUE;
}

gboolean
node_introduced(NodeLink *link, const Doppel__Wire__MuxIntroduce *message, GError **error)
{
  gboolean first = !link->dialled && !link->peer && !link->claim;
  gint64 now = clock_now_ns();
  /* Checking one costs signatures, and the first a question to the directory. */
  if (link->claim || now < link->introduce_after || node_directory_is_busy(link->node->directory))
    return link->peer != NULL ||
           doppel_error_set(error, DOPPEL_ERROR_DENIED, "a clone introduces itself at a bad time");
  link->introduce_after = now + INTRODUCE_PAUSE_NS;
  g_autoptr(Record) record = record_decode(message->record.data, message->record.len, NULL, error);
  if (!record || !check_claim(link, record, error))
    return FALSE;
  node_directory_seen(link->node->directory, message->heads, message->n_heads);
  if (first && !node_introduce(link, error))
    return FALSE;
  return take_claim(link, record, error);
}

/* Other users' clones: linked with while that is of use, and followed when they move. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/node_link.h"

#define NS_PER_SECOND     G_GINT64_CONSTANT(1000000000)
#define MOVED_AFTER       (1 * NS_PER_SECOND) /* away for so long: it may be somewhere else */
#define LOOK_EVERY        (3 * NS_PER_SECOND) /* for a peer that is away */
#define BESIDE_AFTER      (3 * NS_PER_SECOND) /* away for so long: its clone may have begun anew */
#define BESIDE_EVERY      (3 * NS_PER_SECOND)
#define CHECK_EVERY       (30 * NS_PER_SECOND) /* for one that streams are opened to */
#define CONNECTING_FOR    (8 * NS_PER_SECOND)  /* a link that was never up counts for so long */
#define FORGET_PEER_AFTER (NODE_IDLE_SECONDS * NS_PER_SECOND)

static void
peer_free(gpointer data)
{
  NodePeer *peer = data;
  g_clear_pointer(&peer->record, record_unref);
  g_free(peer);
}

NodePeer *
node_peer(Node *node, const IdentityPublic *origin, gboolean make)
{
  if (!node->peers)
    node->peers = g_hash_table_new_full(identity_public_hash, identity_public_same, NULL, peer_free);
  NodePeer *peer = g_hash_table_lookup(node->peers, origin);
  if (!peer && make) {
    peer = g_new0(NodePeer, 1);
    peer->node = node;
    peer->origin = *origin;
    peer->used_at = clock_now_ns();
    g_hash_table_insert(node->peers, &peer->origin, peer);
  }
  return peer;
}

static gboolean
check_record(const Record *record, gint64 now, GError **error)
{
  if (record->revoked)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "%s has no clone now", record->name);
  if (record->expires <= now)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "what is known of %s's clone has expired",
                            record->name);
  if (!record->addresses || !record->addresses[0])
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "%s's clone has not said where it is", record->name);
  return TRUE;
}

static NodeLink *
dial(NodePeer *peer, GError **error)
{
  Node *node = peer->node;
  LinkOptions options = node_link_options();
  if (!check_record(peer->record, node_now(), error))
    return NULL;
  if (!node_links_make_room(node)) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "too many links to other clones are in use");
    return NULL;
  }
  Link *made = link_dial_later((const char *const *)peer->record->addresses, node->config->key,
                               &peer->record->clone_key, peer->record->clone, &options, error);
  if (!made)
    return NULL;
  NodeLink *link = node_link_new(node, made, TRUE);
  link->peer = peer;
  link->proved = TRUE; /* only the key of the record is let in */
  if (node_introduce(link, error))
    return link;
  node_link_end(link);
  return NULL;
}

/* Whether the link may be given a stream: it is up, or may yet come up. */
static gboolean
is_usable(const NodeLink *link, gint64 now)
{
  if (link->ended || link_state(mux_link(link->mux)) == LINK_DEAD)
    return FALSE;
  return link->been_up || !link->dialled || now - link->began_at < CONNECTING_FOR;
}

NodeLink *
node_peer_link(NodePeer *peer, GError **error)
{
  gint64 now = clock_now_ns();
  peer->used_at = now;
  if (peer->current && is_usable(peer->current, now)) {
    const IdentityPublic *key = link_peer(mux_link(peer->current->mux));
    /* After the clone was lost and made anew, the old one's link is none of the user's. */
    if (!key || identity_public_equal(key, &peer->record->clone_key)) {
      peer->current->idle_at = now;
      return peer->current;
    }
    node_link_end(peer->current);
  }
  return peer->current = dial(peer, error);
}

guint
node_peer_streams(const NodePeer *peer)
{
  guint streams = 0;
  for (guint i = 0; i < peer->node->links->len; i++) {
    const NodeLink *link = peer->node->links->pdata[i];
    if (link->peer == peer && !link->ended)
      streams += mux_streams(link->mux);
  }
  return streams;
}

/* Both ends judge alike: of two links that were dialled at once, the one that the lower key dialled stays. */
static gboolean
is_better(const NodePeer *peer, const NodeLink *link, const NodeLink *old, gint64 now)
{
  gboolean alive = is_usable(old, now) && (link_state(mux_link(old->mux)) == LINK_UP ||
                                           (!old->been_up && now - old->began_at < CONNECTING_FOR));
  if (!alive || link->dialled == old->dialled)
    return TRUE;
  gboolean lower = memcmp(identity_key_public(peer->node->config->key)->bytes, peer->record->clone_key.bytes,
                          IDENTITY_PUBLIC_LENGTH) < 0;
  return link->dialled == lower;
}

static void
limit_links(NodePeer *peer)
{
  guint count = 0;
  for (guint i = peer->node->links->len; i-- > 0;) {
    NodeLink *link = peer->node->links->pdata[i];
    if (link->peer == peer && !link->ended && ++count > NODE_LINKS_PEER)
      node_link_end(link);
  }
}

void
node_peer_attach(NodePeer *peer, NodeLink *link)
{
  gint64 now = clock_now_ns();
  NodeLink *old = peer->current;
  link->peer = peer;
  link->proved = TRUE;
  peer->used_at = now;
  node_groups_peer(peer->node, &peer->origin);
  if (old && old != link && !is_better(peer, link, old, now)) {
    link->retired = TRUE;
  } else if (old != link) {
    if (old)
      old->retired = TRUE;
    peer->current = link;
    if (old && old->been_up && link_state(mux_link(old->mux)) != LINK_UP)
      node_dials_move(peer, link);
  }
  limit_links(peer);
}

void
node_peer_learn(NodePeer *peer, Record *record)
{
  if (peer->record == record || (peer->record && !record_supersedes(record, peer->record)))
    return;
  g_clear_pointer(&peer->record, record_unref);
  peer->record = record_ref(record);
  for (guint i = 0; i < peer->node->links->len; i++) {
    NodeLink *link = peer->node->links->pdata[i];
    if (link->peer != peer || link->ended)
      continue;
    const IdentityPublic *key = link_peer(mux_link(link->mux));
    if (record->revoked || (key && !identity_public_equal(key, &record->clone_key)))
      node_link_end(link);
    else if (link->dialled && record->addresses && record->addresses[0])
      link_set_addresses(mux_link(link->mux), (const char *const *)record->addresses);
  }
}

/* ---- a link beside one that is away: a clone that began anew knows nothing of the old one's session ---- */

static gboolean
is_beside_up(const NodeLink *link)
{
  return link->peer && link->peer->beside == link && link_state(mux_link(link->mux)) == LINK_UP;
}

/* When another one is to be dialled beside the link, for streams that wait. */
static gint64
beside_due(const NodeLink *link)
{
  const NodePeer *peer = link->peer;
  if (!peer || peer->current != link || peer->beside || !link->been_up || !link->away_at ||
      !node_dials_wait(peer))
    return G_MAXINT64;
  gint64 away = link->away_at + BESIDE_AFTER, tried = peer->beside_at + BESIDE_EVERY;
  return peer->beside_at ? MAX(away, tried) : away;
}

/* It is up: whichever is first serves new streams, and those that wait. */
static void
settle_beside(NodePeer *peer, NodeLink *link)
{
  NodeLink *old = peer->current;
  peer->beside = NULL;
  if (old && link_state(mux_link(old->mux)) == LINK_UP) {
    link->retired = TRUE;
    return;
  }
  if (old)
    old->retired = TRUE;
  peer->current = link;
  limit_links(peer);
  node_dials_move(peer, link);
}

static void
on_looked(Record *record, const NodeAnswer *answer, const GError *error, void *data)
{
  g_autofree IdentityPublic *origin = ((gpointer *)data)[1];
  Node *node = ((gpointer *)data)[0];
  g_free(data);
  NodePeer *peer = node_peer(node, origin, FALSE);
  if (!peer)
    return;
  peer->looking = FALSE;
  if (record)
    node_peer_learn(peer, record);
}

static void
look_where(NodePeer *peer, gint64 now)
{
  if (peer->looking || (peer->looked_at && now - peer->looked_at < LOOK_EVERY))
    return;
  gpointer *who = g_new(gpointer, 2);
  who[0] = peer->node;
  who[1] = g_memdup2(&peer->origin, sizeof peer->origin);
  peer->looking = TRUE;
  peer->looked_at = now;
  node_directory_find_origin(peer->node->directory, &peer->origin, TRUE, on_looked, who);
}

void
node_peer_check(NodePeer *peer)
{
  gint64 now = clock_now_ns();
  if (!peer->looked_at || now - peer->looked_at > CHECK_EVERY)
    look_where(peer, now);
}

/* When something has to be done about the link. */
static gint64
link_due(NodeLink *link, gint64 now)
{
  guint streams = mux_streams(link->mux);
  if (!link->peer)
    return link->began_at + NODE_UNPROVED_MS * G_GINT64_CONSTANT(1000000);
  if ((link->retired && streams == 0) || is_beside_up(link))
    return now;
  gint64 beside = beside_due(link),
         due = streams > 0 ? G_MAXINT64 : link->idle_at + NODE_IDLE_SECONDS * NS_PER_SECOND;
  if (link->dialled && link->away_at && !link->peer->looking) {
    gint64 away = link->away_at + MOVED_AFTER, looked = link->peer->looked_at + LOOK_EVERY;
    gint64 look = link->peer->looked_at ? MAX(away, looked) : away;
    due = MIN(due, look);
  }
  return MIN(due, beside);
}

/* Streams come and go, and the network does: told by looking at each turn of the loop. */
static void
note_link(NodeLink *link, gint64 now)
{
  LinkState state = link_state(mux_link(link->mux));
  link->been_up = link->been_up || state == LINK_UP;
  link->away_at = state == LINK_UP ? 0 : link->away_at ? link->away_at : now;
  if (mux_streams(link->mux) > 0)
    link->idle_at = now;
}

static void
step_link(NodeLink *link, gint64 now)
{
  note_link(link, now);
  if (now < link_due(link, now))
    return;
  if (is_beside_up(link)) {
    settle_beside(link->peer, link);
    return;
  }
  if (now >= beside_due(link)) {
    link->peer->beside_at = now;
    link->peer->beside = dial(link->peer, NULL);
  }
  gboolean unused = mux_streams(link->mux) == 0 &&
                    (link->retired || now - link->idle_at >= NODE_IDLE_SECONDS * NS_PER_SECOND);
  if (!link->peer || unused)
    node_link_end(link);
  else
    look_where(link->peer, now);
}

static gboolean
is_forgotten(gpointer key, gpointer value, gpointer data)
{
  const NodePeer *peer = value;
  gint64 now = *(gint64 *)data;
  if (peer->looking || now - peer->used_at < FORGET_PEER_AFTER)
    return FALSE;
  for (guint i = 0; i < peer->node->links->len; i++)
    if (((NodeLink *)peer->node->links->pdata[i])->peer == peer)
      return FALSE;
  for (guint i = 0; i < peer->node->dials->len; i++)
    if (node_dial_is_for(peer->node->dials->pdata[i], peer))
      return FALSE;
  return TRUE;
}

gint64
node_peers_due(Node *node, gint64 now)
{
  gint64 due = G_MAXINT64;
  for (guint i = 0; i < node->links->len; i++) {
    NodeLink *link = node->links->pdata[i];
    if (link->ended)
      continue;
    note_link(link, now);
    gint64 of_link = link_due(link, now);
    due = MIN(due, of_link);
  }
  if (node->peers && g_hash_table_size(node->peers) > 0) {
    node->forget_at = node->forget_at ? node->forget_at : now + FORGET_PEER_AFTER;
    due = MIN(due, node->forget_at);
  }
  return due;
}

void
node_peers_tick(Node *node, gint64 now)
{
  for (guint i = 0; i < node->links->len; i++) {
    NodeLink *link = node->links->pdata[i];
    if (!link->ended)
      step_link(link, now);
  }
  if (node->peers && node->forget_at && now >= node->forget_at) {
    g_hash_table_foreach_remove(node->peers, is_forgotten, &now);
    node->forget_at = 0;
  }
}

void
node_peers_clear(Node *node)
{
  node_links_clear(node);
  g_clear_pointer(&node->peers, g_hash_table_unref);
}

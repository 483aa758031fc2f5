/* Links to other users' clones: dialled and accepted, kept while they are used, and followed when the clone
 * moves. */
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "c2c/node_private.h"
#include "link/pass.h"

#define NS_PER_SECOND     G_GINT64_CONSTANT(1000000000)
#define MOVED_AFTER       (1 * NS_PER_SECOND) /* away for so long: it may be somewhere else */
#define LOOK_EVERY        (3 * NS_PER_SECOND) /* for a peer that is away */
#define BESIDE_AFTER      (3 * NS_PER_SECOND) /* away for so long: its clone may have begun anew */
#define BESIDE_EVERY      (3 * NS_PER_SECOND)
#define CHECK_EVERY       (30 * NS_PER_SECOND) /* for one that streams are opened to */
#define CONNECTING_FOR    (8 * NS_PER_SECOND)  /* a link that was never up counts for so long */
#define FORGET_PEER_AFTER (NODE_IDLE_SECONDS * NS_PER_SECOND)

static guint
hash_key(gconstpointer key)
{
  guint hash;
  memcpy(&hash, ((const IdentityPublic *)key)->bytes, sizeof hash);
  return hash;
}

static gboolean
equal_keys(gconstpointer a, gconstpointer b)
{
  return identity_public_equal(a, b);
}

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
    node->peers = g_hash_table_new_full(hash_key, equal_keys, NULL, peer_free);
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

NodeLink *
node_link_by_id(Node *node, guint64 id)
{
  for (guint i = 0; i < node->links->len; i++) {
    NodeLink *link = node->links->pdata[i];
    if (link->id == id && !link->ended)
      return link;
  }
  return NULL;
}

static void
held_free(gpointer data)
{
  NodeHeld *held = data;
  g_free(held->service);
  g_free(held);
}

static void
link_free_now(NodeLink *link)
{
  g_source_destroy(link->source);
  g_source_unref(link->source);
  mux_free(link->mux);
  g_clear_pointer(&link->claim, record_unref);
  g_ptr_array_unref(link->held);
  g_free(link);
}

static gboolean
sweep(gpointer data)
{
  Node *node = data;
  node->sweeping = 0;
  for (guint i = 0; i < node->links->len;) {
    NodeLink *link = node->links->pdata[i];
    if (!link->ended) {
      i++;
      continue;
    }
    g_ptr_array_steal_index(node->links, i);
    link_free_now(link);
    i = 0; /* what it reset may have changed the list */
  }
  return G_SOURCE_REMOVE;
}

/* It is freed later: this may be one of its own callbacks. */
void
node_link_end(NodeLink *link)
{
  if (link->ended)
    return;
  link->ended = TRUE;
  if (link->peer && link->peer->current == link)
    link->peer->current = NULL;
  if (link->peer && link->peer->beside == link)
    link->peer->beside = NULL;
  if (!link->node->sweeping)
    link->node->sweeping = g_idle_add_full(G_PRIORITY_HIGH, sweep, link->node, NULL);
}

static void
on_open(Mux *mux, MuxStream *stream, const char *user, const char *service, void *data)
{
  NodeLink *link = data;
  if (*user)
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_MALFORMED, "a clone speaks for itself only");
  else
    node_stream_opened(link, stream, service);
}

static gboolean
on_introduce(Mux *mux, const Doppel__Wire__MuxIntroduce *message, void *data, GError **error)
{
  return node_introduced(data, message, error);
}

static void
on_gone(Mux *mux, const GError *error, void *data)
{
  NodeLink *link = data;
  if (error)
    g_debug("a link to %s has ended: %s",
            link->peer && link->peer->record ? link->peer->record->name : "somebody", error->message);
  node_link_end(link);
}

static const MuxCallbacks callbacks = {on_open, on_introduce};

static NodeLink *
add_link(Node *node, Link *made, gboolean dialled)
{
  NodeLink *link = g_new0(NodeLink, 1);
  link->node = node;
  link->id = ++node->last;
  link->dialled = dialled;
  link->began_at = link->idle_at = clock_now_ns();
  link->since = node_now();
  link->held = g_ptr_array_new_with_free_func(held_free);
  link->mux = mux_new(made, dialled, &callbacks, link);
  link->source = mux_source_new(link->mux, on_gone, link);
  g_source_attach(link->source, NULL);
  g_ptr_array_add(node->links, link);
  return link;
}

static LinkOptions
link_options(void)
{
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.purpose = WIRE_PURPOSE_PEER;
  options.compression = -1;
  options.resume_ms = NODE_RESUME_MS;
  return options;
}

/* Links that nobody uses make room for others. */
static gboolean
make_room(Node *node)
{
  NodeLink *idlest = NULL;
  guint count = 0;
  for (guint i = 0; i < node->links->len; i++) {
    NodeLink *link = node->links->pdata[i];
    if (link->ended)
      continue;
    count++;
    if (link->peer && mux_streams(link->mux) == 0 && (!idlest || link->idle_at < idlest->idle_at))
      idlest = link;
  }
  if (count < NODE_LINKS_MAX)
    return TRUE;
  if (idlest)
    node_link_end(idlest);
  return idlest != NULL;
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
  LinkOptions options = link_options();
  if (!check_record(peer->record, node_now(), error))
    return NULL;
  if (!make_room(node)) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "too many links to other clones are in use");
    return NULL;
  }
  Link *made = link_dial_later((const char *const *)peer->record->addresses, node->config->key,
                               &peer->record->clone_key, peer->record->clone, &options, error);
  if (!made)
    return NULL;
  NodeLink *link = add_link(node, made, TRUE);
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

static LinkCallerSource
read_source(int fd)
{
  struct sockaddr_storage address = {0};
  socklen_t length = sizeof address;
  getpeername(fd, (struct sockaddr *)&address, &length);
  return link_caller_source_of(&address);
}

/* FALSE: the source has as many as it may. Otherwise who has waited longest makes room. */
static gboolean
admit(Node *node, const LinkCallerSource *source)
{
  NodeLink *oldest = NULL;
  guint all = 0, same = 0;
  for (guint i = 0; i < node->links->len; i++) {
    NodeLink *link = node->links->pdata[i];
    if (link->peer || link->ended)
      continue;
    oldest = oldest ? oldest : link;
    all++;
    same += link_caller_source_equal(&link->source_address, source);
  }
  if (same >= NODE_UNPROVED_SOURCE)
    return FALSE;
  if (all >= NODE_UNPROVED_MAX)
    node_link_end(oldest);
  return make_room(node);
}

static NodeLink *
find_session(Node *node, const LinkPreamble *preamble)
{
  for (guint i = 0; i < node->links->len; i++) {
    NodeLink *link = node->links->pdata[i];
    if (!link->ended && !link->dialled && memcmp(&link->preamble, preamble, sizeof *preamble) == 0)
      return link;
  }
  return NULL;
}

static void
accept_socket(Node *node, int fd, const LinkPreamble *preamble)
{
  g_auto(Fd) socket_fd = fd;
  NodeLink *link = find_session(node, preamble);
  if (link) {
    link_resume(mux_link(link->mux), io_steal_fd(&socket_fd), NULL);
    /* What it is polled for has changed. */
    g_main_context_wakeup(NULL);
    return;
  }
  LinkCallerSource source = read_source(socket_fd);
  LinkOptions options = link_options();
  if (!node->own || node->own->revoked || !admit(node, &source))
    return;
  Link *made = link_accept_later(preamble, node->config->key, NULL, &options, NULL);
  if (!made)
    return;
  if (!link_resume(made, io_steal_fd(&socket_fd), NULL)) {
    link_free(made);
    return;
  }
  link = add_link(node, made, FALSE);
  link->preamble = *preamble;
  link->source_address = source;
}

void
node_accept_sockets(Node *node, gboolean *orphan)
{
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  gsize length;
  int fd, got;
  while ((got = link_pass_receive_with(node->config->control_fd, &fd, bytes, sizeof bytes, &length)) > 0) {
    g_auto(Fd) socket_fd = fd;
    LinkPreamble preamble = {0};
    if (socket_fd >= 0 && length == sizeof bytes && wire_preamble_decode(bytes, &preamble, NULL) &&
        preamble.purpose == WIRE_PURPOSE_PEER &&
        memcmp(preamble.clone, node->config->clone, sizeof preamble.clone) == 0)
      accept_socket(node, io_steal_fd(&socket_fd), &preamble);
  }
  *orphan = got < 0;
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
  g_clear_handle_id(&node->sweeping, g_source_remove);
  while (node->links->len > 0) {
    NodeLink *link = g_ptr_array_steal_index(node->links, node->links->len - 1);
    link->ended = TRUE;
    link_free_now(link);
  }
  g_clear_handle_id(&node->sweeping, g_source_remove);
  g_ptr_array_unref(node->links);
  g_clear_pointer(&node->peers, g_hash_table_unref);
}

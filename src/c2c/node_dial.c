/* Streams to other users' clones: finds out who is meant, gets a link, opens the stream, and hands out one
 * end of a socket pair. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "c2c/node_private.h"

struct NodeDial {
  Node *node;
  NodeGuest *guest; /* who asks has it; NULL: the owner */
  guint64 id;
  char *user, *service;
  NodePeer *peer;
  MuxStream *stream;
  gboolean again; /* it was tried, and the directory asked anew */
  gint64 deadline;
  NodeDialled done;
  void *data;
};

typedef struct {
  Node *node;
  guint64 dial;
} Question;

static void
dial_free(NodeDial *dial)
{
  g_free(dial->user);
  g_free(dial->service);
  g_free(dial);
}

gboolean
node_dial_is_for(const NodeDial *dial, const NodePeer *peer)
{
  return dial->peer == peer;
}

static void
finish(NodeDial *dial, int fd, Doppel__Wire__C2cRefusal why, const char *words)
{
  g_ptr_array_remove_fast(dial->node->dials, dial);
  dial->done(fd, why, words, dial->data);
  dial_free(dial);
}

static void
finish_error(NodeDial *dial, const GError *error)
{
  finish(dial, -1, node_refusal(error), error->message);
}

static void
on_accepted(MuxStream *stream, void *data)
{
  NodeDial *dial = data;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
    mux_close(stream, NULL);
    finish(dial, -1, DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, g_strerror(errno));
    return;
  }
  dial->stream = NULL;
  if (dial->guest)
    mux_splice(stream, ends[0], NULL, node_guest_stream_done, node_guest_stream(dial->guest));
  else
    mux_splice(stream, ends[0], NULL, node_splice_done, NULL);
  finish(dial, ends[1], DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE, NULL);
}

static void
on_refused(MuxStream *stream, Doppel__Wire__C2cRefusal why, const char *words, void *data)
{
  NodeDial *dial = data;
  g_autofree char *told = g_strdup_printf("%s's clone: %s", dial->user, words && *words ? words : "refused");
  dial->stream = NULL;
  finish(dial, -1, why, told);
}

static void resolve(NodeDial *dial);

/* The link speaks of devices and their hosts, which are paired anew when a key has changed. Whose key a clone
 * has its user's record says. */
static char *
death_words(const NodeDial *dial, const GError *death, const char *words)
{
  if (!g_error_matches(death, DOPPEL_ERROR, DOPPEL_ERROR_DENIED))
    return g_strdup_printf("%s's clone cannot be reached now: %s", dial->user,
                           words && *words ? words : "it does not answer");
  const Record *record = dial->peer ? dial->peer->record : NULL;
  g_autofree char *addresses =
      record && record->addresses ? g_strjoinv(", ", record->addresses) : g_strdup("its address");
  return g_strdup_printf(
      "who answers at %s is not %s's clone, whose key the directory was asked for anew: another "
      "machine has that address now, or somebody is in between. Nothing was told to it; it is "
      "for %s to say where their clone is (\"doppel whois %s\" shows what is known)",
      addresses, dial->user, dial->user, dial->user);
}

static void
on_reset(MuxStream *stream, const char *words, void *data)
{
  NodeDial *dial = data;
  dial->stream = NULL;
  if (!dial->again) {
    dial->again = TRUE;
    resolve(dial);
    return;
  }
  g_autofree char *told = death_words(dial, mux_death(mux_stream_mux(stream)), words);
  finish(dial, -1, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY, told);
}

static const MuxStreamCallbacks callbacks = {
    .accepted = on_accepted, .refused = on_refused, .reset = on_reset};

/* The owner's own name means the own clone. */
static void
finish_own(NodeDial *dial)
{
  g_autoptr(GError) error = NULL;
  Doppel__Wire__C2cRefusal why = DOPPEL__WIRE__C2C_REFUSAL__C2C_NONE;
  if (dial->guest) {
    finish(dial, -1, DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED, NODE_GUEST_OWN);
    return;
  }
  int fd = node_serve_owner(dial->node, dial->service, &why, &error);
  finish(dial, fd, why, error ? error->message : NULL);
}

static void
on_found(Record *record, const NodeAnswer *answer, const GError *error, void *data)
{
  g_autofree Question *question = data;
  g_autoptr(GError) problem = NULL;
  NodeDial *dial = NULL;
  for (guint i = 0; i < question->node->dials->len && !dial; i++)
    if (((NodeDial *)question->node->dials->pdata[i])->id == question->dial)
      dial = question->node->dials->pdata[i];
  if (!dial)
    return;
  if (!record) {
    finish_error(dial, error);
    return;
  }
  if (dial->node->own && identity_public_equal(&record->origin, &dial->node->own->origin)) {
    finish_own(dial);
    return;
  }
  dial->peer = node_peer(dial->node, &record->origin, TRUE);
  node_peer_learn(dial->peer, record);
  if (answer->cached)
    node_peer_check(dial->peer);
  NodeLink *link = node_peer_link(dial->peer, &problem);
  if (link)
    dial->stream = mux_open(link->mux, "", dial->service, &callbacks, dial, &problem);
  /* What is remembered may be too old. */
  if (!dial->stream && answer->cached && !dial->again) {
    dial->again = TRUE;
    resolve(dial);
  } else if (!dial->stream) {
    finish_error(dial, problem);
  }
}

static void
resolve(NodeDial *dial)
{
  Question *question = g_new(Question, 1);
  *question = (Question){dial->node, dial->id};
  node_resolve(dial->node, dial->user, dial->again, on_found, question);
}

NodeDial *
node_dial(Node *node, const char *user, const char *service, NodeDialled done, void *data)
{
  return node_dial_guest(node, NULL, user, service, done, data);
}

NodeDial *
node_dial_guest(Node *node, NodeGuest *guest, const char *user, const char *service, NodeDialled done,
                void *data)
{
  NodeDial *dial = g_new0(NodeDial, 1);
  *dial = (NodeDial){.node = node,
                     .guest = guest,
                     .id = ++node->last,
                     .user = g_strdup(user),
                     .service = g_strdup(service),
                     .deadline = clock_now_ns() + NODE_DIAL_MS * G_GINT64_CONSTANT(1000000),
                     .done = done,
                     .data = data};
  guint64 id = dial->id;
  g_ptr_array_add(node->dials, dial);
  resolve(dial);
  for (guint i = 0; i < node->dials->len; i++)
    if (((NodeDial *)node->dials->pdata[i])->id == id)
      return dial;
  return NULL;
}

void
node_dial_cancel(NodeDial *dial)
{
  g_ptr_array_remove_fast(dial->node->dials, dial);
  if (dial->stream)
    mux_close(dial->stream, "nobody waits for it any more");
  dial_free(dial);
}

gboolean
node_dials_wait(const NodePeer *peer)
{
  for (guint i = 0; i < peer->node->dials->len; i++)
    if (node_dial_is_for(peer->node->dials->pdata[i], peer))
      return TRUE;
  return FALSE;
}

void
node_dials_move(NodePeer *peer, NodeLink *link)
{
  for (guint i = peer->node->dials->len; i-- > 0;) {
    g_autoptr(GError) error = NULL;
    /* Whoever is told of a failure may end others. */
    NodeDial *dial = i < peer->node->dials->len ? peer->node->dials->pdata[i] : NULL;
    if (!dial || dial->peer != peer || !dial->stream || mux_stream_mux(dial->stream) == link->mux)
      continue;
    mux_close(dial->stream, "it is asked for over another link");
    dial->stream = mux_open(link->mux, "", dial->service, &callbacks, dial, &error);
    if (!dial->stream)
      finish_error(dial, error);
  }
}

gint64
node_dials_due(const Node *node)
{
  gint64 due = G_MAXINT64;
  for (guint i = 0; i < node->dials->len; i++)
    due = MIN(due, ((const NodeDial *)node->dials->pdata[i])->deadline);
  return due;
}

void
node_dials_tick(Node *node, gint64 now)
{
  for (guint i = node->dials->len; i-- > 0;) {
    NodeDial *dial = node->dials->pdata[i];
    if (now < dial->deadline)
      continue;
    g_autofree char *words = g_strdup_printf("%s's clone does not answer: try again later", dial->user);
    if (dial->stream)
      mux_close(g_steal_pointer(&dial->stream), "too late");
    finish(dial, -1, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY, words);
  }
}

void
node_dials_clear(Node *node)
{
  while (node->dials->len > 0) {
    NodeDial *dial = node->dials->pdata[0];
    if (dial->stream)
      mux_close(g_steal_pointer(&dial->stream), NULL);
    finish(dial, -1, DOPPEL__WIRE__C2C_REFUSAL__C2C_AWAY, "the clone's node is ending");
  }
  g_ptr_array_unref(node->dials);
}

static gboolean
resolve_contact(Node *node, const char *user, IdentityPublic *origin, GError **error)
{
  if (g_str_has_prefix(user, "key:"))
    return identity_public_from_text(user + strlen("key:"), origin, error);
  g_autoptr(NodeContact) contact = node_store_contact(node->store, user, NULL, error);
  if (contact)
    *origin = contact->origin;
  return contact != NULL;
}

void
node_resolve(Node *node, const char *user, gboolean fresh, NodeFound found, void *data)
{
  g_autoptr(GError) error = NULL;
  IdentityPublic origin;
  if (resolve_contact(node, user, &origin, &error))
    node_directory_find_origin(node->directory, &origin, fresh, found, data);
  else if (error)
    found(NULL, NULL, error, data);
  else
    node_directory_find_name(node->directory, user, fresh, found, data);
}

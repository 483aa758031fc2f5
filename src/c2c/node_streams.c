/* Streams that others open here: whether they may, and who answers: a service of the clone, in a process of
 * its own, or a program that listens on the local socket. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/node_limits.h"
#include "c2c/node_private.h"
#include "c2c/stream_end.h"

#define HELD_MAX 16u /* streams of one whom the directory is still asked about */

typedef struct {
  Node *node; /* NULL: it is no more */
  IdentityPublic origin;
  char *service;
} NodeServing;

void
node_splice_done(void *nothing)
{
}

static void
serving_done(void *data)
{
  NodeServing *serving = data;
  if (serving->node)
    g_ptr_array_remove_fast(serving->node->serving, serving);
  g_free(serving->service);
  g_free(serving);
}

void
node_serving_clear(Node *node)
{
  for (guint i = 0; i < node->serving->len; i++)
    ((NodeServing *)node->serving->pdata[i])->node = NULL;
  g_ptr_array_unref(node->serving);
}

static guint
count_serving(const Node *node, const IdentityPublic *origin, const char *service)
{
  guint count = 0;
  for (guint i = 0; i < node->serving->len; i++) {
    const NodeServing *serving = node->serving->pdata[i];
    count += identity_public_equal(&serving->origin, origin) && strcmp(serving->service, service) == 0;
  }
  return count;
}

/* One end of a socket pair whose other end is answered; -1 with *why and an error. */
static int
answer(Node *node, const char *service, const ServicePeer *peer, Doppel__Wire__C2cRefusal *why,
       GError **error)
{
  int ends[2];
  if (strcmp(service, NODE_GROUP_SERVICE) == 0) {
    *why = DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY;
    return node_groups_serve(node, error);
  }
  LocalCall *listener = g_hash_table_lookup(node->listeners, service);
  gboolean own = spawner_service(node->spawner, service) != NULL;
  *why = DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED;
  if (!own && !listener) {
    *why = DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE;
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "nobody offers \"%.80s\" here", service);
    return -1;
  }
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
    doppel_error_errno(error, "cannot answer a stream");
    return -1;
  }
  gboolean done;
  if (own) {
    g_autoptr(GError) problem = NULL;
    stream_end_name(ends[1]);
    done = spawner_start(node->spawner, ends[1], service, peer, &problem) > 0;
    *why = g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_GONE) ? DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY
                                                                     : node_refusal(problem);
    if (problem)
      g_propagate_error(error, g_steal_pointer(&problem));
  } else {
    const LocalFrom from = {peer->name, service, peer->origin, peer->clone_key};
    done = local_call_incoming(listener, &from, ends[1]);
    *why = DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY;
    if (!done)
      doppel_error_set(error, DOPPEL_ERROR_GONE, "too many wait for \"%.80s\" already", service);
  }
  if (done)
    return ends[0];
  close(ends[0]);
  return -1;
}

int
node_serve_owner(Node *node, const char *service, Doppel__Wire__C2cRefusal *why, GError **error)
{
  ServicePeer peer = {.name = node->own ? node->own->name : (char *)node->config->clone_name,
                      .clone_key = *identity_key_public(node->config->key),
                      .owner = TRUE,
                      .limits = (char *)""};
  if (node->own)
    peer.origin = node->own->origin;
  return answer(node, service, &peer, why, error);
}

static char *
name_of(Node *node, const Record *record)
{
  g_autoptr(NodeContact) contact = node_store_contact(node->store, NULL, &record->origin, NULL);
  return g_strdup(contact ? contact->name : record->name);
}

/* Of what nobody has said anything about: FALSE. */
static gboolean
is_open(const Node *node, const char *service, NodeDecision *decision)
{
  const Service *found = spawner_service(node->spawner, service);
  if (decision->allowed || decision->denied || !found || !found->open)
    return FALSE;
  decision->allowed = TRUE;
  g_free(decision->limits);
  decision->limits = g_strdup(found->open);
  return TRUE;
}

static gboolean
check_permission(NodeLink *link, const char *service, NodeDecision *decision, gboolean *open,
                 Doppel__Wire__C2cRefusal *why, GError **error)
{
  Node *node = link->node;
  const IdentityPublic *origin = &link->peer->origin;
  NodeLimits limits = {0};
  *why = DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED;
  if (!node_store_may(node->store, origin, service, decision, error))
    return FALSE;
  *why = DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED;
  /* Who is in a group of the owner's may bring messages to groups; which are taken is for groups.h. To
   * programs that wait for these only such messages come. */
  if (strcmp(service, NODE_GROUP_SERVICE) == 0 && !decision->denied)
    decision->allowed = decision->allowed || node_store_in_group(node->store, origin);
  if (g_str_has_prefix(service, NODE_GROUP_LISTENER))
    decision->allowed = FALSE;
  *open = is_open(node, service, decision);
  if (!decision->allowed) {
    g_info("%s: %s", link->peer->record->name, decision->explanation);
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "its owner does not allow you \"%.80s\": they can with \"doppel allow\"",
                            service);
  }
  *why = DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY;
  if (!node_limits_parse(decision->limits, &limits, error))
    return FALSE;
  if (node_peer_streams(link->peer) > NODE_STREAMS_PEER ||
      (limits.streams && count_serving(node, origin, service) >= limits.streams))
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "you have as many streams open here as you may");
  return TRUE;
}

static void
serve(NodeLink *link, MuxStream *stream, const char *service)
{
  Node *node = link->node;
  g_autoptr(GError) error = NULL;
  g_auto(NodeDecision) decision = {0};
  Doppel__Wire__C2cRefusal why;
  gboolean open = FALSE;
  int fd = -1;
  if (check_permission(link, service, &decision, &open, &why, &error)) {
    g_autofree char *name = name_of(node, link->peer->record);
    const ServicePeer peer = {.name = name,
                              .origin = link->peer->origin,
                              .clone_key = link->peer->record->clone_key,
                              .open = open,
                              .limits = decision.limits};
    fd = answer(node, service, &peer, &why, &error);
  }
  if (fd < 0) {
    mux_refuse(stream, why, error->message);
    return;
  }
  NodeServing *serving = g_new0(NodeServing, 1);
  *serving = (NodeServing){node, link->peer->origin, g_strdup(service)};
  g_ptr_array_add(node->serving, serving);
  mux_accept(stream, NULL, NULL);
  mux_splice(stream, fd, NULL, serving_done, serving);
}

void
node_stream_opened(NodeLink *link, MuxStream *stream, const char *service)
{
  if (link->proved) {
    link->idle_at = link->peer->used_at = g_get_monotonic_time() * 1000;
    serve(link, stream, service);
    return;
  }
  if (!link->claim) {
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED, "introduce yourself first");
    node_link_end(link);
    return;
  }
  if (link->held->len >= HELD_MAX) {
    mux_refuse(stream, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, "wait until it is known who you are");
    return;
  }
  NodeHeld *held = g_new(NodeHeld, 1);
  *held = (NodeHeld){stream, g_strdup(service)};
  g_ptr_array_add(link->held, held);
}

void
node_services_ended(Node *node)
{
  SpawnerExit end;
  gboolean lost;
  while (spawner_next_exit(node->spawner, &end, &lost)) {
    if (end.overtime)
      g_message("a service was ended: its time was over");
    else if (end.refused)
      g_message("a service could not be begun");
    else if (end.signal)
      g_message("a service was ended by signal %d", end.signal);
  }
  if (lost) {
    g_warning("services can no longer be begun: the node starts anew");
    g_main_loop_quit(node->loop);
  }
}

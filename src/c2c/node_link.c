#include "c2c/node_link.h"

#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/io.h"
#include "link/pass.h"

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

NodeLink *
node_link_new(Node *node, Link *made, gboolean dialled)
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

LinkOptions
node_link_options(void)
{
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.purpose = WIRE_PURPOSE_PEER;
  options.compression = -1;
  options.resume_ms = NODE_RESUME_MS;
  return options;
}

gboolean
node_links_make_room(Node *node)
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
  return node_links_make_room(node);
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
  LinkOptions options = node_link_options();
  if (!node->own || node->own->revoked || !admit(node, &source))
    return;
  Link *made = link_accept_later(preamble, node->config->key, NULL, &options, NULL);
  if (!made)
    return;
  if (!link_resume(made, io_steal_fd(&socket_fd), NULL)) {
    link_free(made);
    return;
  }
  link = node_link_new(node, made, FALSE);
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

void
node_links_clear(Node *node)
{
  g_clear_handle_id(&node->sweeping, g_source_remove);
  while (node->links->len > 0) {
    NodeLink *link = g_ptr_array_steal_index(node->links, node->links->len - 1);
    link->ended = TRUE;
    link_free_now(link);
  }
  g_clear_handle_id(&node->sweeping, g_source_remove);
  g_ptr_array_unref(node->links);
}

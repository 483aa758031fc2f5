/* Programs in the clone's sandboxes: its owner's jobs. They come by a socket of their own, on
 * which nobody can ask for anything but streams, and get only the services that the owner has granted to them
 * all
 * ("doppel allow /programs SERVICE"): to call friends', and to offer the clone's own. */
#include <string.h>

#include "base/error.h"
#include "c2c/node_limits.h"
#include "c2c/node_private.h"

enum { DIALS_EACH = 4, DIALS_MAX = 16, STREAMS_EACH = 64, OFFERS_EACH = 16 };

/* A sandbox, as long as anything of it is here. */
struct NodeGuest {
  Node *node; /* NULL: it is no more */
  guint64 sandbox;
  guint dials, streams, offers;
};

/* What a call of the guests' socket waits for: one of the two. */
typedef struct {
  Node *node;
  LocalCall *call;
  NodeGuest *guest;
  NodeDial *dial;
  char *service; /* offers */
} Waiting;

static NodeGuest *
guest_of(Node *node, const LocalCall *call)
{
  guint64 sandbox = local_call_sandbox(call);
  NodeGuest *guest = g_hash_table_lookup(node->guests, &sandbox);
  if (guest)
    return g_rc_box_acquire(guest);
  guest = g_rc_box_new0(NodeGuest);
  *guest = (NodeGuest){.node = node, .sandbox = sandbox};
  g_hash_table_insert(node->guests, &guest->sandbox, guest);
  return guest;
}

static void
forget(void *data)
{
  NodeGuest *guest = data;
  if (guest->node)
    g_hash_table_remove(guest->node->guests, &guest->sandbox);
}

static void
leave(NodeGuest *guest)
{
  g_rc_box_release_full(guest, forget);
}

static Waiting *
waiting_new(Node *node, LocalCall *call, NodeGuest *guest)
{
  Waiting *waiting = g_new0(Waiting, 1);
  *waiting = (Waiting){.node = node, .call = call, .guest = g_rc_box_acquire(guest)};
  local_call_set(call, waiting);
  guest->dials++;
  return waiting;
}

static void
waiting_free(Waiting *waiting)
{
  waiting->guest->offers -= waiting->service != NULL;
  waiting->guest->dials -= waiting->service == NULL;
  leave(waiting->guest);
  g_free(waiting->service);
  g_free(waiting);
}

/* ---- streams of theirs ---- */

void *
node_guest_stream(NodeGuest *guest)
{
  guest->streams++;
  return g_rc_box_acquire(guest);
}

void
node_guest_stream_done(void *data)
{
  NodeGuest *guest = data;
  guest->streams--;
  leave(guest);
}

/* ---- what they ask ---- */

/* The built-in services speak for the owner: no program in a sandbox does. */
static gboolean
may(Node *node, const char *service, NodeLimits *limits, GError **error)
{
  g_auto(NodeDecision) decision = {0};
  gboolean own = spawner_service(node->spawner, service) || strcmp(service, NODE_GROUP_SERVICE) == 0;
  if (!own && !node_store_programs_may(node->store, service, &decision, error))
    return FALSE;
  if (!decision.allowed)
    return own ? doppel_error_set(
                     error, DOPPEL_ERROR_DENIED,
                     "\"%.80s\" is for the owner: programs in the clone's sandboxes have no part "
                     "in it",
                     service)
               : doppel_error_set(error, DOPPEL_ERROR_DENIED,
                                  "\"%.80s\" is not granted to programs in the clone's sandboxes: its owner "
                                  "can, with \"doppel allow " NODE_PROGRAMS " %.80s\"",
                                  service, service);
  return node_limits_parse(decision.limits, limits, error);
}

/* Refuses, or says that the call may go on. */
static gboolean
check(Node *node, LocalCall *call, const char *service, NodeLimits *limits)
{
  g_autoptr(GError) error = NULL;
  *limits = (NodeLimits){0};
  if (!node->own || node->own->revoked)
    doppel_error_set(&error, DOPPEL_ERROR_FAILED, "this clone has no name yet");
  else
    may(node, service, limits, &error);
  if (error)
    node_refuse(call, error);
  return !error;
}

static void
busy(LocalCall *call, const char *words)
{
  local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, words);
}

static guint
all_dials(const Node *node)
{
  GHashTableIter guests;
  gpointer guest;
  guint count = 0;
  g_hash_table_iter_init(&guests, node->guests);
  while (g_hash_table_iter_next(&guests, NULL, &guest))
    count += ((const NodeGuest *)guest)->dials;
  return count;
}

static void
on_dialled(int fd, Doppel__Wire__C2cRefusal why, const char *words, void *data)
{
  Waiting *waiting = data;
  local_call_set(waiting->call, NULL);
  local_call_dialled(waiting->call, fd, why, words);
  waiting_free(waiting);
}

static void
on_dial(LocalCall *call, const char *user, const char *service, void *data)
{
  Node *node = data;
  NodeLimits limits;
  if (!*user) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED, NODE_GUEST_OWN);
    return;
  }
  if (!check(node, call, service, &limits))
    return;
  NodeGuest *guest = guest_of(node, call);
  if (guest->dials >= DIALS_EACH || all_dials(node) >= DIALS_MAX) {
    busy(call, "programs in sandboxes wait for too many others already");
  } else if (guest->streams >= (limits.streams ? limits.streams : STREAMS_EACH)) {
    busy(call, "this sandbox has as many streams as it may");
  } else {
    Waiting *waiting = waiting_new(node, call, guest);
    NodeDial *dial = node_dial_guest(node, guest, user, service, on_dialled, waiting);
    if (dial)
      waiting->dial = dial;
  }
  leave(guest);
}

static void
on_listen(LocalCall *call, const char *service, void *data)
{
  Node *node = data;
  NodeLimits limits;
  if (!check(node, call, service, &limits))
    return;
  if (g_hash_table_contains(node->listeners, service)) {
    busy(call, "somebody else offers that service");
    return;
  }
  NodeGuest *guest = guest_of(node, call);
  if (guest->offers >= OFFERS_EACH) {
    busy(call, "this sandbox offers as many services as it may");
  } else {
    Waiting *waiting = waiting_new(node, call, guest);
    waiting->service = g_strdup(service);
    guest->dials--;
    guest->offers++;
    g_hash_table_insert(node->listeners, g_strdup(service), call);
    local_call_offer(call);
    node_groups_listening(node, service);
  }
  leave(guest);
}

static void
on_control(LocalCall *call, const char *verb, const guint8 *body, gsize length, void *data)
{
  local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED,
                    "a program in a sandbox may open streams and offer services, and ask for nothing else");
}

static void
on_gone(LocalCall *call, void *data)
{
  Waiting *waiting = local_call_get(call);
  if (waiting->dial)
    node_dial_cancel(waiting->dial);
  if (waiting->service)
    g_hash_table_remove(waiting->node->listeners, waiting->service);
  waiting_free(waiting);
}

void
node_guests_start(Node *node)
{
  static const LocalCallbacks callbacks = {on_dial, on_listen, on_control, on_gone};
  node->guests = g_hash_table_new(g_int64_hash, g_int64_equal);
  if (node->config->programs_fd > 0)
    node->programs = local_server_new_guests(node->config->programs_fd, NULL, &callbacks, node);
}

void
node_guests_stop(Node *node)
{
  g_clear_pointer(&node->programs, local_server_free);
}

/* Streams may end later than the node's links. */
void
node_guests_clear(Node *node)
{
  GHashTableIter guests;
  gpointer guest;
  if (!node->guests)
    return;
  g_hash_table_iter_init(&guests, node->guests);
  while (g_hash_table_iter_next(&guests, NULL, &guest))
    ((NodeGuest *)guest)->node = NULL;
  g_hash_table_unref(node->guests);
}

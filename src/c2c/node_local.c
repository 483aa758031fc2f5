/* What the clone's own programs, and its owner's devices, ask the node by its local socket. */
#include "base/error.h"
#include "c2c/node_control_private.h"

/* What a call of the local socket waits for: exactly one of these is set. */
typedef struct {
  Node *node;
  LocalCall *call;
  NodeDial *dial;
  char *service; /* listens */
} Waiting;

static void
waiting_free(Waiting *waiting)
{
  g_free(waiting->service);
  g_free(waiting);
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
  if (!*user) {
    g_autoptr(GError) error = NULL;
    Doppel__Wire__C2cRefusal why;
    int fd = node_serve_owner(node, service, &why, &error);
    if (fd >= 0)
      local_call_connected(call, fd);
    else
      local_call_refuse(call, why, error->message);
    return;
  }
  if (!node->own || node->own->revoked) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED,
                      "this clone has no name yet: \"doppel name claim NAME\" gives it one");
    return;
  }
  Waiting *waiting = g_new0(Waiting, 1);
  *waiting = (Waiting){.node = node, .call = call};
  local_call_set(call, waiting);
  NodeDial *dial = node_dial(node, user, service, on_dialled, waiting);
  if (dial)
    waiting->dial = dial;
}

static void
on_listen(LocalCall *call, const char *service, void *data)
{
  Node *node = data;
  if (spawner_service(node->spawner, service) || g_hash_table_contains(node->listeners, service)) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, "somebody else offers that service");
    return;
  }
  Waiting *waiting = g_new0(Waiting, 1);
  *waiting = (Waiting){.node = node, .call = call, .service = g_strdup(service)};
  local_call_set(call, waiting);
  g_hash_table_insert(node->listeners, g_strdup(service), call);
  local_call_offer(call);
  node_groups_listening(node, service);
}

static void
on_gone(LocalCall *call, void *data)
{
  Node *node = data;
  Waiting *waiting = local_call_get(call);
  g_ptr_array_remove_fast(node->bound, call);
  for (guint i = 0; i < node->questions->len; i++) {
    NodeQuestion *question = node->questions->pdata[i];
    if (question->call == call)
      question->call = NULL;
  }
  if (!waiting)
    return;
  if (waiting->dial)
    node_dial_cancel(waiting->dial);
  if (waiting->service)
    g_hash_table_remove(node->listeners, waiting->service);
  waiting_free(waiting);
}

gboolean
node_local_start(Node *node, GError **error)
{
  static const LocalCallbacks callbacks = {on_dial, on_listen, node_control, on_gone};
  node->local = local_server_new(node->socket, NULL, &callbacks, node, error);
  return node->local != NULL;
}

void
node_local_stop(Node *node)
{
  g_clear_pointer(&node->local, local_server_free);
}

/* Messages to groups that are kept: a sender's, for members who are away, until they are there again; and a
 * receiver's, for programs that do not listen yet. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "c2c/node_groups_private.h"
#include "c2c/stream_end.h"

#define NS_PER_SECOND G_GINT64_CONSTANT(1000000000)
#define AT_ONCE       16u /* members who are being brought something */
#define FIRST_S       2   /* until who was missed is tried again; then twice that */
#define MOST_S        900
#define START_S       10 /* after the start of the node, which has other things to do: not all at once */
#define DRAIN_NS      (1 * NS_PER_SECOND) /* until a program that has much to do is offered more */

static guint64
now_us(void)
{
  return (guint64)clock_unix_time() * 1000000;
}

static void
tell(GError *error)
{
  if (error)
    g_warning("messages to groups: %s", error->message);
  g_clear_error(&error);
}

/* ---- for members ---- */

static void
await(NodeGroups *groups, const IdentityPublic *origin, gint64 due)
{
  NodeAwaiter *awaiter = g_hash_table_lookup(groups->awaiters, origin);
  if (awaiter || identity_public_equal(origin, &groups->node->own->origin))
    return;
  awaiter = g_new0(NodeAwaiter, 1);
  *awaiter = (NodeAwaiter){.origin = *origin, .due = due};
  g_hash_table_insert(groups->awaiters, &awaiter->origin, awaiter);
}

static gint64
pause_ns(guint tries)
{
  gint64 pause = MIN(FIRST_S << MIN(tries, 10), MOST_S) * NS_PER_SECOND;
  /* Not everybody at the same moment, after a clone host was away. */
  return pause + g_random_int() % (pause / 4);
}

/* The message was under way when the node ended: it goes through the tree once more, and who has it already
 * only says so. Where that cannot be, each member is asked for itself. */
static void
send_again(NodeGroups *groups, GBytes *packed)
{
  GError *error = NULL;
  gsize length;
  const void *bytes = g_bytes_get_data(packed, &length);
  g_autoptr(GroupMessage) message = group_message_decode(bytes, length, &error);
  g_autoptr(GArray) members = NULL;
  if (!message) {
    tell(error);
    return;
  }
  g_clear_pointer(&message->record, g_bytes_unref);
  message->record = g_bytes_ref(groups->node->own->bytes);
  if (groups_send(groups->groups, message, NULL))
    return;
  members = node_store_members(groups->node->store, message->group, NULL);
  if (!members)
    members = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  if (!node_store_spread(groups->node->store, message->sequence, members, &error))
    tell(error);
}

void
node_kept_load(NodeGroups *groups)
{
  GError *error = NULL;
  gint64 now = clock_now_ns();
  g_autoptr(GPtrArray) unspread = node_store_unspread(groups->node->store, &error);
  tell(g_steal_pointer(&error));
  for (guint i = 0; unspread && i < unspread->len; i++)
    send_again(groups, unspread->pdata[i]);
  g_autoptr(GArray) origins = node_store_awaiting(groups->node->store, &error);
  tell(error);
  for (guint i = 0; origins && i < origins->len; i++)
    await(groups, &g_array_index(origins, IdentityPublic, i),
          now + g_random_int_range(0, START_S * 1000) * (NS_PER_SECOND / 1000));
}

void
node_kept_spread(NodeGroups *groups, const GroupTask *task)
{
  GError *error = NULL;
  const GArray *places = group_task_missed(task);
  g_autoptr(GArray) missed = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
  for (guint i = 0; i < places->len; i++)
    g_array_append_vals(missed, group_task_member(task, g_array_index(places, guint, i)), 1);
  if (!node_store_spread(groups->node->store, group_task_message(task)->sequence, missed, &error))
    tell(error);
  for (guint i = 0; i < missed->len; i++)
    await(groups, &g_array_index(missed, IdentityPublic, i), clock_now_ns() + pause_ns(0));
}

static void
bring_next(NodeGroups *groups, NodeAwaiter *awaiter)
{
  GError *error = NULL;
  g_autoptr(GroupMessage) message = NULL;
  g_autoptr(GBytes) packed =
      node_store_next_awaited(groups->node->store, &awaiter->origin, &awaiter->sequence, &error);
  tell(g_steal_pointer(&error));
  if (!packed) {
    g_hash_table_remove(groups->awaiters, &awaiter->origin);
    return;
  }
  groups->bringing++;
  message = group_message_decode(g_bytes_get_data(packed, NULL), g_bytes_get_size(packed), &error);
  if (!message) {
    node_kept_brought(groups, awaiter, error->message);
    g_error_free(error);
    return;
  }
  g_clear_pointer(&message->record, g_bytes_unref);
  message->record = g_bytes_ref(groups->node->own->bytes);
  g_autoptr(GBytes) alone = group_message_pack(message, 0, TRUE);
  node_groups_bring(groups, awaiter, alone);
}

void
node_kept_brought(NodeGroups *groups, NodeAwaiter *awaiter, const char *words)
{
  GError *error = NULL;
  NodeStore *store = groups->node->store;
  gboolean kept = words ? node_store_missed(store, awaiter->sequence, &awaiter->origin, words, &error)
                        : node_store_reached(store, awaiter->sequence, &awaiter->origin, &error);
  if (!kept)
    tell(error);
  groups->bringing--;
  awaiter->sequence = 0;
  awaiter->due = clock_now_ns() + (words || !kept ? pause_ns(awaiter->tries) : 0);
  awaiter->tries = words ? awaiter->tries + 1 : 0;
}

void
node_groups_peer(Node *node, const IdentityPublic *origin)
{
  NodeAwaiter *awaiter = node->groups ? g_hash_table_lookup(node->groups->awaiters, origin) : NULL;
  if (awaiter)
    awaiter->due = clock_now_ns();
}

void
node_groups_expire(Node *node)
{
  GError *error = NULL;
  if (!node_store_expire(node->store, now_us(), &error))
    tell(error);
}

/* ---- for programs ---- */

/* A stream with the body, and its end, for a program: all but handing it over. */
typedef struct {
  char *name;
  LocalFrom from;
  int fd;
} Handing;

static Handing
prepare(NodeGroups *groups, const char *service, const IdentityPublic *origin, GBytes *body)
{
  Node *node = groups->node;
  g_autoptr(NodeContact) contact = node_store_contact(node->store, NULL, origin, NULL);
  Handing handing = {.name = contact ? g_strdup(contact->name) : identity_public_to_text(origin), .fd = -1};
  int ends[2];
  handing.from = (LocalFrom){.name = handing.name, .service = service, .origin = *origin};
  const NodePeer *peer = node_peer(node, origin, FALSE);
  if (peer && peer->record)
    handing.from.clone_key = peer->record->clone_key;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return handing;
  gsize length;
  const void *bytes = g_bytes_get_data(body, &length);
  /* A body fits the socket's buffer: GROUP_BODY_MAX is a fraction of it. */
  stream_end_name(ends[0]);
  if (send(ends[0], bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length)
    handing.fd = ends[1];
  else
    close(ends[1]);
  close(ends[0]);
  return handing;
}

static gboolean
hand_over(Handing *handing, LocalCall *listener)
{
  int fd = handing->fd;
  handing->fd = -1;
  return fd >= 0 && local_call_incoming(listener, &handing->from, fd);
}

static void
handing_clear(Handing *handing)
{
  io_close(&handing->fd);
  g_free(handing->name);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Handing, handing_clear)

/* What is remembered comes first, and giving it at once after that: a message is given once, also where the
 * node is killed just then. (Between the two it can be lost.) */
GroupNews
node_kept_take(const GroupMessage *message, guint64 at_us, void *data)
{
  GError *error = NULL;
  NodeGroups *groups = data;
  Node *node = groups->node;
  g_autofree char *service = g_strconcat(NODE_GROUP_LISTENER, message->group, NULL);
  LocalCall *listener = g_hash_table_lookup(node->listeners, service);
  gboolean hold = !listener || !local_call_has_room(listener);
  g_auto(Handing) handing = {.fd = -1};
  if (!hold)
    handing = prepare(groups, service, &message->origin, message->body);
  GroupNews news = node_store_take(node->store, message, at_us, hold, &error);
  gboolean given = news == GROUP_NEW && !hold && hand_over(&handing, listener);
  tell(g_steal_pointer(&error));
  if (news == GROUP_NEW && !hold && !given &&
      !node_store_hold(node->store, message->group, &message->origin, message->body, at_us, &error))
    tell(error);
  if (news == GROUP_NEW && listener && !given)
    groups->drain_at = MIN(groups->drain_at, clock_now_ns() + DRAIN_NS);
  return news;
}

/* FALSE: no more now. */
static gboolean
drain_one(NodeGroups *groups, LocalCall *listener, const char *service)
{
  GError *error = NULL;
  NodeStore *store = groups->node->store;
  const char *group = service + strlen(NODE_GROUP_LISTENER);
  g_autoptr(NodeLetter) letter = node_store_next_letter(store, group, &error);
  if (!letter) {
    tell(error);
    return FALSE;
  }
  g_auto(Handing) handing = prepare(groups, service, &letter->origin, letter->body);
  gboolean dropped = node_store_drop_letter(store, letter->id, &error);
  if (dropped && hand_over(&handing, listener))
    return TRUE;
  if (dropped)
    node_store_hold(store, group, &letter->origin, letter->body, now_us(), &error);
  tell(error);
  return FALSE;
}

static void
drain(NodeGroups *groups, LocalCall *listener, const char *service)
{
  while (local_call_has_room(listener))
    if (!drain_one(groups, listener, service))
      return;
  groups->drain_at = MIN(groups->drain_at, clock_now_ns() + DRAIN_NS);
}

static void
drain_all(NodeGroups *groups)
{
  GHashTableIter iter;
  gpointer service, listener;
  groups->drain_at = G_MAXINT64;
  g_hash_table_iter_init(&iter, groups->node->listeners);
  while (g_hash_table_iter_next(&iter, &service, &listener))
    if (g_str_has_prefix(service, NODE_GROUP_LISTENER))
      drain(groups, listener, service);
}

void
node_groups_listening(Node *node, const char *service)
{
  LocalCall *listener = g_hash_table_lookup(node->listeners, service);
  if (node->groups && listener && g_str_has_prefix(service, NODE_GROUP_LISTENER))
    drain(node->groups, listener, service);
}

/* ---- time ---- */

gint64
node_kept_due(const NodeGroups *groups)
{
  gint64 due = groups->drain_at;
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, groups->awaiters);
  while (groups->bringing < AT_ONCE && g_hash_table_iter_next(&iter, NULL, &value)) {
    const NodeAwaiter *awaiter = value;
    if (!awaiter->sequence)
      due = MIN(due, awaiter->due);
  }
  return due;
}

void
node_kept_step(NodeGroups *groups, gint64 now)
{
  g_autoptr(GPtrArray) due = g_ptr_array_new();
  GHashTableIter iter;
  gpointer value;
  if (now >= groups->drain_at)
    drain_all(groups);
  g_hash_table_iter_init(&iter, groups->awaiters);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    NodeAwaiter *awaiter = value;
    if (!awaiter->sequence && awaiter->due <= now)
      g_ptr_array_add(due, awaiter);
  }
  for (guint i = 0; i < due->len && groups->bringing < AT_ONCE; i++)
    bring_next(groups, due->pdata[i]);
}

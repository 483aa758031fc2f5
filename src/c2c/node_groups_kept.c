/* Messages to groups that are kept: a sender's, for members who are away, until they are there again. */

#include "base/clock.h"
#include "base/error.h"
#include "c2c/node_groups_private.h"

#define NS_PER_SECOND G_GINT64_CONSTANT(1000000000)
#define AT_ONCE       16u /* members who are being brought something */
#define FIRST_S       2   /* until who was missed is tried again; then twice that */
#define MOST_S        900
#define START_S       10 /* after the start of the node, which has other things to do: not all at once */

static guint64
now_us(void)
{
  return (guint64)clock_unix_time() * 1000000;
}

void
node_groups_tell(GError *error)
{
  if (error)
    g_warning("messages to groups: %s", error->message);
  g_clear_error(&error);
}

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
    node_groups_tell(error);
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
    node_groups_tell(error);
}

void
node_kept_load(NodeGroups *groups)
{
  GError *error = NULL;
  gint64 now = clock_now_ns();
  g_autoptr(GPtrArray) unspread = node_store_unspread(groups->node->store, &error);
  node_groups_tell(g_steal_pointer(&error));
  for (guint i = 0; unspread && i < unspread->len; i++)
    send_again(groups, unspread->pdata[i]);
  g_autoptr(GArray) origins = node_store_awaiting(groups->node->store, &error);
  node_groups_tell(error);
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
    node_groups_tell(error);
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
  node_groups_tell(g_steal_pointer(&error));
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
    node_groups_tell(error);
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
    node_groups_tell(error);
}

gint64
node_kept_due(const NodeGroups *groups)
{
  gint64 due = G_MAXINT64;
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
  g_hash_table_iter_init(&iter, groups->awaiters);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    NodeAwaiter *awaiter = value;
    if (!awaiter->sequence && awaiter->due <= now)
      g_ptr_array_add(due, awaiter);
  }
  for (guint i = 0; i < due->len && groups->bringing < AT_ONCE; i++)
    bring_next(groups, due->pdata[i]);
}

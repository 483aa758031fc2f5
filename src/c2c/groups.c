#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/groups_private.h"

Groups *
groups_new(const IdentityPublic *origin, const IdentityKey *clone_key, guint64 sequence,
           const GroupsNode *node, void *data)
{
  Groups *groups = g_new0(Groups, 1);
  groups->origin = *origin;
  groups->clone_key = clone_key;
  groups->sequence = sequence;
  groups->node = node;
  groups->data = data;
  groups->tasks = g_ptr_array_new_with_free_func((GDestroyNotify)group_task_unref);
  return groups;
}

void
groups_free(Groups *groups)
{
  if (!groups)
    return;
  for (guint i = 0; i < groups->tasks->len; i++) {
    GroupTask *task = groups->tasks->pdata[i];
    task->groups = NULL;
    group_task_let_go(task);
  }
  g_ptr_array_unref(groups->tasks);
  g_free(groups);
}

gint64
groups_due(const Groups *groups)
{
  gint64 due = G_MAXINT64;
  for (guint i = 0; i < groups->tasks->len; i++) {
    gint64 of_task = group_task_due(groups->tasks->pdata[i]);
    due = MIN(due, of_task);
  }
  return due;
}

void
groups_step(Groups *groups, gint64 now_ns)
{
  g_autoptr(GPtrArray) tasks = g_ptr_array_new_with_free_func((GDestroyNotify)group_task_unref);
  for (guint i = 0; i < groups->tasks->len; i++)
    g_ptr_array_add(tasks, group_task_ref(groups->tasks->pdata[i]));
  for (guint i = 0; i < tasks->len; i++) {
    GroupTask *task = tasks->pdata[i];
    if (now_ns < task->deadline)
      group_task_advance(task, now_ns);
    else if (task->over)
      g_ptr_array_remove(groups->tasks, task);
    else
      group_task_give_up(task);
  }
}

guint
groups_under_way(const Groups *groups)
{
  guint count = 0;
  for (guint i = 0; i < groups->tasks->len; i++)
    count += !((GroupTask *)groups->tasks->pdata[i])->over;
  return count;
}

/* ---- messages ---- */

/* Reports that nobody has asked for make room. */
static gboolean
has_room(Groups *groups)
{
  for (guint i = 0; groups->tasks->len >= GROUPS_TASKS_MAX && i < groups->tasks->len; i++)
    if (((GroupTask *)groups->tasks->pdata[i])->over)
      g_ptr_array_remove_index(groups->tasks, i);
  return groups->tasks->len < GROUPS_TASKS_MAX;
}

static GroupTask *
find_task(const Groups *groups, const GroupMessage *message)
{
  for (guint i = 0; i < groups->tasks->len; i++) {
    GroupTask *task = groups->tasks->pdata[i];
    if (memcmp(task->message->id, message->id, sizeof message->id) == 0 &&
        identity_public_equal(&task->message->origin, &message->origin))
      return task;
  }
  return NULL;
}

GroupTask *
groups_find(const Groups *groups, guint64 sequence)
{
  for (guint i = 0; i < groups->tasks->len; i++) {
    GroupTask *task = groups->tasks->pdata[i];
    if (task->place == 0 && task->message->sequence == sequence)
      return task;
  }
  return NULL;
}

static Tree *
tree_of(Groups *groups, const char *group, const IdentityPublic *sender)
{
  g_autoptr(GArray) members = groups->node->members(group, groups->data);
  return members ? tree_new(group, sender, (const IdentityPublic *)members->data, members->len) : NULL;
}

static guint64
now_us(void)
{
  return (guint64)clock_unix_time() * 1000000;
}

static Tree *
own_tree(Groups *groups, const char *group, GError **error)
{
  Tree *tree = tree_of(groups, group, &groups->origin);
  if (!tree)
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no group \"%s\"", group);
  return tree;
}

GroupMessage *
groups_make(Groups *groups, const char *group, const void *body, gsize length, GError **error)
{
  g_autoptr(Tree) tree = own_tree(groups, group, error);
  guint8 digest[TREE_DIGEST_LENGTH];
  guint64 now = now_us();
  if (!tree)
    return NULL;
  groups->sequence = MAX(groups->sequence + 1, now);
  tree_digest(tree, digest);
  return group_message_new(group, &groups->origin, groups->sequence, digest, body, length, groups->clone_key,
                           error);
}

GroupTask *
groups_send(Groups *groups, const GroupMessage *message, GError **error)
{
  g_autoptr(Tree) tree = own_tree(groups, message->group, error);
  guint8 digest[TREE_DIGEST_LENGTH];
  if (!tree)
    return NULL;
  /* Reports of those who had it before would be about other places. */
  tree_digest(tree, digest);
  if (memcmp(digest, message->members, sizeof digest) != 0) {
    doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "the group has other members now");
    return NULL;
  }
  if (!has_room(groups)) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED,
                     "too many messages to groups are under way: try again in a moment");
    return NULL;
  }
  return group_task_new(groups, g_steal_pointer(&tree), 0, message, GROUPS_PATIENCE_MS);
}

static GroupStatus
refuse(char **words, const char *why)
{
  *words = g_strdup(why);
  return GROUP_REFUSED;
}

/* Where this clone stands in the sender's tree. NULL: its list is another one. */
static Tree *
same_tree(Groups *groups, const GroupMessage *message, const GArray *members, guint *place)
{
  guint8 digest[TREE_DIGEST_LENGTH];
  g_autoptr(Tree) tree =
      tree_new(message->group, &message->origin, (const IdentityPublic *)members->data, members->len);
  tree_digest(tree, digest);
  if (memcmp(digest, message->members, sizeof digest) != 0 || !tree_find(tree, &groups->origin, place))
    return NULL;
  return g_steal_pointer(&tree);
}

static gboolean
lists(const GArray *members, const IdentityPublic *origin)
{
  for (guint i = 0; i < members->len; i++)
    if (identity_public_equal(&g_array_index(members, IdentityPublic, i), origin))
      return TRUE;
  return FALSE;
}

/* What costs more comes later: the list is read for what its sender has signed, the tree made of it for what
 * is new. */
GroupStatus
groups_take(Groups *groups, const GroupMessage *message, const IdentityPublic *sender_key, char **words,
            GroupTask **task)
{
  guint place;
  *words = NULL;
  *task = NULL;
  if (!group_message_verify(message, sender_key, NULL))
    return refuse(words, "it has not its sender's signature");
  g_autoptr(GArray) members = groups->node->members(message->group, groups->data);
  if (!members || members->len >= TREE_MEMBERS_MAX)
    return refuse(words, "there is no such group here");
  if (identity_public_equal(&message->origin, &groups->origin) || !lists(members, &message->origin))
    return refuse(words, "its sender is not in that group");
  GroupNews news = groups->node->take(message, now_us(), groups->data);
  if (news == GROUP_STALE)
    return refuse(words, "it is too old, or the sender's clock or this one is wrong");
  if (message->alone)
    return GROUP_DELIVERED;
  /* Where it is known and no task is left of it, others have to look after who is below. */
  if (news == GROUP_KNOWN)
    *task = find_task(groups, message);
  else if (has_room(groups)) {
    /* Owners list the others: the list that all have the same has everybody. */
    g_array_append_val(members, groups->origin);
    Tree *tree = same_tree(groups, message, members, &place);
    *task = tree ? group_task_new(groups, tree, place, message, MAX(message->patience_ms, GROUP_HOP_LEAST))
                 : NULL;
  }
  return *task ? GROUP_FORWARDS : GROUP_DELIVERED;
}

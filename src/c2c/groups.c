#include "c2c/groups.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define NS_PER_MS G_GINT64_CONSTANT(1000000)
#define FIRST_NS  (1000 * NS_PER_MS)   /* until who was not reached is tried again; then three times that */
#define LATE_NS   (120000 * NS_PER_MS) /* a report is kept for so long, for who asks late */
#define HOP_MS    3000                 /* that a report is given to get from each to the one above */
#define HOP_LEAST 3000

typedef struct {
  guint place, tries;
  gint64 due;
} Again;

struct GroupTask {
  Groups *groups; /* NULL once they were freed */
  GroupMessage *message;
  Tree *tree; /* NULL some time after it is over */
  TreeDuty *duty;
  GPtrArray *carriages;
  GArray *again;   /* of Again */
  GArray *missed;  /* places */
  gint64 deadline; /* CLOCK_MONOTONIC ns; once it is over: of the task */
  guint asking;    /* carriages without an answer */
  guint reached;   /* by carriages that have ended */
  guint size;      /* of the tree */
  guint place;     /* this clone's */
  guint holders;
  gboolean over, busy /* in advance() */;
};

struct GroupCarriage {
  GroupTask *task; /* NULL: nobody waits for it any more */
  guint place, tries;
  gboolean alone, forwards;
  guint reached;  /* below it, so far */
  GArray *missed; /* of what it has reported */
};

struct Groups {
  IdentityPublic origin;
  const IdentityKey *clone_key;
  const GroupsNode *node;
  void *data;
  guint64 sequence; /* of the last message sent */
  GPtrArray *tasks; /* the oldest first */
};

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

/* ---- tasks ---- */

GroupTask *
group_task_ref(GroupTask *task)
{
  task->holders++;
  return task;
}

static void
drop_tree(GroupTask *task)
{
  g_clear_pointer(&task->duty, tree_duty_free);
  g_clear_pointer(&task->tree, tree_free);
}

void
group_task_unref(GroupTask *task)
{
  if (--task->holders > 0)
    return;
  drop_tree(task);
  g_ptr_array_unref(task->carriages);
  g_array_unref(task->again);
  g_array_unref(task->missed);
  group_message_free(task->message);
  g_free(task);
}

const GroupMessage *
group_task_message(const GroupTask *task)
{
  return task->message;
}

gboolean
group_task_is_over(const GroupTask *task)
{
  return task->over;
}

guint
group_task_size(const GroupTask *task)
{
  return task->size;
}

guint
group_task_reached(const GroupTask *task)
{
  guint reached = task->reached;
  for (guint i = 0; i < task->carriages->len; i++) {
    const GroupCarriage *carriage = task->carriages->pdata[i];
    reached += carriage->forwards ? 1 + carriage->reached : 0;
  }
  return reached;
}

const GArray *
group_task_missed(const GroupTask *task)
{
  return task->missed;
}

const IdentityPublic *
group_task_member(const GroupTask *task, guint place)
{
  return tree_member(task->tree, place);
}

static void
carriage_free(GroupCarriage *carriage)
{
  g_clear_pointer(&carriage->missed, g_array_unref);
  g_free(carriage);
}

/* Nobody waits for it any more: it is freed by whoever carries it. */
static void
let_go(GroupTask *task)
{
  for (guint i = 0; i < task->carriages->len; i++)
    ((GroupCarriage *)task->carriages->pdata[i])->task = NULL;
  g_ptr_array_set_size(task->carriages, 0);
  task->asking = 0;
}

void
groups_free(Groups *groups)
{
  if (!groups)
    return;
  for (guint i = 0; i < groups->tasks->len; i++) {
    GroupTask *task = groups->tasks->pdata[i];
    task->groups = NULL;
    let_go(task);
  }
  g_ptr_array_unref(groups->tasks);
  g_free(groups);
}

static int
compare_places(gconstpointer a, gconstpointer b)
{
  guint first = *(const guint *)a, second = *(const guint *)b;
  return (first > second) - (first < second);
}

static void
finish(GroupTask *task)
{
  g_array_sort(task->missed, compare_places);
  task->over = TRUE;
  task->deadline = clock_now_ns() + LATE_NS;
  group_task_ref(task);
  if (task->groups)
    task->groups->node->over(task, task->groups->data);
  drop_tree(task);
  group_task_unref(task);
}

static guint
patience(const GroupTask *task)
{
  gint64 left = (task->deadline - clock_now_ns()) / NS_PER_MS - HOP_MS;
  return (guint)CLAMP(left, HOP_LEAST, GROUP_PATIENCE_MAX);
}

static void
carry(GroupTask *task, guint place, guint tries)
{
  const Groups *groups = task->groups;
  GroupCarriage *carriage = g_new0(GroupCarriage, 1);
  *carriage = (GroupCarriage){.task = task, .place = place, .tries = tries, .alone = tries > 0};
  g_ptr_array_add(task->carriages, carriage);
  task->asking++;
  g_autoptr(GBytes) packed = group_message_pack(task->message, patience(task), carriage->alone);
  groups->node->carry(carriage, tree_member(task->tree, place), packed, groups->data);
}

/* Who is to be tried again now. */
static gboolean
next_again(GroupTask *task, gint64 now, Again *again)
{
  for (guint i = 0; i < task->again->len; i++) {
    *again = g_array_index(task->again, Again, i);
    if (again->due <= now) {
      g_array_remove_index_fast(task->again, i);
      return TRUE;
    }
  }
  return FALSE;
}

/* Hands the message to those whom it is this clone's turn to send to, a few at a time. */
static void
advance(GroupTask *task, gint64 now)
{
  guint place;
  Again again;
  if (task->busy || task->over)
    return;
  group_task_ref(task);
  task->busy = TRUE;
  while (task->groups && task->asking < TREE_DEGREE) {
    if (tree_duty_next(task->duty, &place))
      carry(task, place, 0);
    else if (next_again(task, now, &again))
      carry(task, again.place, again.tries);
    else
      break;
  }
  task->busy = FALSE;
  if (task->groups && task->carriages->len == 0 && task->again->len == 0)
    finish(task);
  group_task_unref(task);
}

/* ---- what becomes of a carriage ---- */

/* Takes it from its task. */
static void
end_carriage(GroupCarriage *carriage)
{
  GroupTask *task = carriage->task;
  g_ptr_array_remove_fast(task->carriages, carriage);
  if (!carriage->forwards)
    task->asking--;
  carriage_free(carriage);
}

static void
try_again(GroupTask *task, guint place, guint tries)
{
  if (tries >= GROUPS_TRIES) {
    g_array_append_val(task->missed, place);
    return;
  }
  gint64 wait = FIRST_NS;
  for (guint i = 0; i < tries; i++)
    wait *= 3;
  Again again = {place, tries + 1, clock_now_ns() + wait + g_random_int() % (wait / 2)};
  g_array_append_val(task->again, again);
}

void
groups_lost(GroupCarriage *carriage)
{
  GroupTask *task = carriage->task;
  if (!task) {
    carriage_free(carriage);
    return;
  }
  guint place = carriage->place, tries = carriage->tries;
  gboolean alone = carriage->alone, forwards = carriage->forwards;
  end_carriage(carriage);
  if (!alone)
    tree_duty_missed(task->duty, place);
  if (forwards)
    task->reached++;
  else
    try_again(task, place, tries);
  advance(task, clock_now_ns());
}

/* FALSE: of these places nobody at that one can say anything. */
static gboolean
take_missed(GroupCarriage *carriage, const GArray *missed)
{
  if (!missed)
    return TRUE;
  if (!carriage->missed)
    carriage->missed = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint i = 0; i < missed->len; i++) {
    guint place = g_array_index(missed, guint, i);
    guint last = carriage->missed->len > 0 ? g_array_index(carriage->missed, guint, carriage->missed->len - 1)
                                           : carriage->place;
    if (place <= last || place >= carriage->task->size || !tree_is_below(place, carriage->place))
      return FALSE;
    g_array_append_val(carriage->missed, place);
  }
  return TRUE;
}

static void
take_report(GroupTask *task, GroupCarriage *carriage)
{
  guint missed = carriage->missed ? carriage->missed->len : 0;
  if (missed > 0)
    g_array_append_vals(task->missed, carriage->missed->data, missed);
  task->reached += tree_count(task->tree, carriage->place) - missed;
  end_carriage(carriage);
}

/* The first answer. FALSE: that was all. */
static gboolean
take_first(GroupTask *task, GroupCarriage *carriage, const GroupAnswer *answer)
{
  guint place = carriage->place;
  gboolean alone = carriage->alone;
  if (answer->status == GROUP_FORWARDS && !alone) {
    carriage->forwards = TRUE;
    task->asking--;
    return TRUE;
  }
  end_carriage(carriage);
  if (!alone)
    tree_duty_missed(task->duty, place);
  if (answer->status == GROUP_REFUSED)
    g_array_append_val(task->missed, place);
  else
    task->reached++;
  return FALSE;
}

gboolean
groups_answered(GroupCarriage *carriage, const GroupAnswer *answer)
{
  GroupTask *task = carriage->task;
  gboolean reports = answer->status == GROUP_WORKING || answer->status == GROUP_DONE;
  gboolean goes_on = TRUE;
  if (!task) {
    carriage_free(carriage);
    return FALSE;
  }
  if (reports != carriage->forwards || !take_missed(carriage, answer->missed)) {
    groups_lost(carriage);
    return FALSE;
  }
  if (!reports) {
    goes_on = take_first(task, carriage, answer);
  } else if (answer->status == GROUP_DONE) {
    take_report(task, carriage);
    goes_on = FALSE;
  } else {
    carriage->reached = MIN(answer->reached, tree_count(task->tree, carriage->place) - 1);
  }
  advance(task, clock_now_ns());
  return goes_on;
}

gboolean
groups_is_asking(const GroupCarriage *carriage)
{
  return !carriage->forwards;
}

/* ---- time ---- */

static gint64
task_due(const GroupTask *task)
{
  gint64 due = task->deadline;
  for (guint i = 0; task->asking < TREE_DEGREE && i < task->again->len; i++)
    due = MIN(due, g_array_index(task->again, Again, i).due);
  return due;
}

gint64
groups_due(const Groups *groups)
{
  gint64 due = G_MAXINT64;
  for (guint i = 0; i < groups->tasks->len; i++) {
    gint64 of_task = task_due(groups->tasks->pdata[i]);
    due = MIN(due, of_task);
  }
  return due;
}

/* A place that nobody has reported of, and all below it. */
static void
miss_below(GroupTask *task, guint place, gboolean itself)
{
  if (itself)
    g_array_append_val(task->missed, place);
  for (guint64 first = place, last = place; (first = first * TREE_DEGREE + 1) < task->size;) {
    last = last * TREE_DEGREE + TREE_DEGREE;
    for (guint64 below = first; below <= last && below < task->size; below++) {
      guint each = (guint)below;
      g_array_append_val(task->missed, each);
    }
  }
}

/* What has not come until now does not count any more. */
static void
give_up(GroupTask *task)
{
  guint place;
  for (guint i = 0; i < task->carriages->len; i++) {
    const GroupCarriage *carriage = task->carriages->pdata[i];
    if (carriage->alone)
      g_array_append_val(task->missed, carriage->place);
    else
      miss_below(task, carriage->place, !carriage->forwards);
    task->reached += carriage->forwards;
  }
  while (tree_duty_next(task->duty, &place))
    miss_below(task, place, TRUE);
  for (guint i = 0; i < task->again->len; i++)
    g_array_append_val(task->missed, g_array_index(task->again, Again, i).place);
  g_array_set_size(task->again, 0);
  let_go(task);
  finish(task);
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
      advance(task, now_ns);
    else if (task->over)
      g_ptr_array_remove(groups->tasks, task);
    else
      give_up(task);
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

/* Takes the tree. */
static GroupTask *
pass_on(Groups *groups, Tree *tree, guint place, const GroupMessage *message, guint patience_ms)
{
  GroupTask *task = g_new0(GroupTask, 1);
  *task = (GroupTask){.groups = groups,
                      .message = group_message_ref(message),
                      .tree = tree,
                      .duty = tree_duty_new(tree, place),
                      .carriages = g_ptr_array_new(),
                      .again = g_array_new(FALSE, FALSE, sizeof(Again)),
                      .missed = g_array_new(FALSE, FALSE, sizeof(guint)),
                      .deadline = clock_now_ns() + patience_ms * NS_PER_MS,
                      .size = tree_size(tree),
                      .place = place,
                      .holders = 1};
  g_ptr_array_add(groups->tasks, task);
  advance(task, clock_now_ns());
  return task;
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
  return pass_on(groups, g_steal_pointer(&tree), 0, message, GROUPS_PATIENCE_MS);
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
    *task = tree ? pass_on(groups, tree, place, message, MAX(message->patience_ms, HOP_LEAST)) : NULL;
  }
  return *task ? GROUP_FORWARDS : GROUP_DELIVERED;
}

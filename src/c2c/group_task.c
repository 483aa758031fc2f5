/* One message on its way: carried to those whom it is this clone's turn to send to, and what becomes of that.
 */
#include "base/clock.h"
#include "c2c/groups_private.h"

#define NS_PER_MS G_GINT64_CONSTANT(1000000)
#define FIRST_NS  (1000 * NS_PER_MS)   /* until who was not reached is tried again; then three times that */
#define LATE_NS   (120000 * NS_PER_MS) /* a report is kept for so long, for who asks late */
#define HOP_MS    3000                 /* that a report is given to get from each to the one above */

typedef struct {
  guint place, tries;
  gint64 due;
} Again;

struct GroupCarriage {
  GroupTask *task; /* NULL: nobody waits for it any more */
  guint place, tries;
  gboolean alone, forwards;
  guint reached;  /* below it, so far */
  GArray *missed; /* of what it has reported */
};

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

void
group_task_let_go(GroupTask *task)
{
  for (guint i = 0; i < task->carriages->len; i++)
    ((GroupCarriage *)task->carriages->pdata[i])->task = NULL;
  g_ptr_array_set_size(task->carriages, 0);
  task->asking = 0;
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
  return (guint)CLAMP(left, GROUP_HOP_LEAST, GROUP_PATIENCE_MAX);
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

void
group_task_advance(GroupTask *task, gint64 now)
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
  group_task_advance(task, clock_now_ns());
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
  group_task_advance(task, clock_now_ns());
  return goes_on;
}

gboolean
groups_is_asking(const GroupCarriage *carriage)
{
  return !carriage->forwards;
}

/* ---- time ---- */

gint64
group_task_due(const GroupTask *task)
{
  gint64 due = task->deadline;
  for (guint i = 0; task->asking < TREE_DEGREE && i < task->again->len; i++)
    due = MIN(due, g_array_index(task->again, Again, i).due);
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

void
group_task_give_up(GroupTask *task)
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
  group_task_let_go(task);
  finish(task);
}

GroupTask *
group_task_new(Groups *groups, Tree *tree, guint place, const GroupMessage *message, guint patience_ms)
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
  group_task_advance(task, clock_now_ns());
  return task;
}

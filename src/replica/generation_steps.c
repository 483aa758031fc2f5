#include "replica/generation_steps.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "replica/generation_fill.h"
#include "replica/path.h"

#define NOTES_MAX 1000
#define TICK_NS   (100 * 1000 * 1000)

typedef struct {
  gint64 node;
  guint depth;
} Lift;

/* A step that completed a content, and is not durable. */
typedef struct {
  guint64 number;
  char path[];
} Close;

static guint
depth_of(const char *path)
{
  guint depth = 0;
  for (; *path; path++)
    depth += *path == '/';
  return depth;
}

static int
deepest_first(gconstpointer a, gconstpointer b)
{
  return (int)((const Lift *)b)->depth - (int)((const Lift *)a)->depth;
}

static GArray *
lifts_of(TreeIndex *index, const TreePlan *plan)
{
  GArray *lifts = g_array_new(FALSE, FALSE, sizeof(Lift));
  for (guint i = 0; i < plan->changes->len; i++) {
    const TreeChange *change = &g_array_index(plan->changes, TreeChange, i);
    g_autofree char *path = change->moved ? tree_index_path(index, change->node) : NULL;
    Lift lift = {.node = change->node, .depth = path ? depth_of(path) : 0};
    if (path)
      g_array_append_val(lifts, lift);
  }
  g_array_sort(lifts, deepest_first);
  return lifts;
}

static void
collect_gone(GenerationSteps *steps)
{
  GHashTableIter iter;
  gpointer key;
  g_hash_table_iter_init(&iter, steps->plan->gone);
  while (g_hash_table_iter_next(&iter, &key, NULL)) {
    g_auto(TreeNode) node = {0};
    g_array_append_val(steps->removals, *(gint64 *)key);
    if (!tree_index_node(steps->index, *(gint64 *)key, &node) || !node.hashed)
      continue;
    GArray *files = g_hash_table_lookup(steps->gone_files, &node.parent);
    if (!files) {
      files = g_array_new(FALSE, FALSE, sizeof(gint64));
      g_hash_table_insert(steps->gone_files, g_memdup2(&node.parent, sizeof node.parent), files);
    }
    g_array_append_val(files, node.id);
  }
}

GenerationSteps *
generation_steps_new(TreeIndex *index, int root, TreePlan *plan, guint64 number)
{
  GenerationSteps *steps = g_new0(GenerationSteps, 1);
  steps->index = index;
  steps->root = root;
  steps->plan = plan;
  steps->number = number;
  steps->near.root = root;
  steps->lifts = lifts_of(index, plan);
  steps->removals = g_array_new(FALSE, FALSE, sizeof(gint64));
  steps->gone_files =
      g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, (GDestroyNotify)g_array_unref);
  collect_gone(steps);
  steps->groups = generation_groups_new();
  steps->later = g_ptr_array_new_with_free_func(g_free);
  g_queue_init(&steps->closes);
  steps->search = signature_search_new(tree_index_key(index));
  g_queue_init(&steps->again);
  g_queue_init(&steps->ready);
  steps->progress.changes = plan->changes->len + g_hash_table_size(plan->gone);
  steps->progress.bytes = plan->bytes;
  return steps;
}

void
generation_steps_free(GenerationSteps *steps)
{
  if (!steps)
    return;
  generation_reading_free(steps->reading);
  signature_search_free(steps->search);
  g_queue_clear_full(&steps->ready, (GDestroyNotify)generation_step_free);
  g_queue_clear_full(&steps->again, g_free);
  tree_near_clear(&steps->near);
  g_array_unref(steps->lifts);
  g_array_unref(steps->removals);
  g_hash_table_unref(steps->gone_files);
  g_hash_table_unref(steps->groups);
  g_ptr_array_unref(steps->later);
  g_queue_clear_full(&steps->closes, g_free);
  g_free(steps->continued);
  g_free(steps->relink);
  g_free(steps->parent_path);
  g_free(steps);
}

void
generation_steps_put_off(GenerationSteps *steps, guint64 size)
{
  steps->later_size = size;
}

const GPtrArray *
generation_steps_later(const GenerationSteps *steps)
{
  return steps->later;
}

static void
tick(gpointer user_data)
{
  GenerationSteps *steps = user_data;
  gint64 now_ns = clock_now_ns();
  if (now_ns - steps->ticked_ns < TICK_NS)
    return;
  steps->ticked_ns = now_ns;
  steps->tick(steps->tick_data);
}

void
generation_steps_set_tick(GenerationSteps *steps, SignatureTick function, gpointer user_data)
{
  steps->tick = function;
  steps->tick_data = user_data;
  steps->ticked_ns = clock_now_ns();
  signature_search_set_tick(steps->search, function ? tick : NULL, steps);
}

void
generation_steps_set_piece(GenerationSteps *steps, gsize piece)
{
  signature_search_set_piece(steps->search, piece);
}

GenerationProgress
generation_steps_progress(const GenerationSteps *steps)
{
  return steps->progress;
}

/* What the parts share. */

guint64
generation_steps_emit(GenerationSteps *steps, GenerationStep *step)
{
  step->number = steps->number++;
  tree_index_told(steps->index, step->number);
  g_queue_push_tail(&steps->ready, step);
  return step->number;
}

GenerationStep *
generation_steps_at(GenerationKind kind, const char *path)
{
  GenerationStep *step = generation_step_new(kind);
  step->path = g_strdup(path);
  return step;
}

/* The rest of a path that leads on from the last one asked for, or NULL. */
static const char *
below_last_parent(const GenerationSteps *steps, const char *path)
{
  gsize length = steps->parent_path && steps->parent != TREE_NONE ? strlen(steps->parent_path) : 0;
  gboolean is_below = length && strncmp(path, steps->parent_path, length) == 0 && path[length] == '/';
  return is_below ? path + length + 1 : NULL;
}

gint64
generation_steps_parent(GenerationSteps *steps, const char *path, const char **name)
{
  if (!*path) {
    *name = "";
    return TREE_NONE;
  }
  const char *slash = strrchr(path, '/');
  gsize length = slash ? slash - path : 0;
  *name = slash ? slash + 1 : path;
  if (steps->parent_path && strncmp(steps->parent_path, path, length) == 0 && !steps->parent_path[length])
    return steps->parent;
  g_autofree char *parent = g_strndup(path, length);
  const char *below = below_last_parent(steps, parent);
  steps->parent = below ? tree_index_find_below(steps->index, steps->parent, below)
                        : tree_index_find(steps->index, parent);
  g_free(steps->parent_path);
  steps->parent_path = g_steal_pointer(&parent);
  return steps->parent;
}

/* Nodes have moved: what was known of the last path may not hold. */
static void
forget_parent(GenerationSteps *steps)
{
  g_clear_pointer(&steps->parent_path, g_free);
}

gboolean
generation_steps_told(GenerationSteps *steps, const char *path, TreeNode *node)
{
  const char *name;
  gint64 parent = generation_steps_parent(steps, path, &name);
  *node = (TreeNode){0};
  if (!*path)
    return tree_index_node(steps->index, TREE_ROOT, node);
  return parent != TREE_NONE && tree_index_child(steps->index, parent, name, node);
}

gint64
generation_steps_put(GenerationSteps *steps, guint64 number, gint64 id, const char *path,
                     const ReplicaFacts *facts, const guint8 *hash, gboolean dirty)
{
  const char *name;
  TreeNode node = {.id = id, .facts = *facts, .hashed = hash != NULL, .dirty = dirty};
  node.parent = generation_steps_parent(steps, path, &name);
  node.name = (char *)name; /* only read */
  if (hash)
    memcpy(node.content, hash, sizeof node.content);
  return tree_index_put(steps->index, number, &node);
}

gint64
generation_steps_close(GenerationSteps *steps, guint64 number, gint64 id, const char *path,
                       const ReplicaFacts *facts, const guint8 *hash, gboolean dirty)
{
  gsize length = strlen(path) + 1;
  Close *close = g_malloc(sizeof *close + length);
  close->number = number;
  memcpy(close->path, path, length);
  g_queue_push_tail(&steps->closes, close);
  return generation_steps_put(steps, number, id, path, facts, hash, dirty);
}

void
generation_steps_leave(GenerationSteps *steps, const char *path, int failure)
{
  steps->progress.left++;
  if (failure != ENOENT && steps->plan->notes->len < NOTES_MAX)
    g_ptr_array_add(steps->plan->notes, g_strdup_printf("/%s: %s", path, g_strerror(failure)));
}

/* The phases. */

static void
lift(GenerationSteps *steps, gint64 node)
{
  g_autofree char *path = tree_index_path(steps->index, node);
  g_autofree char *name = g_strdup_printf("%" G_GINT64_FORMAT, node);
  if (!path)
    return;
  GenerationStep *step = generation_steps_at(GENERATION_LIFT, path);
  step->hold = node;
  tree_index_move(steps->index, generation_steps_emit(steps, step), node, TREE_HOLD, name);
  forget_parent(steps);
}

void
generation_steps_remove(GenerationSteps *steps, gint64 node)
{
  g_autofree char *path = tree_index_path(steps->index, node);
  if (!path || !*path)
    return;
  guint64 number = generation_steps_emit(steps, generation_steps_at(GENERATION_REMOVE, path));
  tree_index_remove(steps->index, number, node);
  forget_parent(steps);
}

static gboolean
drop(GenerationSteps *steps, const TreeChange *change)
{
  const char *name;
  g_auto(TreeNode) held = {0};
  gint64 parent = generation_steps_parent(steps, change->path, &name);
  if (parent == TREE_NONE || !tree_index_node(steps->index, change->node, &held) || held.parent != TREE_HOLD)
    return FALSE;
  GenerationStep *step = generation_steps_at(GENERATION_DROP, change->path);
  step->hold = g_ascii_strtoull(held.name, NULL, 10);
  tree_index_move(steps->index, generation_steps_emit(steps, step), change->node, parent, name);
  forget_parent(steps);
  return TRUE;
}

/* Unlike replica_facts_equal(), which cannot know what an unmapped id is: here it is just one. */
static gboolean
is_told(const TreeNode *told, const ReplicaFacts *facts)
{
  return told->id != TREE_NONE && told->facts.uid == facts->uid && told->facts.gid == facts->gid &&
         replica_facts_equal(&told->facts, facts, REPLICA_FACT_ALL & ~REPLICA_FACT_SIZE);
}

gboolean
generation_steps_tell(GenerationSteps *steps, const char *path, const TreeNode *told,
                      const ReplicaFacts *facts, gboolean dirty)
{
  if (is_told(told, facts)) {
    TreeNode seen = {.id = told->id, .facts = *facts, .dirty = dirty};
    tree_index_touch(steps->index, &seen);
    return FALSE;
  }
  GenerationStep *step = generation_steps_at(GENERATION_PLACE, path);
  replica_facts_copy(&step->facts, facts);
  guint64 number = generation_steps_emit(steps, step);
  gboolean keeps = facts->type == REPLICA_FILE && told->hashed;
  generation_steps_put(steps, number, told->id, path, facts, keeps ? told->content : NULL, dirty);
  return TRUE;
}

static void
shape_directory(GenerationSteps *steps, const TreeChange *change)
{
  const char *name, *path = change->path;
  g_auto(ReplicaFacts) facts = {0};
  g_auto(TreeNode) told = {0};
  gint64 read_ns = replica_now_ns();
  int failure = tree_near_facts(&steps->near, path, &facts);
  if (!failure && facts.type != REPLICA_DIRECTORY)
    failure = ENOENT;
  if (!failure && *path && generation_steps_parent(steps, path, &name) == TREE_NONE)
    failure = ENOENT;
  if (failure) {
    generation_steps_leave(steps, path, failure);
    return;
  }
  if (change->node != TREE_NONE)
    generation_steps_told(steps, path, &told);
  generation_steps_tell(steps, path, &told, &facts, replica_facts_racy(&facts, read_ns));
}

/* The way is made free, and what there is comes to its place. */
static void
shape(GenerationSteps *steps, const TreeChange *change)
{
  if (g_strcmp0(change->path, steps->continued) == 0)
    return;
  if (change->in_way != TREE_NONE)
    generation_steps_remove(steps, change->in_way);
  if (change->moved && !drop(steps, change))
    return;
  if (change->type == REPLICA_DIRECTORY)
    shape_directory(steps, change);
}

static gboolean
fill_change(GenerationSteps *steps, const TreeChange *change)
{
  if (change->type == REPLICA_DIRECTORY || g_strcmp0(change->path, steps->continued) == 0)
    return TRUE;
  return generation_fill(steps, change);
}

static gboolean
send_again(GenerationSteps *steps)
{
  if (steps->relink)
    generation_group_link_again(steps);
  g_autofree char *path = g_queue_pop_head(&steps->again);
  if (path && generation_reading_tell_whole(steps, path))
    steps->relink = g_steal_pointer(&path);
  return steps->relink || !g_queue_is_empty(&steps->again);
}

/* A content that a cut left open goes on before anything else, or not at all: no other step may come between.
 */
static void
go_on(GenerationSteps *steps)
{
  g_auto(TreePart) part = {0};
  if (!tree_index_part(steps->index, &part) || part.number + 1 != steps->number ||
      (steps->later_size && part.size >= steps->later_size))
    return;
  gint64 basis = TREE_NONE;
  for (guint i = 0; i < steps->plan->changes->len; i++) {
    const TreeChange *change = &g_array_index(steps->plan->changes, TreeChange, i);
    gboolean is_its = strcmp(change->path, part.path) == 0;
    g_autofree char *old = change->moved ? tree_index_path(steps->index, change->node) : NULL;
    if (g_strcmp0(old, part.path) == 0 || (change->moved && is_its))
      return;
    if (is_its)
      basis = generation_fill_basis(steps, change);
  }
  if (generation_reading_continue(steps, &part, basis))
    steps->continued = g_strdup(part.path);
}

/* The next piece of work of a phase. FALSE: there is none. */
static gboolean
work(GenerationSteps *steps)
{
  const GArray *changes = steps->plan->changes;
  switch (steps->phase) {
  case STEPS_CONTINUE:
    go_on(steps);
    return FALSE;
  case STEPS_LIFT:
    if (steps->at < steps->lifts->len)
      lift(steps, g_array_index(steps->lifts, Lift, steps->at).node);
    return ++steps->at < steps->lifts->len;
  case STEPS_SHAPE:
    if (steps->at < changes->len)
      shape(steps, &g_array_index(changes, TreeChange, steps->at));
    return ++steps->at < changes->len;
  case STEPS_FILL:
    if (steps->at < changes->len && !fill_change(steps, &g_array_index(changes, TreeChange, steps->at)))
      return TRUE;
    steps->progress.changes_done++;
    return ++steps->at < changes->len;
  case STEPS_REMOVE:
    if (steps->at < steps->removals->len)
      generation_steps_remove(steps, g_array_index(steps->removals, gint64, steps->at));
    steps->progress.changes_done++;
    return ++steps->at < steps->removals->len;
  case STEPS_AGAIN:
    return send_again(steps);
  }
  return FALSE;
}

GenerationStep *
generation_steps_next(GenerationSteps *steps, GError **error)
{
  while (g_queue_is_empty(&steps->ready)) {
    if (steps->reading) {
      generation_reading_more(steps);
    } else if (!work(steps)) {
      if (steps->phase == STEPS_AGAIN && !steps->reading)
        break;
      steps->phase = MIN(steps->phase + 1, STEPS_AGAIN);
      steps->at = 0;
    }
  }
  GenerationStep *step = g_queue_pop_head(&steps->ready);
  return step || tree_index_save(steps->index, error) ? step : NULL;
}

void
generation_steps_durable(GenerationSteps *steps, guint64 number)
{
  tree_index_durable(steps->index, number);
  for (const Close *close; (close = g_queue_peek_head(&steps->closes)) && close->number <= number;)
    g_free(g_queue_pop_head(&steps->closes));
}

static const char *
path_closed_by(GenerationSteps *steps, guint64 number)
{
  for (const GList *at = g_queue_peek_head_link(&steps->closes); at; at = at->next)
    if (((const Close *)at->data)->number == number)
      return ((const Close *)at->data)->path;
  return NULL;
}

gboolean
generation_steps_mismatch(GenerationSteps *steps, guint64 number)
{
  const char *path = path_closed_by(steps, number);
  g_auto(TreeNode) told = {0};
  if (!path || !generation_steps_told(steps, path, &told))
    return path != NULL;
  generation_public_missed(steps);
  tree_index_doubt(steps->index, number, told.id);
  g_queue_push_tail(&steps->again, g_strdup(path));
  return TRUE;
}

void
generation_steps_uncommit(GenerationSteps *steps)
{
  steps->number--;
}

GenerationStep *
generation_steps_commit(GenerationSteps *steps, guint64 generation)
{
  GenerationStep *step = generation_step_new(GENERATION_COMMIT);
  step->number = steps->number++;
  step->generation = generation;
  step->time_ns = replica_now_ns();
  step->nodes = tree_index_count(steps->index);
  tree_index_told(steps->index, step->number);
  return step;
}

#include "replicator/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "replica/path.h"
#include "replicator/agree.h"
#include "replicator/public_ask.h"
#include "replicator/telling.h"

void
replicator_result_clear(ReplicatorResult *result)
{
  g_clear_pointer(&result->notes, g_ptr_array_unref);
  g_clear_pointer(&result->later, g_ptr_array_unref);
  for (guint i = 0; i < GENERATION_LOST_KINDS; i++)
    g_clear_pointer(&result->first_lost[i], g_free);
}

static int
open_root(const ReplicatorOptions *options, GError **error)
{
  int root = open(options->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0)
    doppel_error_errno(error, "the tree %s cannot be synchronised", options->root);
  return root;
}

#define WATCH "watch" /* the name of its name in the index */

/* The directories to look into; NULL: all of the tree. */
static const char *const *
scope(CloneIndex *index, const ReplicatorOptions *options)
{
  if (!options->watch)
    return options->directories;
  g_autoptr(GBytes) name = tree_index_get(index->tree, WATCH);
  gboolean same = name && g_bytes_get_size(name) == REPLICATOR_WATCH &&
                  memcmp(g_bytes_get_data(name, NULL), options->watch, REPLICATOR_WATCH) == 0;
  return same ? options->directories : NULL;
}

/* From now on the index is behind the tree by no more than whoever has this name has seen. */
static void
set_watch(CloneIndex *index, const ReplicatorOptions *options)
{
  if (!options->watch)
    return;
  g_autoptr(GBytes) name = g_bytes_new(options->watch, REPLICATOR_WATCH);
  tree_index_set(index->tree, WATCH, name);
}

TreePlan *
replicator_plan(CloneIndex *index, const ReplicatorOptions *options, GError **error)
{
  g_auto(Fd) root = clone_index_is_complete(index, error) ? open_root(options, error) : -1;
  if (root < 0)
    return NULL;
  const char *const *directories = scope(index, options);
  g_autoptr(TreePlan) plan = tree_scan(index->tree, options->rules, root, directories, error);
  if (plan && !directories && !index->state.attempting && plan->changes->len == 0 &&
      g_hash_table_size(plan->gone) == 0) {
    set_watch(index, options);
    if (!tree_index_save(index->tree, error))
      return NULL;
  }
  return g_steal_pointer(&plan);
}

static void
add_below(CloneIndex *index, GPtrArray *directories, gint64 node, const char *path)
{
  g_ptr_array_add(directories, g_strdup(path));
  g_autoptr(GArray) children = tree_index_children(index->tree, node);
  for (guint i = 0; i < children->len; i++) {
    TreeNode *child = &g_array_index(children, TreeNode, i);
    if (child->facts.type == REPLICA_DIRECTORY) {
      g_autofree char *below = replica_path_join(path, child->name);
      add_below(index, directories, child->id, below);
    }
  }
}

static gboolean
is_known_directory(CloneIndex *index, gint64 node)
{
  g_auto(TreeNode) facts = {0};
  return node != TREE_NONE && tree_index_node(index->tree, node, &facts) &&
         facts.facts.type == REPLICA_DIRECTORY;
}

/* The nearest directory above that the clone has: what is new in it is told with all that is in it. */
static char *
known_parent(CloneIndex *index, const char *path)
{
  g_autofree char *parent = replica_path_parent(path);
  if (!*parent || is_known_directory(index, tree_index_find(index->tree, parent)))
    return g_steal_pointer(&parent);
  return known_parent(index, parent);
}

char **
replicator_directories(CloneIndex *index, const char *const *paths)
{
  GPtrArray *directories = g_ptr_array_new();
  for (; *paths; paths++) {
    gint64 node = tree_index_find(index->tree, *paths);
    if (is_known_directory(index, node))
      add_below(index, directories, node, *paths);
    else
      g_ptr_array_add(directories, known_parent(index, *paths));
  }
  g_ptr_array_add(directories, NULL);
  return (char **)g_ptr_array_free(directories, FALSE);
}

static void
keep_losses(ReplicatorResult *result, const Doppel__Sync__Committed *committed)
{
  for (gsize i = 0; i < committed->n_loss; i++) {
    const Doppel__Sync__Loss *loss = committed->loss[i];
    if (loss->kind >= GENERATION_LOST_KINDS)
      continue;
    result->lost[loss->kind] = loss->count;
    g_free(result->first_lost[loss->kind]);
    result->first_lost[loss->kind] = g_strndup((const char *)loss->first.data, loss->first.len);
  }
}

static gboolean
complete(Telling *telling, ReplicatorResult *result, GError **error)
{
  g_autoptr(SyncMessage) answer = telling_complete(telling, error);
  if (!answer)
    return FALSE;
  const Doppel__Sync__Committed *committed = answer->committed;
  CloneIndexState *state = &telling->index->state;
  if (committed->generation->number != state->attempting)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the clone completed another generation than was told");
  tree_index_committed(telling->index->tree);
  state->head = state->attempting;
  state->head_time_ns = state->commit_time_ns;
  state->attempting = 0;
  state->commit_time_ns = 0;
  state->heard = 0;
  memset(state->attempt, 0, sizeof state->attempt);
  result->made = TRUE;
  result->nodes = committed->generation->nodes;
  keep_losses(result, committed);
  return clone_index_save(telling->index, error);
}

static void
keep_plan(ReplicatorResult *result, TreePlan *plan)
{
  result->looked_at = plan->seen;
  result->notes = g_ptr_array_ref(plan->notes);
}

static gpointer
copy_path(gconstpointer path, gpointer unused)
{
  return g_strdup(path);
}

static void
keep_progress(ReplicatorResult *result, const Telling *telling)
{
  GenerationProgress progress = generation_steps_progress(telling->steps);
  result->paths = progress.changes;
  result->bytes = progress.bytes;
  result->literals = progress.literals;
  result->taken = progress.taken;
  result->left = progress.left;
  result->later_bytes = progress.later_bytes;
  result->later = g_ptr_array_copy((GPtrArray *)generation_steps_later(telling->steps), copy_path, NULL);
  g_ptr_array_set_free_func(result->later, g_free);
}

/* What the host has is asked for where it can save much more than it costs to be told. */
static gboolean
ask_public(Telling *telling, guint64 length, const TreePlan *plan, GError **error)
{
  enum { WORTH = 16, LEAST = 1 << 20 };
  if (!length || plan->bytes < LEAST || plan->bytes / WORTH < length)
    return TRUE;
  return public_ask(telling->link, length, &telling->public, error);
}

/* The tree as it is now, told from `durable` on. `length`: of what the host's public base has. */
static gboolean
tell_tree(Telling *telling, guint64 durable, guint64 length, ReplicatorResult *result, GError **error)
{
  g_auto(Fd) root = open_root(telling->options, error);
  if (root < 0)
    return FALSE;
  telling_report(telling, REPLICATOR_LOOKING);
  const char *const *directories = scope(telling->index, telling->options);
  g_autoptr(TreePlan) plan =
      tree_scan(telling->index->tree, telling->options->rules, root, directories, error);
  if (!plan)
    return FALSE;
  keep_plan(result, plan);
  if (!ask_public(telling, length, plan, error))
    return FALSE;
  telling_begin(telling, root, plan, durable);
  generation_steps_put_off(telling->steps, telling->options->later);
  gboolean good = telling_tell(telling, error);
  result->walked = !directories;
  if (good && !directories)
    set_watch(telling->index, telling->options);
  /* What an earlier attempt told is a generation, too, when there is nothing to add. */
  good = good && (telling->index->state.attempting ? complete(telling, result, error)
                                                   : clone_index_save(telling->index, error));
  keep_progress(result, telling);
  return good;
}

/* Whether the clone's newest generation is one that this device neither made nor began: of another device of
 * the same owner, which has the clone beside this one. */
static guint64
made_by_others(const CloneIndexState *before, const Doppel__Sync__Welcome *welcome)
{
  gboolean same_store = before->head && welcome->store.len == sizeof before->store &&
                        memcmp(before->store, welcome->store.data, sizeof before->store) == 0;
  guint64 newest = same_store && welcome->head ? welcome->head->number : 0;
  return newest > before->head && newest != before->attempting ? newest : 0;
}

static gboolean
synchronise(Telling *telling, ReplicatorResult *result, GError **error)
{
  guint64 durable;
  const CloneIndexState before = telling->index->state;
  telling_report(telling, REPLICATOR_AGREEING);
  g_autoptr(SyncMessage) welcome = conversation_hello(telling->link, TRUE, error);
  if (!welcome || !replicator_agree(telling->link, telling->index, welcome->welcome, &durable, error))
    return FALSE;
  result->resumed = durable > 0;
  result->others = made_by_others(&before, welcome->welcome);
  if (!tell_tree(telling, durable, welcome->welcome->contents, result, error))
    return FALSE;
  conversation_bye(telling->link);
  return TRUE;
}

gboolean
replicator_sync(Link *link, CloneIndex *index, const ReplicatorOptions *options, ReplicatorResult *result,
                GError **error)
{
  g_autoptr(GError) problem = NULL;
  Telling telling;
  gint64 begin = clock_now_ns();
  *result = (ReplicatorResult){0};
  if (!clone_index_is_complete(index, error))
    return FALSE;
  if (!index->tree && !clone_index_reset(index, error)) /* it could not be made anew before */
    return FALSE;
  telling_init(&telling, link, index, options);
  gboolean good = synchronise(&telling, result, &problem);
  telling_clear(&telling);
  const LinkCounters *counters = link_counters(link);
  result->sent = counters->bytes_sent;
  result->received = counters->bytes_received;
  result->generation = index->state.head;
  result->time_ns = index->state.head_time_ns;
  result->took_ns = clock_now_ns() - begin;
  if (good)
    return TRUE;
  /* The two do not agree about what the clone has, whoever is wrong: the next one asks for the manifest. */
  if (g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH) ||
      g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE))
    clone_index_reset(index, NULL);
  g_propagate_error(error, g_steal_pointer(&problem));
  return FALSE;
}

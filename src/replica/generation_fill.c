#include "replica/generation_fill.h"

#include <errno.h>
#include <string.h>

static gboolean
is_of(const ReplicaFacts *facts, const ReplicaFacts *other)
{
  return facts->dev == other->dev && facts->ino == other->ino && facts->type == other->type;
}

gboolean
generation_steps_parted(const TreeNode *told, const ReplicaFacts *facts)
{
  return told->id != TREE_NONE && told->facts.nlink > 1 && !is_of(&told->facts, facts);
}

static void
tell_first_name(GenerationSteps *steps, const char *path, TreeNode *told, GenerationReading *reading,
                const ReplicaFacts *facts, gboolean dirty)
{
  gint64 id = told->id;
  g_autoptr(GArray) names = told->facts.nlink > 1 && told->facts.ino
                                ? tree_index_inode(steps->index, told->facts.dev, told->facts.ino)
                                : NULL;
  gboolean rewritten;
  if (reading) {
    rewritten = generation_reading_tell(steps, reading, told);
  } else {
    if (generation_steps_parted(told, facts)) {
      generation_steps_remove(steps, told->id);
      tree_node_clear(told);
    }
    rewritten = generation_steps_tell(steps, path, told, facts, dirty);
  }
  if (rewritten && names)
    generation_group_part(steps, id, names);
  if (facts->nlink > 1)
    generation_group_make(steps, path, facts, rewritten ? NULL : names);
}

static gboolean fill(GenerationSteps *steps, const char *path, ReplicaType type, gboolean is_new,
                     gint64 basis);

/* A new name of an inode that the clone knows under another: that one comes first, so that its content need
 * not be made twice. FALSE: its content is being told, and this is to be asked for again. */
static gboolean
fill_known_name(GenerationSteps *steps, const char *name, const ReplicaFacts *facts)
{
  g_autoptr(GArray) names = tree_index_inode(steps->index, facts->dev, facts->ino);
  for (guint i = 0; i < names->len && !generation_group_find(steps, facts); i++) {
    g_auto(ReplicaFacts) other = {0};
    g_autofree char *path = tree_index_path(steps->index, g_array_index(names, TreeNode, i).id);
    if (path && strcmp(path, name) != 0 && tree_near_facts(&steps->near, path, &other) == 0 &&
        is_of(&other, facts))
      fill(steps, path, other.type, FALSE, TREE_NONE);
  }
  return steps->reading == NULL;
}

/* What is no directory: its facts, of a file those of what is opened then. 0, or an errno. */
static int
look(GenerationSteps *steps, const char *path, ReplicaType type, GenerationReading **reading,
     ReplicaFacts *facts)
{
  const char *name;
  if (generation_steps_parent(steps, path, &name) == TREE_NONE)
    return ENOENT;
  if (type == REPLICA_FILE) {
    int failure = generation_reading_open(steps, path, reading);
    if (!failure)
      replica_facts_copy(facts, &(*reading)->facts);
    return failure;
  }
  int failure = tree_near_facts(&steps->near, path, facts);
  return failure ? failure : facts->type == type ? 0 : ENOENT;
}

/* Whether a content is large, and seems to be new. */
static gboolean
is_for_later(const GenerationSteps *steps, const TreeNode *told, const ReplicaFacts *facts)
{
  return steps->later_size && facts->type == REPLICA_FILE && facts->size >= steps->later_size &&
         (!told->hashed || told->facts.size != facts->size || told->facts.mtime_ns != facts->mtime_ns);
}

static void
put_off(GenerationSteps *steps, const char *path, const ReplicaFacts *facts)
{
  g_ptr_array_add(steps->later, g_strdup(path));
  steps->progress.later_bytes += facts->size;
  steps->progress.bytes -= MIN(steps->progress.bytes, facts->size);
}

/* Tells what is at a path. FALSE: something else must be told to the end before. `is_new`: the clone has
 * nothing there. */
static gboolean
fill(GenerationSteps *steps, const char *path, ReplicaType type, gboolean is_new, gint64 basis)
{
  g_autoptr(GenerationReading) reading = NULL;
  g_auto(ReplicaFacts) facts = {0};
  g_auto(TreeNode) told = {0};
  gint64 read_ns = replica_now_ns();
  int failure = look(steps, path, type, &reading, &facts);
  if (failure) {
    generation_steps_leave(steps, path, failure);
    return TRUE;
  }
  gboolean dirty = replica_facts_racy(&facts, read_ns);
  if (!is_new)
    generation_steps_told(steps, path, &told);
  gboolean is_new_name = told.id == TREE_NONE || !is_of(&told.facts, &facts);
  if (facts.nlink > 1 && is_new_name && !generation_group_find(steps, &facts) &&
      !fill_known_name(steps, path, &facts))
    return FALSE;
  GenerationGroup *group = generation_group_find(steps, &facts);
  if (!group && reading && is_for_later(steps, &told, &facts)) {
    put_off(steps, path, &facts);
    return TRUE;
  }
  if (reading)
    reading->basis = basis;
  if (group)
    generation_group_link(steps, group, path, &told, &facts, dirty);
  else
    tell_first_name(steps, path, &told, g_steal_pointer(&reading), &facts, dirty);
  return TRUE;
}

/* Among what is gone from the same directory, what has the most similar name: an upgrade's old version. */
static gint64
find_similar(GenerationSteps *steps, const char *path)
{
  const char *name;
  gint64 parent = generation_steps_parent(steps, path, &name), best = TREE_NONE;
  const GArray *files = g_hash_table_lookup(steps->gone_files, &parent);
  gsize length = strlen(name), most = 0;
  for (guint i = 0; files && i < files->len; i++) {
    g_auto(TreeNode) node = {0};
    if (!tree_index_node(steps->index, g_array_index(files, gint64, i), &node))
      continue;
    gsize other = strlen(node.name), least = MIN(length, other), head = 0, tail = 0;
    while (head < least && name[head] == node.name[head])
      head++;
    while (tail < least - head && name[length - 1 - tail] == node.name[other - 1 - tail])
      tail++;
    if (head + tail > most && 2 * (head + tail) >= MAX(length, other)) {
      most = head + tail;
      best = node.id;
    }
  }
  return best;
}

gint64
generation_fill_basis(GenerationSteps *steps, const TreeChange *change)
{
  if (change->type != REPLICA_FILE || change->node != TREE_NONE || change->basis != TREE_NONE ||
      g_hash_table_size(steps->gone_files) == 0)
    return change->basis;
  return find_similar(steps, change->path);
}

gboolean
generation_fill(GenerationSteps *steps, const TreeChange *change)
{
  return fill(steps, change->path, change->type, change->node == TREE_NONE,
              generation_fill_basis(steps, change));
}

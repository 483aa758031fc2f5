/* The names of one inode, in the clone as on the device. */
#include <string.h>

#include "replica/generation_steps_private.h"

typedef struct {
  guint64 dev, ino;
} Inode;

static guint
hash_inode(gconstpointer inode)
{
  return g_int64_hash(&((const Inode *)inode)->ino);
}

static gboolean
equal_inodes(gconstpointer a, gconstpointer b)
{
  return memcmp(a, b, sizeof(Inode)) == 0;
}

static void
free_group(gpointer pointer)
{
  GenerationGroup *group = pointer;
  g_free(group->path);
  g_hash_table_unref(group->members);
  g_free(group);
}

static void
add_member(GenerationGroup *group, gint64 id)
{
  g_hash_table_add(group->members, g_memdup2(&id, sizeof id));
}

GHashTable *
generation_groups_new(void)
{
  return g_hash_table_new_full(hash_inode, equal_inodes, g_free, free_group);
}

void
generation_group_link(GenerationSteps *steps, GenerationGroup *group, const char *path, const TreeNode *told,
                      const ReplicaFacts *facts, gboolean dirty)
{
  g_auto(TreeNode) first = {0};
  if (told->id && g_hash_table_contains(group->members, &told->id)) {
    TreeNode seen = {.id = told->id, .facts = *facts, .dirty = dirty};
    tree_index_touch(steps->index, &seen);
    return;
  }
  if (strcmp(group->path, path) == 0 || !generation_steps_told(steps, group->path, &first))
    return;
  GenerationStep *step = generation_steps_at(GENERATION_LINK, path);
  step->to = g_strdup(group->path);
  guint64 number = generation_steps_emit(steps, step);
  first.facts.nlink = facts->nlink;
  gint64 id = generation_steps_put(steps, number, told->id, path, &first.facts,
                                   first.hashed ? first.content : NULL, first.dirty || dirty);
  add_member(group, id);
  if (first.hashed && id != first.id)
    tree_index_sign_like(steps->index, id, first.id, first.content);
}

GenerationGroup *
generation_group_find(GenerationSteps *steps, const ReplicaFacts *facts)
{
  Inode inode = {.dev = facts->dev, .ino = facts->ino};
  return facts->nlink > 1 ? g_hash_table_lookup(steps->groups, &inode) : NULL;
}

void
generation_group_make(GenerationSteps *steps, const char *path, const ReplicaFacts *facts,
                      const GArray *names)
{
  GenerationGroup *group = g_new(GenerationGroup, 1);
  group->path = g_strdup(path);
  group->members = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  for (guint i = 0; names && i < names->len; i++)
    add_member(group, g_array_index(names, TreeNode, i).id);
  Inode inode = {.dev = facts->dev, .ino = facts->ino};
  g_hash_table_insert(steps->groups, g_memdup2(&inode, sizeof inode), group);
}

void
generation_group_part(GenerationSteps *steps, gint64 id, const GArray *names)
{
  for (guint i = 0; i < names->len; i++) {
    TreeNode node = g_array_index(names, TreeNode, i);
    if (node.id == id)
      continue;
    node.facts.dev = node.facts.ino = 0;
    node.dirty = TRUE;
    tree_index_put(steps->index, steps->number - 1, &node);
  }
}

void
generation_group_link_again(GenerationSteps *steps)
{
  g_autofree char *first_path = g_steal_pointer(&steps->relink);
  g_auto(TreeNode) first = {0};
  if (!generation_steps_told(steps, first_path, &first) || first.facts.nlink < 2)
    return;
  GenerationGroup *group = generation_group_find(steps, &first.facts);
  g_autoptr(GArray) names = tree_index_inode(steps->index, first.facts.dev, first.facts.ino);
  if (!group) {
    generation_group_make(steps, first_path, &first.facts, NULL);
    group = generation_group_find(steps, &first.facts);
  }
  g_hash_table_remove_all(group->members);
  add_member(group, first.id);
  g_free(group->path);
  group->path = g_strdup(first_path);
  for (guint i = 0; i < names->len; i++) {
    const TreeNode *node = &g_array_index(names, TreeNode, i);
    g_autofree char *path = tree_index_path(steps->index, node->id);
    if (path)
      generation_group_link(steps, group, path, node, &first.facts, first.dirty);
  }
}

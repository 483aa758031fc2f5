/* How much there is to synchronise. */
#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "replica/tree_walk.h"
#include "replicator/sync.h"

#define READ_MAX (64u << 20) /* bytes of a file; a longer one counts as changed */

static gboolean
is_still(const ReplicaFacts *now, const ReplicaFacts *told)
{
  return now->dev == told->dev && now->ino == told->ino && now->ctime_ns == told->ctime_ns &&
         now->nlink == told->nlink && now->uid == told->uid && now->gid == told->gid &&
         replica_facts_equal(
             now, told, now->type == REPLICA_FILE ? REPLICA_FACT_ALL : REPLICA_FACT_ALL & ~REPLICA_FACT_SIZE);
}

static gboolean
has_content(TreeNear *near, const char *path, const TreeNode *told)
{
  const char *name;
  guint8 hash[GENERATION_CONTENT_HASH];
  int directory = told->hashed && told->facts.size <= READ_MAX ? tree_near_parent(near, path, &name) : -1;
  g_auto(Fd) fd =
      directory < 0 ? -1 : openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return fd >= 0 && signature_hash_fd(fd, told->facts.size, hash) &&
         memcmp(hash, told->content, sizeof hash) == 0;
}

/* Whether it is in the plan for its times alone, and is as the clone was told. */
static gboolean
is_as_told(TreeNear *near, const TreeChange *change, const TreeNode *told)
{
  g_auto(ReplicaFacts) now = {0};
  return told->dirty && !change->moved && change->in_way == TREE_NONE &&
         tree_near_facts(near, change->path, &now) == 0 && is_still(&now, &told->facts) &&
         (now.type != REPLICA_FILE || has_content(near, change->path, told));
}

ReplicatorPending
replicator_pending(CloneIndex *index, const ReplicatorOptions *options, const TreePlan *plan, guint64 later)
{
  ReplicatorPending pending = {.entries = g_hash_table_size(plan->gone)};
  g_auto(Fd) root = open(options->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_auto(TreeNear) near = {.root = root};
  for (guint i = 0; i < plan->changes->len; i++) {
    const TreeChange *change = &g_array_index(plan->changes, TreeChange, i);
    g_auto(TreeNode) told = {0};
    gboolean known = tree_index_node(index->tree, change->node, &told);
    if (known && root >= 0 && is_as_told(&near, change, &told))
      continue;
    gboolean big = later && change->type == REPLICA_FILE && change->size >= later &&
                   (!known || told.facts.size != change->size || told.facts.mtime_ns != change->mtime_ns);
    pending.entries += !big;
    pending.bytes += big ? 0 : change->size;
    pending.big_entries += big;
    pending.big_bytes += big ? change->size : 0;
  }
  return pending;
}

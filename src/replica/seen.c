#include "replica/seen.h"

#include <errno.h>

struct ReplicaSeen {
  GHashTable *facts; /* path to ReplicaFacts */
};

static void
free_facts(ReplicaFacts *facts)
{
  replica_facts_clear(facts);
  g_free(facts);
}

ReplicaSeen *
replica_seen_new(void)
{
  ReplicaSeen *seen = g_new0(ReplicaSeen, 1);
  seen->facts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)free_facts);
  return seen;
}

void
replica_seen_free(ReplicaSeen *seen)
{
  g_hash_table_unref(seen->facts);
  g_free(seen);
}

void
replica_seen_add(ReplicaSeen *seen, const char *path, const ReplicaFacts *facts)
{
  if (g_hash_table_contains(seen->facts, path))
    return;
  ReplicaFacts *copy = g_new(ReplicaFacts, 1);
  replica_facts_copy(copy, facts);
  g_hash_table_insert(seen->facts, g_strdup(path), copy);
}

const ReplicaFacts *
replica_seen_find(const ReplicaSeen *seen, const char *path)
{
  return g_hash_table_lookup(seen->facts, path);
}

void
replica_seen_reset(ReplicaSeen *seen)
{
  g_hash_table_remove_all(seen->facts);
}

gboolean
replica_seen_holds(const ReplicaFacts *then, const ReplicaFacts *now, gboolean own)
{
  guint what = REPLICA_FACT_TYPE | REPLICA_FACT_TARGET | REPLICA_FACT_RDEV | REPLICA_FACT_MODE |
               REPLICA_FACT_OWNER | REPLICA_FACT_XATTRS;
  if (then->type == REPLICA_FILE)
    what |= REPLICA_FACT_SIZE | REPLICA_FACT_MTIME | REPLICA_FACT_HASH | (own ? REPLICA_FACT_INODE : 0);
  return replica_facts_equal(then, now, what);
}

void
replica_seen_check(const ReplicaSeen *seen, int root, GPtrArray *conflicts)
{
  GHashTableIter iter;
  gpointer path, then;
  g_hash_table_iter_init(&iter, seen->facts);
  while (g_hash_table_iter_next(&iter, &path, &then)) {
    g_auto(ReplicaFacts) now = {0};
    int failure = replica_facts_read(root, path, REPLICA_READ_FOLLOW, NULL, &now);
    gboolean unknown = failure && failure != ENOENT && failure != ENOTDIR;
    if (unknown || !replica_seen_holds(then, &now, TRUE))
      g_ptr_array_add(conflicts, g_strdup(path));
  }
}

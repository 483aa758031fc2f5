#include "replicator/manifest.h"

#include <string.h>

#include "base/error.h"
#include "replica/message.h"
#include "replica/path.h"
#include "replicator/conversation.h"
#include "replicator/sync_path.h"

typedef struct {
  TreeIndex *index;
  GHashTable *directories; /* path to node (gint64 *) */
  guint64 inodes;          /* with several names: numbers that were given */
} Manifest;

static gint64 *
node_number(gint64 id)
{
  return g_memdup2(&id, sizeof id);
}

static gboolean
refuse(const char *path, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone tells of /%s what cannot be", path);
}

static gboolean
put(Manifest *manifest, const char *path, TreeNode *node)
{
  g_autofree char *parent = replica_path_parent(path);
  const gint64 *above = *path ? g_hash_table_lookup(manifest->directories, parent) : NULL;
  gboolean is_directory = node->facts.type == REPLICA_DIRECTORY;
  if (*path ? !above : !is_directory)
    return FALSE;
  node->parent = above ? *above : TREE_NONE;
  node->name = (char *)(*parent ? path + strlen(parent) + 1 : path); /* only read */
  gint64 id = tree_index_put(manifest->index, 1, node);
  if (is_directory)
    g_hash_table_insert(manifest->directories, g_strdup(path), node_number(*path ? id : TREE_ROOT));
  return TRUE;
}

/* What the name before has, this one has as well. */
static gboolean
join(Manifest *manifest, const ProtobufCBinaryData *link, TreeNode *node)
{
  g_auto(TreeNode) first = {0};
  g_autofree char *path = sync_path_take(link, NULL);
  gint64 id = path ? tree_index_find(manifest->index, path) : TREE_NONE;
  if (id == TREE_NONE || !tree_index_node(manifest->index, id, &first) ||
      first.facts.type != node->facts.type || first.facts.type == REPLICA_DIRECTORY ||
      first.facts.size != node->facts.size)
    return FALSE;
  if (!first.facts.ino) {
    first.facts.ino = ++manifest->inodes;
    tree_index_touch(manifest->index, &first);
  }
  node->facts.ino = first.facts.ino;
  node->hashed = first.hashed;
  memcpy(node->content, first.content, sizeof node->content);
  return TRUE;
}

static gboolean
take_entry(Manifest *manifest, const Doppel__Sync__Entry *entry, GError **error)
{
  g_auto(ReplicaFacts) facts = {0};
  g_autofree char *path = sync_path_take(&entry->path, error);
  if (!path || !replica_facts_all_from_message(entry->facts, &facts, error))
    return FALSE;
  gboolean is_link = entry->link.len != 0;
  if (facts.type == REPLICA_ABSENT || (entry->hash.len != 0) != (facts.type == REPLICA_FILE && !is_link) ||
      (entry->hash.len != 0 && entry->hash.len != GENERATION_CONTENT_HASH))
    return refuse(path, error);
  TreeNode node = {.facts = facts, .hashed = entry->hash.len != 0, .dirty = TRUE};
  if (node.hashed)
    memcpy(node.content, entry->hash.data, sizeof node.content);
  if (is_link && !join(manifest, &entry->link, &node))
    return refuse(path, error);
  return put(manifest, path, &node) || refuse(path, error);
}

static gboolean
take_entries(Manifest *manifest, const SyncMessage *message, GError **error)
{
  if (message->kind_case != DOPPEL__SYNC__MESSAGE__KIND_ENTRIES)
    return sync_unexpected(message, error);
  for (gsize i = 0; i < message->entries->n_entry; i++)
    if (!take_entry(manifest, message->entries->entry[i], error))
      return FALSE;
  return TRUE;
}

static gboolean
ask(Link *link, guint64 generation, gboolean links, GError **error)
{
  Doppel__Sync__Show show = DOPPEL__SYNC__SHOW__INIT;
  show.generation = generation;
  show.below = TRUE;
  show.hashes = TRUE;
  show.links = links;
  show.grant = CONVERSATION_GRANT;
  return SYNC_SEND(link, SHOW, show, &show, error);
}

gboolean
manifest_receive(Link *link, TreeIndex *index, guint64 generation, gboolean links, GError **error)
{
  g_autoptr(GHashTable) directories = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  Manifest manifest = {.index = index, .directories = directories};
  guint taken = 0;
  if (!ask(link, generation, links, error))
    return FALSE;
  for (;;) {
    gboolean end;
    g_autoptr(SyncMessage) message = conversation_next(link, &taken, &end, error);
    if (!message || (!end && !take_entries(&manifest, message, error)))
      return FALSE;
    if (end)
      break;
  }
  tree_index_committed(index);
  return TRUE;
}

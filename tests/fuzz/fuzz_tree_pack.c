/* A pack of the index's nodes, as a damaged database may hold it. What is believed can be packed, and comes
 * out again as it was. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "replica/tree_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
pack_again(const TreeNode *node, guint64 since)
{
  TreePack pack = {0};
  TreePackEntry entry;
  g_auto(TreeNode) again = {0};
  if (!tree_pack_add(&pack, node, node->id, since))
    return;
  TreePackReader reader = {.at = pack.bytes, .left = pack.length, .next = pack.first};
  if (!tree_pack_next(&reader, &entry) || reader.left || !tree_pack_is_named(&entry, node->name))
    abort();
  tree_pack_node(&entry, node->parent, &again);
  if (again.id != node->id || again.hashed != node->hashed || again.dirty != node->dirty ||
      entry.since != since || !replica_facts_equal(&again.facts, &node->facts, REPLICA_FACT_ALL))
    abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  TreePackReader reader = {.at = data, .left = size, .next = 17};
  for (TreePackEntry entry; tree_pack_next(&reader, &entry);) {
    g_auto(TreeNode) node = {0};
    tree_pack_node(&entry, 5, &node);
    pack_again(&node, entry.since);
  }
  return 0;
}

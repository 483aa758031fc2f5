#include "replica/tree_pack.h"

#include <limits.h>
#include <string.h>

#define EXTRAS_MAX 1024u /* bytes of target and attributes: a node with more gets a row of its own */

enum { DIRTY = 1, HASHED = 2, TARGET = 4, XATTRS = 8 };

/* As it is kept; name, target and attributes follow. */
typedef struct {
  guint64 since, size, mtime_ns, rdev, dev, ino, ctime_ns, nlink;
  guint32 type, mode, uid, gid;
  guint8 content[GENERATION_CONTENT_HASH];
  guint16 name_length, target_length, xattrs_length, flags;
} Fixed;
G_STATIC_ASSERT(sizeof(Fixed) == 8 * 8 + 4 * 4 + GENERATION_CONTENT_HASH + 4 * 2);

static Fixed
fixed_of(const TreeNode *node, guint64 since)
{
  const ReplicaFacts *facts = &node->facts;
  Fixed fixed = {.since = since,
                 .size = facts->size,
                 .mtime_ns = facts->mtime_ns,
                 .rdev = facts->rdev,
                 .dev = facts->dev,
                 .ino = facts->ino,
                 .ctime_ns = facts->ctime_ns,
                 .nlink = facts->nlink,
                 .type = facts->type,
                 .mode = facts->mode,
                 .uid = facts->uid,
                 .gid = facts->gid,
                 .flags = (node->dirty ? DIRTY : 0) | (node->hashed ? HASHED : 0) |
                          (facts->target ? TARGET : 0) | (facts->xattrs ? XATTRS : 0)};
  if (node->hashed)
    memcpy(fixed.content, node->content, sizeof fixed.content);
  return fixed;
}

gboolean
tree_pack_add(TreePack *pack, const TreeNode *node, gint64 id, guint64 since)
{
  const ReplicaFacts *facts = &node->facts;
  gsize name = strlen(node->name), target = facts->target ? strlen(facts->target) : 0, xattrs = 0;
  const guint8 *attributes = facts->xattrs ? g_bytes_get_data(facts->xattrs, &xattrs) : NULL;
  gsize length = sizeof(Fixed) + name + target + xattrs;
  if (name == 0 || name > NAME_MAX || target + xattrs > EXTRAS_MAX || facts->type == REPLICA_DIRECTORY)
    return FALSE;
  if (pack->count > 0 && (pack->parent != node->parent || id != pack->first + pack->count ||
                          length > sizeof pack->bytes - pack->length))
    return FALSE;
  if (pack->count == 0) {
    pack->first = id;
    pack->parent = node->parent;
    pack->length = 0;
  }
  Fixed fixed = fixed_of(node, since);
  fixed.name_length = name;
  fixed.target_length = target;
  fixed.xattrs_length = xattrs;
  guint8 *at = mempcpy(pack->bytes + pack->length, &fixed, sizeof fixed);
  at = mempcpy(at, node->name, name);
  if (target)
    at = mempcpy(at, facts->target, target);
  if (xattrs)
    memcpy(at, attributes, xattrs);
  pack->length += length;
  pack->since = since;
  pack->count++;
  return TRUE;
}

gboolean
tree_pack_next(TreePackReader *reader, TreePackEntry *entry)
{
  Fixed fixed;
  if (reader->left < sizeof fixed)
    return FALSE;
  memcpy(&fixed, reader->at, sizeof fixed);
  gsize length = sizeof fixed + fixed.name_length + fixed.target_length + fixed.xattrs_length;
  const char *name = (const char *)reader->at + sizeof fixed;
  if (length > reader->left || fixed.name_length == 0 || fixed.type > REPLICA_BLOCK_DEVICE ||
      fixed.type == REPLICA_DIRECTORY || memchr(name, '\0', fixed.name_length) ||
      memchr(name, '/', fixed.name_length))
    return FALSE;
  const guint8 *target = (const guint8 *)name + fixed.name_length;
  *entry = (TreePackEntry){.id = reader->next++,
                           .since = fixed.since,
                           .size = fixed.size,
                           .mtime_ns = fixed.mtime_ns,
                           .rdev = fixed.rdev,
                           .dev = fixed.dev,
                           .ino = fixed.ino,
                           .ctime_ns = fixed.ctime_ns,
                           .nlink = fixed.nlink,
                           .type = fixed.type,
                           .mode = fixed.mode,
                           .uid = fixed.uid,
                           .gid = fixed.gid,
                           .dirty = (fixed.flags & DIRTY) != 0,
                           .hashed = (fixed.flags & HASHED) != 0,
                           .name = name,
                           .target = fixed.flags & TARGET ? target : NULL,
                           .xattrs = fixed.flags & XATTRS ? target + fixed.target_length : NULL,
                           .name_length = fixed.name_length,
                           .target_length = fixed.target_length,
                           .xattrs_length = fixed.xattrs_length};
  memcpy(entry->content, fixed.content, sizeof entry->content);
  reader->at += length;
  reader->left -= length;
  return TRUE;
}

gboolean
tree_pack_is_named(const TreePackEntry *entry, const char *name)
{
  return strncmp(entry->name, name, entry->name_length) == 0 && name[entry->name_length] == '\0';
}

void
tree_pack_node(const TreePackEntry *entry, gint64 parent, TreeNode *node)
{
  *node = (TreeNode){.id = entry->id,
                     .parent = parent,
                     .name = g_strndup(entry->name, entry->name_length),
                     .hashed = entry->hashed,
                     .dirty = entry->dirty};
  memcpy(node->content, entry->content, sizeof node->content);
  node->facts = (ReplicaFacts){
      .type = entry->type,
      .mode = entry->mode,
      .uid = entry->uid,
      .gid = entry->gid,
      .size = entry->size,
      .mtime_ns = entry->mtime_ns,
      .rdev = entry->rdev,
      .dev = entry->dev,
      .ino = entry->ino,
      .ctime_ns = entry->ctime_ns,
      .nlink = entry->nlink,
      .target = entry->target ? g_strndup((const char *)entry->target, entry->target_length) : NULL,
      .xattrs = entry->xattrs ? g_bytes_new(entry->xattrs, entry->xattrs_length) : NULL};
}

/* Who a file is: the device and inode number that programs on the device know it by. A program that
 * remembers them (sqlite, tail, git) must find them again in the clone, and back on the device. */
#include <string.h>

#include "augmenter/paths_private.h"
#include "replica/path.h"

/* Added to the numbers of what the block made: the device has no such, and a double still holds them. */
#define MADE_NUMBER (1ull << 50)

static GBytes *
upper_inode(const PathsLayer *layer, const char *rest)
{
  const char *name;
  g_auto(Fd) parent = *rest ? replica_path_open_parent(layer->sandbox->upper_fd, rest, FALSE, &name) : -1;
  return parent < 0 ? NULL : replica_inode_read(parent, name);
}

/* The device's number for the file system that a new name is on: its directory's. */
static guint64
device_of(const Paths *paths, const char *path)
{
  g_autofree char *at = g_strdup(path);
  for (char *slash; (slash = strrchr(at, '/'));) {
    slash[slash == at] = '\0';
    const KnownPath *known = known_find(paths, at);
    if (known && !known->failure && known->facts.ino)
      return known->facts.dev;
    if (slash == at)
      break;
  }
  return 0;
}

static void
remember(Paths *paths, GBytes *inode, const PathsIdentity *identity)
{
  if (inode && g_hash_table_size(paths->identities) < PATHS_KNOWN_MAX)
    g_hash_table_replace(paths->identities, g_bytes_ref(inode), g_memdup2(identity, sizeof *identity));
}

static void
as_known(const KnownPath *known, gboolean unchanged, PathsIdentity *identity)
{
  *identity = (PathsIdentity){known->facts.dev, known->facts.ino, unchanged};
}

/* Whether the block, which changed what is there, left it the same inode. */
static gboolean
is_same(const PathsLayer *layer, const char *rest, const struct stat *own)
{
  if (S_ISDIR(own->st_mode))
    return !layer_made(layer, rest);
  return !g_hash_table_contains(layer->renamed, rest) &&
         replica_baseline_same_inode(layer->baseline, layer->replica, rest);
}

static gboolean
identify_in_layer(Paths *paths, const PathsLayer *layer, const char *path, const char *rest,
                  const struct stat *own, const KnownPath *known, PathsIdentity *identity)
{
  gboolean told = known && !known->failure && known->facts.ino;
  if (!paths->dirty && !g_hash_table_size(paths->identities)) {
    if (told)
      as_known(known, TRUE, identity);
    return told;
  }
  g_autoptr(GBytes) inode = upper_inode(layer, rest);
  const PathsIdentity *found = inode ? g_hash_table_lookup(paths->identities, inode) : NULL;
  if (found) {
    *identity = *found;
    return TRUE;
  }
  gboolean touched = paths->dirty && layer_touched(layer, rest);
  if (told && (!touched || is_same(layer, rest, own))) {
    as_known(known, !touched, identity);
    return TRUE;
  }
  if (!touched)
    return FALSE;
  *identity = (PathsIdentity){device_of(paths, path), own->st_ino | MADE_NUMBER, FALSE};
  remember(paths, inode, identity);
  return TRUE;
}

gboolean
identity_of(Paths *paths, const char *path, const struct stat *own, PathsIdentity *identity)
{
  const char *rest;
  const KnownPath *known = known_find(paths, path);
  const PathsLayer *layer = layer_of(paths, path, &rest);
  if (layer)
    return identify_in_layer(paths, layer, path, rest, own, known, identity);
  if (!known || known->failure || augmenter_is_local(paths->augmenter))
    return FALSE;
  as_known(known, TRUE, identity);
  return TRUE;
}

void
identity_keep(Paths *paths, const PathsLayer *layer, const char *rest, const PathsIdentity *identity)
{
  PathsIdentity kept = {identity->dev, identity->ino, FALSE};
  g_autoptr(GBytes) inode = upper_inode(layer, rest);
  remember(paths, inode, &kept);
}

void
identity_answer(const PathsIdentity *identity, const KnownPath *known, struct stat *plain)
{
  plain->st_dev = identity->dev;
  plain->st_ino = identity->ino;
  if (!identity->unchanged || !known)
    return;
  plain->st_blocks = known->facts.blocks;
  if (S_ISDIR(plain->st_mode) && known->facts.type == REPLICA_DIRECTORY)
    plain->st_size = (off_t)known->facts.directory_size;
  plain->st_ctim.tv_sec = known->facts.ctime_ns / 1000000000;
  plain->st_ctim.tv_nsec = known->facts.ctime_ns % 1000000000;
  if (plain->st_ctim.tv_nsec < 0) {
    plain->st_ctim.tv_sec--;
    plain->st_ctim.tv_nsec += 1000000000;
  }
}

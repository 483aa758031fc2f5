/* Making a directory's names the device's. What they name stays empty until it is looked at. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "augmenter/paths_private.h"
#include "base/error.h"
#include "replica/path.h"

/* overlayfs keeps what it has looked up: a directory below that was removed and made again is still the
 * former one to it, which lists nothing, not even itself. Nothing heals that but another mount. */
static GHashTable *
read_own(Paths *paths, const PathsLayer *layer, const char *rest, GError **error)
{
  Fd fd = *rest ? replica_path_open(layer->replica->merged, rest, O_RDONLY | O_DIRECTORY)
                : openat(layer->replica->merged, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *listing = fd < 0 ? NULL : fdopendir(fd);
  if (!listing) {
    doppel_error_errno(error, "cannot list it in the clone");
    io_close(&fd);
    return NULL;
  }
  GHashTable *names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL); /* to d_type */
  gboolean alive = FALSE;
  errno = 0;
  for (struct dirent *entry; (entry = readdir(listing)); errno = 0) {
    alive |= strcmp(entry->d_name, ".") == 0;
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      g_hash_table_insert(names, g_strdup(entry->d_name), GUINT_TO_POINTER(entry->d_type));
  }
  int failure = alive || errno ? errno : ENOENT;
  closedir(listing);
  if (!failure)
    return names;
  g_hash_table_unref(names);
  paths->worn |= !alive;
  errno = failure;
  doppel_error_errno(error, "cannot list it in the clone");
  return NULL;
}

/* A pipe or socket of the device's: its name, to be seen and not used. */
static gboolean
make_placeholder(PathsLayer *layer, const char *rest, const ReplicaFacts *facts, GError **error)
{
  mode_t type = facts->type == REPLICA_FIFO ? S_IFIFO : S_IFSOCK;
  g_autoptr(ReplicaFix) fix = replica_fix_begin(&layer->copy, rest, error);
  if (!fix)
    return FALSE;
  if (mknodat(replica_fix_parent(fix), replica_fix_temporary(fix), type | 0600, 0) < 0)
    return doppel_error_errno(error, "cannot make %s in the clone", rest);
  return replica_fix_place(fix, facts, error) && replica_fix_end(fix, error);
}

static gboolean
make_name(Paths *paths, PathsLayer *layer, const char *path, const char *rest, GError **error)
{
  const KnownPath *known = known_find(paths, path);
  g_auto(ReplicaFacts) facts = {0};
  if (!known || (known->failure == ENOENT))
    return TRUE; /* gone while it was listed */
  known_copy_facts(known, NULL, &facts);
  switch (known->failure ? REPLICA_FILE : facts.type) {
  case REPLICA_FILE:
    facts.type = REPLICA_FILE;
    facts.size = 0;
    return replica_fix(&layer->copy, rest, REPLICA_CHECK_CREATE, &facts, error);
  case REPLICA_DIRECTORY:
  case REPLICA_SYMLINK:
    return replica_fix(&layer->copy, rest, REPLICA_CHECK_CREATE, &facts, error);
  case REPLICA_FIFO:
  case REPLICA_SOCKET:
    return make_placeholder(layer, rest, &facts, error);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "%s is a device node, which the clone cannot have", path);
  }
}

/* A directory's names come with their kinds. */
static gboolean
is_of_kind(const Paths *paths, const char *directory, const char *name, guint type)
{
  static const guint8 kinds[] = {
      [REPLICA_FILE] = DT_REG,        [REPLICA_DIRECTORY] = DT_DIR, [REPLICA_SYMLINK] = DT_LNK,
      [REPLICA_FIFO] = DT_FIFO,       [REPLICA_SOCKET] = DT_SOCK,   [REPLICA_CHARACTER_DEVICE] = DT_CHR,
      [REPLICA_BLOCK_DEVICE] = DT_BLK};
  g_autofree char *path = g_strconcat(directory[1] ? directory : "", "/", name, NULL);
  const KnownPath *known = known_find(paths, path);
  return type == DT_UNKNOWN || !known || known->failure || kinds[known->facts.type] == type;
}

/* Neither what the block made or removed itself, nor what is a layer of its own. */
static gboolean
is_ours(Paths *paths, PathsLayer *layer, const char *path, const char *rest)
{
  const char *other;
  return layer_of(paths, path, &other) == layer && *other && !layer_touched(layer, rest);
}

typedef struct {
  Paths *paths;
  PathsLayer *layer;
  const char *path, *rest;
} Place;

static gboolean
settle_name(const Place *place, const char *name, gboolean make, GError **error)
{
  g_autofree char *rest = replica_path_join(place->rest, name);
  g_autofree char *path = g_strconcat(place->path[1] ? place->path : "", "/", name, NULL);
  if (!is_ours(place->paths, place->layer, path, rest))
    return TRUE;
  if (make)
    return make_name(place->paths, place->layer, path, rest, error);
  return replica_fix(&place->layer->copy, rest, REPLICA_CHECK_REMOVE, &(ReplicaFacts){0}, error);
}

gboolean
listing_settle(Paths *paths, const char *path, GHashTable *names, GError **error)
{
  Place place = {.paths = paths, .path = path};
  place.layer = layer_of(paths, path, &place.rest);
  if (!place.layer)
    return TRUE;
  g_autoptr(GHashTable) own = read_own(paths, place.layer, place.rest, error);
  if (!own)
    return FALSE;
  GHashTableIter iter;
  gpointer name, type;
  g_hash_table_iter_init(&iter, own);
  while (g_hash_table_iter_next(&iter, &name, NULL))
    if (!g_hash_table_contains(names, name) && !settle_name(&place, name, FALSE, error))
      return FALSE;
  g_hash_table_iter_init(&iter, names);
  while (g_hash_table_iter_next(&iter, &name, NULL))
    if (!(g_hash_table_lookup_extended(own, name, NULL, &type) &&
          is_of_kind(paths, path, name, GPOINTER_TO_UINT(type))) &&
        !settle_name(&place, name, TRUE, error))
      return FALSE;
  return TRUE;
}

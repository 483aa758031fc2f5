#include "cmd/clone_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cmd/clone_where.h"
#include "replicator/clone_index.h"

#define NS_PER_S G_GINT64_CONSTANT(1000000000)

char *
clone_store_directory(const char *clone)
{
  return clone_index_directory(clone);
}

Link *
clone_store_dial(const PairedClone *clone, GError **error)
{
  return clone_store_dial_packing(clone, 0, error);
}

Link *
clone_store_dial_packing(const PairedClone *clone, int compression, GError **error)
{
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.compression = compression;
  options.tickets = FALSE; /* most of these links are short, and need one connection */
  g_autoptr(IdentityKey) device = identity_device_key(error);
  if (!device)
    return NULL;
  return link_dial_later((const char *const *)clone->addresses, device, &clone->key, clone->id, &options,
                         error);
}

Link *
clone_store_reach(const char *name, char **root, GError **error)
{
  clone_where_check(NULL, name);
  g_autoptr(PairedClone) clone = paired_find(name, error);
  if (!clone)
    return NULL;
  if (root) {
    g_autofree char *directory = clone_store_directory(clone->name);
    *root = clone_index_root(directory);
  }
  return clone_store_dial(clone, error);
}

/* The directory that a path is in, without links, as far as it is there. */
static char *
resolve_parent(const char *absolute)
{
  g_autofree char *parent = g_path_get_dirname(absolute);
  g_autofree char *name = g_path_get_basename(absolute);
  char *real = realpath(parent, NULL);
  if (!real && strcmp(parent, "/") != 0)
    real = resolve_parent(parent);
  char *resolved = g_build_filename(real ? real : "/", strcmp(name, "/") == 0 ? "" : name, NULL);
  free(real);
  return resolved;
}

char *
clone_store_path(const char *root, const char *word, GError **error)
{
  g_autofree char *absolute = g_canonicalize_filename(word, NULL);
  g_autofree char *path = resolve_parent(absolute);
  gsize length = strcmp(root, "/") == 0 ? 0 : strlen(root), end = strlen(path);
  while (end > 1 && path[end - 1] == '/')
    path[--end] = '\0';
  if (strncmp(path, root, length) == 0 && (path[length] == '/' || !path[length]))
    return g_strdup(path + length + (path[length] == '/'));
  doppel_error_set(error, DOPPEL_ERROR_USAGE, "%s is not in %s, which is what the clone has a copy of", path,
                   root);
  return NULL;
}

char *
clone_store_size(guint64 bytes)
{
  return g_format_size(bytes);
}

char *
clone_store_time(gint64 time_ns, gboolean machine)
{
  g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(time_ns / NS_PER_S);
  g_autoptr(GDateTime) here = utc && !machine ? g_date_time_to_local(utc) : NULL;
  if (!utc)
    return g_strdup("?");
  return machine ? g_date_time_format(utc, "%FT%TZ") : g_date_time_format(here ? here : utc, "%F %T");
}

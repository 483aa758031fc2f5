#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/cloneds.h"
#include "daemon/served.h"

void
cloneds_place_clear(ClonedsPlace *place)
{
  g_free(place->state);
  g_free(place->store);
}

gboolean
cloneds_place_complete(ClonedsPlace *place, GError **error)
{
  if (!served_complete_state("cloneds", &place->state, error))
    return FALSE;
  if (!place->store)
    place->store = g_strdup_printf("sqlite:%s/directory.db", place->state);
  return TRUE;
}

IdentityKey *
cloneds_place_key(const ClonedsPlace *place, GError **error)
{
  g_autofree char *path = g_build_filename(place->state, "directory.key", NULL);
  return identity_key_load_or_create(path, error);
}

char *
cloneds_place_peers(const ClonedsPlace *place)
{
  return g_build_filename(place->state, "peers.conf", NULL);
}

char *
cloneds_place_peers_status(const ClonedsPlace *place)
{
  return g_build_filename(place->state, "peers.status", NULL);
}

DirectoryStore *
cloneds_place_look(const ClonedsPlace *place, GError **error)
{
  const char *path = g_str_has_prefix(place->store, "sqlite:") ? place->store + strlen("sqlite:") : NULL;
  if (path && access(path, F_OK) < 0 && errno == ENOENT) {
    doppel_error_set(
        error, DOPPEL_ERROR_NOT_FOUND,
        "there is no directory in %s yet: \"cloneds serve\" makes one (--state or --store say where)", path);
    return NULL;
  }
  return directory_store_open(place->store, error);
}

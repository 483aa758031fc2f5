#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/cloneds.h"

void
cloneds_place_clear(ClonedsPlace *place)
{
  g_free(place->state);
  g_free(place->store);
}

gboolean
cloneds_place_complete(ClonedsPlace *place, GError **error)
{
  struct stat status;
  if (!place->state)
    place->state = geteuid() == 0 ? g_strdup("/var/lib/cloneds")
                                  : g_build_filename(g_get_user_state_dir(), "cloneds", NULL);
  if (g_mkdir_with_parents(place->state, 0700) < 0 || stat(place->state, &status) < 0)
    return doppel_error_errno(error, "cannot use the state directory %s", place->state);
  if (status.st_mode & 077)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "the state directory %s can be entered by others (mode %03o): chmod 700 it",
                            place->state, (guint)status.st_mode & 0777);
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

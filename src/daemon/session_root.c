#include "daemon/session_root.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation_view.h"
#include "replicator/receive.h"

void
daemon_session_root_clear(DaemonSessionRoot *root)
{
  g_clear_pointer(&root->path, g_free);
  g_clear_pointer(&root->lease, generation_lease_free);
}

static gboolean
not_synchronised(const DaemonClone *clone, GError **error)
{
  return doppel_error_set(
      error, DOPPEL_ERROR_NOT_FOUND,
      "nothing was synchronised to the clone %s yet, and its host has no other root for it: run "
      "\"doppel sync\" first",
      clone->name);
}

static GenerationLease *
take_newest(const char *replica, const DaemonClone *clone, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autofree char *path = g_build_filename(replica, REPLICATOR_STORE, NULL);
  g_auto(Fd) store = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (store < 0 && errno != ENOENT)
    doppel_error_errno(error, "the clone's store %s cannot be used", path);
  else if (store < 0)
    not_synchronised(clone, error);
  if (store < 0)
    return NULL;
  GenerationLease *lease = generation_lease_take(store, 0, &problem);
  if (g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    not_synchronised(clone, error);
  else if (problem)
    g_propagate_error(error, g_steal_pointer(&problem));
  return lease;
}

/* A program that asks where it is takes the root of a mount that is attached nowhere for "/": it has to have
 * a place. */
static gboolean
mount_view(const GenerationLease *lease, const char *place, GError **error)
{
  g_auto(Fd) view = generation_view_mount(lease, GENERATION_VIEW_SET_ID, error);
  if (view < 0)
    return FALSE;
  if (mkdir(place, 0700) < 0 && errno != EEXIST)
    return doppel_error_errno(error, "cannot make %s", place);
  return move_mount(view, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) == 0 ||
         doppel_error_errno(error, "cannot mount the clone's root at %s", place);
}

gboolean
daemon_session_root(const DaemonState *state, const DaemonClone *clone, const char *given,
                    DaemonSessionRoot *root, GError **error)
{
  *root = (DaemonSessionRoot){.path = g_strdup(given)};
  if (given)
    return TRUE;
  g_autofree char *replica = daemon_state_clone_replica(state, clone->id);
  root->path = g_build_filename(replica, "view", NULL);
  /* Before anything is opened: directories of another mount namespace cannot be mounted. */
  if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    return doppel_error_errno(error, "cannot make a mount namespace for the clone's root");
  root->lease = take_newest(replica, clone, error);
  if (!root->lease)
    return FALSE;
  return mount_view(root->lease, root->path, error);
}

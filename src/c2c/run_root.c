#include "c2c/run_root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation_view.h"

/* A system's, by the Filesystem Hierarchy Standard 3.0: nobody's documents, settings or secrets. */
static const char *const shown[] = {"bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr"};

/* There for programs that look, and for what the sandbox mounts; empty. */
static const char *const empty[] = {"dev",  "etc", "home", "mnt", "opt", "proc",
                                    "root", "run", "srv",  "sys", "tmp", "var"};

void
run_root_clear(RunRoot *root)
{
  g_clear_pointer(&root->path, g_free);
  g_clear_pointer(&root->lease, generation_lease_free);
}

static gboolean
take_newest(const char *replica, RunRoot *root, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_auto(Fd) store = open(replica, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (store < 0)
    return errno == ENOENT || doppel_error_errno(error, "the clone's store cannot be used");
  root->lease = generation_lease_take(store, 0, &problem);
  if (root->lease || g_error_matches(problem, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error(error, g_steal_pointer(&problem));
  return FALSE;
}

static gboolean
make_directory(const char *path, GError **error)
{
  return mkdir(path, 0755) == 0 || errno == EEXIST || doppel_error_errno(error, "cannot make %s", path);
}

/* A directory of the view is bound; a link ("/lib" to "usr/lib") is one here, too. */
static gboolean
show(const char *view, const char *root, const char *name, GError **error)
{
  g_autofree char *from = g_build_filename(view, name, NULL), *to = g_build_filename(root, name, NULL);
  char target[PATH_MAX];
  struct stat facts;
  if (lstat(from, &facts) < 0)
    return TRUE;
  if (S_ISLNK(facts.st_mode)) {
    gssize length = readlink(from, target, sizeof target - 1);
    target[MAX(length, 0)] = '\0';
    return length <= 0 || symlink(target, to) == 0 || doppel_error_errno(error, "cannot make %s", to);
  }
  if (!S_ISDIR(facts.st_mode))
    return TRUE;
  return make_directory(to, error) &&
         (mount(from, to, NULL, MS_BIND, NULL) == 0 || doppel_error_errno(error, "cannot show %s", name));
}

/* The view itself goes out of sight; what is bound of it stays. */
static gboolean
show_programs(const GenerationLease *lease, const char *view, const char *root, GError **error)
{
  g_auto(Fd) mounted = generation_view_mount(lease, GENERATION_VIEW_PLAIN, error);
  if (mounted < 0 || !make_directory(view, error))
    return FALSE;
  if (move_mount(mounted, "", AT_FDCWD, view, MOVE_MOUNT_F_EMPTY_PATH) < 0)
    return doppel_error_errno(error, "cannot mount the clone's root");
  for (guint i = 0; i < G_N_ELEMENTS(shown); i++)
    if (!show(view, root, shown[i], error))
      return FALSE;
  return umount2(view, MNT_DETACH) == 0 || doppel_error_errno(error, "cannot unmount %s", view);
}

static gboolean
make_empty(const char *root, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS(empty); i++) {
    g_autofree char *path = g_build_filename(root, empty[i], NULL);
    if (!make_directory(path, error))
      return FALSE;
  }
  g_autofree char *tmp = g_build_filename(root, "tmp", NULL);
  return chmod(tmp, 01777) == 0 || doppel_error_errno(error, "cannot make %s", tmp);
}

gboolean
run_root_make(const char *directory, const char *replica, RunRoot *root, GError **error)
{
  g_autofree char *view = g_build_filename(directory, "run-view", NULL);
  *root = (RunRoot){.path = g_build_filename(directory, "run-root", NULL)};
  /* Before anything is opened: directories of another mount namespace cannot be mounted. */
  if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    return doppel_error_errno(error, "cannot make a mount namespace");
  if (!make_directory(root->path, error))
    return FALSE;
  if (mount("tmpfs", root->path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m") < 0)
    return doppel_error_errno(error, "cannot mount a root");
  return take_newest(replica, root, error) && make_empty(root->path, error) &&
         (!root->lease || show_programs(root->lease, view, root->path, error));
}

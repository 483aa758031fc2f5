#include "augmenter/sandbox_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "augmenter/init.h"
#include "augmenter/mountinfo.h"
#include "augmenter/rootfs.h"
#include "augmenter/userns.h"
#include "base/error.h"
#include "base/io.h"

static Sandbox *
sandbox_new(void)
{
  Sandbox *sandbox = g_new0(Sandbox, 1);
  sandbox->private = g_new0(struct SandboxPrivate, 1);
  sandbox->proc_fd = sandbox->private->life_fd = -1;
  sandbox->private->dir = (SessionDir){.tmp_fd = -1, .lock_fd = -1};
  sandbox->private->holes = g_ptr_array_new_with_free_func(g_free);
  sandbox->private->pending = g_array_new(FALSE, FALSE, sizeof(SandboxPending));
  sandbox->layers = g_ptr_array_new_with_free_func((GDestroyNotify)sandbox_layer_free);
  sandbox->notes = g_ptr_array_new_with_free_func(g_free);
  return sandbox;
}

static gboolean
canonical_root(const SandboxSpec *spec, char **root, GError **error)
{
  if (spec->local) {
    *root = g_strdup("/");
    return TRUE;
  }
  char *found = realpath(spec->root, NULL);
  if (!found)
    return doppel_error_errno(error, "cannot reach the clone's root %s", spec->root);
  *root = found;
  if (!g_file_test(found, G_FILE_TEST_IS_DIR))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "the clone's root %s is not a directory", spec->root);
  return TRUE;
}

/* Where a program of the caller's user is expected to write. */
static GPtrArray *
writable_places(const SandboxSpec *spec)
{
  GPtrArray *places = g_ptr_array_new_with_free_func(g_free);
  g_ptr_array_add(places, g_strdup("/tmp"));
  if (spec->local) {
    g_ptr_array_add(places, g_strdup(g_get_home_dir()));
    g_ptr_array_add(places, g_get_current_dir());
  }
  for (const char *const *path = spec->writable; path && *path; path++)
    g_ptr_array_add(places, g_strdup(*path));
  g_ptr_array_add(places, NULL);
  return places;
}

/* A privileged caller takes the mounts apart before it enters its user namespace: only here is it allowed to
 * look under them. */
static gboolean
plan(Sandbox *sandbox, const SandboxSpec *spec, const char *root, gboolean privileged, GError **error)
{
  struct SandboxPrivate *private = sandbox->private;
  g_autoptr(GPtrArray) writable = writable_places(spec);
  if (privileged && (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0))
    return doppel_error_errno(error, "cannot make a mount namespace");
  private->overlay = (Overlay){.root = root,
                               .tmp = private->dir.tmp,
                               .session = private->dir.path,
                               .privileged = privileged,
                               .writable = privileged ? NULL : (const char *const *)writable->pdata,
                               .upper = spec->upper,
                               .upper_bytes = spec->upper_bytes,
                               .notes = sandbox->notes,
                               .layers = sandbox->layers,
                               .holes = private->holes};
  private->all_ids = privileged && userns_has_all_ids();
  private->overlay.mounts = mountinfo_read(sandbox->proc_fd, error);
  gboolean planned = private->overlay.mounts && overlay_plan(&private->overlay, error);
  private->overlay.writable = NULL;
  if (planned && chdir("/") != 0)
    return doppel_error_errno(error, "cannot enter /");
  return planned;
}

static gboolean
cross_over(Sandbox *sandbox, const SandboxSpec *spec, gboolean privileged, GError **error)
{
  UsernsIds ids = {.uid = spec->own_id_as ? spec->uid : (uid_t)-1,
                   .gid = spec->own_id_as ? spec->gid : (gid_t)-1,
                   .sub_ids = spec->sub_ids};
  UsernsOthers others = {
      .hostname = spec->hostname, .monotonic_ns = spec->monotonic_ns, .boottime_ns = spec->boottime_ns};
  if (!userns_enter(&ids, &sandbox->one_id, sandbox->notes, error))
    return FALSE;
  if (sandbox->one_id)
    g_ptr_array_add(sandbox->notes,
                    g_strdup("started without privilege: only one user exists in the clone, other owners of "
                             "files show as 65534, and what belongs to them is read-only"));
  /* Here, with power over the owners of all sessions' files, and the machine's directories still in view. */
  session_dir_sweep(&sandbox->private->dir);
  return userns_unshare_others(&others, sandbox->notes, error);
}

/* Hides a directory of the machine's, where it is in the clone's root. */
static gboolean
cover(Sandbox *sandbox, const char *tree, const char *root, const char *path, GError **error)
{
  if (strcmp(root, "/") != 0)
    path = mountinfo_is_below(path, root) ? path + strlen(root) : NULL;
  if (path && !rootfs_cover(tree, path, error))
    return FALSE;
  if (path)
    g_ptr_array_add(sandbox->private->holes, g_strdup(path));
  return TRUE;
}

static gboolean
furnish(Sandbox *sandbox, const SandboxSpec *spec, const char *root, gboolean sealed, GError **error)
{
  struct SandboxPrivate *private = sandbox->private;
  g_autofree char *tree = overlay_tree(&private->overlay);
  const char *tmp = private->dir.tmp;
  if (!overlay_mount(&private->overlay, error) || !cover(sandbox, tree, root, tmp, error))
    return FALSE;
  if (spec->hidden && !mountinfo_is_below(spec->hidden, tmp) &&
      !cover(sandbox, tree, root, spec->hidden, error))
    return FALSE;
  if (!rootfs_mount_devices(tree, sandbox->notes, error))
    return FALSE;
  /* No terminal: a program in the clone must not find the user's, and the terminal's signals are the
   * Controller's to pass on. */
  setsid();
  sandbox->init = init_start(tree, sealed, &private->life_fd, &sandbox->pid_max, error);
  return sandbox->init > 0 && rootfs_pivot(tree, error);
}

/* The session keyring would be inherited by the mirror; and nobody but root outside may look into the
 * Augmenter. */
static void
close_the_door(void)
{
  syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void
raise_file_limit(struct rlimit *before)
{
  getrlimit(RLIMIT_NOFILE, before);
  setrlimit(RLIMIT_NOFILE, &(struct rlimit){before->rlim_max, before->rlim_max});
}

static gboolean
enter(Sandbox *sandbox, const SandboxSpec *spec, const char *root, GError **error)
{
  struct SandboxPrivate *private = sandbox->private;
  gboolean privileged = userns_is_privileged(), sealed = geteuid() == 0;
  sandbox->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (sandbox->proc_fd < 0)
    return doppel_error_errno(error, "cannot open /proc");
  raise_file_limit(&private->files);
  if (!session_dir_make(&private->dir, spec->tmp, error))
    return FALSE;
  limits_make(&private->limits, &spec->limits, strrchr(private->dir.path, '/') + 1, sandbox->notes);
  gboolean entered = plan(sandbox, spec, root, privileged, error) &&
                     cross_over(sandbox, spec, privileged, error) &&
                     furnish(sandbox, spec, root, sealed, error);
  if (entered)
    close_the_door();
  else if (private->overlay.session)
    overlay_unmount(&private->overlay);
  g_clear_pointer(&private->overlay.mounts, g_ptr_array_unref);
  overlay_clear(&private->overlay);
  return entered;
}

Sandbox *
sandbox_enter(const SandboxSpec *spec, GError **error)
{
  g_autofree char *root = NULL;
  if (!canonical_root(spec, &root, error))
    return NULL;
  g_autoptr(Sandbox) sandbox = sandbox_new();
  return enter(sandbox, spec, root, error) ? g_steal_pointer(&sandbox) : NULL;
}

/* Init is reaped only when its PID namespace is empty, and the mirror's processes leave it only when they are
 * reaped by us, their parent or tracer. So everything is waited for. */
static void
kill_all(const Sandbox *sandbox)
{
  int status;
  kill(sandbox->init, SIGKILL);
  for (;;) {
    pid_t pid = waitpid(-1, &status, __WALL);
    if ((pid == sandbox->init && !WIFSTOPPED(status)) || (pid < 0 && errno != EINTR))
      return;
    if (pid > 0 && WIFSTOPPED(status))
      ptrace(PTRACE_CONT, pid, NULL,
             NULL); /* stops once more on its way out where its tracer asked for that */
  }
}

void
sandbox_free(Sandbox *sandbox)
{
  if (!sandbox)
    return;
  struct SandboxPrivate *private = sandbox->private;
  g_autoptr(GError) error = NULL;
  if (sandbox->init > 0)
    kill_all(sandbox);
  for (guint i = 0; i < private->pending->len; i++)
    close(g_array_index(private->pending, SandboxPending, i).fd);
  g_array_unref(private->pending);
  g_ptr_array_unref(private->holes);
  g_ptr_array_unref(sandbox->layers);
  if (private->dir.path && !session_dir_remove(&private->dir, &error))
    g_debug("%s", error->message);
  session_dir_clear(&private->dir);
  limits_remove(&private->limits);
  io_close(&private->life_fd);
  io_close(&sandbox->proc_fd);
  g_ptr_array_unref(sandbox->notes);
  g_free(private);
  g_free(sandbox);
}

static gboolean
is_at_or_below(const char *path, const char *directory)
{
  return strcmp(path, directory) == 0 || mountinfo_is_below(path, directory);
}

const SandboxLayer *
sandbox_layer_of(const Sandbox *sandbox, const char *path, const char **rest)
{
  const GPtrArray *holes = sandbox->private->holes;
  gsize depth = 0; /* of the deepest hole around the path, 0: none */
  for (guint i = 0; i < holes->len; i++)
    if (is_at_or_below(path, holes->pdata[i]))
      depth = MAX(depth, strlen(holes->pdata[i]));
  for (guint i = sandbox->layers->len; i-- > 0;) {
    const SandboxLayer *layer = sandbox->layers->pdata[i];
    if (!is_at_or_below(path, layer->mountpoint))
      continue;
    if (strlen(layer->mountpoint) < depth)
      return NULL;
    const char *tail = path + strlen(layer->mountpoint);
    *rest = *tail == '/' ? tail + 1 : tail;
    return layer;
  }
  return NULL;
}

gboolean
sandbox_can_write(const Sandbox *sandbox, const char *path)
{
  const char *rest;
  const SandboxLayer *layer = sandbox_layer_of(sandbox, path, &rest);
  return layer && (sandbox->private->all_ids || overlay_can_copy_up(layer, rest));
}

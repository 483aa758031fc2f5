#include "replica/generation_view.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation_apply.h"
#include "replica/path.h"

#define FD_PATH 32 /* bytes of "/proc/self/fd/N" */

/* By descriptor, because a path may hold the ':' and ',' that the options are made of, and is long. */
static void
fd_path(char path[static FD_PATH], int fd)
{
  g_snprintf(path, FD_PATH, "/proc/self/fd/%d", fd);
}

static unsigned int
attributes(GenerationViewFlags flags)
{
  return MOUNT_ATTR_RDONLY | (flags & GENERATION_VIEW_SET_ID ? 0 : MOUNT_ATTR_NOSUID) |
         (flags & GENERATION_VIEW_DEVICES ? 0 : MOUNT_ATTR_NODEV);
}

static GArray *
open_trees(const GenerationLease *lease, GError **error)
{
  g_autoptr(GenerationStack) stack = generation_lease_open(lease, error);
  if (!stack)
    return NULL;
  g_autoptr(GArray) trees = g_array_new(FALSE, FALSE, sizeof(int));
  g_array_set_clear_func(trees, (GDestroyNotify)io_close);
  for (guint i = 0; i < stack->layers->len; i++) {
    int tree =
        replica_path_open_child(g_array_index(stack->layers, int, i), GENERATION_TREE, O_PATH | O_DIRECTORY);
    if (tree < 0) {
      doppel_error_errno(error, "cannot open the tree of a layer of the clone");
      return NULL;
    }
    g_array_append_val(trees, tree);
  }
  return g_steal_pointer(&trees);
}

/* `empty` is a directory with nothing in it, the lowest layer: overlayfs wants two at least. */
static int
mount_detached(const GArray *trees, int empty, GenerationViewFlags flags)
{
  char path[FD_PATH];
  g_auto(Fd) context = fsopen("overlay", FSOPEN_CLOEXEC);
  if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "source", "doppel", 0) < 0 ||
      fsconfig(context, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0 ||
      fsconfig(context, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0)
    return -1;
  for (guint i = 0; i <= trees->len; i++) {
    fd_path(path, i < trees->len ? g_array_index(trees, int, i) : empty);
    if (fsconfig(context, FSCONFIG_SET_STRING, "lowerdir+", path, 0) < 0)
      return -1;
  }
  if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
    return -1;
  return fsmount(context, FSMOUNT_CLOEXEC, attributes(flags));
}

/* Kernels before 6.7 take the layers in one string only, which fsconfig(2) cuts at 256 bytes. The mount is
 * taken off the directory again as soon as there is a copy of it that is attached nowhere. */
static int
mount_by_path(const GArray *trees, int empty, GenerationViewFlags flags)
{
  char path[FD_PATH];
  g_autoptr(GString) options = g_string_new("userxattr,lowerdir=");
  for (guint i = 0; i <= trees->len; i++) {
    fd_path(path, i < trees->len ? g_array_index(trees, int, i) : empty);
    g_string_append_printf(options, "%s%s", i ? ":" : "", path);
  }
  fd_path(path, empty);
  if (mount("doppel", path, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, options->str) < 0)
    return -1;
  g_auto(Fd) mounted = openat(empty, "../empty", O_PATH | O_DIRECTORY | O_CLOEXEC);
  Fd view = mounted < 0 ? -1 : open_tree(mounted, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
  struct mount_attr wanted = {.attr_set = attributes(flags),
                              .attr_clr = (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV) & ~attributes(flags)};
  int failure = view < 0 || mount_setattr(view, "", AT_EMPTY_PATH, &wanted, sizeof wanted) < 0 ? errno : 0;
  fd_path(path, mounted);
  umount2(path, MNT_DETACH);
  if (!failure)
    return view;
  io_close(&view);
  errno = failure;
  return -1;
}

static gboolean
explain(GError **error, guint64 number)
{
  if (errno == EPERM)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "not allowed to mount generation %" G_GUINT64_FORMAT
                            " of the clone: be root, or enter a user and a mount namespace",
                            number);
  if (errno == ENODEV)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "cannot mount a generation of the clone: this kernel has no overlayfs "
                            "(modprobe overlay)");
  if (errno == EINVAL)
    return doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "cannot mount generation %" G_GUINT64_FORMAT
        " of the clone: is its store on an overlay upon an overlay? The kernel's log (dmesg) "
        "has the reason.",
        number);
  return doppel_error_errno(error, "cannot mount generation %" G_GUINT64_FORMAT " of the clone", number);
}

int
generation_view_mount(const GenerationLease *lease, GenerationViewFlags flags, GError **error)
{
  g_autoptr(GArray) trees = open_trees(lease, error);
  if (!trees)
    return -1;
  g_auto(Fd) empty = openat(lease->layers, "../empty", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int view = -1;
  errno = EINVAL;
  if (empty >= 0 && !(flags & GENERATION_VIEW_BY_PATH))
    view = mount_detached(trees, empty, flags);
  if (empty >= 0 && view < 0 && (errno == EINVAL || errno == ENOSYS))
    view = mount_by_path(trees, empty, flags);
  if (view < 0)
    explain(error, lease->number);
  return view;
}

#include "augmenter/overlay_place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "augmenter/mountinfo.h"
#include "base/error.h"
#include "base/io.h"

void
sandbox_layer_free(SandboxLayer *layer)
{
  g_free(layer->mountpoint);
  io_close(&layer->upper_fd);
  io_close(&layer->lower_fd);
  g_free(layer);
}

char *
overlay_tree(const Overlay *overlay)
{
  return g_strconcat(overlay->session, "/stage/root", NULL);
}

static char *
stage_path(const Overlay *overlay)
{
  return g_strconcat(overlay->session, "/stage", NULL);
}

gboolean
overlay_mount_stage(const Overlay *overlay)
{
  g_autofree char *stage = stage_path(overlay), *tree = overlay_tree(overlay);
  return mkdir(stage, 0700) == 0 &&
         mount("doppel", stage, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700,size=1m") == 0 &&
         mkdir(tree, 0700) == 0;
}

void
overlay_unmount(const Overlay *overlay)
{
  g_autofree char *stage = stage_path(overlay);
  umount2(stage, MNT_DETACH | UMOUNT_NOFOLLOW);
}

void
overlay_clear(Overlay *overlay)
{
  g_clear_pointer(&overlay->places, g_ptr_array_unref);
  g_clear_pointer(&overlay->base, g_free);
}

/* RESOLVE_IN_ROOT is why a link in a hostile tree ("dev -> /etc") cannot make a mount land elsewhere. */
static int
open_inside(int root_fd, const char *path)
{
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
}

static int
make_inside(int root_fd, const char *path, gboolean is_file)
{
  g_autofree char *parent_path = g_path_get_dirname(path);
  g_autofree char *name = g_path_get_basename(path);
  g_auto(Fd) parent = open_inside(root_fd, parent_path);
  if (parent < 0)
    return -1;
  if (is_file) {
    g_auto(Fd) file = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    return file < 0 ? -1 : 0;
  }
  return mkdirat(parent, name, 0755);
}

gboolean
overlay_mount_inside(int root_fd, const char *path, const char *source, const char *type, unsigned long flags,
                     const char *options, gboolean is_file)
{
  g_auto(Fd) target = open_inside(root_fd, path);
  if (target < 0 && errno == ENOENT && make_inside(root_fd, path, is_file) == 0)
    target = open_inside(root_fd, path);
  if (target < 0)
    return FALSE;
  char name[32];
  g_snprintf(name, sizeof name, "/proc/self/fd/%d", target);
  return mount(source, name, type, flags, options) == 0;
}

gboolean
overlay_freeze_inside(int root_fd, const char *path)
{
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
  g_auto(Fd) target = open_inside(root_fd, path);
  return target >= 0 &&
         mount_setattr(target, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) == 0;
}

/* The tree as far as it is mounted by now. Opened anew for each place, as a descriptor stays below what is
 * mounted upon it. */
static int
open_tree_root(const Overlay *overlay)
{
  g_autofree char *root = overlay_tree(overlay);
  return open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* overlayfs needs an upper that knows RENAME_WHITEOUT, O_TMPFILE and extended attributes. */
static gboolean
cannot_carry_uppers(const char *path)
{
  static const guint32 unfit[] = {OVERLAYFS_SUPER_MAGIC, NFS_SUPER_MAGIC, FUSE_SUPER_MAGIC,
                                  MSDOS_SUPER_MAGIC,     V9FS_MAGIC,      CIFS_SUPER_MAGIC,
                                  SMB2_SUPER_MAGIC};
  struct statfs status;
  if (statfs(path, &status) != 0)
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS(unfit); i++)
    if ((guint32)status.f_type == unfit[i])
      return TRUE;
  return FALSE;
}

static gboolean
mount_memory(Overlay *overlay)
{
  g_autofree char *path = g_strconcat(overlay->session, "/stage/memory", NULL);
  g_autofree char *options = overlay->upper_bytes
                                 ? g_strdup_printf("mode=0700,size=%" G_GUINT64_FORMAT, overlay->upper_bytes)
                                 : g_strdup("mode=0700");
  if (mkdir(path, 0700) != 0 || mount("doppel", path, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0)
    return FALSE;
  g_free(overlay->base);
  overlay->base = g_steal_pointer(&path);
  return TRUE;
}

static gboolean
find_base(Overlay *overlay)
{
  if (overlay->base)
    return TRUE;
  if (overlay->upper == SANDBOX_UPPER_AUTO && !cannot_carry_uppers(overlay->session)) {
    overlay->base = g_strdup(overlay->session);
    return TRUE;
  }
  if (overlay->upper == SANDBOX_UPPER_AUTO)
    overlay_note(overlay, "the clone's changes are kept in memory: the file system of %s cannot hold them",
                 overlay->session);
  return mount_memory(overlay);
}

typedef struct {
  int lower, upper, work;
} Dirs;

static void
dirs_clear(Dirs *dirs)
{
  io_close(&dirs->lower);
  io_close(&dirs->upper);
  io_close(&dirs->work);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Dirs, dirs_clear)

static int
make_directory(const char *base, guint number, const char *name)
{
  g_autofree char *path = g_strdup_printf("%s/%s-%u", base, name, number);
  if (mkdir(path, 0700) != 0)
    return -1;
  return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* By descriptor, because a path may hold the ':' and ',' that the options are made of. "volatile": what a
 * dead session had not yet written to disk is of no use to anybody, so the kernel need not hurry it there. */
static gboolean
try_layer(Overlay *overlay, const Place *place, guint number, Dirs *dirs)
{
  struct stat status;
  if (!find_base(overlay))
    return FALSE;
  dirs->lower = open(place->lower, O_PATH | O_DIRECTORY | O_CLOEXEC);
  dirs->upper = make_directory(overlay->base, number, "upper");
  dirs->work = make_directory(overlay->base, number, "work");
  if (dirs->lower < 0 || dirs->upper < 0 || dirs->work < 0 || fstat(dirs->lower, &status) != 0)
    return FALSE;
  overlay_copy_look(&status, place->lower, dirs->upper);
  char options[160];
  g_snprintf(
      options, sizeof options,
      "lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d,userxattr,volatile",
      dirs->lower, dirs->upper, dirs->work);
  g_auto(Fd) root = open_tree_root(overlay);
  return root >= 0 && overlay_mount_inside(root, overlay_inside(overlay, place->path), "doppel", "overlay",
                                           MS_NOSUID | MS_NODEV, options, FALSE);
}

/* What can have no upper is shown as it is, read-only. Mounts below come along where the kernel insists. */
static gboolean
mount_read_only(Overlay *overlay, const Place *place, gboolean is_file)
{
  const char *path = overlay_inside(overlay, place->path);
  g_auto(Fd) root = open_tree_root(overlay);
  gboolean whole = place->kind == PLACE_VIEW;
  if (root < 0 || ((whole || !overlay_mount_inside(root, path, place->lower, NULL, MS_BIND, NULL, is_file)) &&
                   !overlay_mount_inside(root, path, place->lower, NULL, MS_BIND | MS_REC, NULL, is_file)))
    return FALSE;
  g_auto(Fd) mounted = open_tree_root(overlay);
  if (mounted >= 0 && overlay_freeze_inside(mounted, path))
    return TRUE;
  /* Writable would be the real thing: rather nothing. */
  g_auto(Fd) target = open_inside(mounted, path);
  g_autofree char *name = g_strdup_printf("/proc/self/fd/%d", target);
  int saved = errno;
  umount2(name, MNT_DETACH);
  errno = saved;
  return FALSE;
}

static gboolean
explain_layer(const Place *place, GError **error)
{
  struct statfs status;
  int saved = errno;
  gboolean stacked = statfs(place->lower, &status) == 0 && (guint32)status.f_type == OVERLAYFS_SUPER_MAGIC;
  errno = saved;
  if (saved == EINVAL && stacked)
    return doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "cannot lay a writable layer over %s: it is an overlay upon an overlay already, and the "
        "kernel stacks no more than two. Run doppel one container further out.",
        place->path);
  if (saved == ENODEV)
    return doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "cannot lay a writable layer over %s: this kernel has no overlayfs (modprobe overlay)", place->path);
  if (saved == EPERM || saved == EINVAL)
    return doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "cannot lay a writable layer over %s: %s. An overlay in a user namespace needs Linux 5.11; "
        "the kernel's log (dmesg) has the reason.",
        place->path, g_strerror(saved));
  return doppel_error_errno(error, "cannot lay a writable layer over %s", place->path);
}

static void
keep_layer(Overlay *overlay, const Place *place, Dirs *dirs)
{
  if (place->kind == PLACE_SKELETON) {
    io_close(&dirs->lower);
    dirs->lower = open(place->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  }
  SandboxLayer *layer = g_new0(SandboxLayer, 1);
  *layer = (SandboxLayer){.mountpoint = g_strdup(overlay_inside(overlay, place->path)),
                          .upper_fd = io_steal_fd(&dirs->upper),
                          .lower_fd = io_steal_fd(&dirs->lower)};
  g_ptr_array_add(overlay->layers, layer);
}

static gboolean
mount_view(Overlay *overlay, const Place *place, GError **error)
{
  g_ptr_array_add(overlay->holes, g_strdup(overlay_inside(overlay, place->path)));
  if (mount_read_only(overlay, place, FALSE))
    return TRUE;
  if (strcmp(place->path, overlay->root) == 0)
    return doppel_error_errno(error, "cannot show %s read-only in the clone", place->path);
  overlay_note(overlay, "%s is missing in the clone: %s", place->path, g_strerror(errno));
  return TRUE;
}

/* The first layer shows whether the disk can hold uppers at all. */
static gboolean
mount_layer(Overlay *overlay, const Place *place, guint number, Dirs *dirs)
{
  if (try_layer(overlay, place, number, dirs))
    return TRUE;
  int saved = errno;
  if (overlay->layers->len > 0 || g_strcmp0(overlay->base, overlay->session) != 0)
    return FALSE;
  dirs_clear(dirs);
  if (mount_memory(overlay) && try_layer(overlay, place, number, dirs)) {
    overlay_note(overlay, "the clone's changes are kept in memory: %s cannot hold them (%s)",
                 overlay->session, g_strerror(saved));
    return TRUE;
  }
  errno = saved;
  return FALSE;
}

/* Only the tree's root must be there; elsewhere a read-only view, or none, is worth a note. */
static gboolean
mount_place(Overlay *overlay, const Place *place, guint number, GError **error)
{
  g_auto(Dirs) dirs = {-1, -1, -1};
  if (place->kind == PLACE_VIEW)
    return mount_view(overlay, place, error);
  if (place->kind != PLACE_FILE && mount_layer(overlay, place, number, &dirs)) {
    keep_layer(overlay, place, &dirs);
    return TRUE;
  }
  if (strcmp(place->path, overlay->root) == 0)
    return explain_layer(place, error);
  g_autofree char *reason = g_strdup(
      place->kind == PLACE_FILE ? "a file on its own can have no writable layer" : g_strerror(errno));
  g_ptr_array_add(overlay->holes, g_strdup(overlay_inside(overlay, place->path)));
  if (mount_read_only(overlay, place, place->kind == PLACE_FILE))
    overlay_note(overlay, "%s is read-only in the clone: %s", place->path, reason);
  else
    overlay_note(overlay, "%s is missing in the clone: %s", place->path, g_strerror(errno));
  return TRUE;
}

gboolean
overlay_mount(Overlay *overlay, GError **error)
{
  g_autofree char *stage = stage_path(overlay);
  /* Unbindable: a directory above it may be shown inside with all its mounts, which must not contain the
   * inside again. */
  if ((!overlay->privileged && !overlay_mount_stage(overlay)) ||
      mount(NULL, stage, NULL, MS_UNBINDABLE, NULL) != 0)
    return doppel_error_errno(error, "cannot mount in %s", overlay->session);
  for (guint i = 0; i < overlay->places->len; i++)
    if (!mount_place(overlay, overlay->places->pdata[i], i, error))
      return FALSE;
  return TRUE;
}

/* Ids that have no place in the namespace show as the overflow id. */
static gboolean
has_owner(const struct stat *status)
{
  enum { OVERFLOW_ID = 65534 };
  return (status->st_uid != OVERFLOW_ID || geteuid() == OVERFLOW_ID) &&
         (status->st_gid != OVERFLOW_ID || getegid() == OVERFLOW_ID);
}

gboolean
overlay_can_copy_up(const SandboxLayer *layer, const char *rest)
{
  for (const char *end = rest; end && *rest; end = *end ? end : NULL) {
    end = strchrnul(end + (*end == '/'), '/');
    g_autofree char *prefix = g_strndup(rest, end - rest);
    struct stat status;
    if (fstatat(layer->upper_fd, prefix, &status, AT_SYMLINK_NOFOLLOW) == 0)
      continue;
    if (fstatat(layer->lower_fd, prefix, &status, AT_SYMLINK_NOFOLLOW) != 0)
      return TRUE; /* not there: nothing to copy */
    if (!has_owner(&status))
      return FALSE;
  }
  return TRUE;
}

/* What is to be mounted where, found out before the namespaces are entered. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "augmenter/mountinfo.h"
#include "augmenter/overlay_place.h"
#include "base/error.h"
#include "base/io.h"

/* A file in a skeleton up to this many bytes is copied where the caller may write to it; others are shown
 * read-only. */
#define COPY_MAX (4 << 20)

/* Directories of the tree that get file systems of the sandbox's own, like that of the sessions. */
static const char *const own_places[] = {"/dev", "/proc", "/sys"};

gboolean
overlay_is_own_place(const char *path)
{
  for (gsize i = 0; i < G_N_ELEMENTS(own_places); i++)
    if (strcmp(path, own_places[i]) == 0 || mountinfo_is_below(path, own_places[i]))
      return TRUE;
  return FALSE;
}

static void
place_free(Place *place)
{
  g_free(place->path);
  g_free(place->lower);
  g_free(place);
}

void
overlay_note(Overlay *overlay, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_ptr_array_add(overlay->notes, g_strdup_vprintf(format, arguments));
  va_end(arguments);
}

const char *
overlay_inside(const Overlay *overlay, const char *path)
{
  if (strcmp(overlay->root, "/") == 0)
    return path;
  const char *rest = path + strlen(overlay->root);
  return *rest ? rest : "/";
}

static gboolean
is_own_place(const Overlay *overlay, const char *path)
{
  const char *name = overlay_inside(overlay, path);
  if (strcmp(path, overlay->tmp) == 0 || mountinfo_is_below(path, overlay->tmp))
    return TRUE;
  return overlay_is_own_place(name);
}

static void
add_place(Overlay *overlay, PlaceKind kind, const char *path, const char *lower)
{
  Place *place = g_new0(Place, 1);
  *place = (Place){.kind = kind, .path = g_strdup(path), .lower = g_strdup(lower)};
  g_ptr_array_add(overlay->places, place);
}

void
overlay_copy_look(const struct stat *status, const char *original, int fd)
{
  /* Without the right to give the directory to its owner it is the caller's: it must not become writable by
   * that. */
  mode_t mode = status->st_mode & 07777;
  if (fchown(fd, status->st_uid, status->st_gid) != 0 && access(original, W_OK) != 0)
    mode &= ~0222;
  struct timespec times[2] = {status->st_atim, status->st_mtim};
  fchmod(fd, mode);
  futimens(fd, times);
}

/* Without privilege, a layer over what belongs to others and is not writable would hold nothing: the kernel
 * can copy up nothing in it. The real thing, read-only, does as well and costs one mount for any number of
 * them. */
static gboolean
is_view(const Overlay *overlay, const char *path, const struct stat *status)
{
  return !overlay->privileged && status->st_uid != geteuid() && access(path, W_OK) != 0;
}

/* The sessions' directory counts: a privileged caller has mounted its stage in it before it enters its user
 * namespace. */
static gboolean
has_mounts_below(const Overlay *overlay, const char *path)
{
  return mountinfo_any_below(overlay->mounts, path) ||
         (overlay->privileged && mountinfo_is_below(overlay->tmp, path));
}

static gboolean skeleton_fill(Overlay *overlay, const char *path, int fd, GError **error);

static gboolean
copy_file(const char *path, int to)
{
  g_auto(Fd) from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  ssize_t copied = 1;
  while (from >= 0 && copied > 0)
    copied = sendfile(to, from, NULL, COPY_MAX);
  return from >= 0 && copied == 0;
}

/* One entry of a directory with mounts below it: what is a mount point or leads to one becomes an empty
 * directory or file, every other directory a layer of its own. */
static gboolean
skeleton_entry(Overlay *overlay, const char *path, int fd, const char *name, GError **error)
{
  struct stat status;
  if (lstat(path, &status) != 0)
    return TRUE;
  gboolean mounted = is_own_place(overlay, path) || mountinfo_any_at(overlay->mounts, path);
  if (S_ISLNK(status.st_mode)) {
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[MAX(length, 0)] = '\0';
    return length < 0 || symlinkat(target, fd, name) == 0 ||
           doppel_error_errno(error, "cannot write in %s", overlay->session);
  }
  if (S_ISREG(status.st_mode)) {
    g_auto(Fd) file = openat(fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (file < 0)
      return doppel_error_errno(error, "cannot write in %s", overlay->session);
    if (!mounted && is_view(overlay, path, &status))
      add_place(overlay, PLACE_VIEW, path, path);
    else if (!mounted && !(status.st_size <= COPY_MAX && access(path, W_OK) == 0 && copy_file(path, file)))
      add_place(overlay, PLACE_FILE, path, path);
    overlay_copy_look(&status, path, file);
    return TRUE;
  }
  if (!S_ISDIR(status.st_mode)) {
    overlay_note(overlay, "%s is neither a file nor a directory and is missing in the clone", path);
    return TRUE;
  }
  if (mkdirat(fd, name, 0700) != 0)
    return doppel_error_errno(error, "cannot write in %s", overlay->session);
  g_auto(Fd) directory = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  gboolean filled = TRUE;
  if (!mounted && has_mounts_below(overlay, path))
    filled = skeleton_fill(overlay, path, directory, error);
  else if (!mounted)
    add_place(overlay, is_view(overlay, path, &status) ? PLACE_VIEW : PLACE_LAYER, path, path);
  overlay_copy_look(&status, path, directory);
  return filled;
}

static gboolean
skeleton_fill(Overlay *overlay, const char *path, int fd, GError **error)
{
  DIR *stream = opendir(path);
  if (!stream)
    return TRUE; /* closed to the caller, so to the mirror: stays empty */
  struct dirent *entry;
  gboolean filled = TRUE;
  while (filled && (entry = readdir(stream))) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    g_autofree char *child = g_strconcat(strcmp(path, "/") == 0 ? "" : path, "/", entry->d_name, NULL);
    filled = skeleton_entry(overlay, child, fd, entry->d_name, error);
  }
  closedir(stream);
  return filled;
}

/* The kernel lets nobody in a user namespace see what lies under the mounts that it was born with, so a
 * directory with such mounts below cannot be a lower layer there. A skeleton of it is made instead: empty
 * directories with layers upon them. */
static gboolean
plan_skeleton(Overlay *overlay, const char *path, GError **error)
{
  g_autofree char *skeleton = g_strdup_printf("%s/skeleton-%u", overlay->session, overlay->skeletons++);
  if (mkdir(skeleton, 0755) != 0)
    return doppel_error_errno(error, "cannot write in %s", overlay->session);
  g_auto(Fd) fd = open(skeleton, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat status;
  add_place(overlay, PLACE_SKELETON, path, skeleton);
  if (fd < 0 || stat(path, &status) != 0)
    return doppel_error_errno(error, "cannot look at %s", path);
  gboolean filled = skeleton_fill(overlay, path, fd, error);
  overlay_copy_look(&status, path, fd);
  return filled;
}

/* A copy of the mount without those below it. Safe: the mount namespace is the caller's own. */
static gboolean
set_apart(Overlay *overlay, const char *path, const char *copy)
{
  if (mkdir(copy, 0700) != 0)
    return FALSE;
  if (mount(path, copy, NULL, MS_BIND, NULL) == 0)
    return TRUE;
  rmdir(copy);
  return FALSE;
}

static const Place *
enclosing_place(const Overlay *overlay, const char *path)
{
  const Place *found = NULL;
  for (guint i = 0; i < overlay->places->len; i++) {
    const Place *place = overlay->places->pdata[i];
    if ((strcmp(path, place->path) == 0 || mountinfo_is_below(path, place->path)) &&
        (!found || strlen(place->path) > strlen(found->path)))
      found = place;
  }
  return found;
}

static gboolean
plan_directory(Overlay *overlay, const char *path, GError **error)
{
  struct stat status;
  if (stat(path, &status) == 0 && is_view(overlay, path, &status)) {
    const Place *around = enclosing_place(overlay, path);
    if (!around || around->kind != PLACE_VIEW)
      add_place(overlay, PLACE_VIEW, path, path);
    return TRUE;
  }
  if (!has_mounts_below(overlay, path)) {
    add_place(overlay, PLACE_LAYER, path, path);
    return TRUE;
  }
  g_autofree char *copy = g_strdup_printf("%s/stage/lower-%u", overlay->session, overlay->places->len);
  if (!overlay->privileged || !set_apart(overlay, path, copy))
    return plan_skeleton(overlay, path, error);
  add_place(overlay, PLACE_LAYER, path, copy);
  return TRUE;
}

/* The kernel copies a file up together with the directories above it, and can give none of them to an owner
 * that has no id inside. A layer's own top directory is not copied. So, for one who is alone in the
 * namespace, a directory that is writable to it gets a layer of its own where one above it, short of the next
 * layer's top, belongs to somebody else (/home for /home/user). */
static gboolean
plan_writable(Overlay *overlay, const char *path, GError **error)
{
  const Place *top = enclosing_place(overlay, overlay->root);
  gboolean clean = top && top->kind != PLACE_VIEW;
  for (const char *end = path; end; end = strchr(end + 1, '/')) {
    g_autofree char *directory = g_strndup(path, end - path);
    struct stat status;
    if (!mountinfo_is_below(directory, overlay->root))
      continue;
    if (is_own_place(overlay, directory) || stat(directory, &status) != 0 || !S_ISDIR(status.st_mode))
      break;
    gboolean own = status.st_uid == geteuid() && status.st_gid == getegid();
    const Place *around = enclosing_place(overlay, directory);
    gboolean placed = around && strcmp(around->path, directory) == 0 && around->kind != PLACE_VIEW;
    if (!placed && !(own && clean) && access(directory, W_OK) == 0) {
      if (!plan_directory(overlay, directory, error))
        return FALSE;
      placed = TRUE;
    }
    clean = placed || (own && clean);
  }
  return TRUE;
}

static gboolean
plan_all_writable(Overlay *overlay, GError **error)
{
  for (const char *const *path = overlay->writable; path && *path; path++) {
    g_autofree char *outside =
        g_strconcat(strcmp(overlay->root, "/") == 0 ? "" : overlay->root, *path, "/", NULL);
    g_autofree char *canonical = realpath(outside, NULL);
    g_autofree char *whole = canonical ? g_strconcat(canonical, "/", NULL) : NULL;
    if (whole && !plan_writable(overlay, whole, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
plan_mount(Overlay *overlay, const Mount *mount, GError **error)
{
  struct stat status;
  if (!mountinfo_is_below(mount->path, overlay->root) || is_own_place(overlay, mount->path) ||
      mountinfo_is_pseudo(mount))
    return TRUE;
  if (!mountinfo_is_visible(mount) || stat(mount->path, &status) != 0)
    return TRUE;
  const Place *around = enclosing_place(overlay, mount->path);
  if (around && strcmp(around->path, mount->path) == 0)
    return TRUE;
  if (S_ISDIR(status.st_mode))
    return plan_directory(overlay, mount->path, error);
  if (around && around->kind != PLACE_VIEW)
    add_place(overlay, PLACE_FILE, mount->path, mount->path);
  return TRUE;
}

static int
by_length(gconstpointer a, gconstpointer b)
{
  gsize left = strlen((*(Place *const *)a)->path), right = strlen((*(Place *const *)b)->path);
  return left < right ? -1 : left > right;
}

gboolean
overlay_plan(Overlay *overlay, GError **error)
{
  overlay->places = g_ptr_array_new_with_free_func((GDestroyNotify)place_free);
  if (overlay->privileged && !overlay_mount_stage(overlay))
    return doppel_error_errno(error, "cannot mount in %s", overlay->session);
  for (gsize i = 0; i < G_N_ELEMENTS(own_places); i++)
    g_ptr_array_add(overlay->holes, g_strdup(own_places[i]));
  if (!plan_directory(overlay, overlay->root, error))
    return FALSE;
  if (!plan_all_writable(overlay, error))
    return FALSE;
  for (guint i = 0; i < overlay->mounts->len; i++)
    if (!plan_mount(overlay, overlay->mounts->pdata[i], error))
      return FALSE;
  g_ptr_array_sort(overlay->places, by_length);
  return TRUE;
}

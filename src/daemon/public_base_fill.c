/* Filling the public base: from directories, and from Debian packages. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "daemon/public_base_private.h"
#include "replica/generation_trash.h"

#define UNPACKED  "unpacked"
#define TELL_NS   (200 * G_GINT64_CONSTANT(1000000))
#define DEPTH_MAX 500 /* of directories in each other: each costs a descriptor */

typedef struct {
  DaemonBase *base;
  gint64 source;
  gboolean all; /* also what others may not read */
  const DaemonBaseProgress *progress;
  DaemonBaseAdded *added;
  GString *path; /* below the directory, for errors */
  dev_t device;
  guint depth;
  guint64 bytes; /* that were gone through */
  gint64 told_ns;
} Fill;

static void
tell(Fill *fill)
{
  gint64 now = clock_now_ns();
  if (!fill->progress || now - fill->told_ns < TELL_NS)
    return;
  fill->told_ns = now;
  fill->progress->tell(fill->progress->user_data, fill->path->str, fill->added->files, fill->bytes);
}

static gboolean
may_others(const Fill *fill, const struct stat *status)
{
  return fill->all || status->st_mode & (S_ISDIR(status->st_mode) ? S_IXOTH : S_IROTH);
}

/* One that is gone by now is none. */
static gboolean
add_file(Fill *fill, int directory, const char *name, GError **error)
{
  guint8 hash[GENERATION_CONTENT_HASH];
  struct stat status;
  guint64 size;
  gboolean fresh;
  g_auto(Fd) fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT || errno == ELOOP ||
           doppel_error_errno(error, "cannot read \"%s\"", fill->path->str);
  if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
    return TRUE;
  fill->added->files++;
  if (!may_others(fill, &status)) {
    fill->added->private ++;
    return TRUE;
  }
  if (!public_base_put(fill->base->fd, fd, hash, &size, &fresh, error)) {
    g_prefix_error(error, "\"%s\": ", fill->path->str);
    return FALSE;
  }
  fill->bytes += size;
  tell(fill);
  if (size < PUBLIC_BASE_MIN) {
    fill->added->small++;
    return TRUE;
  }
  fill->added->fresh += fresh;
  fill->added->bytes += fresh ? size : 0;
  return daemon_base_add_content(fill->base, fill->source, hash, size, error);
}

static gboolean add_directory(Fill *fill, int fd, GError **error);

static gboolean
add_entry(Fill *fill, int directory, const char *name, GError **error)
{
  struct stat status;
  if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
    return errno == ENOENT || doppel_error_errno(error, "cannot look at \"%s\"", fill->path->str);
  if (S_ISREG(status.st_mode))
    return add_file(fill, directory, name, error);
  if (!S_ISDIR(status.st_mode) || status.st_dev != fill->device)
    return TRUE;
  if (!may_others(fill, &status)) {
    fill->added->private ++;
    return TRUE;
  }
  if (fill->depth == DEPTH_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "too many directories in each other");
  int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return doppel_error_errno(error, "cannot read \"%s\"", fill->path->str);
  fill->depth++;
  gboolean good = add_directory(fill, fd, error);
  fill->depth--;
  return good;
}

/* Takes `fd`. */
static gboolean
add_directory(Fill *fill, int fd, GError **error)
{
  DIR *listing = fdopendir(fd);
  gsize length = fill->path->len;
  gboolean good = listing || doppel_error_errno(error, "cannot list \"%s\"", fill->path->str);
  if (!listing)
    close(fd);
  for (struct dirent *entry; good && (entry = readdir(listing));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    g_string_append_printf(fill->path, "/%s", entry->d_name);
    good = add_entry(fill, dirfd(listing), entry->d_name, error);
    g_string_truncate(fill->path, length);
  }
  if (listing)
    closedir(listing);
  return good;
}

gboolean
daemon_base_fill(DaemonBase *base, gint64 source, int directory, gboolean all,
                 const DaemonBaseProgress *progress, DaemonBaseAdded *added, GError **error)
{
  struct stat status;
  Fill fill = {.base = base, .source = source, .all = all, .progress = progress, .added = added};
  if (fstat(directory, &status) < 0) {
    close(directory);
    return doppel_error_errno(error, "cannot look at the directory");
  }
  fill.device = status.st_dev;
  fill.path = g_string_new(NULL);
  gboolean good = add_directory(&fill, directory, error);
  g_string_free(fill.path, TRUE);
  return good;
}

/* Takes `fd`. */
static gboolean
add_source(DaemonBase *base, const char *name, DaemonBaseKind kind, int fd,
           const DaemonBaseProgress *progress, DaemonBaseAdded *added, GError **error)
{
  gint64 source;
  *added = (DaemonBaseAdded){0};
  if (!daemon_base_begin(base, error)) {
    close(fd);
    return FALSE;
  }
  if (!daemon_base_begin_source(base, name, kind, &source, error)) {
    close(fd);
    return daemon_base_end(base, FALSE, error);
  }
  if (!daemon_base_fill(base, source, fd, kind == DAEMON_BASE_PACKAGE, progress, added, error) ||
      !daemon_base_end_source(base, source, added->files, error))
    return daemon_base_end(base, FALSE, error);
  return daemon_base_settle(base, error);
}

gboolean
daemon_base_add_directory(DaemonBase *base, const char *path, const DaemonBaseProgress *progress,
                          DaemonBaseAdded *added, GError **error)
{
  g_autofree char *real = realpath(path, NULL);
  int fd = real ? open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (fd < 0)
    return doppel_error_errno(error, "cannot use the directory %s", path);
  if (g_utf8_validate(real, -1, NULL))
    return add_source(base, real, DAEMON_BASE_DIRECTORY, fd, progress, added, error);
  close(fd);
  return doppel_error_set(error, DOPPEL_ERROR_USAGE, "the path of a directory in the base must be UTF-8");
}

/* ---- packages ---- */

/* Runs dpkg-deb. What it prints, or NULL with an error that says what it complained of. */
static char *
run_dpkg(char **words, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autofree char *complaint = NULL, *said = NULL;
  int status;
  if (!g_spawn_sync(NULL, words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &said, &complaint, &status, &problem))
    doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                     "packages are unpacked by dpkg-deb, which cannot be run (%s): install dpkg, or unpack "
                     "the package and add the directory",
                     problem->message);
  else if (!g_spawn_check_wait_status(status, NULL))
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "%s",
                     *g_strchomp(complaint) ? complaint : "dpkg-deb failed");
  else
    return g_strchomp(g_steal_pointer(&said));
  return NULL;
}

static char *
package_name(const char *path, GError **error)
{
  char *words[] = {(char *)"dpkg-deb", (char *)"--show",
                   (char *)"--showformat=${Package}_${Version}_${Architecture}", (char *)path, NULL};
  g_autofree char *name = run_dpkg(words, error);
  if (!name || (*name && g_utf8_validate(name, -1, NULL)))
    return g_steal_pointer(&name);
  doppel_error_set(error, DOPPEL_ERROR_FAILED, "the package does not say what it is called");
  return NULL;
}

static int
unpack(DaemonBase *base, const char *path, GError **error)
{
  g_autofree char *into = g_build_filename(base->directory, UNPACKED, NULL);
  char *words[] = {(char *)"dpkg-deb", (char *)"--extract", (char *)path, into, NULL};
  errno = generation_trash_remove(base->fd, UNPACKED);
  if (errno) {
    doppel_error_errno(error, "cannot remove %s", into);
    return -1;
  }
  g_autofree char *said = run_dpkg(words, error);
  if (!said)
    return -1;
  int fd = openat(base->fd, UNPACKED, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    doppel_error_errno(error, "cannot read what was unpacked in %s", into);
  return fd;
}

gboolean
daemon_base_add_package(DaemonBase *base, const char *path, const DaemonBaseProgress *progress,
                        DaemonBaseAdded *added, GError **error)
{
  /* A name that begins with "-" would be an option. */
  g_autofree char *real = realpath(path, NULL);
  if (!real)
    return doppel_error_errno(error, "cannot use the package %s", path);
  g_autofree char *name = package_name(real, error);
  int fd = name ? unpack(base, real, error) : -1;
  gboolean good = fd >= 0 && add_source(base, name, DAEMON_BASE_PACKAGE, fd, progress, added, error);
  generation_trash_remove(base->fd, UNPACKED);
  return good;
}

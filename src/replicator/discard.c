#include "replicator/discard.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation_trash.h"

/* What is deep is moved up on its way out: within the directory, so that neighbours are not in each other's
 * way. */
static int
empty(const char *path)
{
  g_autoptr(GError) problem = NULL;
  g_auto(Fd) directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  g_autoptr(GDir) entries = directory < 0 ? NULL : g_dir_open(path, 0, &problem);
  if (!entries)
    return errno;
  int failure = 0;
  for (const char *name; !failure && (name = g_dir_read_name(entries));)
    failure = generation_trash_remove(directory, name);
  return failure;
}

gboolean
discard_directory(const char *path, GError **error)
{
  enum { TRIES = 8 };
  int failure = 0;
  for (guint i = 0; i < TRIES && !failure; i++) {
    if (rmdir(path) == 0 || errno == ENOENT)
      return TRUE;
    failure = errno == ENOTDIR                        ? (unlink(path) < 0 ? errno : 0)
              : errno == ENOTEMPTY || errno == EEXIST ? empty(path)
                                                      : errno;
  }
  errno = failure ? failure : ENOTEMPTY;
  return errno == ENOENT ||
         doppel_error_errno(error, "what is kept of a clone in %s cannot be removed", path);
}

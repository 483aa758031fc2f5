/* Sockets are the device's, and so are their names in the file system: a call on one is made there. */
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "augmenter/paths_private.h"
#include "replica/path.h"

/* The path that a call gives a socket, or looks one up by; NULL where it does neither. */
static char *
read_name(const Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS])
{
  guint64 at = 0, length = 0;
  struct msghdr message = {0};
  struct sockaddr_un address = {0};
  switch (row->nr) {
  case SYS_bind:
  case SYS_connect:
    at = arguments[1];
    length = (guint32)arguments[2];
    break;
  case SYS_sendto:
    at = arguments[4];
    length = (guint32)arguments[5];
    break;
  case SYS_sendmsg:
    if (augmenter_memory_read(paths->augmenter, tid, arguments[1], &message, sizeof message)) {
      at = (guint64)(guintptr)message.msg_name;
      length = message.msg_namelen;
    }
    break;
  default:
    break;
  }
  length = MIN(length, sizeof address);
  if (!at || length <= offsetof(struct sockaddr_un, sun_path) ||
      !augmenter_memory_read(paths->augmenter, tid, at, &address, length) || address.sun_family != AF_UNIX ||
      !*address.sun_path)
    return NULL;
  return g_strndup(address.sun_path, length - offsetof(struct sockaddr_un, sun_path));
}

/* Where the name is, without links. */
static PathsVerdict
find_name(Paths *paths, pid_t tid, const char *name, PathsPlace *place, char **reason)
{
  g_autofree char *directory = g_path_get_dirname(name);
  return walk_path(paths, tid, directory, TRUE, FRESH_WAY, place, reason);
}

/* The primary may stand elsewhere, and lacks what the block made: a call that depends on either is the end of
 * it. */
PathsVerdict
paths_judge_socket(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS],
                   char **reason)
{
  g_autofree char *name = read_name(paths, tid, row, arguments);
  g_auto(PathsPlace) place = {0};
  const char *rest;
  if (!name)
    return PATHS_NATIVE;
  if (*name != '/') {
    *reason = g_strdup_printf("%s is a name from the working directory", name);
    return PATHS_CUT;
  }
  PathsVerdict verdict = find_name(paths, tid, name, &place, reason);
  if (verdict == PATHS_WAIT)
    return PATHS_WAIT;
  const PathsLayer *layer =
      verdict == PATHS_NATIVE && place.there ? layer_of(paths, place.path, &rest) : NULL;
  if (!layer || !layer_made(layer, rest))
    return PATHS_NATIVE;
  *reason = g_strdup_printf("%s is in a directory that the block made", name);
  return PATHS_CUT;
}

static gboolean
may_name(const SyscallRow *row)
{
  static const int numbers[] = {SYS_bind, SYS_connect, SYS_sendto, SYS_sendmsg, SYS_sendmmsg};
  for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
    if (row->nr == numbers[i])
      return TRUE;
  return FALSE;
}

static gboolean
names_nobody(const Paths *paths, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS], pid_t tid)
{
  struct msghdr message = {0};
  switch (row->nr) {
  case SYS_sendto:
    return !arguments[4];
  case SYS_sendmsg:
    return augmenter_memory_read(paths->augmenter, tid, arguments[1], &message, sizeof message) &&
           !message.msg_name;
  default:
    return FALSE;
  }
}

PathsVerdict
paths_judge_own_socket(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS],
                       char **reason)
{
  if (!may_name(row) || names_nobody(paths, row, arguments, tid))
    return PATHS_NATIVE;
  g_autofree char *name = row->nr == SYS_bind ? NULL : read_name(paths, tid, row, arguments);
  g_auto(PathsPlace) place = {0};
  if (name && *name == '/') {
    PathsVerdict verdict = walk_path(paths, tid, name, TRUE, FRESH_LOOK, &place, reason);
    if (verdict == PATHS_WAIT || (verdict == PATHS_NATIVE && !place.there))
      return verdict;
  }
  g_free(*reason);
  *reason = g_strdup_printf("%s: it would have to be the device's", name ? name : "a socket's name");
  return PATHS_CUT;
}

/* The device told that nothing was there. Now it is to be asked again. */
void
paths_note_forwarded(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS])
{
  g_autofree char *name = row->nr == SYS_bind ? read_name(paths, tid, row, arguments) : NULL;
  g_autofree char *reason = NULL;
  g_auto(PathsPlace) place = {0};
  if (!name || *name != '/' || find_name(paths, tid, name, &place, &reason) != PATHS_NATIVE)
    return;
  g_autofree char *last = g_path_get_basename(name);
  g_autofree char *path = g_strconcat(place.path[1] ? place.path : "", "/", last, NULL);
  KnownPath *directory = known_find(paths, place.path);
  if (directory)
    directory->listed = FALSE;
  g_hash_table_remove(paths->known, path);
}

/* Whole file systems, by fanotify. An event names a directory by its handle; handles stay what they are
 * whatever is renamed, and become a path when they are taken. That path may be an old one by the time of the
 * scan: then a directory on the way was renamed after, which is an event of its own, and what has moved is
 * scanned as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "replica/tree_events.h"
#include "replica/tree_watch_private.h"

#define BUFFER (64u << 10)
#define CHANGES                                                                                              \
  (FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE | FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO |     \
   FAN_ONDIR)

typedef struct {
  guint64 fsid;
  Fd point;
} Place;

struct TreeFanotify {
  TreeWatch *watch;
  Fd fd;
  GArray *places;   /* of Place */
  GHashTable *seen; /* GBytes of an event: what was taken already, in one tree_fanotify_take() */
};

static void
clear_place(gpointer data)
{
  io_close(&((Place *)data)->point);
}

void
tree_fanotify_free(TreeFanotify *fanotify)
{
  if (!fanotify)
    return;
  io_close(&fanotify->fd);
  g_array_unref(fanotify->places);
  g_hash_table_unref(fanotify->seen);
  g_free(fanotify);
}

int
tree_fanotify_fd(const TreeFanotify *fanotify)
{
  return fanotify->fd;
}

/* A file system is only worth it, and its handles only good, where they can be resolved. */
static gboolean
add_place(TreeFanotify *fanotify, const char *point, char **why)
{
  struct statfs fs;
  Place place = {.point = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  union {
    struct file_handle head;
    guint8 room[sizeof(struct file_handle) + TREE_HANDLE_MAX];
  } handle = {.head.handle_bytes = TREE_HANDLE_MAX};
  int mount;
  gboolean good = place.point >= 0 && fstatfs(place.point, &fs) == 0 &&
                  name_to_handle_at(place.point, "", &handle.head, &mount, AT_EMPTY_PATH) == 0;
  g_auto(Fd) again = good ? open_by_handle_at(place.point, &handle.head, O_PATH | O_CLOEXEC) : -1;
  good = again >= 0 &&
         fanotify_mark(fanotify->fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, CHANGES, place.point, NULL) == 0;
  if (!good) {
    *why = g_strdup_printf("fanotify cannot watch the file system at %s (%s)", point, g_strerror(errno));
    io_close(&place.point);
    return FALSE;
  }
  memcpy(&place.fsid, &fs.f_fsid, sizeof place.fsid);
  g_array_append_val(fanotify->places, place);
  return TRUE;
}

TreeFanotify *
tree_fanotify_new(TreeWatch *watch, char **why)
{
  TreeFanotify *fanotify = g_new0(TreeFanotify, 1);
  fanotify->watch = watch;
  fanotify->places = g_array_new(FALSE, FALSE, sizeof(Place));
  g_array_set_clear_func(fanotify->places, clear_place);
  fanotify->seen = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, NULL);
  fanotify->fd =
      fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_DIR_FID, O_RDONLY | O_CLOEXEC);
  gboolean good = fanotify->fd >= 0;
  if (!good)
    *why = g_strdup_printf("fanotify cannot be used (%s)", g_strerror(errno));
  for (guint i = 0; good && i < watch->mounts->len; i++)
    good = add_place(fanotify, ((const TreeMount *)watch->mounts->pdata[i])->point, why);
  if (good)
    return fanotify;
  tree_fanotify_free(fanotify);
  return NULL;
}

/* The path below the root, in `path`, which has PATH_MAX bytes; NULL where it is not in the tree. */
static const char *
below_root(const TreeWatch *watch, const char *path)
{
  gsize length = strcmp(watch->root, "/") == 0 ? 0 : strlen(watch->root);
  if (strncmp(path, watch->root, length) != 0 || (path[length] != '/' && path[length]))
    return NULL;
  return path[length] ? path + length + 1 : path + length;
}

static void
add_open(TreeFanotify *fanotify, int fd)
{
  char proc[64], path[PATH_MAX];
  struct stat status;
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(proc, path, sizeof path - 1);
  if (length < 0) {
    tree_dirty_lose(fanotify->watch->dirty, "a path is too long to be told");
    return;
  }
  path[length] = '\0';
  if (path[0] != '/' || fstat(fd, &status) < 0 || status.st_nlink == 0)
    return; /* elsewhere, or removed: which is an event of its parent's */
  const char *below = below_root(fanotify->watch, path);
  if (!below)
    return;
  g_autofree char *directory = S_ISDIR(status.st_mode) ? g_strdup(below) : g_path_get_dirname(below);
  tree_watch_add(fanotify->watch, strcmp(directory, ".") == 0 ? "" : directory);
}

/* The same file system may be mounted at several places of the tree. */
static void
add_event(TreeFanotify *fanotify, const TreeFanotifyEvent *event)
{
  union {
    struct file_handle head;
    guint8 room[sizeof(struct file_handle) + TREE_HANDLE_MAX];
  } handle = {.head = {.handle_bytes = event->length, .handle_type = event->type}};
  memcpy(handle.head.f_handle, event->handle, event->length);
  for (guint i = 0; i < fanotify->places->len; i++) {
    const Place *place = &g_array_index(fanotify->places, Place, i);
    if (place->fsid != event->fsid)
      continue;
    g_auto(Fd) fd = open_by_handle_at(place->point, &handle.head, O_PATH | O_CLOEXEC);
    if (fd >= 0)
      add_open(fanotify, fd);
    else if (errno != ESTALE && errno != ENOENT)
      tree_dirty_lose(fanotify->watch->dirty, "the kernel told of a directory that could not be found");
  }
}

static void
take_bytes(TreeFanotify *fanotify, const guint8 *bytes, gsize length)
{
  TreeFanotifyEvent event;
  TreeEventKind kind;
  gsize at = 0;
  while ((kind = tree_events_fanotify(bytes, length, &at, &event)) != TREE_EVENT_END) {
    if (kind == TREE_EVENT_LOST) {
      tree_dirty_lose(fanotify->watch->dirty, "more changed at once than the kernel keeps in mind");
      continue;
    }
    if (g_hash_table_add(fanotify->seen, g_bytes_new(&event, sizeof event)))
      add_event(fanotify, &event);
  }
}

void
tree_fanotify_take(TreeFanotify *fanotify)
{
  guint8 bytes[BUFFER] __attribute__((aligned(8)));
  ssize_t length = 0;
  for (guint reads = 0; reads < TREE_WATCH_READS && (length = read(fanotify->fd, bytes, sizeof bytes)) > 0;
       reads++)
    take_bytes(fanotify, bytes, length);
  g_hash_table_remove_all(fanotify->seen);
  if (length < 0 && errno != EAGAIN && errno != EINTR)
    tree_dirty_lose(fanotify->watch->dirty, "the kernel's list of changes cannot be read");
}

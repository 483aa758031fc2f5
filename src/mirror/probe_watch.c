/* Trials of what tells of changes in a file tree (replica/tree_watch.h). */
#include <errno.h>
#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/io.h"
#include "mirror/probe_trials.h"

/* An event names a directory by a handle, which has to lead to it again. */
gboolean
probe_fanotify(ProbeNote *note)
{
  union {
    struct file_handle head;
    guint8 room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
  } handle = {.head.handle_bytes = MAX_HANDLE_SZ};
  int mount;
  g_auto(Fd) fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_REPORT_DIR_FID, O_RDONLY);
  if (fd < 0)
    return FALSE;
  g_auto(Fd) root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0 || fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CREATE, root, NULL) < 0 ||
      name_to_handle_at(root, "", &handle.head, &mount, AT_EMPTY_PATH) < 0)
    return FALSE;
  g_auto(Fd) again = open_by_handle_at(root, &handle.head, O_PATH | O_CLOEXEC);
  return again >= 0;
}

gboolean
probe_inotify(ProbeNote *note)
{
  g_autofree char *most = io_read_file_at(AT_FDCWD, "/proc/sys/fs/inotify/max_user_watches", 32);
  g_auto(Fd) fd = inotify_init1(IN_CLOEXEC);
  if (fd < 0 || inotify_add_watch(fd, "/", IN_CREATE | IN_ONLYDIR) < 0)
    return FALSE;
  if (most)
    probe_note(note, "up to %s directories of a user", g_strchomp(most));
  return TRUE;
}

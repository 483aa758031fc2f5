#include "controller/device_changes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/io.h"
#include "identity/key.h"
#include "replica/apply.h"
#include "replica/path.h"

enum { MOUNTPOINTS_MAX = 4096 };

typedef struct {
  char *path;
  Fd root;
  ReplicaSeen *seen;
  ReplicaApply *apply; /* NULL: no change below it in this block */
} Mountpoint;

struct DeviceChanges {
  GPtrArray *mountpoints; /* of Mountpoint */
};

static void
clear_block(Mountpoint *mountpoint)
{
  g_clear_pointer(&mountpoint->apply, replica_apply_free);
  g_clear_pointer(&mountpoint->seen, replica_seen_free);
}

static void
mountpoint_free(Mountpoint *mountpoint)
{
  clear_block(mountpoint);
  io_close(&mountpoint->root);
  g_free(mountpoint->path);
  g_free(mountpoint);
}

DeviceChanges *
device_changes_new(void)
{
  DeviceChanges *changes = g_new0(DeviceChanges, 1);
  changes->mountpoints = g_ptr_array_new_with_free_func((GDestroyNotify)mountpoint_free);
  return changes;
}

void
device_changes_free(DeviceChanges *changes)
{
  g_ptr_array_unref(changes->mountpoints);
  g_free(changes);
}

gboolean
device_changes_set_mountpoints(DeviceChanges *changes, gsize count, const ProtobufCBinaryData *paths,
                               GError **error)
{
  if (count > MOUNTPOINTS_MAX || changes->mountpoints->len)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone names mount points as no clone does");
  for (gsize i = 0; i < count; i++) {
    const char *path = (const char *)paths[i].data;
    gboolean is_root = paths[i].len == 1 && *path == '/';
    if (!is_root && (paths[i].len < 2 || *path != '/' || !replica_path_valid(path + 1, paths[i].len - 1)))
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone names a mount point that is none");
    Mountpoint *mountpoint = g_new0(Mountpoint, 1);
    mountpoint->path = g_strndup(path, paths[i].len);
    mountpoint->root = -1;
    g_ptr_array_add(changes->mountpoints, mountpoint);
  }
  return TRUE;
}

/* A journal's paths count from the tree's root, so each root has a directory of journals, named after it. */
static char *
journals_directory(void)
{
  g_autofree char *state = identity_directory();
  return g_build_filename(state, "journal", NULL);
}

static int
open_journals(const char *root_path, GError **error)
{
  g_autofree char *directory = journals_directory();
  g_autofree char *name = g_uri_escape_string(root_path, NULL, FALSE);
  g_autofree char *path = g_build_filename(directory, name, NULL);
  int fd = g_mkdir_with_parents(path, 0700) < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    doppel_error_errno(error, "cannot make the directory of journals %s", path);
  return fd;
}

static int
open_root(const char *path)
{
  g_auto(Fd) top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  return top < 0 ? -1 : replica_path_open(top, path + 1, O_PATH | O_DIRECTORY);
}

static void
recover_in(const char *name)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = g_uri_unescape_string(name, NULL);
  if (!path || *path != '/')
    return;
  g_auto(Fd) root = open_root(path);
  g_auto(Fd) state = root < 0 ? -1 : open_journals(path, &error);
  if (state >= 0 && !replica_recover(root, state, &error))
    g_warning("%s", error->message);
}

void
device_changes_recover(void)
{
  g_autofree char *directory = journals_directory();
  DIR *listing = opendir(directory);
  for (struct dirent *entry; listing && (entry = readdir(listing));)
    if (*entry->d_name != '.')
      recover_in(entry->d_name);
  if (listing)
    closedir(listing);
}

static Mountpoint *
find(DeviceChanges *changes, guint index, GError **error)
{
  if (index >= changes->mountpoints->len) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone speaks of a mount point that it has not");
    return NULL;
  }
  Mountpoint *mountpoint = changes->mountpoints->pdata[index];
  if (mountpoint->root < 0)
    mountpoint->root = open_root(mountpoint->path);
  if (mountpoint->root >= 0)
    return mountpoint;
  doppel_error_errno(error, "%s is no directory of the device's, as it is of the clone's", mountpoint->path);
  return NULL;
}

int
device_changes_root(DeviceChanges *changes, guint mountpoint, GError **error)
{
  Mountpoint *found = find(changes, mountpoint, error);
  return found ? found->root : -1;
}

gboolean
device_changes_push(DeviceChanges *changes, const DeviceTold *told, guint mountpoint,
                    const ProtobufCBinaryData *bytes, GError **error)
{
  Mountpoint *found = find(changes, mountpoint, error);
  if (!found)
    return FALSE;
  if (!found->apply) {
    g_auto(Fd) state = open_journals(found->path, error);
    if (state < 0)
      return FALSE;
    found->seen = device_told_seen(told, found->path);
    found->apply = replica_apply_new(found->root, state, &(ReplicaApplyOptions){.seen = found->seen}, error);
    if (!found->apply)
      return FALSE;
  }
  return replica_apply_push(found->apply, bytes->data, bytes->len, error);
}

gboolean
device_changes_ready(const DeviceChanges *changes, gboolean expected, GError **error)
{
  gboolean any = FALSE;
  for (guint i = 0; i < changes->mountpoints->len; i++) {
    const Mountpoint *mountpoint = changes->mountpoints->pdata[i];
    if (mountpoint->apply && !replica_apply_ready(mountpoint->apply))
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the block's changes of files did not come whole");
    any |= mountpoint->apply != NULL;
  }
  return any == expected || doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                                             "the block's changes of files are not what its end says");
}

gboolean
device_changes_commit(DeviceChanges *changes, GError **error)
{
  g_autoptr(GPtrArray) applies = g_ptr_array_new();
  for (guint i = 0; i < changes->mountpoints->len; i++) {
    const Mountpoint *mountpoint = changes->mountpoints->pdata[i];
    if (mountpoint->apply)
      g_ptr_array_add(applies, mountpoint->apply);
  }
  return replica_apply_commit_all((ReplicaApply *const *)applies->pdata, applies->len, error);
}

void
device_changes_clear(DeviceChanges *changes)
{
  for (guint i = 0; i < changes->mountpoints->len; i++)
    clear_block(changes->mountpoints->pdata[i]);
}

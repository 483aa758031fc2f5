#include "replica/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/path.h"

/* The head of struct ovl_fb, the value of `origin` (fs/overlayfs/overlayfs.h). */
#define FB_MAGIC     0xfb
#define FB_MAGIC_AT  1
#define FB_LENGTH_AT 2
#define FB_TYPE_AT   4
#define FB_HANDLE_AT 21 /* after a UUID of 16 bytes */

typedef struct {
  struct file_handle head;
  guint8 bytes[MAX_HANDLE_SZ];
} Handle;

static ssize_t
get_mark(const ReplicaLayer *layer, const char *proc, const char *mark, void *value, gsize room)
{
  char name[64];
  g_snprintf(name, sizeof name, "%s.overlay.%s", layer->userxattr ? "user" : "trusted", mark);
  return lgetxattr(proc, name, value, room);
}

static gboolean
keeps_marks(const ReplicaLayer *layer)
{
  const char *name = layer->userxattr ? "user.overlay.doppel" : "trusted.overlay.doppel";
  char proc[REPLICA_PROC_MAX];
  replica_path_proc(proc, layer->upper, ".");
  return lsetxattr(proc, name, "y", 1, 0) == 0 && lremovexattr(proc, name) == 0;
}

gboolean
replica_layer_prepare(int upper, int lower, GError **error)
{
  g_auto(ReplicaFacts) root = {0};
  errno = replica_facts_read_at(lower, ".", 0, NULL, &root);
  if (errno == 0)
    errno = replica_facts_set(upper, ".", &root, REPLICA_FACT_METADATA);
  return errno == 0 || doppel_error_errno(error, "cannot give the session's upper layer the root's metadata");
}

ReplicaLayer *
replica_layer_new(int merged, int upper, int lower, gboolean userxattr, GError **error)
{
  g_autoptr(ReplicaLayer) layer = g_new0(ReplicaLayer, 1);
  layer->userxattr = userxattr;
  layer->merged = merged < 0 ? -1 : fcntl(merged, F_DUPFD_CLOEXEC, 3);
  layer->upper = fcntl(upper, F_DUPFD_CLOEXEC, 3);
  layer->lower = fcntl(lower, F_DUPFD_CLOEXEC, 3);
  if (layer->upper < 0 || layer->lower < 0 || (merged >= 0 && layer->merged < 0)) {
    doppel_error_errno(error, "cannot keep the session's layers open");
    return NULL;
  }
  if (!keeps_marks(layer)) {
    doppel_error_set(
        error, DOPPEL_ERROR_UNSUPPORTED,
        "the file system of the session's upper layer keeps no %s extended attributes (%s): put the "
        "session's directory on ext4, xfs, btrfs, or tmpfs of Linux 6.6 or later",
        userxattr ? "user.*" : "trusted.*", g_strerror(errno));
    return NULL;
  }
  return g_steal_pointer(&layer);
}

void
replica_layer_free(ReplicaLayer *layer)
{
  io_close(&layer->merged);
  io_close(&layer->upper);
  io_close(&layer->lower);
  g_free(layer);
}

void
replica_mark_clear(ReplicaMark *mark)
{
  replica_facts_clear(&mark->facts);
  g_clear_pointer(&mark->inode, g_bytes_unref);
  g_clear_pointer(&mark->origin, g_bytes_unref);
}

static GBytes *
inode_from_handle(int type, const guint8 *bytes, gsize length)
{
  guint8 key[sizeof(guint32) + MAX_HANDLE_SZ];
  guint32 kind = type;
  memcpy(key, &kind, sizeof kind);
  memcpy(key + sizeof kind, bytes, length);
  return g_bytes_new(key, sizeof kind + length);
}

/* Where the file system has no handles: number and time of birth, which a number's next owner does not share.
 */
static GBytes *
inode_from_birth(int directory, const char *name)
{
  struct statx st;
  if (statx(directory, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_INO | STATX_BTIME, &st) < 0)
    return NULL;
  gint64 key[4] = {-1, st.stx_ino, st.stx_btime.tv_sec, st.stx_btime.tv_nsec};
  return g_bytes_new(key, sizeof key);
}

GBytes *
replica_inode_read(int directory, const char *name)
{
  Handle handle = {.head.handle_bytes = MAX_HANDLE_SZ};
  int mount;
  if (name_to_handle_at(directory, name, &handle.head, &mount, 0) < 0)
    return errno == EOPNOTSUPP || errno == EOVERFLOW ? inode_from_birth(directory, name) : NULL;
  return inode_from_handle(handle.head.handle_type, handle.head.f_handle, handle.head.handle_bytes);
}

static GBytes *
read_origin(const ReplicaLayer *layer, const char *proc)
{
  guint8 value[256];
  ssize_t length = get_mark(layer, proc, "origin", value, sizeof value);
  if (length < 0)
    return NULL;
  if (length <= FB_HANDLE_AT || value[FB_MAGIC_AT] != FB_MAGIC || value[FB_LENGTH_AT] != length ||
      length - FB_HANDLE_AT > MAX_HANDLE_SZ)
    return g_bytes_new(NULL, 0);
  return inode_from_handle(value[FB_TYPE_AT], value + FB_HANDLE_AT, length - FB_HANDLE_AT);
}

static int
read_directory_marks(const ReplicaLayer *layer, const char *proc, ReplicaMark *mark)
{
  char value[2];
  if (get_mark(layer, proc, "redirect", NULL, 0) >= 0)
    return EOPNOTSUPP;
  if (get_mark(layer, proc, "opaque", value, sizeof value) == 1) {
    mark->opaque = value[0] == 'y';
    mark->xwhiteouts = value[0] == 'x';
  }
  return 0;
}

int
replica_mark_read(const ReplicaLayer *layer, int directory, const char *name, gboolean xwhiteouts,
                  ReplicaMark *mark)
{
  *mark = (ReplicaMark){0};
  int failure = replica_facts_read_at(directory, name, 0, NULL, &mark->facts);
  if (failure)
    return failure;
  char proc[REPLICA_PROC_MAX];
  replica_path_proc(proc, directory, name);
  const ReplicaFacts *facts = &mark->facts;
  mark->whiteout = (facts->type == REPLICA_CHARACTER_DEVICE && facts->rdev == makedev(0, 0)) ||
                   (xwhiteouts && facts->type == REPLICA_FILE && facts->size == 0 &&
                    get_mark(layer, proc, "whiteout", NULL, 0) >= 0);
  if (mark->whiteout)
    return 0;
  if (facts->type == REPLICA_FILE && get_mark(layer, proc, "metacopy", NULL, 0) >= 0)
    return EOPNOTSUPP;
  if (facts->type == REPLICA_DIRECTORY)
    return read_directory_marks(layer, proc, mark);
  mark->origin = read_origin(layer, proc);
  mark->inode = replica_inode_read(directory, name);
  return mark->inode ? 0 : errno;
}

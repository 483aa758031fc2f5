/* The clone's files: every real mount of a tree under a writable layer of its own (overlayfs, the kernel's
 * filesystems/overlayfs.rst).
 *
 * What the mirror writes goes to the upper directories; the tree below stays as it is. A file that exists
 * only in the lower is copied up on the first write; a deletion is a character device 0:0 in the upper, a
 * directory that hides the lower one has the extended attribute user.overlay.opaque=y ("userxattr": a user
 * namespace may not write trusted.* attributes). */
#pragma once

#include <glib.h>

typedef struct {
  char *mountpoint; /* as the mirror sees it: "/", "/home" */
  int upper_fd;     /* what the session wrote */
  int lower_fd;     /* what was there before, also below the layers of deeper mount points (where those are
                       hidden) */
} SandboxLayer;

typedef enum {
  SANDBOX_UPPER_AUTO, /* on disk in the session's directory; in memory where that cannot carry one */
  SANDBOX_UPPER_MEMORY,
} SandboxUpper;

typedef struct {
  const char *root;    /* absolute, canonical: the lower tree */
  const char *tmp;     /* absolute, canonical: the directory of all sessions; not to be seen inside */
  const char *session; /* absolute: the session's directory in it */
  SandboxUpper upper;
  gboolean privileged;
  const char *const
      *writable;       /* paths inside that the caller must be able to write below; NULL if privileged */
  guint64 upper_bytes; /* of all uppers in memory; 0: half of this machine's memory */
  GPtrArray *mounts;   /* of Mount, as the caller sees them */
  GPtrArray *notes;    /* of char *; what could not be done is added */
  GPtrArray *layers;   /* out: of SandboxLayer, by length of the mount point */
  GPtrArray *holes;    /* out: of char *, paths inside that no layer holds, with what is below them */
  GPtrArray *places;   /* between plan and mount */
  guint skeletons;
  char *base; /* where the uppers are; NULL until the first */
} Overlay;

/* Finds out what is to be mounted. A privileged caller is in a mount namespace of its own (its mounts
 * private) and still in its old user namespace: it sets a copy of each mount apart, which is possible only
 * there. */
gboolean overlay_plan(Overlay *overlay, GError **error);

/* Whether `path`, absolute in the clone, is where a sandbox has file systems of its own (/dev, /proc, /sys)
 * and shows nothing of the clone's root. */
gboolean overlay_is_own_place(const char *path);

/* Where the tree is mounted before it becomes the root. */
char *overlay_tree(const Overlay *overlay);

/* FALSE where the kernel would fail with EOVERFLOW to copy `rest` (below the layer's mount point), which then
 * can be written on the device only: it, or a directory above it, has an owner or group that has no id in
 * this user namespace. */
gboolean overlay_can_copy_up(const SandboxLayer *layer, const char *rest);

/* Mounts all of it at overlay_tree(), in the new user and mount namespaces. Fills `layers`. */
gboolean overlay_mount(Overlay *overlay, GError **error);

/* Takes back what is mounted in the session's directory, for a sandbox that did not come about. */
void overlay_unmount(const Overlay *overlay);

void overlay_clear(Overlay *overlay); /* all but the layers */
void sandbox_layer_free(SandboxLayer *layer);

/* Mounts or binds onto `path` inside the tree `root_fd`, whose links are never followed out of it. `source`
 * NULL etc. as in mount(2). Makes a missing mount point (a directory, or a file for `is_file`). FALSE with
 * errno. */
gboolean overlay_mount_inside(int root_fd, const char *path, const char *source, const char *type,
                              unsigned long flags, const char *options, gboolean is_file);

/* Makes what is mounted at `path` inside `root_fd`, and all below, read-only, without set-uid programs and
 * device nodes. FALSE with errno. */
gboolean overlay_freeze_inside(int root_fd, const char *path);

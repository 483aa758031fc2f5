/* What a clone's root has besides files: /dev, /sys, /proc; and making it the root.
 *
 * /dev holds the harmless devices, a devpts and a shared memory of the sandbox's own, and is otherwise
 * read-only: a real device is a pin, and a call on it is forwarded. /sys shows the sandbox's network
 * namespace, read-only. /run is ordinary: it is part of the tree with a layer like any other, so that what
 * programs read there (resolv.conf) is there and what a block writes comes home; the sockets in it are only
 * names, as an overlay gives them inodes of its own that nobody listens on. */
#pragma once

#include <glib.h>

/* Mounts /dev and /sys in the tree at `root_path`. */
gboolean rootfs_mount_devices(const char *root_path, GPtrArray *notes, GError **error);

/* Hides `path` (as the tree calls it) behind an empty, closed directory. */
gboolean rootfs_cover(const char *root_path, const char *path, GError **error);

/* Mounts the procfs of the caller's PID namespace in the tree. */
gboolean rootfs_mount_proc(const char *root_path, GError **error);

/* Needed where the mirror's root user is the kernel's: makes every entry of /proc outside the processes' own
 * directories that only permissions protect read-only, or hides it. */
gboolean rootfs_seal_proc(const char *root_path, GError **error);

/* Makes the tree the root of all processes in the mount namespace and lets go of the old one. */
gboolean rootfs_pivot(const char *root_path, GError **error);

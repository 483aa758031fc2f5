/* A generation as a mounted, read-only tree (overlayfs: the kernel's Documentation/filesystems/overlayfs.rst,
 * "Multiple lower layers", and the mount option userxattr).
 *
 * The mount is a descriptor: attached nowhere, in nobody's way, gone with its last user. It can be gone into
 * (openat(2)), or attached with move_mount(2). CAP_SYS_ADMIN over the caller's mount namespace is needed:
 * root has it, and whoever is in a user and mount namespace of its own. Linux 5.11; before 6.7 the mount is
 * on a directory of the store for a moment, so that there the mount namespace should be the caller's own, and
 * private.
 *
 * overlayfs stacks twice at most: a session's overlay over a view works when the store is not on an overlay
 * itself. */
#pragma once

#include "replica/generation_lease.h"

typedef enum {
  GENERATION_VIEW_PLAIN = 0,  /* no set-id programs, no device nodes */
  GENERATION_VIEW_SET_ID = 1, /* for a sandbox that has rules of its own */
  GENERATION_VIEW_DEVICES = 2,
  GENERATION_VIEW_BY_PATH = 4, /* as on an older kernel */
} GenerationViewFlags;

/* Mounts what the lease holds; the lease must outlive the mount. A descriptor, or -1 with an error:
 * UNSUPPORTED where the kernel cannot or does not let the caller. */
int generation_view_mount(const GenerationLease *lease, GenerationViewFlags flags, GError **error);

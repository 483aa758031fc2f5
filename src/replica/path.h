/* Paths below a root directory: which are acceptable, and how one is reached without leaving the root.
 *
 * A path of a replica is relative, without "", "." or ".." as a component; the root itself is "". */
#pragma once

#include <glib.h>

#define REPLICA_PATH_MAX 4096 /* bytes, the NUL included: the kernel's PATH_MAX */
#define REPLICA_NAME_MAX 255  /* bytes of one component: the kernel's NAME_MAX */

/* Whether `path`, `length` bytes from outside, is such a path. The root is only acceptable where a caller
 * says so itself. */
gboolean replica_path_valid(const char *path, gsize length);

/* The same for paths of another greatest length (`limit` bytes, the NUL included): of who walks them
 * component by component. */
gboolean replica_path_valid_within(const char *path, gsize length, gsize limit);

/* Opens (O_PATH) the directory that holds the last component of `path` and points *name at that component;
 * for the root itself opens the root, and the name is ".". With `follow`, symbolic links on the way are
 * followed, inside the root as after a chroot; without, one on the way is ELOOP. Never leaves the root
 * (openat2(2)). A descriptor, or -1 with errno. */
int replica_path_open_parent(int root, const char *path, gboolean follow, const char **name);

/* Opens one name of a directory: never through a symbolic link, never onto another mount. Paths of any length
 * and depth are walked with it. A descriptor, or -1. */
int replica_path_open_child(int directory, const char *name, int flags);

/* Opens the last component itself, never through a symbolic link, parents as above without `follow`. A
 * descriptor, or -1. */
int replica_path_open(int root, const char *path, int flags);

/* The name by which procfs reaches `name` in the directory `dirfd`, for calls that have no *at() form. */
#define REPLICA_PROC_MAX (REPLICA_NAME_MAX + 64)
void replica_path_proc(char proc[static REPLICA_PROC_MAX], int dirfd, const char *name);

/* The same for what `fd` is open on. */
void replica_path_proc_fd(char proc[static REPLICA_PROC_MAX], int fd);

/* Where procfs shows the calling process, for the two above: "/proc/self" unless another was set, at most 31
 * bytes. A relative one counts from the working directory: for who has a /proc that does not show it. */
void replica_path_set_self(const char *self);

/* The path of the directory that holds `path` ("" for one at the top). */
char *replica_path_parent(const char *path);

/* `directory`/`name`, either part possibly "". */
char *replica_path_join(const char *directory, const char *name);

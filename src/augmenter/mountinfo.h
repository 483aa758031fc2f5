/* The mounts of the calling process, from /proc/self/mountinfo (proc(5)). */
#pragma once

#include <glib.h>

typedef struct {
  int id;
  char *path; /* absolute, escapes undone */
  char *type; /* file system type, e.g. "ext4", "fuse.sshfs" */
} Mount;

/* Parses the text of a mountinfo file. The mounts in the file's order: a later one of the same path lies on
 * top. NULL with HOSTILE where a line is not as proc(5) says. */
GPtrArray *mountinfo_parse(const char *text, GError **error);

/* The mounts that `proc_fd`, a procfs, shows for the caller. */
GPtrArray *mountinfo_read(int proc_fd, GError **error);

/* TRUE for a file system that holds no files of a user's, only views of the kernel. */
gboolean mountinfo_is_pseudo(const Mount *mount);

/* TRUE where a path look-up really ends at this mount: no other lies over it or over one of its parents.
 * FALSE also for one that the caller may not reach. */
gboolean mountinfo_is_visible(const Mount *mount);

/* TRUE where `path` is below `directory` and is not `directory` itself. Both absolute and canonical. */
gboolean mountinfo_is_below(const char *path, const char *directory);

/* TRUE where any of `mounts`, visible or not, lies below `directory`. */
gboolean mountinfo_any_below(const GPtrArray *mounts, const char *directory);

/* TRUE where any of `mounts`, visible or not, lies at `path`. */
gboolean mountinfo_any_at(const GPtrArray *mounts, const char *path);

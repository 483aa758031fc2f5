/* The file systems that a scan of a tree enters: where they are mounted, and whether this kernel hears of all
 * that changes in them. From /proc/self/mountinfo (proc_pid_mountinfo(5)). */
#pragma once

#include <glib.h>

typedef struct {
  char *point; /* absolute */
  char *type;
  char *device, *root; /* "8:1", and what of it is mounted here: a path in it */
  gboolean whole;      /* it is the file system's root that is mounted */
  gboolean remote;     /* others may change it, too, without a word */
} TreeMount;

/* From the text of a mountinfo: the mount that `root` (absolute) is in first, then those below it, in the
 * order of the text; not what the kernel makes up or keeps in memory, but for the first. An array of
 * TreeMount. Lines that cannot be understood are left out. */
GPtrArray *tree_mounts_parse(const char *text, const char *root);

/* The same of this process. NULL with errno. */
GPtrArray *tree_mounts_read(const char *root);

/* A mount of something that is also to be seen elsewhere in the tree, by another mount; NULL: none. */
const TreeMount *tree_mounts_twice(const GPtrArray *mounts);

gboolean tree_mounts_equal(const GPtrArray *a, const GPtrArray *b);

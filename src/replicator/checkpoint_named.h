/* Files that a program only reads, which whoever goes on with it may have as it had them.
 *
 * Who names them is another machine, and who looks may be root, outside of any sandbox: nothing is opened
 * that a program in the clone would not find, and nothing but a regular file ever. */
#pragma once

#include "replicator/checkpoint_body.h"

/* Opens `named` below the directory `root` for reading, where it is as it is named. -1 where it is not, or is
 * on a file system that the kernel makes up, or where the sandbox has its own (/dev, /proc, /sys), or at or
 * below one of the `count` directories `hidden` (absolute; NULL: none; one that `root` is in hides nothing).
 * No symbolic link is followed. An empty file is never opened: whoever names one knows all that is in it. */
int checkpoint_named_open(const char *root, const char *const *hidden, guint count,
                          const CheckpointFile *named);

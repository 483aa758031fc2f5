/* The descriptors that were read last, to be read again at a fraction of the price where they are as they
 * were. Private to files.c and process.c. */
#pragma once

#include "mirror/files.h"

/* The same list (a reference of the caller's) where it can be shown that no descriptor is another or
 * otherwise than when it was remembered; else NULL. */
MirrorFiles *mirror_files_recall(MirrorProcess *process, MirrorFileInherited inherited, void *user);
/* What was just read of a frozen process. The list is not to be changed any more. */
void mirror_files_remember(MirrorProcess *process, MirrorFiles *files, MirrorFileInherited inherited,
                           void *user);
void mirror_files_memory_free(MirrorFilesMemory *memory);

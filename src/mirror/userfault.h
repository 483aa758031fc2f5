/* A userfaultfd of a process that stands, made in its name and brought here, so that the program never sees a
 * descriptor more than it has opened itself. Sources: userfaultfd(2), admin-guide/mm/userfaultfd.rst. */
#pragma once

#include "mirror/process.h"

/* One that holds back the kernel as well, which needs the right to it: by the process's own descriptor
 * `device` on /dev/userfaultfd (-1: none), and else, `by_right`, by a call. *made is its number in the
 * process, or -errno where the kernel does not grant it; it is to be fetched before the program runs on. */
gboolean mirror_userfault_make(MirrorProcess *process, int device, gboolean by_right, gint64 *made,
                               GError **error);
/* The same of one that holds back the program alone, which anybody may have. */
gboolean mirror_userfault_make_lesser(MirrorProcess *process, gint64 *made, GError **error);
/* Brings what was made here, and closes it in the process, in any case. -1 where that fails. */
int mirror_userfault_fetch(MirrorProcess *process, gint64 made, GError **error);
/* Its first use: with asynchronous write protection, of pages that are not there as well, and these features.
 * FALSE with errno where the kernel has not all of them. */
gboolean mirror_userfault_begin(int fd, guint64 features);

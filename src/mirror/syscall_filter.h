/* The seccomp filter of a mirror, made from the table of system calls.
 *
 * Native calls pass. All others notify the Augmenter (SECCOMP_RET_USER_NOTIF), but for those whose
 * instruction lies in the engine's own scratch page: calls that the engine injects are nobody's to route.
 * Calls of another architecture (int 0x80) or ABI (x32) notify too; syscall_filter_row() finds no row for
 * them, which means a cut.
 *
 * The number is decided by a binary tree before anything else is looked at, so that the kernel keeps the
 * native calls in its bitmap and does not run the filter for them at all
 * (Documentation/userspace-api/seccomp_filter.rst). */
#pragma once

#include <glib.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "mirror/syscalls.h"

/* The program, an array of struct sock_filter: free with g_array_unref(). Calls made by an instruction at or
 * after `scratch_start` and ending at or before `scratch_end` are let through; none where the two are equal.
 * UNSUPPORTED where the range crosses a 4 GiB line. */
GArray *syscall_filter_build(guint64 scratch_start, guint64 scratch_end, GError **error);

/* Installs the program in the calling thread with a listener. The listener's descriptor, close-on-exec, or
 * -1. Without CAP_SYS_ADMIN, no_new_privs must have been set. */
int syscall_filter_install(const GArray *program, GError **error);

/* The row of a call that was notified; NULL where it is not one of this architecture's table. */
const SyscallRow *syscall_filter_row(const struct seccomp_data *call);

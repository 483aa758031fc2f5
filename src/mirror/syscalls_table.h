/* The rows behind syscalls.h, and its tables of requests; included by syscalls*.c only. */
#pragma once

#include "mirror/syscalls.h"

extern const SyscallRow syscalls_table[];
extern const guint syscalls_table_length;

/* What the argument of an ioctl or fcntl is. */
SyscallArg syscalls_ioctl_argument(guint32 request, guint64 value);
SyscallArg syscalls_fcntl_argument(guint32 command);

/* Whether a socket option's value holds pointers or descriptors. */
gboolean syscalls_socket_option_nests(guint32 level, guint32 option);

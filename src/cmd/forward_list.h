/* The ports that this user's processes forward now: each has a file with a lock in the directory of the
 * user's keys.
 */
#pragma once

#include "base/io.h"

/* This process forwards from now on, to its end: `there` comes to `here`, or with `accept` what friends open.
 * FALSE with an error. `*lock` is to stay open. */
gboolean forward_list_enter(gboolean accept, const char *here, const char *there, Fd *lock, GError **error);

/* Removes this process's entry. */
void forward_list_leave(void);

/* Prints all. FALSE with an error. */
gboolean forward_list_print(gboolean json, GError **error);

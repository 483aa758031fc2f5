/* Pid 1 of the mirror's PID namespace: it mounts /proc, reaps orphans, and when it dies the kernel kills
 * everything inside. */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* Forks it: the first child after the PID namespace was made. It mounts /proc in the tree at `root_path`.
 * *life_fd is to be kept open: init ends when it is closed, be it by the death of the caller. *pid_max is the
 * limit inside. -1 with an error. */
pid_t init_start(const char *root_path, gboolean sealed, int *life_fd, pid_t *pid_max, GError **error);

/* Has it set the id of the next process or thread. FALSE with errno. */
gboolean init_next_pid(int life_fd, pid_t pid);

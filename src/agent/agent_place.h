/* Where a user's agent is: a lock, for there is one of them, and a socket, in the directory of the user's
 * keys. */
#pragma once

#include "base/io.h"

/* A socket that listens, and the lock that makes this process the agent. FALSE with an error: GONE where
 * another one runs. */
gboolean agent_place_take(Fd *lock, Fd *listener, GError **error);

/* Nobody finds the agent any more. */
void agent_place_leave(void);

/* A connection to the agent; -1: there is none. */
int agent_place_connect(void);

/* Whether the other end is this same user. *process (may be NULL) is its id. */
gboolean agent_place_is_own(int fd, pid_t *process);

/* A connection that outlives a run (as a multiplexed ssh has it, ssh_config(5) ControlPersist): a short
 * program that runs whole in a paired clone would spend most of its time on a connection's round trips.
 *
 * A keeper is a process in the background that holds one session of the clone ready: connected, both ends
 * authenticated, nothing said in it yet. It listens on a Unix socket in the directory of the user's keys, for
 * this user alone. A run that comes gets the session: that keeper passes messages on from now on, until the
 * run or the session ends, and its successor, which inherits the socket, prepares the next when a short run
 * is over. A keeper that nobody needs for `idle_s` seconds ends. */
#pragma once

#include <glib.h>

#include "link/link.h"

/* The session that a keeper has ready for the clone `name`, as a link whose counters are those of the real
 * one; NULL where there is no keeper. */
Link *keeper_take(const char *name);

/* Starts a keeper in the background, where none is. It can fail, and nothing is lost. */
void keeper_start(const char *name, int idle_s);

/* The keeper's process: returns when it has ended. `inherited` is the listening socket and the lock that it
 * has from its predecessor; NULL for the first one, which returns TRUE at once where another is at work. */
typedef struct {
  int listener, lock;
} KeeperInherited;
gboolean keeper_run(const char *name, int idle_s, const KeeperInherited *inherited, GError **error);

/* Ends the keeper of the clone `name`; runs that use its session go on. FALSE where there was none. */
gboolean keeper_stop(const char *name, GError **error);

/* The clone's end of a synchronisation (docs/decisions/0014-generations.md): what the device tells goes into
 * the store of its clone, and what it asks about the store is answered. One process per session. */
#pragma once

#include "link/link.h"

#define REPLICATOR_STORE                                                                                     \
  "store" /* the name of the store (replica/generation_store.h) in the directory of a replica */

typedef struct {
  const char *directory; /* of this clone's replica: `store` and what belongs to it; made where there is none,
                            with those above it */
  const char *name;      /* of the clone, for messages */
  const char
      *public_base; /* directory of the host's public base (replica/public_base.h); NULL: it has none */
  int control_fd; /* where the later sockets of this session come from (link/pass.h); -1: none will. Must not
                     block */
  gboolean enter; /* the process is this session's alone: where it is not root, it goes into a user namespace
                     in which its user is the device's. There it can go through directories that their owner
                     may not, and that one owner is kept. Where the system does not let it, it goes without */
} ReplicatorPlace;

/* Serves the session until its link is dead or the device ends it. `link` is up and stays the caller's.
 * Returns the exit status of the session's process: 0, or 1 after a failure that was printed to stderr. */
int replicator_receive(Link *link, const ReplicatorPlace *place);

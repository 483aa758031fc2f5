/* The clone's end of a conversation about checkpoints (checkpoint_message.h). */
#pragma once

#include "replicator/job_service.h"

/* Serves the session, whose link is up and stays the caller's, until its link is dead or the device ends it.
 * `directory` is the clone's store of checkpoints (checkpoint_store.h), `host` where a job goes on from one.
 * Returns the exit status of the session's process: 0, or 1 after a failure that was printed to stderr. */
int checkpoint_service(Link *link, const AugmenterSession *session, const char *directory,
                       const JobHost *host);

/* The clone's end of a conversation about a profile (message.h): the program runs here, alone and under
 * valgrind, so that the device pays nothing but its decision. */
#pragma once

#include "augmenter/session.h"
#include "replicator/job_bounds.h"

typedef struct {
  JobBounds bounds;     /* of what the program writes to this machine's disk */
  const char *rootless; /* NULL, or why there is nothing at the session's root: then nothing runs */
} ProfilerHost;

/* Serves the session, whose link is up and stays the caller's, until its link is dead or the device ends it.
 * Returns the exit status of the session's process: 0, or 1 after a failure that was printed to stderr. */
int profiler_service(Link *link, const AugmenterSession *session, const ProfilerHost *host);

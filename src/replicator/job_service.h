/* The clone's end of a conversation about jobs (job_message.h). */
#pragma once

#include "augmenter/session.h"
#include "identity/key.h"
#include "replicator/job_bounds.h"

typedef struct {
  const char *directory;        /* of the clone's jobs (job_store.h) */
  guint64 generation;           /* of the files at the session's root; 0: they are none */
  JobBounds bounds;             /* of each job */
  int lease;                    /* a descriptor that keeps them there, -1: none; each job has it open, too */
  const IdentityPublic *device; /* that asks; NULL: there is no other, and every job is its own */
  const char *rootless;         /* NULL, or why there is nothing at the root: then no job begins */
} JobHost;

/* Serves the session, whose link is up and stays the caller's, until its link is dead or the device ends it.
 * Returns the exit status of the session's process: 0, or 1 after a failure that was printed to stderr. */
int job_service(Link *link, const AugmenterSession *session, const JobHost *host);

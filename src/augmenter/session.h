/* A session in the clone, as doppeld starts it: one process, one link, one Augmenter (CloneCloud section 3).
 */
#pragma once

#include "augmenter/limits.h"
#include "link/link.h"
#include "link/pass.h"

typedef struct {
  const char *root;       /* the clone's root file system, an absolute path; never written to */
  const char *tmp;        /* where the session may keep files while it lasts, an absolute path */
  const char *hidden;     /* not to be seen in the clone's root, a path without links; NULL: nothing */
  const char *pages;      /* directory of the clone's store of pages, kept between sessions; NULL: none */
  const char *clone_name; /* for messages */
  guint8 clone[16];       /* all zero: a local clone */
  guint8 session[16];
  SandboxLimits limits;  /* of the program and its children together */
  guint64 changes_bytes; /* what the program changes is kept in memory, up to so much; 0: on disk */
  int control_fd; /* doppeld hands over the later sockets of this session here; -1: a local clone. Poll it for
                     POLLIN and call session_receive_socket() */
} AugmenterSession;

/* The next socket that doppeld handed over, for link_resume(): 1 with *fd, the caller's; 0 where none waits;
 * -1 when none will come any more (doppeld is gone): the session can go on with the connection it has, but
 * poll control_fd no more. */
static inline int
session_receive_socket(const AugmenterSession *session, int *fd)
{
  return link_pass_receive(session->control_fd, fd);
}

/* Serves the session until its link is dead or the other side ends it. `link` is up and stays the caller's.
 * Returns the exit status of the session's process: 0, or 1 after a failure that was printed to stderr. */
int augmenter_session(Link *link, const AugmenterSession *session);

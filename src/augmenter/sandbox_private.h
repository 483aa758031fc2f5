/* What the files of the sandbox share and nobody else sees. */
#pragma once

#include "augmenter/sandbox.h"
#include "augmenter/session_dir.h"

typedef struct {
  pid_t pid;
  int fd; /* the waiting child has the other end */
} SandboxPending;

struct SandboxPrivate {
  SessionDir dir;
  Overlay overlay;
  Limits limits;
  GPtrArray *holes; /* of char *: paths inside that are in no layer */
  GArray *pending;  /* of SandboxPending */
  gboolean all_ids; /* every owner on this machine has an id inside */
  struct rlimit
      files;   /* RLIMIT_NOFILE as it was: layers take two descriptors each, and there may be hundreds */
  int life_fd; /* init lives as long as this end is open */
};

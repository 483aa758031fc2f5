/* Freshness: whether the clone's copy of a path may be used, or what has to be done to it first. */
#pragma once

#include "replica/facts.h"

typedef enum {
  REPLICA_CHECK_SAME,         /* it may be used */
  REPLICA_CHECK_PULL_CONTENT, /* a file whose content has to come: see pull.h */
  REPLICA_CHECK_FIX_METADATA, /* only owner, mode, times or attributes differ: replica_fix() */
  REPLICA_CHECK_CREATE, /* a directory, symbolic link or empty file has to be made, over whatever is there:
                           replica_fix() */
  REPLICA_CHECK_REMOVE, /* the device has nothing there: replica_fix() */
  REPLICA_CHECK_DEVICE_ONLY, /* lives on the device alone (socket, FIFO, device, /proc, what the device may
                                not read): forward */
  REPLICA_CHECK_NEED_HASH, /* equal as far as can be seen, but that says little: ask again with the content's
                              hash */
} ReplicaVerdict;

enum {
  /* Equal size and modification time are enough even where the time is of whole seconds: the copy is known to
     descend from the device's file. */
  REPLICA_CHECK_TRUST_TIMES = 1,
};

/* Pure. `device` as the device told it, with its ctime where that is known, or `device_errno` where it got an
 * error instead; the same of the clone's own. */
ReplicaVerdict replica_check(const ReplicaFacts *device, int device_errno, const ReplicaFacts *clone,
                             int clone_errno, guint flags);

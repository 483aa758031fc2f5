/* A device and its clone's store (store_rig.h), with a link between them: a socket pair, whose ends are two
 * processes where one is to be killed. */
#pragma once

#include "replicator/receive.h"
#include "replicator/sync.h"
#include "store_rig.h"

typedef struct {
  StoreRig *store;
  char *replica;     /* directory of the clone's */
  char *knowledge;   /* directory of the device's */
  char *public_base; /* of the clone's host; NULL: it has none */
  TreeRules *rules;
  guint64 generation; /* the newest that the clone has */
} SyncRig;

SyncRig *sync_rig_new(guint32 seed, const char *size);
void sync_rig_free(SyncRig *rig);

/* Changes the device's tree, and keeps a copy of what it is now, for the next generation. */
void sync_rig_change(SyncRig *rig, guint changes);
void sync_rig_copy(SyncRig *rig);

/* The clone's end, ends[1], in a process of its own. */
pid_t sync_rig_receiver(SyncRig *rig, const int ends[2]);
/* Its exit status, or minus the signal that ended it. */
int sync_rig_wait(pid_t child);

/* The device's end, over `fd`. */
gboolean sync_rig_send(SyncRig *rig, int fd, ReplicatorResult *result, GError **error);

/* Both; fails the test where it fails. Afterwards the clone is what the device is. */
void sync_rig_run(SyncRig *rig, ReplicatorResult *result);
/* The same, and what comes of it. */
gboolean sync_rig_try(SyncRig *rig, ReplicatorResult *result, GError **error);

/* The number of the newest generation in the clone, which must be what the device was then; 0: there is none.
 */
guint64 sync_rig_newest(SyncRig *rig);

/* Asks about the store by `ask`, over a link of its own. */
void sync_rig_ask(SyncRig *rig, void (*ask)(SyncRig *rig, Link *link));

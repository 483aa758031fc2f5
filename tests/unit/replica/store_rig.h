/* A store on a file system of its own, with a device that fills it, and copies of what the device was. */
#pragma once

#include "device.h"
#include "replica/generation_lease.h"
#include "replica/generation_store.h"

typedef struct {
  char *base, *path; /* `path` is the store's */
  gboolean mounted;  /* the store's file system is one of its own */
  guint32 seed;
  Device *device;
  GenerationStore *store; /* NULL while it is closed */
  GenerationStoreOptions options;
  guint64 generation; /* that the last steps are for */
} StoreRig;

/* `size` is for the store's file system ("size=1m"; NULL: as large as it gets). */
StoreRig *store_rig_new(guint32 seed, const char *size);
void store_rig_free(StoreRig *rig);

void store_rig_open(StoreRig *rig);
void store_rig_close(StoreRig *rig);

/* Where a copy of the device as it was in that generation is. */
char *store_rig_copy(const StoreRig *rig, guint64 generation);

/* Changes the device, copies it, and returns the steps of the next generation. */
GPtrArray *store_rig_change(StoreRig *rig, guint changes);

/* Feeds what is left of `steps` to an attempt that is begun or continued. The last outcome; `error` may be
 * set. */
GenerationOutcome store_rig_feed(StoreRig *rig, GPtrArray *steps, GError **error);

/* The same with a new generation, all of it. */
void store_rig_commit(StoreRig *rig, guint changes);

/* Fails the test unless the generation is what the device was. */
void store_rig_assert_same(StoreRig *rig, guint64 generation);

/* The same for the lease's. */
void store_rig_assert_lease(StoreRig *rig, const GenerationLease *lease);

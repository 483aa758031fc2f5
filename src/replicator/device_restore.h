/* The loss of a device (docs/decisions/0020-loss-of-a-device.md; CloneCloud section 3: "if the smartphone is
 * lost or destroyed, the clone can be used as a backup"): the whole tree of a generation, made again on a
 * replacement.
 *
 * What is to be made is the clone's manifest, as an index (replica/tree_index.h) in which everything is
 * dirty. What has been made is noted there as what the device has, so that the index is also the journal of
 * the restoration, and after it what the next synchronisation begins with. Until it is complete the index
 * cannot be used for one (clone_index_restoring()). */
#pragma once

#include "link/link.h"
#include "replica/generation_facts.h"
#include "replicator/clone_index.h"

typedef enum {
  DEVICE_RESTORE_ASKING, /* what there is */
  DEVICE_RESTORE_MAKING, /* directories */
  DEVICE_RESTORE_FILLING,
  DEVICE_RESTORE_COMPLETING, /* the directories' own times and modes; what waits is written to the disk */
} DeviceRestorePhase;

typedef struct {
  DeviceRestorePhase phase;
  guint64 paths, paths_done;
  guint64 bytes, bytes_done; /* of contents */
} DeviceRestoreProgress;

typedef struct {
  const char *root;   /* a directory */
  guint64 generation; /* 0: the one that is being restored there, or the newest */
  gboolean onto;      /* `root` need not be empty */
  void (*progress)(void *user, const DeviceRestoreProgress *progress); /* often; may be NULL */
  void *user;
} DeviceRestoreOptions;

typedef struct {
  guint64 generation;
  guint64 paths, bytes;    /* in it, and of contents */
  guint64 kept;            /* paths that were there already as they should be, from another time too */
  guint64 fetched;         /* bytes of contents that came */
  guint64 aside_count;     /* what was in the way and has another name now */
  GPtrArray *aside;        /* of char *, below the root: those names, the first ones */
  GenerationLosses losses; /* what could not be set here */
  gboolean resumed;
} DeviceRestored;

void device_restored_clear(DeviceRestored *restored);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DeviceRestored, device_restored_clear)

/* Makes `options->root` what a generation of the clone is. What is there and differs keeps its content under
 * the name NAME.doppel-before; what is there and in no way stays. After a cut, a kill or a crash the same
 * call goes on where it was. FALSE with an error: USAGE where the root is not empty and may not be used
 * so. */
gboolean replicator_restore_device(Link *link, CloneIndex *index, const DeviceRestoreOptions *options,
                                   DeviceRestored *restored, GError **error);

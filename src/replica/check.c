#include "replica/check.h"

#include <errno.h>
#include <string.h>

/* A clone's root is often another installation of the same packages, whose files have the packages' times:
 * whole seconds, which two builds may share. A time with nanoseconds in it is one file's own, unless it was
 * set: then the device's file was changed, in whatever way, later than it says. */
static gboolean
time_identifies(const ReplicaFacts *facts)
{
  return facts->mtime_ns % 1000000000 != 0 && (!facts->ctime_ns || facts->ctime_ns == facts->mtime_ns);
}

static ReplicaVerdict
check_file(const ReplicaFacts *device, const ReplicaFacts *clone, guint flags)
{
  gboolean hashes = device->hashed && clone->hashed;
  if (hashes && memcmp(device->hash, clone->hash, sizeof device->hash) != 0)
    return REPLICA_CHECK_PULL_CONTENT;
  if (!hashes && !replica_facts_equal(device, clone, REPLICA_FACT_SIZE | REPLICA_FACT_MTIME))
    return REPLICA_CHECK_PULL_CONTENT;
  if (clone->nlink > 1 &&
      device->nlink <
          clone->nlink) /* names that are apart on the device must not share one file in the clone */
    return device->size > 0 ? REPLICA_CHECK_PULL_CONTENT : REPLICA_CHECK_CREATE;
  if (!hashes && device->size > 0 && !time_identifies(device) && !(flags & REPLICA_CHECK_TRUST_TIMES))
    return REPLICA_CHECK_NEED_HASH;
  return replica_facts_equal(device, clone, REPLICA_FACT_METADATA) ? REPLICA_CHECK_SAME
                                                                   : REPLICA_CHECK_FIX_METADATA;
}

static gboolean
lives_on_device(const ReplicaFacts *device)
{
  return device->pseudo || (device->type != REPLICA_FILE && device->type != REPLICA_DIRECTORY &&
                            device->type != REPLICA_SYMLINK);
}

ReplicaVerdict
replica_check(const ReplicaFacts *device, int device_errno, const ReplicaFacts *clone, int clone_errno,
              guint flags)
{
  gboolean clone_absent = clone_errno == ENOENT || clone_errno == ENOTDIR;
  if (device_errno == ENOENT || device_errno == ENOTDIR)
    return clone_absent ? REPLICA_CHECK_SAME : REPLICA_CHECK_REMOVE;
  if (device_errno || lives_on_device(device))
    return REPLICA_CHECK_DEVICE_ONLY;
  if (clone_errno || clone->type != device->type)
    return device->type == REPLICA_FILE && device->size > 0 ? REPLICA_CHECK_PULL_CONTENT
                                                            : REPLICA_CHECK_CREATE;
  if (device->type == REPLICA_FILE)
    return check_file(device, clone, flags);
  if (!replica_facts_equal(device, clone, REPLICA_FACT_TARGET))
    return REPLICA_CHECK_CREATE;
  return replica_facts_equal(device, clone, REPLICA_FACT_METADATA) ? REPLICA_CHECK_SAME
                                                                   : REPLICA_CHECK_FIX_METADATA;
}

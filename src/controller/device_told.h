/* What the device has told the clone about its paths. */
#pragma once

#include "replica/facts.h"
#include "replica/seen.h"
#include "wire/engine.pb-c.h"

#define DEVICE_TOLD_MAX 200000 /* paths of one session: more than that no block may look at */

typedef struct {
  char *path; /* absolute, no links on the way */
  ReplicaFacts facts;
  int failure;      /* errno instead of facts */
  gint64 read_ns;   /* replica_now_ns() before it was read */
  gboolean content; /* told with the hash of its content, where it is a file */
  gboolean asked;   /* on the way to a path that was asked about, and not only listed */
  char expected;    /* how a former run knew it (device_expected.h): '+', '-', or 0 for not at all */
} DeviceTelling;

typedef struct DeviceTold DeviceTold;

/* `hashes` may be NULL. */
DeviceTold *device_told_new(ReplicaHashes *hashes);
void device_told_free(DeviceTold *told);

/* What is at `path`, remembered as told. *news: it had not been told, or not so. NULL where too much was told
 * already. The telling stays until the next device_told_stale(). */
const DeviceTelling *device_told_read(DeviceTold *told, const char *path, gboolean content, gboolean asked,
                                      gboolean *news);

/* Reads again what may have changed. Those that have, of DeviceTelling, owned by `told`. */
GPtrArray *device_told_stale(DeviceTold *told);

/* All of it that lies below `directory` (absolute), relative to that. */
ReplicaSeen *device_told_seen(const DeviceTold *told, const char *directory);

/* In the order in which they were told first: of DeviceTelling. */
const GPtrArray *device_told_all(const DeviceTold *told);

/* As a message; `name`: its path is to be that instead. */
Doppel__Engine__Told *device_telling_pack(const DeviceTelling *telling, const char *name);
void device_packed_free(Doppel__Engine__Told *told);

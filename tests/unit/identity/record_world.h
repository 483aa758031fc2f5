/* A user with a clone, whose keys follow from a number. */
#pragma once

#include "identity/record.h"

#define WORLD_TIME 1700000000 /* seconds since 1970 */

typedef struct {
  IdentityKey *origin, *key, *recovery; /* `key`: the user's now, as `recovery` */
  IdentityKey *clone, *device, *provider, *directory;
  GBytes *root, *hosting;
  GPtrArray *successions;
  RecordBinding binding;
} WorldUser;

IdentityKey *world_key(guint number);
WorldUser *world_user_new(guint number, const char *name);
void world_user_free(WorldUser *user);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WorldUser, world_user_free)

/* The next key, and the next recovery key, follow from `number`. */
void world_succeed(WorldUser *user, guint number, gboolean by_recovery);

/* Their record now; `sequence` 0: without whereabouts. */
Record *world_record(const WorldUser *user, guint64 serial, guint64 sequence, GError **error);

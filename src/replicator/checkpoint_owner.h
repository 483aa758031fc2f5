/* Whose a run of checkpoints is (owner.h): DIR/RUN.owner, beside the run's directory (checkpoint_store.h),
 * which has nothing in it but what its chain names. */
#pragma once

#include "identity/key.h"
#include "replicator/checkpoint_message.h"

/* Writes down that the run, which is there, is that of `device`, unless it is somebody's already; removes
 * what is left of runs that are gone. FALSE with an error, DENIED where it is another's. */
gboolean checkpoint_owner_claim(const char *directory, const guint8 run[CHECKPOINT_RUN],
                                const IdentityPublic *device, GError **error);

/* Whether it is nobody's or another's; with NULL it never is. */
gboolean checkpoint_owner_is_other(const char *directory, const guint8 run[CHECKPOINT_RUN],
                                   const IdentityPublic *device);

/* Whether it is somebody's, and not this device's. */
gboolean checkpoint_owner_denies(const char *directory, const guint8 run[CHECKPOINT_RUN],
                                 const IdentityPublic *device, GError **error);

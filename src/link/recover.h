/* The loss of a device (docs/decisions/0020-loss-of-a-device.md): who has the recovery phrase that a pairing
 * showed gets back into the clone with a new device. Requests go to the host itself, as those of pair.h do.
 */
#pragma once

#include "identity/recovery.h"
#include "link/link.h"

/* Leaves the public part of `recovery` with the clone's host, in place of what an earlier one left, which is
 * void then. NOT_FOUND where the host does not know the clone, or not as this device's. */
gboolean link_set_recovery(const PairedClone *clone, const IdentityKey *device,
                           const IdentityRecovery *recovery, GError **error);

/* Finds the clone that the phrase is about at one of the addresses, and makes `device` one of its own: the
 * only one, from now on, unless `beside`. Nothing of the phrase but its public key is sent, and that is all
 * that a host gets which cannot show that it is the one (DENIED). NOT_FOUND where the host has no clone of
 * this phrase. The same again, after an answer that was lost, does no harm. `name` is what the user calls the
 * clone; NULL takes the host's proposal. The result is not stored yet. */
PairedClone *link_recover(const char *const *addresses, const IdentityKey *device,
                          const IdentityRecovery *recovery, const char *name, gboolean beside,
                          GError **error);

/* What link_recover() makes of the host's first answer: the clone, and what to sign. `host` is the key that
 * TLS has proved. */
PairedClone *link_recover_read(const guint8 *data, gsize length, const IdentityRecovery *recovery,
                               const IdentityPublic *host, const char *const *addresses, const char *name,
                               guint8 challenge[IDENTITY_CHALLENGE_LENGTH], GError **error);

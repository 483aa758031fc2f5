/* What a recovery phrase is good for (docs/decisions/0020-loss-of-a-device.md): CloneCloud's "if the
 * smartphone is lost or destroyed, the clone can be used as a backup", for an owner who has nothing but the
 * phrase and a host's address.
 *
 * From the phrase's secret follow, by HKDF (RFC 5869) over SHA-256, a *recovery key*, whose public half the
 * host has, a *seal key*, which nobody has, and a *successor key*. The device that made the phrase left a
 * *seal* with the host: HMAC-SHA256, under the seal key, over who the host and the clone are. A host that
 * shows a good seal of the key by which TLS knows it is the one that the phrase is about; nobody else can
 * make one, the host neither. Who has the phrase then proves it by signing what the host has just made up. */
#pragma once

#include "identity/key.h"
#include "identity/paired.h"
#include "identity/phrase.h"

#define IDENTITY_SEAL_LENGTH      32
#define IDENTITY_CHALLENGE_LENGTH 32

typedef struct IdentityRecovery IdentityRecovery;

/* From a new secret of the system's generator, or a phrase (USAGE for what is none). Wiped when freed. */
IdentityRecovery *identity_recovery_new(GError **error);
IdentityRecovery *identity_recovery_from_phrase(const char *phrase, GError **error);
void identity_recovery_free(IdentityRecovery *recovery);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(IdentityRecovery, identity_recovery_free)

/* The phrase, the caller's: identity_recovery_phrase_free() wipes it. */
char *identity_recovery_phrase(const IdentityRecovery *recovery);
void identity_recovery_phrase_free(char *phrase);

/* The public half of the recovery key: tells nothing of the secret. */
const IdentityPublic *identity_recovery_public(const IdentityRecovery *recovery);

/* The key with which the user whose key was lost or taken names another one (identity/record.h). Its public
 * half is in the user's record; it signs for nothing else. Owned by `recovery`. */
const IdentityKey *identity_recovery_successor(const IdentityRecovery *recovery);

/* Whose a seal is. */
typedef struct {
  IdentityPublic host;
  guint8 id[PAIRED_ID_LENGTH];
  IdentityPublic clone;
} IdentitySealed;

void identity_recovery_seal(const IdentityRecovery *recovery, const IdentitySealed *sealed,
                            guint8 seal[IDENTITY_SEAL_LENGTH]);
gboolean identity_recovery_check_seal(const IdentityRecovery *recovery, const IdentitySealed *sealed,
                                      const guint8 seal[IDENTITY_SEAL_LENGTH]);

/* What is signed: the host's challenge, who asks whom for what. */
typedef struct {
  guint8 challenge[IDENTITY_CHALLENGE_LENGTH];
  IdentityPublic host, device;
  guint8 id[PAIRED_ID_LENGTH];
  gboolean beside; /* the clone's other devices stay let in */
} IdentityProof;

void identity_recovery_prove(const IdentityRecovery *recovery, const IdentityProof *proof,
                             guint8 signature[IDENTITY_SIGNATURE_LENGTH]);

/* The host's part: it has but the public half. */
gboolean identity_recovery_verify(const IdentityPublic *key, const IdentityProof *proof,
                                  const guint8 signature[IDENTITY_SIGNATURE_LENGTH]);

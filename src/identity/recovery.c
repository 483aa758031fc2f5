#include "identity/recovery.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sodium.h>
#include <string.h>

#include "base/error.h"

#define KEY_LENGTH 32 /* of SHA-256's kin */

/* What a derived key, a seal and a proof are for goes into each, so that none can be taken for another. */
static const char salt[] = "doppel recovery 1";
static const char for_key[] = "recovery key";
static const char for_seal[] = "seal key";
static const char for_successor[] = "user successor key";
static const char seal_heading[] = "doppel recovery seal 1";
static const char proof_heading[] = "doppel recovery proof 1";

struct IdentityRecovery {
  guint8 secret[IDENTITY_PHRASE_SECRET];
  guint8 seal_key[KEY_LENGTH];
  IdentityKey *key, *successor;
};

static gboolean
derive(const guint8 extracted[KEY_LENGTH], const char *purpose, guint8 key[KEY_LENGTH])
{
  const gnutls_datum_t from = {(guint8 *)extracted, KEY_LENGTH};
  const gnutls_datum_t info = {(guint8 *)purpose, strlen(purpose)};
  return gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &from, &info, key, KEY_LENGTH) >= 0;
}

static gboolean
derive_all(IdentityRecovery *recovery)
{
  const gnutls_datum_t secret = {recovery->secret, sizeof recovery->secret};
  const gnutls_datum_t salted = {(guint8 *)salt, strlen(salt)};
  guint8 extracted[KEY_LENGTH], seed[KEY_LENGTH], successor[KEY_LENGTH];
  gboolean good = gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &secret, &salted, extracted) >= 0 &&
                  derive(extracted, for_key, seed) && derive(extracted, for_seal, recovery->seal_key) &&
                  derive(extracted, for_successor, successor);
  G_STATIC_ASSERT(KEY_LENGTH == IDENTITY_SEED_LENGTH);
  if (good) {
    recovery->key = identity_key_from_seed(seed);
    recovery->successor = identity_key_from_seed(successor);
  }
  sodium_memzero(extracted, sizeof extracted);
  sodium_memzero(seed, sizeof seed);
  sodium_memzero(successor, sizeof successor);
  return good;
}

static IdentityRecovery *
complete(IdentityRecovery *recovery, GError **error)
{
  if (derive_all(recovery))
    return recovery;
  identity_recovery_free(recovery);
  doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                   "GnuTLS cannot derive keys from a recovery phrase here (HKDF with SHA-256)");
  return NULL;
}

IdentityRecovery *
identity_recovery_new(GError **error)
{
  if (sodium_init() < 0) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "the kernel gives no random numbers for a recovery phrase");
    return NULL;
  }
  IdentityRecovery *recovery = g_new0(IdentityRecovery, 1);
  randombytes_buf(recovery->secret, sizeof recovery->secret);
  return complete(recovery, error);
}

IdentityRecovery *
identity_recovery_from_phrase(const char *phrase, GError **error)
{
  IdentityRecovery *recovery = g_new0(IdentityRecovery, 1);
  if (identity_phrase_read(phrase, recovery->secret, error))
    return complete(recovery, error);
  identity_recovery_free(recovery);
  return NULL;
}

void
identity_recovery_free(IdentityRecovery *recovery)
{
  if (!recovery)
    return;
  identity_key_free(recovery->key);
  identity_key_free(recovery->successor);
  sodium_memzero(recovery, sizeof *recovery);
  g_free(recovery);
}

char *
identity_recovery_phrase(const IdentityRecovery *recovery)
{
  return identity_phrase_write(recovery->secret);
}

void
identity_recovery_phrase_free(char *phrase)
{
  if (phrase)
    sodium_memzero(phrase, strlen(phrase));
  g_free(phrase);
}

const IdentityPublic *
identity_recovery_public(const IdentityRecovery *recovery)
{
  return identity_key_public(recovery->key);
}

const IdentityKey *
identity_recovery_successor(const IdentityRecovery *recovery)
{
  return recovery->successor;
}

static void
append(GByteArray *bytes, gconstpointer data, gsize length)
{
  g_byte_array_append(bytes, data, length);
}

void
identity_recovery_seal(const IdentityRecovery *recovery, const IdentitySealed *sealed,
                       guint8 seal[IDENTITY_SEAL_LENGTH])
{
  g_autoptr(GByteArray) text = g_byte_array_new();
  append(text, seal_heading, sizeof seal_heading);
  append(text, sealed->host.bytes, sizeof sealed->host.bytes);
  append(text, sealed->id, sizeof sealed->id);
  append(text, sealed->clone.bytes, sizeof sealed->clone.bytes);
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, recovery->seal_key, sizeof recovery->seal_key);
  crypto_auth_hmacsha256_update(&state, text->data, text->len);
  crypto_auth_hmacsha256_final(&state, seal);
  sodium_memzero(&state, sizeof state);
}

gboolean
identity_recovery_check_seal(const IdentityRecovery *recovery, const IdentitySealed *sealed,
                             const guint8 seal[IDENTITY_SEAL_LENGTH])
{
  guint8 good[IDENTITY_SEAL_LENGTH];
  identity_recovery_seal(recovery, sealed, good);
  return sodium_memcmp(good, seal, sizeof good) == 0;
}

/* Parts of fixed lengths: one text, one meaning. */
static GByteArray *
proof_text(const IdentityProof *proof)
{
  GByteArray *text = g_byte_array_new();
  guint8 beside = proof->beside ? 1 : 0;
  append(text, proof_heading, sizeof proof_heading);
  append(text, proof->challenge, sizeof proof->challenge);
  append(text, proof->host.bytes, sizeof proof->host.bytes);
  append(text, proof->device.bytes, sizeof proof->device.bytes);
  append(text, proof->id, sizeof proof->id);
  append(text, &beside, sizeof beside);
  return text;
}

void
identity_recovery_prove(const IdentityRecovery *recovery, const IdentityProof *proof,
                        guint8 signature[IDENTITY_SIGNATURE_LENGTH])
{
  g_autoptr(GByteArray) text = proof_text(proof);
  identity_sign(recovery->key, text->data, text->len, signature);
}

gboolean
identity_recovery_verify(const IdentityPublic *key, const IdentityProof *proof,
                         const guint8 signature[IDENTITY_SIGNATURE_LENGTH])
{
  g_autoptr(GByteArray) text = proof_text(proof);
  return identity_verify(key, text->data, text->len, signature);
}

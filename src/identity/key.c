#include "identity/key.h"

#include <sodium.h>
#include <string.h>

#include "base/error.h"
#include "identity/base32.h"

struct IdentityKey {
  IdentityPublic public;
  guint8 seed[IDENTITY_SEED_LENGTH];
  guint8 secret[crypto_sign_SECRETKEYBYTES]; /* libsodium's form: seed and public key */
};

static void
sodium_ready(void)
{
  if (sodium_init() < 0)
    g_error("libsodium cannot start: the kernel gives no random numbers");
}

IdentityKey *
identity_key_from_seed(const guint8 seed[IDENTITY_SEED_LENGTH])
{
  sodium_ready();
  IdentityKey *key = g_new0(IdentityKey, 1);
  memcpy(key->seed, seed, sizeof key->seed);
  crypto_sign_seed_keypair(key->public.bytes, key->secret, seed);
  return key;
}

IdentityKey *
identity_key_generate(void)
{
  sodium_ready();
  guint8 seed[IDENTITY_SEED_LENGTH];
  randombytes_buf(seed, sizeof seed);
  IdentityKey *key = identity_key_from_seed(seed);
  sodium_memzero(seed, sizeof seed);
  return key;
}

void
identity_key_free(IdentityKey *key)
{
  if (!key)
    return;
  sodium_memzero(key, sizeof *key);
  g_free(key);
}

const IdentityPublic *
identity_key_public(const IdentityKey *key)
{
  return &key->public;
}

const guint8 *
identity_key_seed(const IdentityKey *key)
{
  return key->seed;
}

void
identity_sign(const IdentityKey *key, const void *data, gsize length,
              guint8 signature[IDENTITY_SIGNATURE_LENGTH])
{
  crypto_sign_detached(signature, NULL, data, length, key->secret);
}

gboolean
identity_verify(const IdentityPublic *key, const void *data, gsize length,
                const guint8 signature[IDENTITY_SIGNATURE_LENGTH])
{
  sodium_ready();
  return crypto_sign_verify_detached(signature, data, length, key->bytes) == 0;
}

gboolean
identity_public_equal(const IdentityPublic *a, const IdentityPublic *b)
{
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

guint
identity_public_hash(gconstpointer key)
{
  guint hash;
  memcpy(&hash, ((const IdentityPublic *)key)->bytes, sizeof hash);
  return hash;
}

gboolean
identity_public_same(gconstpointer a, gconstpointer b)
{
  return identity_public_equal(a, b);
}

char *
identity_public_to_text(const IdentityPublic *key)
{
  return base32_encode(key->bytes, sizeof key->bytes);
}

gboolean
identity_public_from_text(const char *text, IdentityPublic *key, GError **error)
{
  g_autoptr(GBytes) bytes =
      strlen(text) == BASE32_LENGTH(IDENTITY_PUBLIC_LENGTH) ? base32_decode(text) : NULL;
  if (!bytes)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "\"%.60s\" is not a key's fingerprint: that has %d letters a-z and digits 2-7",
                            text, BASE32_LENGTH(IDENTITY_PUBLIC_LENGTH));
  memcpy(key->bytes, g_bytes_get_data(bytes, NULL), sizeof key->bytes);
  return TRUE;
}

/* What follows from a recovery phrase: always the same, and for nothing but what it is for. */
#include <string.h>

#include "base/error.h"
#include "identity/recovery.h"

/* Of the secret 00 01 ... 0f; made with another implementation of HKDF, HMAC and Ed25519. */
static const char phrase[] = "babad bamag bibaj bimal boban bomar bubat bumaz fupov fupov";
static const char public_key[] = "ce6d905e04925a704ede7f3a185e5076fd61ef0224de056d1ea5fb53a72818dc";
static const char successor_key[] = "ee902e7b88161677a01ae022a0d7206c2e0de04675e903ecd382429cb9764f2c";
static const char seal_of_ones[] = "9ec395e957bee093b423312bd8a007421179494338476353e8e6a0db84b46ca4";

static char *
hex(const guint8 *bytes, gsize length)
{
  GString *text = g_string_new(NULL);
  for (gsize i = 0; i < length; i++)
    g_string_append_printf(text, "%02x", bytes[i]);
  return g_string_free(text, FALSE);
}

static IdentitySealed
some_sealed(void)
{
  IdentitySealed sealed;
  memset(sealed.host.bytes, 1, sizeof sealed.host.bytes);
  memset(sealed.id, 2, sizeof sealed.id);
  memset(sealed.clone.bytes, 3, sizeof sealed.clone.bytes);
  return sealed;
}

static void
test_vectors(void)
{
  g_autoptr(GError) error = NULL;
  guint8 seal[IDENTITY_SEAL_LENGTH];
  g_autoptr(IdentityRecovery) recovery = identity_recovery_from_phrase(phrase, &error);
  g_assert_no_error(error);
  g_autofree char *key = hex(identity_recovery_public(recovery)->bytes, IDENTITY_PUBLIC_LENGTH);
  g_assert_cmpstr(key, ==, public_key);
  g_autofree char *successor =
      hex(identity_key_public(identity_recovery_successor(recovery))->bytes, IDENTITY_PUBLIC_LENGTH);
  g_assert_cmpstr(successor, ==, successor_key);
  IdentitySealed sealed = some_sealed();
  identity_recovery_seal(recovery, &sealed, seal);
  g_autofree char *made = hex(seal, sizeof seal);
  g_assert_cmpstr(made, ==, seal_of_ones);
  char *again = identity_recovery_phrase(recovery);
  g_assert_cmpstr(again, ==, phrase);
  identity_recovery_phrase_free(again);
}

static void
test_new(void)
{
  g_autoptr(IdentityRecovery) one = identity_recovery_new(NULL), two = identity_recovery_new(NULL);
  g_assert_false(identity_public_equal(identity_recovery_public(one), identity_recovery_public(two)));
  char *text = identity_recovery_phrase(one);
  g_autoptr(IdentityRecovery) same = identity_recovery_from_phrase(text, NULL);
  g_assert_true(identity_public_equal(identity_recovery_public(one), identity_recovery_public(same)));
  identity_recovery_phrase_free(text);
}

/* One bit of anything else, and it is no seal. */
static void
test_seal(void)
{
  guint8 seal[IDENTITY_SEAL_LENGTH];
  g_autoptr(IdentityRecovery) recovery = identity_recovery_new(NULL), other = identity_recovery_new(NULL);
  IdentitySealed sealed = some_sealed();
  identity_recovery_seal(recovery, &sealed, seal);
  g_assert_true(identity_recovery_check_seal(recovery, &sealed, seal));
  g_assert_false(identity_recovery_check_seal(other, &sealed, seal));
  for (gsize i = 0; i < 8 * sizeof sealed; i++) {
    IdentitySealed changed = sealed;
    ((guint8 *)&changed)[i / 8] ^= 1 << i % 8;
    g_assert_false(identity_recovery_check_seal(recovery, &changed, seal));
  }
  for (gsize i = 0; i < 8 * sizeof seal; i++) {
    seal[i / 8] ^= 1 << i % 8;
    g_assert_false(identity_recovery_check_seal(recovery, &sealed, seal));
    seal[i / 8] ^= 1 << i % 8;
  }
}

static IdentityProof
some_proof(void)
{
  IdentityProof proof = {.beside = FALSE};
  memset(proof.challenge, 4, sizeof proof.challenge);
  memset(proof.host.bytes, 1, sizeof proof.host.bytes);
  memset(proof.device.bytes, 5, sizeof proof.device.bytes);
  memset(proof.id, 2, sizeof proof.id);
  return proof;
}

static void
assert_no_proof(const IdentityRecovery *recovery, IdentityProof proof, const guint8 *signature)
{
  g_assert_false(identity_recovery_verify(identity_recovery_public(recovery), &proof, signature));
}

static void
test_proof(void)
{
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  g_autoptr(IdentityRecovery) recovery = identity_recovery_new(NULL), other = identity_recovery_new(NULL);
  const IdentityProof proof = some_proof();
  identity_recovery_prove(recovery, &proof, signature);
  g_assert_true(identity_recovery_verify(identity_recovery_public(recovery), &proof, signature));
  assert_no_proof(other, proof, signature);
  IdentityProof changed[5] = {proof, proof, proof, proof, proof};
  changed[0].challenge[31] ^= 1;
  changed[1].host.bytes[0] ^= 1;
  changed[2].device.bytes[0] ^= 1;
  changed[3].id[15] ^= 1;
  changed[4].beside = TRUE;
  for (guint i = 0; i < G_N_ELEMENTS(changed); i++)
    assert_no_proof(recovery, changed[i], signature);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/identity/recovery/vectors", test_vectors);
  g_test_add_func("/identity/recovery/new", test_new);
  g_test_add_func("/identity/recovery/seal", test_seal);
  g_test_add_func("/identity/recovery/proof", test_proof);
  return g_test_run();
}

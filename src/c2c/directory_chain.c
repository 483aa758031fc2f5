#include "c2c/directory_chain.h"

#include <sodium.h>
#include <string.h>

#define DOMAIN "doppel directory chain 1" /* with its NUL */

void
directory_chain_extend(DirectoryState *state, const guint8 hash[RECORD_HASH_LENGTH])
{
  crypto_generichash_state digest;
  crypto_generichash_init(&digest, NULL, 0, DIRECTORY_CHAIN_LENGTH);
  crypto_generichash_update(&digest, (const guint8 *)DOMAIN, sizeof DOMAIN);
  crypto_generichash_update(&digest, state->chain, sizeof state->chain);
  crypto_generichash_update(&digest, hash, RECORD_HASH_LENGTH);
  crypto_generichash_final(&digest, state->chain, sizeof state->chain);
  state->number++;
}

gboolean
directory_state_equal(const DirectoryState *a, const DirectoryState *b)
{
  return a->number == b->number && memcmp(a->chain, b->chain, sizeof a->chain) == 0;
}

void
directory_chain_hash(const void *record, gsize length, guint8 hash[RECORD_HASH_LENGTH])
{
  crypto_generichash(hash, RECORD_HASH_LENGTH, record, length, NULL, 0);
}

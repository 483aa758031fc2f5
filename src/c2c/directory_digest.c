#include "c2c/directory_digest.h"

#include <sodium.h>
#include <string.h>

void
directory_digest_bucket(const GArray *seen, guint8 digest[DIRECTORY_DIGEST_LENGTH])
{
  static const char purpose[] = "doppel directory digest 1";
  memset(digest, 0, DIRECTORY_DIGEST_LENGTH);
  if (seen->len == 0)
    return;
  crypto_generichash_state hash;
  crypto_generichash_init(&hash, NULL, 0, DIRECTORY_DIGEST_LENGTH);
  crypto_generichash_update(&hash, (const guint8 *)purpose, sizeof purpose);
  for (guint i = 0; i < seen->len; i++) {
    const DirectorySeen *user = &g_array_index(seen, DirectorySeen, i);
    crypto_generichash_update(&hash, user->origin.bytes, sizeof user->origin.bytes);
    crypto_generichash_update(&hash, user->hash, sizeof user->hash);
  }
  crypto_generichash_final(&hash, digest, DIRECTORY_DIGEST_LENGTH);
}

gboolean
directory_digest_all(DirectoryStore *store, const IdentityPublic *home,
                     guint8 digests[DIRECTORY_DIGESTS_LENGTH], GError **error)
{
  for (guint bucket = 0; bucket < DIRECTORY_BUCKETS; bucket++) {
    g_autoptr(GArray) seen = directory_store_seen(store, home, (guint8)bucket, error);
    if (!seen)
      return FALSE;
    directory_digest_bucket(seen, digests + bucket * DIRECTORY_DIGEST_LENGTH);
  }
  return TRUE;
}

static int
by_origin(const void *a, const void *b)
{
  return memcmp(((const DirectorySeen *)a)->origin.bytes, ((const DirectorySeen *)b)->origin.bytes,
                IDENTITY_PUBLIC_LENGTH);
}

void
directory_digest_wanted(guint bucket, const GArray *own, const GArray *theirs, GArray *wanted)
{
  for (guint i = 0; i < theirs->len; i++) {
    const DirectorySeen *user = &g_array_index(theirs, DirectorySeen, i);
    const DirectorySeen *mine = own->len ? bsearch(user, own->data, own->len, sizeof *user, by_origin) : NULL;
    if (user->origin.bytes[0] == bucket && (!mine || memcmp(mine->hash, user->hash, sizeof user->hash) != 0))
      g_array_append_val(wanted, user->origin);
  }
}

#include "link/caller_hash.h"

#include <sodium.h>
#include <string.h>

guint
link_caller_source_hash(gconstpointer source)
{
  static guint8 key[crypto_shorthash_KEYBYTES];
  static gsize ready;
  if (g_once_init_enter(&ready)) {
    randombytes_buf(key, sizeof key);
    g_once_init_leave(&ready, 1);
  }
  guint8 bytes[crypto_shorthash_BYTES];
  crypto_shorthash(bytes, source, sizeof(LinkCallerSource), key);
  guint hash;
  memcpy(&hash, bytes, sizeof hash);
  return hash;
}

gboolean
link_caller_source_is_same(gconstpointer a, gconstpointer b)
{
  return link_caller_source_equal(a, b);
}

LinkCallerSource
link_caller_source_of_key(const IdentityPublic *key)
{
  LinkCallerSource source;
  crypto_generichash(source.bytes, sizeof source.bytes, key->bytes, sizeof key->bytes, NULL, 0);
  return source;
}

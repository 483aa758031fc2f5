#include "clonedoc/keys.h"

#include <sodium.h>
#include <string.h>

#include "base/error.h"

#define KEY_LENGTH   crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_LENGTH crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_LENGTH   crypto_aead_xchacha20poly1305_ietf_ABYTES

typedef struct {
  guint8 bytes[KEY_LENGTH];
} Key;

struct DocKeyring {
  GHashTable *keys; /* epoch → Key */
};

static void
key_free(gpointer key)
{
  sodium_memzero(key, sizeof(Key));
  g_free(key);
}

DocKeyring *
doc_keyring_new(void)
{
  DocKeyring *ring = g_new(DocKeyring, 1);
  ring->keys = g_hash_table_new_full(NULL, NULL, NULL, key_free);
  return ring;
}

void
doc_keyring_free(DocKeyring *ring)
{
  if (!ring)
    return;
  g_hash_table_unref(ring->keys);
  g_free(ring);
}

static const Key *
find(const DocKeyring *ring, guint epoch)
{
  return g_hash_table_lookup(ring->keys, GUINT_TO_POINTER(epoch));
}

gboolean
doc_keyring_has(const DocKeyring *ring, guint epoch)
{
  return find(ring, epoch) != NULL;
}

guint
doc_keyring_first(const DocKeyring *ring, guint epoch)
{
  guint first = epoch + 1;
  while (first > 1 && find(ring, first - 1))
    first--;
  return first <= epoch ? first : 0;
}

static void
put(DocKeyring *ring, guint epoch, const guint8 bytes[KEY_LENGTH])
{
  Key *key = g_new(Key, 1);
  memcpy(key->bytes, bytes, sizeof key->bytes);
  g_hash_table_insert(ring->keys, GUINT_TO_POINTER(epoch), key);
}

void
doc_keyring_make(DocKeyring *ring, guint epoch)
{
  Key key;
  crypto_aead_xchacha20poly1305_ietf_keygen(key.bytes);
  put(ring, epoch, key.bytes);
  sodium_memzero(&key, sizeof key);
}

/* ---- for a member ---- */

GBytes *
doc_box_seal(const IdentityPublic *to, const void *data, gsize length, GError **error)
{
  G_STATIC_ASSERT(DOC_BOX_MORE == crypto_box_SEALBYTES);
  guint8 box[crypto_box_PUBLICKEYBYTES];
  if (crypto_sign_ed25519_pk_to_curve25519(box, to->bytes) != 0) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the key of a member of the document is none");
    return NULL;
  }
  guint8 *sealed = g_malloc(length + crypto_box_SEALBYTES);
  crypto_box_seal(sealed, data, length, box);
  return g_bytes_new_take(sealed, length + crypto_box_SEALBYTES);
}

DocSealedKeys *
doc_keyring_seal(const DocKeyring *ring, guint first, guint last, const IdentityPublic *member,
                 GError **error)
{
  gsize length = (gsize)(last - first + 1) * KEY_LENGTH;
  g_autofree guint8 *plain = g_malloc(length);
  for (guint epoch = first; epoch <= last; epoch++)
    memcpy(plain + (gsize)(epoch - first) * KEY_LENGTH, find(ring, epoch)->bytes, KEY_LENGTH);
  g_autoptr(GBytes) sealed = doc_box_seal(member, plain, length, error);
  sodium_memzero(plain, length);
  return sealed ? doc_sealed_keys_new(member, first, sealed) : NULL;
}

static gboolean
open_box(const guint8 *sealed, gsize length, const IdentityKey *own, guint8 *plain)
{
  guint8 public[crypto_box_PUBLICKEYBYTES], secret[crypto_box_SECRETKEYBYTES];
  guint8 pair[crypto_sign_SECRETKEYBYTES], again[crypto_sign_PUBLICKEYBYTES];
  crypto_sign_seed_keypair(again, pair, identity_key_seed(own));
  gboolean good = crypto_sign_ed25519_pk_to_curve25519(public, again) == 0 &&
                  crypto_sign_ed25519_sk_to_curve25519(secret, pair) == 0 &&
                  crypto_box_seal_open(plain, sealed, length, public, secret) == 0;
  sodium_memzero(pair, sizeof pair);
  sodium_memzero(secret, sizeof secret);
  return good;
}

GBytes *
doc_box_open(const IdentityKey *own, const void *sealed, gsize length, GError **error)
{
  gsize plain_length = length - MIN(length, DOC_BOX_MORE);
  g_autofree guint8 *plain = g_malloc(MAX(plain_length, 1));
  if (length >= DOC_BOX_MORE && open_box(sealed, length, own, plain))
    return g_bytes_new_take(g_steal_pointer(&plain), plain_length);
  doppel_error_set(error, DOPPEL_ERROR_DENIED, "it is sealed to somebody else, or damaged");
  return NULL;
}

gboolean
doc_keyring_open(DocKeyring *ring, const DocSealedKeys *sealed, guint last, const IdentityKey *own,
                 GError **error)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(sealed->sealed, &length);
  gsize plain_length = length - MIN(length, crypto_box_SEALBYTES), count = plain_length / KEY_LENGTH;
  if (sealed->first > last || count != last - sealed->first + 1 || plain_length % KEY_LENGTH != 0)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "the keys that a document's owner gave to this member are of a wrong number");
  g_autofree guint8 *plain = g_malloc(plain_length);
  gboolean good = open_box(bytes, length, own, plain);
  for (gsize i = 0; good && i < count; i++)
    if (!find(ring, sealed->first + (guint)i))
      put(ring, sealed->first + (guint)i, plain + i * KEY_LENGTH);
  sodium_memzero(plain, plain_length);
  return good ||
         doppel_error_set(error, DOPPEL_ERROR_DENIED,
                          "the keys that a document's owner gave to this member do not open with its key");
}

/* ---- bodies ---- */

/* What a sealed body belongs to: it opens in no other entry. */
typedef struct {
  guint8 document[DOC_NAME_LENGTH], author[IDENTITY_PUBLIC_LENGTH];
  guint64 sequence, base; /* big-endian */
  guint32 epoch, kind;
} Place;
G_STATIC_ASSERT(sizeof(Place) == 88);

static Place
place_of(const DocName *document, const DocEnvelope *envelope)
{
  Place place = {.sequence = GUINT64_TO_BE(envelope->sequence),
                 .base = GUINT64_TO_BE(envelope->base),
                 .epoch = GUINT32_TO_BE(envelope->epoch),
                 .kind = GUINT32_TO_BE((guint32)envelope->kind)};
  memcpy(place.document, document->bytes, sizeof place.document);
  memcpy(place.author, envelope->author.bytes, sizeof place.author);
  return place;
}

GBytes *
doc_body_seal(const DocKeyring *ring, const DocName *document, const DocEnvelope *envelope, const void *body,
              gsize length)
{
  Place place = place_of(document, envelope);
  guint8 *sealed = g_malloc(NONCE_LENGTH + length + TAG_LENGTH);
  randombytes_buf(sealed, NONCE_LENGTH);
  crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + NONCE_LENGTH, NULL, body, length,
                                             (const guint8 *)&place, sizeof place, NULL, sealed,
                                             find(ring, envelope->epoch)->bytes);
  return g_bytes_new_take(sealed, NONCE_LENGTH + length + TAG_LENGTH);
}

GBytes *
doc_body_open(const DocKeyring *ring, const DocName *document, const DocEnvelope *envelope, GError **error)
{
  Place place = place_of(document, envelope);
  const Key *key = find(ring, envelope->epoch);
  gsize length;
  const guint8 *sealed = g_bytes_get_data(envelope->sealed, &length);
  if (!key) {
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "this member has not the document's key number %u",
                     envelope->epoch);
    return NULL;
  }
  if (length >= NONCE_LENGTH + TAG_LENGTH) {
    gsize open = length - NONCE_LENGTH - TAG_LENGTH;
    guint8 *body = g_malloc(MAX(open, 1));
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(body, NULL, NULL, sealed + NONCE_LENGTH,
                                                   length - NONCE_LENGTH, (const guint8 *)&place,
                                                   sizeof place, sealed, key->bytes) == 0)
      return g_bytes_new_take(body, open);
    g_free(body);
  }
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                   "an entry of a document does not open with the document's key");
  return NULL;
}

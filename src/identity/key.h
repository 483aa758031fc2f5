/* Ed25519 keys (RFC 8032): who a device, a clone or a clone host is. */
#pragma once

#include <glib.h>

#define IDENTITY_PUBLIC_LENGTH    32
#define IDENTITY_SEED_LENGTH      32
#define IDENTITY_SIGNATURE_LENGTH 64

typedef struct {
  guint8 bytes[IDENTITY_PUBLIC_LENGTH];
} IdentityPublic;

/* A key pair. The secret half is wiped from memory when it is freed. */
typedef struct IdentityKey IdentityKey;

IdentityKey *identity_key_generate(void);
IdentityKey *identity_key_from_seed(const guint8 seed[IDENTITY_SEED_LENGTH]);
void identity_key_free(IdentityKey *key);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(IdentityKey, identity_key_free)

const IdentityPublic *identity_key_public(const IdentityKey *key);

/* The secret that the key pair is made from (RFC 8032's private key); owned by the key. */
const guint8 *identity_key_seed(const IdentityKey *key);

/* Reads a key file. NOT_FOUND where there is none, DENIED where others than its owner could read it. */
IdentityKey *identity_key_load(const char *path, GError **error);

/* Writes a key file, readable by its owner only: wholly or not at all, and never over another one (FAILED,
 * with errno EEXIST). Makes missing parent directories, mode 0700. */
gboolean identity_key_save(const IdentityKey *key, const char *path, GError **error);

/* The key in `path`, made there at first use. Processes that do this at the same time get the same key. */
IdentityKey *identity_key_load_or_create(const char *path, GError **error);

void identity_sign(const IdentityKey *key, const void *data, gsize length,
                   guint8 signature[IDENTITY_SIGNATURE_LENGTH]);
gboolean identity_verify(const IdentityPublic *key, const void *data, gsize length,
                         const guint8 signature[IDENTITY_SIGNATURE_LENGTH]);

gboolean identity_public_equal(const IdentityPublic *a, const IdentityPublic *b);
/* The same for a GHashTable whose keys are IdentityPublic. */
guint identity_public_hash(gconstpointer key);
gboolean identity_public_same(gconstpointer a, gconstpointer b);

/* The fingerprint: the key itself in 52 letters of base32, so that nothing is lost in it. */
char *identity_public_to_text(const IdentityPublic *key);
gboolean identity_public_from_text(const char *text, IdentityPublic *key, GError **error);

/* The directory of this user's keys and pairings: $XDG_STATE_HOME/doppel (~/.local/state/doppel). */
char *identity_directory(void);

/* This device's key in that directory, made at first use. */
IdentityKey *identity_device_key(GError **error);

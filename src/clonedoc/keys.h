/* The keys of a document: one for each epoch; a new epoch begins when somebody loses the right to read.
 * Bodies are sealed with XChaCha20-Poly1305, keys to a member with libsodium's sealed boxes, to the X25519
 * form of the member's Ed25519 key. */
#pragma once

#include "clonedoc/envelope.h"

/* The keys that somebody has, by epoch; wiped when they are freed. */
typedef struct DocKeyring DocKeyring;

DocKeyring *doc_keyring_new(void);
void doc_keyring_free(DocKeyring *ring);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocKeyring, doc_keyring_free)

/* Makes the key of an epoch, which has none yet. */
void doc_keyring_make(DocKeyring *ring, guint epoch);
gboolean doc_keyring_has(const DocKeyring *ring, guint epoch);
/* The first epoch from which on it has every key up to `epoch`; 0 where it lacks that of `epoch`. */
guint doc_keyring_first(const DocKeyring *ring, guint epoch);

/* Keys `first` to `last`, which it has, for the member with that key. NULL with HOSTILE for a key that is
 * none. */
DocSealedKeys *doc_keyring_seal(const DocKeyring *ring, guint first, guint last, const IdentityPublic *member,
                                GError **error);
/* Adds what was sealed to `own`; keys of epochs up to `last` are taken. DENIED where it was not, or the bytes
 * are others; nothing is taken then. */
gboolean doc_keyring_open(DocKeyring *ring, const DocSealedKeys *sealed, guint last, const IdentityKey *own,
                          GError **error);

/* What only the holder of that key can open. NULL with HOSTILE for a key that is none. */
#define DOC_BOX_MORE 48 /* bytes that it is longer */
GBytes *doc_box_seal(const IdentityPublic *to, const void *data, gsize length, GError **error);
/* NULL with DENIED where it does not open. */
GBytes *doc_box_open(const IdentityKey *own, const void *sealed, gsize length, GError **error);

/* Seals a body for the envelope, whose author, sequence, base, epoch and kind are set. The ring has its
 * epoch. */
GBytes *doc_body_seal(const DocKeyring *ring, const DocName *document, const DocEnvelope *envelope,
                      const void *body, gsize length);
/* NULL: NOT_FOUND where its key is not in the ring, HOSTILE where the key does not open it. */
GBytes *doc_body_open(const DocKeyring *ring, const DocName *document, const DocEnvelope *envelope,
                      GError **error);

/* Statements: bytes that a key has signed for one purpose. What is signed is the words of that purpose, with
 * their terminating NUL, and then the bytes: no statement can be taken for one of another kind, whatever its
 * bytes are. They travel as they were signed and are never made anew from what was understood of them.
 *
 * Every purpose that an Ed25519 key of doppel's signs for is listed here, but for those of recovery.h, which
 * are made in the same way. */
#pragma once

#include "identity/key.h"

#define STATEMENT_USER_ROOT   "doppel user root 1"
#define STATEMENT_SUCCESSION  "doppel user succession 1"
#define STATEMENT_SUCCESSOR   "doppel user successor 1" /* the new key's own signature under a succession */
#define STATEMENT_BINDING     "doppel clone binding 1"
#define STATEMENT_HOSTING     "doppel clone hosting 1"
#define STATEMENT_WHEREABOUTS "doppel clone whereabouts 1"
#define STATEMENT_HEAD        "doppel directory head 1"
#define STATEMENT_FOUND       "doppel directory found 1"
#define STATEMENT_UPDATE      "doppel directory update 1"
#define STATEMENT_GROUP       "doppel group message 1"
#define STATEMENT_DOC_ENTRY   "doppel document entry 1"
#define STATEMENT_DOC_HEAD    "doppel document head 1"
#define STATEMENT_DOC_HANDED  "doppel document invitation 1"

#define STATEMENT_HASH_LENGTH 32

void statement_sign(const IdentityKey *key, const char *purpose, const void *statement, gsize length,
                    guint8 signature[IDENTITY_SIGNATURE_LENGTH]);
gboolean statement_verify(const IdentityPublic *key, const char *purpose, const void *statement, gsize length,
                          const guint8 signature[IDENTITY_SIGNATURE_LENGTH]);

/* BLAKE2b-256 (RFC 7693) of bytes. */
void statement_hash(const void *data, gsize length, guint8 hash[STATEMENT_HASH_LENGTH]);

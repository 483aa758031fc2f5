/* An entry of a document's history, as its author sealed and signed it (Clone2Clone section 5; SPORC, Feldman
 * et al., OSDI 2010, section 4: "each operation is signed and carries the hash of the history it was made
 * on"). The server sees who wrote when, and who the members are; what was written it sees sealed only.
 *
 * A document's name is the hash of its first entry, so that nobody can give one name to two documents. The
 * history's chain after entry n is BLAKE2b-256 of the chain before it and that entry's statement and
 * signature; before the first it is zeros. */
#pragma once

#include "identity/key.h"

#define DOC_NAME_LENGTH  32
#define DOC_CHAIN_LENGTH 32
#define DOC_SALT_LENGTH  32
#define DOC_MEMBERS_MAX  256                  /* of one document, and changes in one entry */
#define DOC_BODY_MAX     (8u << 20)           /* bytes, sealed */
#define DOC_ENVELOPE_MAX (DOC_BODY_MAX + 512) /* bytes, packed */
#define DOC_EPOCHS_MAX   65536u

typedef struct {
  guint8 bytes[DOC_NAME_LENGTH];
} DocName;

typedef struct {
  guint8 bytes[DOC_CHAIN_LENGTH];
} DocChain;

typedef enum {
  DOC_NONE = 0,
  DOC_READER,
  DOC_WRITER,
  DOC_OWNER,
} DocRole;

typedef struct {
  IdentityPublic user; /* the origin key */
  IdentityPublic key;  /* that signs the member's entries */
  DocRole role;        /* NONE: is a member no more */
} DocMember;

/* Keys of some epochs, sealed to one member: opened by doc_keys_open(). */
typedef struct {
  IdentityPublic key; /* the member's */
  guint first;        /* the first epoch of them */
  GBytes *sealed;
} DocSealedKeys;

typedef enum {
  DOC_EDIT = 1,
  DOC_MEMBERS,
  DOC_CHECKPOINT,
} DocKind;

typedef struct {
  IdentityPublic author;
  guint64 sequence; /* of the author's entries, from 1 */
  guint64 base;     /* the last entry that the author knew of; 0: this is the first */
  DocChain chain;   /* of the history up to there */
  guint epoch;      /* of the key that seals the body; from 1 */
  DocKind kind;
  GBytes *sealed;               /* EDIT, CHECKPOINT */
  GArray *changes;              /* MEMBERS: of DocMember */
  GPtrArray *keys;              /* MEMBERS: of DocSealedKeys */
  guint8 salt[DOC_SALT_LENGTH]; /* of the first entry; else zeros */
  GBytes *statement;            /* what was signed, behind the document's name */
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
} DocEnvelope;

void doc_envelope_free(DocEnvelope *envelope);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocEnvelope, doc_envelope_free)

DocSealedKeys *doc_sealed_keys_new(const IdentityPublic *key, guint first, GBytes *sealed);
void doc_sealed_keys_free(DocSealedKeys *keys);

/* Packs and signs what the fields above `statement` say; both are set by it. `document` NULL: of the first
 * entry. The fields are the caller's to get right; the key is the author's. */
void doc_envelope_sign(DocEnvelope *envelope, const DocName *document, const IdentityKey *key);

/* As it travels. */
GBytes *doc_envelope_pack(const DocEnvelope *envelope);

/* Decodes one, all of it checked but the signature and what only the history can tell. HOSTILE. */
DocEnvelope *doc_envelope_decode(const void *data, gsize length, GError **error);

/* `document` NULL: as a first entry. */
gboolean doc_envelope_is_signed(const DocEnvelope *envelope, const DocName *document);

/* The name of the document whose first entry this is. */
void doc_envelope_name(const DocEnvelope *envelope, DocName *name);

/* `chain` becomes that after the entry. */
void doc_envelope_chain(const DocEnvelope *envelope, DocChain *chain);

gboolean doc_name_equal(const DocName *a, const DocName *b);
/* For a GHashTable whose keys are DocName. */
guint doc_name_hash(gconstpointer name);
gboolean doc_name_is(gconstpointer a, gconstpointer b);
gboolean doc_chain_equal(const DocChain *a, const DocChain *b);

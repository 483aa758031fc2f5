/* A user's record in the directory (Clone2Clone section 4: CloneDS "takes care of mapping users to clones and
 * clones to IPs"): whose the clone is, where it runs, where it can be reached. A record certifies itself:
 * whoever has the user's origin key, the first one, can check all of it.
 *
 * A record is immutable once decoded; decoding verifies every signature. */
#pragma once

#include "identity/key.h"

#define RECORD_MAX             12288 /* bytes of a record: the most successions and addresses have room */
#define RECORD_NAME_MAX        64    /* bytes of a name */
#define RECORD_ADDRESSES_MAX   8
#define RECORD_SUCCESSIONS_MAX 32
#define RECORD_HASH_LENGTH     32
#define RECORD_ID_LENGTH       16
#define RECORD_TIME_MAX        G_GINT64_CONSTANT(253402300799) /* seconds since 1970: the end of 9999 */

typedef struct {
  IdentityPublic origin;         /* who the user is, for ever */
  IdentityPublic key;            /* the user's key now */
  IdentityPublic recovery;       /* the recovery key now */
  guint successions, recoveries; /* how many, and how many of them by recovery */
  char *name;
  guint8 clone[RECORD_ID_LENGTH];
  IdentityPublic clone_key, device, provider, directory;
  guint64 serial;                                 /* of the binding */
  guint64 sequence;                               /* of the whereabouts; 0: none */
  gint64 issued, expires;                         /* of the binding, seconds since 1970 */
  gint64 whereabouts_issued, whereabouts_expires; /* likewise; 0: none */
  char **addresses;                               /* of the clone; empty: none known */
  gboolean revoked;                               /* there is no clone */
  guint8 hash[RECORD_HASH_LENGTH];                /* BLAKE2b-256 of its bytes */
  GBytes *bytes;                                  /* as they came */
} Record;

/* Checks everything that needs no clock: form, limits, every signature, that the parts belong together.
 * `origin` NULL: any user's. NULL with HOSTILE for what is malformed, DENIED for a signature, an origin or a
 * part of another record, UNSUPPORTED for a statement of a later version.
 *
 * Only one encoding is right: everybody but the signers could otherwise make other bytes, so another hash, of
 * the same record. A statement may have fields that are not known here, behind those that are: they were
 * signed. Around the statements there may be none. */
Record *record_decode(const void *data, gsize length, const IdentityPublic *origin, GError **error);

/* The same of what a device hands to its clone, whose whereabouts only the clone can add: they may be
 * missing. Never for what comes from others. */
Record *record_decode_unplaced(const void *data, gsize length, const IdentityPublic *origin, GError **error);
Record *record_ref(Record *record);
void record_unref(Record *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Record, record_unref)

/* < 0, 0, > 0 as `a` is older than, the same as, or newer than `b`, another record of the same user:
 * successions (one by recovery before one by the key), then the binding's serial, then the sequence of the
 * whereabouts; then the hash. An order of all records, for lists; what may take the place of what is known is
 * for record_supersedes() to say. */
int record_compare(const Record *a, const Record *b);

/* Whether `candidate` may take the place of `known`, which somebody has of the same user: where it is newer,
 * but for one case. Where the two chains of successions part and neither goes on by recovery, or both do,
 * none is newer, whatever follows: whoever has one keeps it. Otherwise who finds a key that was succeeded
 * long ago could make another succession of that number, with a hash as low as they like. The owner of the
 * recovery phrase settles it, with a succession by recovery there. */
gboolean record_supersedes(const Record *candidate, const Record *known);

/* FALSE with USAGE that says why a text is no name: 1 to 64 bytes of UTF-8 without control characters,
 * invisible ones, white space, '/' and ASCII capitals, and not beginning with "key:". */
gboolean record_name_check(const char *name, GError **error);

/* Making one. Parts are the bytes of a wire Signed; the caller's. */
GBytes *record_sign_root(const IdentityKey *key, const IdentityPublic *recovery);

/* `signer` is the key before, or with `by_recovery` the recovery key before. */
GBytes *record_sign_succession(const IdentityPublic *origin, guint number, const IdentityKey *signer,
                               gboolean by_recovery, const IdentityKey *successor,
                               const IdentityPublic *recovery, gint64 time);

/* Whether that is the provider's word for that clone, as record_sign_hosting() makes it. */
gboolean record_check_hosting(const void *data, gsize length, const guint8 clone[RECORD_ID_LENGTH],
                              const IdentityPublic *clone_key, const IdentityPublic *provider,
                              GError **error);

typedef struct {
  IdentityPublic origin;
  const char *name;
  guint8 clone[RECORD_ID_LENGTH];
  IdentityPublic clone_key, device, provider, directory;
  guint64 serial;
  gint64 issued, expires;
  gboolean revoked;
} RecordBinding;
GBytes *record_sign_binding(const IdentityKey *user, const RecordBinding *binding);
GBytes *record_sign_hosting(const IdentityKey *provider, const guint8 clone[RECORD_ID_LENGTH],
                            const IdentityPublic *clone_key, gint64 issued);
GBytes *record_sign_whereabouts(const IdentityKey *clone, const char *const *addresses, guint64 sequence,
                                gint64 issued, gint64 expires);

/* Puts parts together and verifies what comes out. `successions` (count may be 0) in order; `whereabouts`
 * NULL: as record_decode_unplaced(). */
Record *record_assemble(GBytes *root, GBytes *const *successions, guint count, GBytes *binding,
                        GBytes *hosting, GBytes *whereabouts, GError **error);

/* Which key, and which recovery key (both may be NULL), were the user's after `count` of the record's
 * successions, at most all of them. */
void record_keys_after(const Record *record, guint count, IdentityPublic *key, IdentityPublic *recovery);

/* How many of its successions there are up to the last one by recovery, with that; 0: none is. */
guint record_last_recovery(const Record *record);

/* The parts of a record, the caller's, to make the next one from: the root, the successions (array of
 * GBytes), binding, hosting, whereabouts (NULL where there is none). */
typedef struct {
  GBytes *root, *binding, *hosting, *whereabouts;
  GPtrArray *successions;
} RecordParts;
RecordParts *record_parts(const Record *record);
void record_parts_free(RecordParts *parts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RecordParts, record_parts_free)

/* What a directory has of the users of one home directory, in 256 digests: directories find by them what one
 * has and the other lacks, without telling all of it (Clone2Clone section 4.1: "the replicas are kept
 * consistent"). */
#pragma once

#include "c2c/directory_message.h"
#include "c2c/directory_store.h"

#define DIRECTORY_DIGEST_LENGTH  RECORD_HASH_LENGTH
#define DIRECTORY_DIGESTS_LENGTH (DIRECTORY_BUCKETS * DIRECTORY_DIGEST_LENGTH)

/* Of a bucket, the users whose origin begins with one byte (DirectorySeen, in the order of their origins):
 * BLAKE2b-256("doppel directory digest 1\0" || origin || hash || ...); of an empty one 32 zeros. */
void directory_digest_bucket(const GArray *seen, guint8 digest[DIRECTORY_DIGEST_LENGTH]);

/* Of all buckets, one after the other. */
gboolean directory_digest_all(DirectoryStore *store, const IdentityPublic *home,
                              guint8 digests[DIRECTORY_DIGESTS_LENGTH], GError **error);

/* Appends to `wanted` (of IdentityPublic) the users of that bucket which `theirs` has otherwise than `own`,
 * or `own` has not. `own` is in order; `theirs` may be anything. */
void directory_digest_wanted(guint bucket, const GArray *own, const GArray *theirs, GArray *wanted);

/* The public base of a clone host: contents of files that its operator put there (doppeld base), each kept
 * once for all clones, so that a device need not send what everybody has
 * (docs/decisions/0019-public-base.md).
 *
 *   contents/ab/cdef...  a content under its XXH3-128: what a file had in it, nothing of its metadata
 *   set                  which contents there are (public_set.h): what a device is told. It never names more
 *                        than there is
 *   new/                 what is being added
 *
 * Nothing here trusts a content: who uses one compares its hash, and a damaged one counts as missing. What is
 * in a clone's layer is a copy (or shares blocks, where the file system can), so that a layer stays what it
 * is whatever happens here.
 *
 * A device that names a content proves that it has it: beside the hash, which anybody could have made two
 * files for that have the same, it tells an authenticator (Poly1305, RFC 8439 section 2.5) of the content
 * under a key that is drawn anew for each synchronisation. */
#pragma once

#include <sodium.h>

#include "replica/generation.h"

#define PUBLIC_BASE_MIN   256u       /* bytes: a smaller content is sent for the price of its name */
#define PUBLIC_BASE_LARGE (1u << 20) /* bytes: of contents from this size on, sizes are in the set, too */
#define PUBLIC_BASE_SET   "set"

/* The key of a content in the set, and that of a size. */
guint64 public_base_key(const guint8 hash[static GENERATION_CONTENT_HASH]);
guint64 public_base_size_key(guint64 size);

/* The proof that one has a content: begin, add all of it, end. */
typedef crypto_onetimeauth_state PublicProof;
void public_proof_begin(PublicProof *proof, const guint8 salt[static GENERATION_SALT]);
void public_proof_add(PublicProof *proof, const guint8 *bytes, guint64 length); /* NULL: zeros */
void public_proof_end(PublicProof *proof, guint8 tag[static GENERATION_PROOF]);

/* For all of the following `base` is a descriptor of the base's directory. */

/* Makes what there has to be in a base. FALSE with an error. */
gboolean public_base_prepare(int base, GError **error);

/* Opens a content to be read, whatever is in it by now. A descriptor, or -1 with errno. */
int public_base_open(int base, const guint8 hash[static GENERATION_CONTENT_HASH]);

/* Makes the new file `name` of `directory` (an old one is replaced) what `step` (TAKE) says. 0 with *right
 * FALSE where the base has no such content, a damaged one, or one that does not belong to the proof. Or an
 * errno. */
int public_base_take(int base, const GenerationStep *step, int directory, const char *name, gboolean *right);

/* Adds what is in the file `from` now: its hash and size, and whether the base did not have it (or had it
 * damaged). It is durable after public_base_flush(). Less than PUBLIC_BASE_MIN bytes are not added: *size
 * tells. FALSE with an error. */
gboolean public_base_put(int base, int from, guint8 hash[static GENERATION_CONTENT_HASH], guint64 *size,
                         gboolean *fresh, GError **error);
gboolean public_base_flush(int base, GError **error);

/* Whether the content is there and is what its hash says. */
gboolean public_base_check(int base, const guint8 hash[static GENERATION_CONTENT_HASH], guint64 size);

/* Removes a content; one that is not there is no error. FALSE with an error. */
gboolean public_base_remove(int base, const guint8 hash[static GENERATION_CONTENT_HASH], GError **error);

/* Calls `each` for all contents, or what looks like it, in no order. FALSE with an error. */
typedef void (*PublicBaseEach)(gpointer user_data, const guint8 hash[static GENERATION_CONTENT_HASH]);
gboolean public_base_list(int base, PublicBaseEach each, gpointer user_data, GError **error);

/* What a device is to be told, as it is now: a descriptor and its length in bytes. -1: there is nothing. */
int public_base_open_set(int base, guint64 *length);
/* All of it, checked. NULL where it is damaged. */
GBytes *public_base_read_set(int fd);
/* The keys of all contents (sorted by this) become what is told. FALSE with an error. */
gboolean public_base_tell(int base, guint64 *keys, gsize count, GError **error);

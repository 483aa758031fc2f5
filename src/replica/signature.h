/* Signatures of contents, and the search of a content in those whose signatures are known: rsync's algorithm
 * (A. Tridgell, P. Mackerras: The rsync algorithm, 1996) with the sums kept by the sender, who asks nobody.
 *
 * A signature holds for each block of a content a weak sum, that can be rolled on by a byte, and a strong one
 * of 48 bits, under a secret of this device. What was found by them is believed: the content's own hash,
 * which the other side compares, is what tells the rare error. */
#pragma once

#include "replica/generation.h"

#define SIGNATURE_BLOCK_MIN 1024u /* bytes */
#define SIGNATURE_SIZE_MIN                                                                                   \
  4096u /* bytes; a content that is no longer has no sums: compressed it travels                             \
           sooner than they are kept */
#define SIGNATURE_BLOCK_MAX (1u << 20) /* bytes */
#define SIGNATURE_SUM       10u        /* bytes of a block's two sums */
#define SIGNATURE_SECRET    192u       /* bytes */

typedef struct {
  guint8 secret[SIGNATURE_SECRET];
} SignatureKey;

/* The key that belongs to `seed`, bytes that nobody else knows. */
void signature_key_init(SignatureKey *key, const guint8 *seed, gsize length);

typedef struct {
  guint8 hash[GENERATION_CONTENT_HASH];
  guint64 size;   /* bytes of the content */
  guint32 block;  /* bytes of a block, of the last one perhaps fewer; 0: no sums */
  guint64 blocks; /* how many */
  GBytes *sums;   /* SIGNATURE_SUM bytes for each block, in this machine's byte order; NULL: none */
} Signature;

/* Takes a reference of `sums`. NULL where there are not as many sums as `size` and `block` demand. */
Signature *signature_new(const guint8 hash[static GENERATION_CONTENT_HASH], guint64 size, guint32 block,
                         GBytes *sums);
void signature_free(Signature *signature);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Signature, signature_free)

/* Bytes of a block for a new content of `size` bytes: half the square root, in steps of 256. */
guint32 signature_block_for(guint64 size);

/* XXH3-128 of the first `size` bytes of `fd`, whose offset is not moved. FALSE with errno; ENODATA where
 * there are not so many. */
gboolean signature_hash_fd(int fd, guint64 size, guint8 hash[static GENERATION_CONTENT_HASH]);

/* A search can be used for one content after the other. */
typedef struct SignatureSearch SignatureSearch;

/* `key` must outlive the search. */
SignatureSearch *signature_search_new(const SignatureKey *key);
void signature_search_free(SignatureSearch *search);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SignatureSearch, signature_search_free)

/* Is called for every window of a content (256 KiB or more) that is read, from now on; NULL: nothing is. */
typedef void (*SignatureTick)(gpointer user_data);
void signature_search_set_tick(SignatureSearch *search, SignatureTick tick, gpointer user_data);

/* Steps have at most so many bytes of literals from now on; GENERATION_LITERAL_MAX at first, and at most. */
void signature_search_set_piece(SignatureSearch *search, gsize piece);

/* Is given all bytes of a content, piece by piece and in order, as they are hashed; NULL: nobody is. */
typedef void (*SignatureReader)(const guint8 *bytes, gsize length, gpointer user_data);
void signature_search_set_reader(SignatureSearch *search, SignatureReader reader, gpointer user_data);

/* The same through the search's window: any search there was is over. */
gboolean signature_search_hash(SignatureSearch *search, int fd, guint64 size,
                               guint8 hash[static GENERATION_CONTENT_HASH]);

/* As signature_search_begin(), of what signature_search_hash() has just read: what is still in the window is
 * not read again. */
void signature_search_begin_hashed(SignatureSearch *search, int fd, guint64 size,
                                   const Signature *const *sources, guint count);

/* Begins with the first `size` bytes of `fd`, which stays the caller's and open until the end, as does what
 * `sources` (at most GENERATION_SOURCES_MAX) points at. A source whose blocks are of another length than the
 * first one's is of no use. */
void signature_search_begin(SignatureSearch *search, int fd, guint64 size, const Signature *const *sources,
                            guint count);

/* The next SEGMENTS step (without a number) of the content; it owns its literals. NULL at the end, or with an
 * error where the file could not be read. Copies are of the sources by their index. Memory: a window of the
 * content, and 8 bytes for each block of the sources. */
GenerationStep *signature_search_next(SignatureSearch *search, GError **error);

/* After the end: the content's signature, with its hash. */
Signature *signature_search_end(SignatureSearch *search);

/* Whether the file was shorter than `size`; it was then taken to end in zeros. */
gboolean signature_search_short(const SignatureSearch *search);

/* A set of keys, told in few bytes: which contents a clone host's public base has (public_base.h). A device
 * that has it knows, without asking for each of its files, which ones need not be sent.
 *
 * It is a Golomb-coded set (F. Putze, P. Sanders, J. Singler: Cache-, Hash- and Space-Efficient Bloom
 * Filters, 2007): the keys, scaled down to the range of 2^24 times their number, sorted, their differences
 * Rice-coded with 24 bits. About 26 bits a key; one in 16 million keys that are not in it seems to be: such a
 * file is named in vain, and a cut before that is put right makes an attempt begin anew. */
#pragma once

#include <glib.h>

#define PUBLIC_SET_MAX        (4u << 20)  /* keys */
#define PUBLIC_SET_PACKED_MAX (16u << 20) /* bytes */

typedef struct PublicSet PublicSet;

/* The set of `count` keys (at most PUBLIC_SET_MAX, the rest is left out), which are sorted by that. They
 * should be hashes. */
GBytes *public_set_pack(guint64 *keys, gsize count);

/* NULL with HOSTILE for bytes that are no set. Keeps a reference of them, and little more memory. */
PublicSet *public_set_unpack(GBytes *packed, GError **error);
void public_set_free(PublicSet *set);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PublicSet, public_set_free)

gboolean public_set_has(const PublicSet *set, guint64 key);
guint64 public_set_count(const PublicSet *set);

/* The chain of a directory: a digest of everything that it ever accepted, in its order. Who knows chain_n and
 * the entries after it can compute every later one; so two heads of one directory either extend each other,
 * or prove that it showed two different logs. */
#pragma once

#include "c2c/directory_store.h"

/* The state after `hash`, that of an accepted record's bytes (BLAKE2b-256; RFC 7693):
 * chain_n = BLAKE2b-256("doppel directory chain 1\0" || chain_{n-1} || entry_n), chain_0 = 32 zeros. */
void directory_chain_extend(DirectoryState *state, const guint8 hash[RECORD_HASH_LENGTH]);

gboolean directory_state_equal(const DirectoryState *a, const DirectoryState *b);

/* The hash by which a record goes into the log. */
void directory_chain_hash(const void *record, gsize length, guint8 hash[RECORD_HASH_LENGTH]);

/* What a directory gives to those who have proved a registered key, to show when they come again: who floods
 * it from the same address cannot, so that it tells them apart before it spends a handshake on either. It
 * travels in clear in the preamble, and proves nothing by itself: whoever shows one that is another's gets no
 * further than the handshake, and can displace nobody but other handshakes with that same pass.
 *
 * All servers of a directory's key make the same: there is nothing to store, nor to lose when one starts
 * again. */
#pragma once

#include "identity/key.h"
#include "link/callers.h"

#define DIRECTORY_PASS_LENGTH 16
#define DIRECTORY_PASS_DAYS   60 /* how long one is good */

/* Eight bytes of the key's digest, two of the day (since 1970, little-endian), six of a BLAKE2b under a
 * secret that follows from the directory's key. */
typedef struct {
  guint8 bytes[DIRECTORY_PASS_LENGTH];
} DirectoryPass;

typedef struct {
  guint8 secret[32];
} DirectoryPasses;
void directory_passes_init(DirectoryPasses *passes, const IdentityKey *directory);

/* Of the key `peer` at the time `now`, seconds since 1970. */
DirectoryPass directory_pass_make(const DirectoryPasses *passes, const IdentityPublic *peer, gint64 now);

/* Whether it was made by this directory, for whomever, and is still good. */
gboolean directory_pass_check(const DirectoryPasses *passes, const DirectoryPass *pass, gint64 now);

/* Whether it is that key's, where it is good. */
gboolean directory_pass_is_of(const DirectoryPass *pass, const IdentityPublic *peer);

gboolean directory_pass_is_none(const DirectoryPass *pass); /* all zero */

/* Under what budgets and crowds count who came with the pass; who proved a key counts under that. */
LinkCallerSource directory_pass_holder(const DirectoryPass *pass);

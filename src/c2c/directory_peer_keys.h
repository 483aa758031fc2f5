/* Which keys are peers', for whichever thread asks. */
#pragma once

#include "c2c/directory_message.h"

typedef struct DirectoryPeerKeys DirectoryPeerKeys;

/* Of the directory with the key `own`. */
DirectoryPeerKeys *directory_peer_keys_new(const IdentityPublic *own);
void directory_peer_keys_free(DirectoryPeerKeys *keys);

void directory_peer_keys_set(DirectoryPeerKeys *keys, const GArray *all); /* of IdentityPublic; copied */
gboolean directory_peer_keys_has(const DirectoryPeerKeys *keys, const IdentityPublic *key);

/* The record of an update that a peer has signed, of a user of its own. NULL for every other. */
Record *directory_peer_keys_judge(const DirectoryPeerKeys *keys, const DirectorySigned *update);

/* What a node has to say of directories, as its owner gets to read it (wire/c2c_control.proto). */
#pragma once

#include "c2c/directory_client.h"
#include "wire/c2c_control.pb-c.h"

/* What is odd about the answer: a NULL-terminated array, the caller's; NULL where nothing is. */
char **node_directory_notes(DirectoryClient *client, const DirectoryResult *result);

/* The heads, who is away, and what is to be said against whom; without peers. The caller's; NULL with an
 * error. */
Doppel__Wire__ControlPeers *node_directory_pack(DirectoryClient *client, GError **error);

#define NODE_AROUND 8u /* bytes around a message in another, at most */

/* A page of the list (of DirectoryResult), as many of them as fit in an answer; `more` where others follow.
 */
Doppel__Wire__ControlListed *node_directory_pack_list(DirectoryClient *client, const GPtrArray *results,
                                                      const DirectoryHead *head, gboolean more);

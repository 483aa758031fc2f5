/* What peers ask a directory: updates that they tell, digests that they compare, what they fetch. In the
 * server's threads. */
#pragma once

#include "c2c/directory_server.h"

/* For a server whose data is a DirectoryPeerService. */
extern const DirectoryHandler directory_peer_asked[];
extern const guint directory_peer_asked_count;

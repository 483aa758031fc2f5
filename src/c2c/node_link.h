/* Links to other users' clones, each with the streams on it: made, accepted, and ended. */
#pragma once

#include "c2c/node_private.h"

LinkOptions node_link_options(void);

/* Takes `made`; it is the node's from now on. `dialled`: from here. */
NodeLink *node_link_new(Node *node, Link *made, gboolean dialled);

/* One that nobody uses makes room for another. FALSE: all are in use. */
gboolean node_links_make_room(Node *node);

void node_links_clear(Node *node);

/* The way from a device to its own clone (Clone2Clone section 4, steps 4 and 5). */
#pragma once

#include "link/link.h"

/* A link to the paired clone `name`, or with NULL to the one that the user's record names (identity/user.h):
 * at the addresses that this device knows, and where it is not there at those that the directory says, which
 * are remembered when the clone was found there. Waits for it, ten seconds or so. NULL with an error as
 * link_dial(). */
Link *gateway_dial_clone(const char *name, GError **error);

/* Whether a link of gateway_dial_clone() leads to the clone that it would dial now: the user may have claimed
 * the name for another. */
gboolean gateway_is_own(const Link *link, const char *name);

/* Where the directories say that it is now; NULL: nothing. Blocks; changes nothing. */
char **gateway_where(const char *name);

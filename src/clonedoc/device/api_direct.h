/* How a program's documents without a clone keep this device's room: by one conversation for all of them. */
#pragma once

#include "clonedoc/device/direct.h"

/* One document more, and one less. With the last one the room is left alone, and brings to the servers what
 * was done, as far as they can be reached; nobody waits for that. */
void api_direct_enter(void);
void api_direct_leave(void);

/* A DocDial: to a room that is there as long as one of them is open. */
int api_direct_dial(GError **error);

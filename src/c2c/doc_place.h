/* Where the clone keeps documents: a folder in its own, with the room's file and the socket by which the
 * clone's services reach the process that has it (clonedoc/room/room_place.h). */
#pragma once

#include "c2c/service.h"

char *doc_place_folder(const ServicePlace *place);

/* -1 with GONE where nobody listens. */
int doc_place_connect(const ServicePlace *place, GError **error);

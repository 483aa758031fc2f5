/* Where the clone keeps documents: a folder in its own, with the room's file and the socket by which the
 * clone's services reach the process that has it. For processes of the same user only. */
#pragma once

#include "c2c/service.h"

char *doc_place_file(const ServicePlace *place);

/* Listens, without blocking; makes the folder. -1 with an error. */
int doc_place_listen(const ServicePlace *place, GError **error);

/* The next who has connected and is of the same user; -1: none. */
int doc_place_accept(int listener);

/* -1 with GONE where nobody listens. */
int doc_place_connect(const ServicePlace *place, GError **error);

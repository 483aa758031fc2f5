/* Where a room is reached: a socket in the folder of its file, for processes of the same user. */
#pragma once

#include <glib.h>

/* Listens, without blocking; makes the folder. Whoever does it has the room's file. -1 with an error. */
int doc_room_listen(const char *folder, GError **error);

/* The next who has connected and is of the same user; -1: none. */
int doc_room_accept(int listener);

/* -1: nobody listens. */
int doc_room_connect(const char *folder);

/* Nobody finds it any more. */
void doc_room_hide(const char *folder);

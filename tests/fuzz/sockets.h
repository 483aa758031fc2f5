/* Packets with descriptors as no correct program sends them. */
#pragma once

#include "input.h"

#define SOCKETS_FDS_MAX 6u

/* A path for a socket, in a directory that goes at the process's end. */
const char *sockets_path(const char *name);

/* Sends a packet with `count` descriptors in as many control messages as `input` says. FALSE where the socket
 * takes none now. */
gboolean sockets_send(int fd, const void *data, gsize length, guint count, Input *input);

/* How many of the lowest descriptors are open: as many as before where none was leaked. */
guint sockets_open(void);

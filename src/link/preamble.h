/* Reading the preamble of an accepted socket, and not a byte more: what follows is for another process. */
#pragma once

#include "wire/preamble.h"

typedef struct {
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  gsize have;
} LinkPreambleReader;

/* Reads without waiting: 1 with `preamble`, 0 where it is not all there, -1 with an error. */
int link_preamble_step(LinkPreambleReader *reader, int fd, WirePreamble *preamble, GError **error);

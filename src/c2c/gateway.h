/* A device's way to the network of clones: one process per user holds a link to the own clone, and serves the
 * local socket (c2c/local.h) for the device's programs; the clone's node does what they ask for. Its peer on
 * the clone host is c2c/relay.h.
 *
 * It connects when the first program asks for something, and again when the link was lost, as long as a
 * program offers a service. A clone that has moved is followed: streams outlive that. It ends when no program
 * has been connected for some time. */
#pragma once

#include "link/link.h"

typedef struct {
  /* A new link to the own clone, which may still be connecting. NULL with an error. */
  Link *(*dial)(void *data, GError **error);
  /* Where the directories say that the clone is now, "host:port"; NULL: they say nothing. Called in a thread
   * of its own, while the connection is lost; may block. NULL: nobody can be asked. */
  char **(*where)(void *data);
  /* Whether the clone that a link leads to is still the user's: another is dialled otherwise. NULL: always.
   */
  gboolean (*is_own)(const Link *link, void *data);
  void *data;
  const char *socket;        /* its path */
  int idle_s;                /* 0: it never ends for that */
  void (*ready)(void *data); /* it listens now */
} GatewayConfig;

/* Serves until it is idle, or somebody has removed the socket. FALSE with an error: GONE where a gateway is
 * there already. */
gboolean gateway_run(const GatewayConfig *config, GError **error);

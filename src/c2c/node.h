/* A clone's node: its place in the network of clones (Clone2Clone section 4, steps 1 to 3). One process for
 * each clone, which registers the clone in the directory, finds other users' clones there, keeps links to
 * them, and opens and answers streams over these: for the clone's own programs and its owner's devices by a
 * local socket (c2c/local.h), for others as the owner allows (c2c/node_store.h).
 *
 * A link to another clone is authenticated twice: TLS proves the clone's key, and the record that it
 * introduces itself with proves whose key that is. */
#pragma once

#include "c2c/service.h"

#define NODE_SOCKET "node.socket" /* in the clone's C2C directory */
#define NODE_PROGRAMS_SOCKET                                                                                 \
  "programs.socket"                 /* there, too: what programs in sandboxes get (node_guests.c) */
#define NODE_UNPROVED_MAX     32    /* links whose peer has not introduced itself */
#define NODE_UNPROVED_SOURCE  8     /* of these from one address */
#define NODE_UNPROVED_MS      10000 /* how long they may last */
#define NODE_LINKS_MAX        256   /* at a time; idle ones go first */
#define NODE_LINKS_PEER       4     /* with one other clone */
#define NODE_STREAMS_PEER     64    /* that one other clone may have open here */
#define NODE_IDLE_SECONDS     600   /* an unused link stays for so long */
#define NODE_RESUME_MS        60000 /* a peer may be away for so long without harm to streams */
#define NODE_DIAL_MS          30000 /* until somebody who asked for a stream is told that it came to nothing */
#define NODE_WHEREABOUTS_LIFE (24 * 3600) /* seconds that a registration holds */
#define NODE_RENEWAL          (6 * 3600)  /* seconds after which it is renewed, a tenth more or less */

typedef struct {
  const char *directory, *replica; /* as in ServicePlace */
  const char *clone_name;
  guint8 clone[RECORD_ID_LENGTH];
  const IdentityKey *key; /* the clone's */
  int control_fd;  /* of doppeld, whose sockets come with the preamble's bytes (link_pass_send_with()) */
  int programs_fd; /* listens, without blocking, for programs in the clone's sandboxes; 0: nowhere */
  const Service *services;
  const ServiceTask *tasks; /* as in c2c/services.h; NULL: none */

  /* Signs what a service of the clone is to sign with the clone's key ("sign-receipt"), after it has checked
   * that it is that. NULL: nothing is. */
  gboolean (*sign)(const IdentityKey *key, const guint8 *statement, gsize length,
                   guint8 signature[IDENTITY_SIGNATURE_LENGTH], GError **error);

  /* Where the clone can be reached now: the caller's, "host:port". Asked at the start, and when there is
   * something to read at addresses_fd, which the node reads away (without blocking). 0: never again. */
  char **(*addresses)(void *data);
  int addresses_fd;
  void *data;
} NodeConfig;

/* The whole life of the process: until SIGTERM, or nobody is at the other end of control_fd. The exit status.
 * The caller has one thread. */
int node_run(const NodeConfig *config);

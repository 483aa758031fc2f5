/* What answers a stream in a clone: a function with blocking reads and writes, in a process of its own
 * (c2c/spawner.h), which may end or be killed at any time without harm to others. */
#pragma once

#include "identity/record.h"

/* Who is at the other end, as the node has proved it. */
typedef struct {
  char *name; /* as this clone's contacts have it, else as the record says */
  IdentityPublic origin, clone_key;
  gboolean owner; /* the clone's own user, from a device of theirs */
  gboolean open;  /* nobody has allowed it: the service is open to everybody */
  char *limits;   /* of the permission: "KEY=VALUE,...", "" for none */
} ServicePeer;

/* Where the clone keeps things. */
typedef struct {
  const char *directory; /* the clone's c2c directory: node.db, inbox/, outbox/, ... */
  const char *socket;    /* of the node, for include/doppel/c2c.h */
  const char *replica;   /* the clone's store of generations (replica/generation_store.h) */
  const char *clone_name;
  guint8 clone[RECORD_ID_LENGTH];
  const IdentityKey *key; /* the clone's, for its tasks; services have things signed (c2c/service_node.h) */
} ServicePlace;

typedef struct {
  const char *name;    /* "send"; one that ends with ':' takes a parameter: "forward:" */
  gboolean owner_only; /* never for others, whatever is allowed */
  int (*run)(int fd, const char *service, const ServicePeer *peer,
             const ServicePlace *place); /* the exit status */
  const char *open; /* not NULL: for everybody to whom it is not denied, within these limits, since it finds
                       out itself whom it answers */
} Service;

#define SERVICE_OPEN_MAX 16u /* processes of open services whom nobody has allowed, at a time */

/* Processes of the clone's own, one of each, which are started again when they end. They never return but for
 * a failure (exit status 1, printed to stderr). */
typedef struct {
  const char *name;
  int (*run)(const ServicePlace *place);
} ServiceTask;

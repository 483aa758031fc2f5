/* Clones for a bench that runs many on one machine: keys and a record that follow from a number, and the real
 * node, in a process of its own behind another one that listens for it as doppeld does. What goes wrong ends
 * the program. */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "c2c/directory_place.h"
#include "c2c/node.h"

typedef struct {
  guint number;
  char *name;
  char *place;      /* its C2C directory */
  char *socket;     /* of its node */
  char *store;      /* of generations, below `place` */
  char *address;    /* "host:port" where it listens; NULL: it is never dialled */
  const char *told; /* where others are told that it is; NULL: there. Borrowed */
  pid_t host;       /* 0: it does not run */
} LightClone;

/* One that does not run yet; its directory in `folder` is made, if it is not there. */
LightClone *light_clone_new(const char *folder, guint number, const char *name, const char *address);
void light_clone_free(LightClone *clone);

/* Its node runs, and answers by its socket, when this returns. `host` goes with this process. */
void light_clone_start(LightClone *clone, const Service *services, const ServiceTask *tasks);

/* Its node, in this process, to its end: for who listens for it in another way. Who the clone is is put into
 * `config`. */
int light_clone_run(LightClone *clone, NodeConfig *config);

/* Ends it at once: nobody listens at its address any more. */
void light_clone_stop(LightClone *clone);

/* What the node answers; the caller's. */
GBytes *light_clone_ask(LightClone *clone, const char *verb, const void *body, gsize length);

/* Its user. */
IdentityPublic light_clone_origin(const LightClone *clone);

/* Registers it in the first of `places` (of DirectoryPlace). */
void light_clone_bind(LightClone *clone, const GPtrArray *places);

/* "doppel allow": a subject that is a user becomes a contact. */
void light_clone_permit(LightClone *clone, const char *subject, const char *service);

/* A stream to the service of a user's clone, "" for the own: a socket. */
int light_clone_dial(LightClone *clone, const char *user, const char *service);

/* A node that services talk to in tests: users with a clone each in a directory, their services run by
 * threads over socket pairs. */
#pragma once

#include "base/io.h"
#include "c2c/service_node.h"

typedef struct {
  char *name;
  IdentityKey *origin, *clone_key;
  ServicePlace place;
  ServicePeer as_peer; /* what others see of them */
  gboolean away, denies;
  guint dials;
} RigUser;

/* Puts the rig in the node's place. `directory` is where the clones are. */
void rig_begin(const char *directory);
void rig_end(void);
RigUser *rig_user(const char *name); /* made at the first call */

/* Runs one service of `user` for `peer` in a thread; the other end of its stream. */
int rig_serve(const Service *service, RigUser *user, RigUser *peer, const char *limits);

/* As what dials find: the services that others get, by name. */
void rig_offer(const Service *service);

/* Makes every stream of dials break after a random number of bytes, until `count` have. */
void rig_cut(guint count, guint seed, guint most);
guint rig_cuts_left(void);

/* Waits until all threads are over. */
void rig_wait(void);

char *rig_directory(const char *name);
void rig_remove(const char *directory);

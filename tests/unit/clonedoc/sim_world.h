/* Devices, their clones, and the server that orders what they write, over a network by chance: for tests of
 * everybody's coming to one text. Each is killed at any step, and goes on from what it has saved. */
#pragma once

#include "clonedoc/document.h"
#include "clonedoc/pair.h"
#include "sim_net.h"

#define SIM_USERS 16

enum { TO_CLONE, TO_SERVER }; /* kinds of links */

/* A letter that was typed or deleted on a device; every letter is typed once only. */
typedef struct {
  gunichar letter;
  gboolean deleted;
} SimKey;

typedef struct {
  DocPair *pair; /* NULL: it is down */
  OtText *text;
  GArray *keys; /* of SimKey */
  struct {
    GBytes *pair;
    char *text;
    guint keys;
  } disk;
  SimLink *link;
  guint64 back_at; /* comes up, or opens a link, at that step */
} SimDevice;

typedef struct {
  IdentityKey *key, *user;
  DocDocument *doc; /* NULL: it is down */
  DocPair *pair;
  GPtrArray *taken; /* entries since it was saved: of GBytes */
  GPtrArray *ahead; /* heads that others told, further on than this one is: of GBytes */
  guint untold;     /* entries since it told others a head */
  GBytes *head;     /* the server's last */
  struct {
    GBytes *doc, *own, *pair;
    GPtrArray *entries; /* after `doc` */
  } disk;
  SimLink *down, *up;
  gboolean flown; /* its flight was sent over this `up` */
  guint64 back_at;
} SimClone;

typedef struct {
  IdentityKey *key;
  DocName document;
  GPtrArray *entries;  /* on its disk: of GBytes */
  GHashTable *numbers; /* of the entries */
  DocHistory *history; /* NULL: it is down */
  GBytes *head;
  GQueue asked; /* of SimAppend */
  guint64 back_at;
} SimServer;

typedef struct {
  guint typed, entries, voids, checkpoints, cuts, stalls, roams, replaced, late, refused;
  guint device_kills, clone_kills, server_kills, flights_again, heads;
} SimCounts;

typedef struct {
  GRand *rand;
  SimNet net;
  SimDevice devices[SIM_USERS];
  SimClone clones[SIM_USERS];
  SimServer server;
  gunichar next_letter;
  guint guests;
  gboolean calm; /* nobody is killed */
  SimCounts *counts;
} SimWorld;

SimWorld *sim_world_new(guint32 seed, SimCounts *counts);
void sim_world_free(SimWorld *world);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SimWorld, sim_world_free)

/* A step of time, in which who is up says what it has to say; and with disturbances, of which there are none
 * when it is calm. */
void sim_world_step(SimWorld *world);
void sim_world_disturb(SimWorld *world);
gboolean sim_world_is_settled(SimWorld *world);

gunichar sim_letter(guint number);

/* sim_device.c */
void sim_device_init(SimDevice *device);
void sim_device_clear(SimDevice *device);
void sim_device_kill(SimWorld *world, guint who);
void sim_device_step(SimWorld *world, guint who);
void sim_device_type(SimWorld *world, guint who);
void sim_device_hear(SimWorld *world, SimLink *link, SimWhat what, GBytes *message);
void sim_device_roam(SimWorld *world, guint who);

/* sim_clone.c */
void sim_clone_init(SimClone *clone, guint who);
void sim_clone_clear(SimClone *clone);
void sim_clone_save(SimWorld *world, SimClone *clone);
void sim_clone_kill(SimWorld *world, guint who);
void sim_clone_step(SimWorld *world, guint who);
void sim_clone_take(SimWorld *world, SimClone *clone, guint64 number, GBytes *entry);
void sim_clone_hear_device(SimWorld *world, SimLink *link, SimWhat what, GBytes *message);
void sim_clone_hear_server(SimWorld *world, SimLink *link, SimWhat what, GBytes *message);
void sim_clone_hear_head(SimWorld *world, guint who, GBytes *message);
/* Changes who else is a member, or asks for a checkpoint. */
void sim_clone_change(SimWorld *world);

/* sim_server.c */
void sim_server_init(SimServer *server, const DocName *document);
void sim_server_clear(SimServer *server);
void sim_server_kill(SimWorld *world);
void sim_server_step(SimWorld *world);
void sim_server_hear(SimWorld *world, SimLink *link, SimWhat what, GBytes *message);
/* At once, without a network. */
void sim_server_take(SimServer *server, GBytes *entry);

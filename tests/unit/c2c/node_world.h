/* Clones with nodes, each in a process of its own behind a host that listens for it, and a directory that is
 * a folder (fake_directory.c): what the tests of the node stand on. */
#pragma once

#include "base/io.h"
#include "c2c/node.h"
#include "doppel/c2c.h"
#include "record_world.h"
#include "wire/c2c.pb-c.h"

typedef struct {
  char *name, *place, *socket, *programs, *address_file; /* `programs`: the socket of those in sandboxes */
  WorldUser *user;
  pid_t host;
} WorldClone;

/* What the nodes of clones that are made from now on offer and sign; by default "echo", "mine" for the owner,
 * and for everybody "open", and "stay", whose processes do not end. */
extern const Service *node_world_services;
extern const ServiceTask *node_world_tasks;
extern gboolean (*node_world_sign)(const IdentityKey *key, const guint8 *statement, gsize length,
                                   guint8 signature[IDENTITY_SIGNATURE_LENGTH], GError **error);

/* Where a clone's store of generations is: the caller's. */
char *clone_store(const WorldClone *clone);

/* Makes the folder of all, and removes it with what is in it. */
void node_world_begin(void);
void node_world_end(void);
extern char *fake_directory;    /* the folder; a file "away" in it: nobody answers */
#define FAKE_NAME_TAKEN "taken" /* a name that it gives to nobody */
void fake_directory_away(gboolean away);
guint64 fake_directory_sequence(const WorldUser *user); /* of the whereabouts that are registered; 0: none */

/* A clone that runs; `number` makes its keys. It is bound by clone_bind(). */
WorldClone *clone_new(guint number, const char *name);
void clone_free(WorldClone *clone);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WorldClone, clone_free)
void clone_bind(WorldClone *clone, guint64 serial);
WorldClone *clone_bound(guint number, const char *name);
/* A bound one with that id at its host. */
WorldClone *clone_as(guint number, const char *name, const guint8 *id);

/* Its processes are killed; and they come again, at the same address, with what they had stored. */
void clone_kill(WorldClone *clone);
void clone_revive(WorldClone *clone);

/* It listens somewhere else from now on, and its connections break. */
void clone_move(WorldClone *clone);
char *clone_address(const WorldClone *clone);

/* The body of "bind". */
GBytes *world_bind(const WorldUser *user, guint64 serial);

/* A control request: 0, or an errno. */
int clone_ask_bytes(WorldClone *clone, const char *verb, GBytes *body, GBytes **answer);
int clone_ask(WorldClone *clone, const char *verb, const ProtobufCMessage *body, GBytes **answer);
void clone_permit(WorldClone *clone, const char *verb, const char *subject, const char *service,
                  const char *limits);

/* A stream, or -1 with errno. */
int clone_dial(WorldClone *clone, const char *user, const char *service);
/* Why there is none: the caller's. */
char *clone_dial_words(WorldClone *clone, const char *user, const char *service);
/* What is said comes back. */
gboolean echoes(int fd, const char *words);

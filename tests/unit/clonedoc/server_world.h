/* An ordering server and its clients in one main loop, over loopback: for tests. */
#pragma once

#include "clonedoc/server/client.h"
#include "clonedoc/server/server.h"
#include "doc_world.h"

typedef struct {
  char *folder;
  IdentityKey *key;
  GMainContext *context;
  DocLog *log;
  DocServer *server;
  char *address;
  DocServerOptions options;
  char *complained;
  DocLog *(*wrap)(DocLog *log); /* what the server gets instead of the log; takes it; NULL */
} ServerWorld;

/* With the log in `folder`; NULL: in a new one, which is removed at the end. `port` 0: any. Where `options`
 * is not NULL its limits are taken. */
ServerWorld *server_world_new(const char *folder, const DocServerOptions *options);
void server_world_free(ServerWorld *world);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ServerWorld, server_world_free)

/* Ends the server, and begins it again on the same address and log. */
void server_world_stop(ServerWorld *world);
void server_world_start(ServerWorld *world);

/* A client of that world, driven by its main loop. */
typedef struct {
  ServerWorld *world;
  DocClient *client;
  GSource *source;
  GError *error; /* HOSTILE: it has found the server out */
} WorldClient;
WorldClient *world_client_new(ServerWorld *world, const IdentityKey *key);
void world_client_free(WorldClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WorldClient, world_client_free)

/* Runs the loop until that client has an event or an error; NULL: the latter. */
DocClientEvent *world_client_await(WorldClient *client);
/* The answer to a call, others being left out. */
DocClientEvent *world_client_answer(WorldClient *client, guint64 call);

/* Appends a packed entry: what it was answered; *number (may be NULL) it has. */
DocStatus world_client_append(WorldClient *client, const DocName *document, const DocEnvelope *envelope,
                              guint64 *number);

/* A directory together with its peers, in the flesh: a thread that keeps a link to each, and asks what
 * directory_peers.h decides; the answers to what they ask; and the list of peers, a file that is read again
 * whenever it changes (c2c/directory_place.h: NAME=ADDRESS=KEY in each line). */
#pragma once

#include "c2c/directory_peer_keys.h"
#include "c2c/directory_peers.h"
#include "c2c/directory_place.h"
#include "c2c/directory_server.h"

typedef struct DirectoryPeerService DirectoryPeerService;

typedef struct {
  const IdentityKey *key; /* the directory's; borrowed */
  const char *store;      /* directory_store_open()'s URI: it gets a handle of its own */
  const char *places;     /* path of the peers' list */
  const char *status;     /* path of what is told about them, for directory_peer_report_load() */
  DirectoryPeersOptions peers;
} DirectoryPeerServiceOptions;

/* NULL with an error where the list cannot be read, or the store not opened. */
DirectoryPeerService *directory_peer_service_new(const DirectoryPeerServiceOptions *options, GError **error);

/* What the server has to know before it is made: handlers, `registered`, `data`. */
void directory_peer_service_prepare(DirectoryPeerService *service, DirectoryServerOptions *options);

/* Begins; `context` is the server's. */
void directory_peer_service_start(DirectoryPeerService *service, DirectoryServer *server,
                                  GMainContext *context);

/* Ends the thread. Before directory_server_free(); directory_peer_service_free() after it. */
void directory_peer_service_stop(DirectoryPeerService *service);
void directory_peer_service_free(DirectoryPeerService *service);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryPeerService, directory_peer_service_free)

/* From any thread. */
const DirectoryPeerKeys *directory_peer_service_keys(const DirectoryPeerService *service);

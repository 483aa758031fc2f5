/* A link to another directory that is made again whenever it breaks, for one question at a time. It lives in
 * the thread-default GMainContext of whoever makes it. */
#pragma once

#include "c2c/directory_message.h"
#include "c2c/directory_place.h"

typedef struct DirectoryPeerLink DirectoryPeerLink;

typedef struct {
  void (*up)(DirectoryPeerLink *link, gpointer data);
  /* It broke, or could not be made: tried again later. Only after up() does it mean that something ended. */
  void (*down)(DirectoryPeerLink *link, const char *words, gpointer data);
  void (*answer)(DirectoryPeerLink *link, const DirectoryAnswer *answer, gpointer data);
} DirectoryPeerLinkCallbacks;

/* `own` is borrowed. */
DirectoryPeerLink *directory_peer_link_new(const DirectoryPlace *place, const IdentityKey *own,
                                           const DirectoryPeerLinkCallbacks *callbacks, gpointer data);
void directory_peer_link_free(DirectoryPeerLink *link);
const DirectoryPlace *directory_peer_link_place(const DirectoryPeerLink *link);

/* Where it is not up the question is lost, as is everything that is under way when it goes down. */
void directory_peer_link_ask(DirectoryPeerLink *link, const DirectoryQuestion *question);

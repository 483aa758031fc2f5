/* Two ends of a link in one process and one thread, with whatever is to go wrong between them. */
#pragma once

#include "link/link.h"

/* A forwarder of TCP connections that breaks or stalls them. */
typedef struct {
  int listener;
  guint16 to;       /* port it forwards to */
  char *address;    /* of its own, "127.0.0.1:port" */
  GPtrArray *pairs; /* of open connections */
  gint64
      limits[2]; /* bytes to let through, from the dialler and to it; then the connection is cut; -1: all */
  guint64 passed[2];
  gboolean stalled; /* takes bytes and lets none through */
  gboolean deaf;    /* accepts no more */
  gsize rate;       /* bytes a second that it lets through; 0: all. To be set before a connection is made */
  guint cuts;
  GByteArray *tape; /* what the dialler sent, if it is to be recorded */
} Proxy;

/* What a test waits for comes in a moment, but where the machine stands still for a while. */
#define WORLD_PATIENCE_MS 60000

typedef struct {
  IdentityKey *device_key, *clone_key;
  guint8 clone[16];
  LinkOptions options;
  int listener;
  char *address;
  guint16 port;
  Link *device, *host;
  gboolean anybody;      /* both ends let any key in */
  LinkPreamble preamble; /* of the last connection */
  GPtrArray *proxies;    /* not owned */
  gboolean host_dead_expected;
  GError *device_error, *host_error;
  guint strangers_refused;
} World;

World *world_new(void);
void world_free(World *world);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

/* Dials `address` (NULL: the host itself) and returns at once. */
void world_dial(World *world, const char *address);

/* Lets time pass for at most `timeout_ms`: sockets are accepted, both links do what they can. */
void world_step(World *world, int timeout_ms);

/* Steps until `done` says so; fails the test after `limit_ms`. */
void world_until(World *world, gboolean (*done)(World *), int limit_ms);
gboolean world_is_up(World *world);

/* The device's link and the host's, up. */
World *world_connected(void);

/* A message whose contents follow from channel and length. */
void world_send(Link *link, guint32 channel, gsize length);
void world_check(const LinkMessage *message, guint32 channel, gsize length);

/* Steps until a message has arrived. */
LinkMessage *world_receive(World *world, Link *link);

Proxy *proxy_new(World *world);
void proxy_free(World *world, Proxy *proxy);
void proxy_cut(Proxy *proxy);

/* A listening socket on loopback. */
int world_listen(guint16 *port);
int world_connect(guint16 port);

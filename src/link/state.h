/* The state of a link, shared by the files of this folder and nobody else. */
#pragma once

#include "link/connection.h"
#include "link/dialler.h"
#include "link/engine.h"
#include "link/outbox.h"
#include "wire/compress.h"

#define LINK_CANDIDATES_MAX 16 /* connections of one session that may shake hands at the same time */

G_STATIC_ASSERT(LINK_MESSAGE_MAX == WIRE_DATA_MAX);

struct Link {
  gboolean local; /* over a socket pair */
  gboolean dials; /* this end made the first connection */
  LinkState state;
  GError *death; /* why, once LINK_DEAD */
  LinkOptions options;
  LinkTls *tls;
  WirePreamble preamble;
  IdentityPublic peer;

  LinkConnection *connection; /* the one in use; while GREETING only on the dialling end */
  LinkOutbox outbox;
  WirePacker *packer; /* of the messages out and in; made at first use */
  WireUnpacker *unpacker;
  GQueue inbox; /* of LinkMessage */
  gsize inbox_bytes;
  gboolean
      insatiable; /* read although the inbox is full: link_send() waits for the peer, which may wait for us */
  gboolean starved; /* reading stopped at a full inbox: there may be more than poll() knows */
  guint64 received; /* number of the last message that has arrived */
  guint64 told;     /* what the peer was told of that */
  gsize untold_bytes;
  gboolean owes_pong, owes_ping;

  guint unsent_max; /* bytes that the system may hold unsent; 0: any */

  gint64 heard_at;  /* CLOCK_MONOTONIC ns of the last bytes */
  gint64 probed_at; /* of the ping without an answer; 0: none */
  gint64 tell_at;   /* when an acknowledgement is to leave even if nothing else does; 0: nothing to tell */

  gboolean welcomed;  /* both ends have agreed that the session exists */
  gboolean greeted;   /* a hello was sent before: what the peer has received is not known until it says so */
  gboolean early;     /* messages may follow the hello at once */
  guint first_rounds; /* further rounds over the addresses before the first welcome */
  gint64 away_at;     /* since when there is no open connection */
  int epoll_fd;       /* of the candidates and look-ups; -1 for a local link */
  GPtrArray *candidates; /* of LinkConnection */
  LinkDialler *dialler;

  EngineObserver observer;
  void *observer_user;

  LinkCounters counters;
  const LinkCounters *passed; /* shared memory: the counters of the link that another process has for us */
  guint64 settled_sent, settled_received; /* bytes of connections that are gone */
};

/* traffic.c: the connection in use. */

/* Writes what is to be written, as far as the socket takes it. */
void link_transmit(Link *link);

/* Reads and handles what has arrived. */
void link_receive(Link *link, gint64 now);

/* Whether more is to be written than the socket takes. */
gboolean link_wants_write(const Link *link);

/* Whether the inbox has room. */
gboolean link_wants_read(const Link *link);

/* Tells the socket of the connection in use how much it may hold unsent. */
void link_apply_unsent(Link *link);

/* Deadlines of acknowledgement and keepalive: acts on those that have passed. */
void link_keep_alive(Link *link, gint64 now);
gint64 link_keep_alive_due(const Link *link);

/* joining.c: how a connection comes into use. */

/* Steps attempts to connect and strangers who want in. */
void link_join(Link *link, gint64 now);
gint64 link_join_due(const Link *link);
gboolean link_joining(const Link *link);

/* The first frame of a connection, a hello or a welcome. */
gboolean link_greeted(Link *link, LinkConnection *connection, const WireFrame *frame,
                      const LinkMessage *message, gint64 now, GError **error);

/* link.c: how it ends. */

/* The connection is gone; the session goes on if it can. Takes `error`. */
void link_lose(Link *link, GError *error);

/* The session is over. Takes `error`. */
void link_die(Link *link, GError *error);

/* Frees a connection and counts its bytes. */
void link_settle(Link *link, LinkConnection *connection);

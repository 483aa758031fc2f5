/* What the node's files share. All belongs to the node's one thread; what takes time and may block (the
 * directory) is asked in node_directory.c's thread, and answers come back here. Whatever an answer is for may
 * be gone by then: answers name it by its number. */
#pragma once

#include "c2c/local.h"
#include "c2c/mux.h"
#include "c2c/node.h"
#include "c2c/node_directory.h"
#include "c2c/node_store.h"
#include "c2c/spawner.h"
#include "link/callers.h"
#include "wire/c2c_control.pb-c.h"

typedef struct Node Node;
typedef struct NodePeer NodePeer;
typedef struct NodeLink NodeLink;
typedef struct NodeDial NodeDial;
typedef struct NodeQuestion NodeQuestion;
typedef struct NodeGroups NodeGroups;
typedef struct NodeGuest NodeGuest;

struct Node {
  const NodeConfig *config;
  ServicePlace place;
  char *socket;
  GMainLoop *loop;
  NodeStore *store;
  Spawner *spawner;
  LocalServer *local;
  LocalServer *programs; /* of guests; NULL: none come */
  NodeDirectory *directory;
  guint64 last; /* number of a link, a dial or a letter */

  Record *own;      /* as it was signed last; NULL: unbound */
  Record *accepted; /* as a directory took it last: what is gone back to where it refuses another */
  Record *asked;    /* that is being registered */
  char **addresses; /* as the owner's record has them, or is to */
  gboolean registered, registering;
  gint64 renew_at;  /* CLOCK_MONOTONIC ns; G_MAXINT64: never */
  guint failures;   /* of registrations, since the last that was good */
  char *trouble;    /* of the last one */
  GPtrArray *bound; /* of LocalCall: "bind"s that wait for the answer to a registration */

  GHashTable *peers;     /* origin → NodePeer */
  GPtrArray *links;      /* of NodeLink, the oldest first */
  GPtrArray *dials;      /* of NodeDial */
  GHashTable *listeners; /* service → LocalCall */
  GHashTable *guests;    /* sandbox → NodeGuest */
  GPtrArray *serving;    /* of NodeServing (node_streams.c) */
  GPtrArray *questions;  /* of NodeQuestion: what waits for the directory (node_control.c) */
  NodeGroups *groups;
  guint64 group_sent, group_taken; /* messages to and from members of groups */
  gint64 watch_at;                 /* CLOCK_MONOTONIC ns: when directories are compared next */
  gint64 forget_at;                /* when users of whom nothing was heard for long are forgotten */
  guint sweeping;                  /* an idle source: links that have ended wait for it */
};

/* Another user's clone. */
struct NodePeer {
  Node *node;
  IdentityPublic origin;
  Record *record;    /* the newest that is known */
  NodeLink *current; /* for new streams; NULL: none */
  NodeLink *beside;  /* dialled while that one is away, and in its place once it is up */
  gint64 beside_at;  /* CLOCK_MONOTONIC ns: when that was tried */
  gboolean looking;  /* the directory is being asked */
  gint64 looked_at;  /* CLOCK_MONOTONIC ns */
  gint64 used_at;
};

struct NodeLink {
  Node *node;
  guint64 id;
  Mux *mux;
  GSource *source;
  gboolean dialled; /* from here */
  LinkPreamble preamble;
  LinkCallerSource source_address; /* of who dialled */
  gint64 began_at;                 /* CLOCK_MONOTONIC ns */
  gint64 since;                    /* seconds since 1970 */
  gint64 away_at, idle_at, introduce_after;
  NodePeer *peer;  /* NULL: has not introduced itself */
  gboolean proved; /* who it is: what it opens is answered */
  gboolean been_up, retired, ended;
  Record *claim;   /* that it introduced itself with, while the directory is asked */
  GPtrArray *held; /* of NodeHeld: streams that it opened meanwhile */
};

typedef struct {
  MuxStream *stream;
  char *service;
} NodeHeld;

/* node_peers.c */
NodePeer *node_peer(Node *node, const IdentityPublic *origin, gboolean make);
/* Takes note of a record that is newer than what is known; what it says of addresses is followed. */
void node_peer_learn(NodePeer *peer, Record *record);
/* Has the directory asked, in the background, where that was not done for a while: the clone may have gone to
 * another host, and the one that was left still answers. */
void node_peer_check(NodePeer *peer);
/* The link for new streams, dialled where there is none. NULL with an error where it cannot be. */
NodeLink *node_peer_link(NodePeer *peer, GError **error);
/* It has proved to be that peer's. */
void node_peer_attach(NodePeer *peer, NodeLink *link);
/* Takes note of what has changed about links, and says when node_peers_tick() has something to do. */
gint64 node_peers_due(Node *node, gint64 now);
void node_peers_tick(Node *node, gint64 now);
void node_peers_clear(Node *node);
guint node_peer_streams(const NodePeer *peer);

/* node_link.c */
void node_link_end(NodeLink *link);
NodeLink *node_link_by_id(Node *node, guint64 id);
void node_accept_sockets(Node *node, gboolean *orphan);

/* node_introduce.c */
gboolean node_introduce(NodeLink *link, GError **error);
gboolean node_introduced(NodeLink *link, const Doppel__Wire__MuxIntroduce *message, GError **error);

/* node_streams.c: answering. `peer` NULL: the clone's own user. */
void node_stream_opened(NodeLink *link, MuxStream *stream, const char *service);
/* For the owner: one end of a socket pair, or -1 with *why and an error. */
int node_serve_owner(Node *node, const char *service, Doppel__Wire__C2cRefusal *why, GError **error);
void node_services_ended(Node *node);
void node_serving_clear(Node *node);
void node_splice_done(void *nothing);

/* node_dial.c: asking. `fd` is the callee's; -1: refused with `why` and `words`. */
typedef void (*NodeDialled)(int fd, Doppel__Wire__C2cRefusal why, const char *words, void *data);
/* NULL where `done` was called at once. And for a guest, whom the caller keeps until then. */
NodeDial *node_dial(Node *node, const char *user, const char *service, NodeDialled done, void *data);
NodeDial *node_dial_guest(Node *node, NodeGuest *guest, const char *user, const char *service,
                          NodeDialled done, void *data);
void node_dial_cancel(NodeDial *dial);
gboolean node_dial_is_for(const NodeDial *dial, const NodePeer *peer);
/* Whether anybody waits for a stream to that peer; they wait for one over that link from now on. */
gboolean node_dials_wait(const NodePeer *peer);
void node_dials_move(NodePeer *peer, NodeLink *link);
/* When the tick has something to do (CLOCK_MONOTONIC ns; G_MAXINT64: nothing), here and below. */
gint64 node_dials_due(const Node *node);
void node_dials_tick(Node *node, gint64 now);
void node_dials_clear(Node *node);

/* Who a text means: contacts first, then the directory. `fresh`: the directory is asked whatever is
 * remembered. `found` is called once, perhaps at once. */
void node_resolve(Node *node, const char *user, gboolean fresh, NodeFound found, void *data);

/* node_groups.c */
#define NODE_GROUP_SERVICE  "group"  /* between nodes: one message, one answer */
#define NODE_GROUP_LISTENER "group:" /* to programs: with the group's name; a stream for each message */
int node_groups_serve(Node *node, GError **error);
/* `sequence`: the message's number, by which it is asked for. */
gboolean node_groups_send(Node *node, const char *group, const void *body, gsize length, guint64 *sequence,
                          GError **error);
/* How many have it so far, of one that goes through the tree. */
guint node_groups_reached(Node *node, guint64 sequence);
gint64 node_groups_due(Node *node);
void node_groups_tick(Node *node, gint64 now);
/* node_groups_kept.c: that user's clone is there; what is too old may go. */
void node_groups_peer(Node *node, const IdentityPublic *origin);
void node_groups_expire(Node *node);
/* node_groups_given.c: a program listens. */
void node_groups_listening(Node *node, const char *service);
void node_groups_clear(Node *node);

/* node_register.c */
gboolean node_register_load(Node *node, GError **error);
gboolean node_register_bind(Node *node, const guint8 *body, gsize length, LocalCall *call, GError **error);
/* The host may have other addresses. */
void node_register_moved(Node *node);
gint64 node_register_due(const Node *node);
void node_register_tick(Node *node, gint64 now);
void node_register_clear(Node *node);

/* node_local.c */
gboolean node_local_start(Node *node, GError **error);
void node_local_stop(Node *node);

/* node_guests.c */
#define NODE_GUEST_OWN "a program in a sandbox reaches other users' services only, not its own clone's"
void node_guests_start(Node *node);
void node_guests_stop(Node *node);
void node_guests_clear(Node *node);
/* A stream of a guest's, until node_guest_stream_done() is called with it. */
void *node_guest_stream(NodeGuest *guest);
void node_guest_stream_done(void *stream);

/* node_control.c */
void node_control(LocalCall *call, const char *verb, const guint8 *body, gsize length, void *data);
void node_answer(LocalCall *call, const ProtobufCMessage *message, gboolean more);
void node_refuse(LocalCall *call, const GError *error);
Doppel__Wire__C2cRefusal node_refusal(const GError *error);

gint64 node_now(void); /* seconds since 1970 */

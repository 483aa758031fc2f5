/* Who is connected to a server that anybody may call, and who may come in: of four crowds, each with its own
 * room, none can take another's. Before the preamble has come a connection costs a descriptor; then it is
 * either a stranger's, whose address pays for the handshake, or shows a pass that the server has given, whose
 * holder does; and who has proved a key that the server knows is a member, whom no crowd of strangers
 * concerns any more. (So do others: sshd's MaxStartups counts who has not proved who they are, PostgreSQL
 * keeps connections for roles that it knows.)
 *
 * Who is a member, what a pass is and what is said are the server's business. All of it lives in one
 * GMainContext's thread. */
#pragma once

#include "identity/key.h"
#include "link/crowd.h"
#include "link/link.h"

typedef struct LinkDoor LinkDoor;

typedef enum {
  LINK_DOOR_WAITING,
  LINK_DOOR_STRANGER,
  LINK_DOOR_PASSING,
  LINK_DOOR_MEMBER,
  LINK_DOOR_CROWDS
} LinkDoorCrowd;

/* A connection: what the server's own struct for one begins with. */
typedef struct {
  LinkDoor *door;
  guint64 id;
  LinkDoorCrowd crowd;
  LinkVisitor visitor; /* visitor.busy is the server's: it must not go now */
  LinkCallerSource source;
  int fd; /* until there is a link */
  LinkPreambleReader reader;
  Link *link;
  GSource *watch;
  gint64 deadline; /* CLOCK_MONOTONIC ns: when it goes; the server's, once there is a link */
} LinkVisit;

#define LINK_DOOR_PRICE 4 /* of a connection: a handshake */

typedef struct {
  gsize size;        /* of the server's struct, which is all zeros besides */
  guint rate;        /* what an address, and a member's key, may ask for in a second; 0: anything, and no
                        address' and no key's connections are limited either */
  guint member_most; /* connections of one member's key */
  LinkOptions link;  /* `connect_ms` and `resume_ms` are the door's business */

  /* The preamble has come. TRUE: with a pass that is good, and *holder is whom it counts for; else it is a
   * stranger's. */
  gboolean (*came)(LinkVisit *visit, const LinkPreamble *preamble, LinkCallerSource *holder, gpointer data);

  /* The next step of a connection's link. FALSE: it has to go. */
  gboolean (*work)(LinkVisit *visit, gpointer data);

  /* It goes, whether its preamble had come or not. NULL: there is nothing to do. */
  void (*gone)(LinkVisit *visit, gpointer data);
  gpointer data;
} LinkDoorRules;

LinkDoor *link_door_new(const LinkDoorRules *rules, const IdentityKey *key, GMainContext *context);
void link_door_free(LinkDoor *door);
void link_door_listen(LinkDoor *door, int fd); /* takes it */

/* Ends it. */
void link_door_drop(LinkVisit *visit);

/* By its id, as the server's struct; NULL: it has gone. */
gpointer link_door_find(const LinkDoor *door, guint64 id);

/* Of who came with a pass (PASSING), now that it has proved a key: a member where the pass is its `own`, else
 * a stranger. FALSE: has to go. */
gboolean link_door_identify(LinkVisit *visit, gboolean own);

/* Has proved a member's key. Where members have no room it stays a stranger. */
void link_door_admit(LinkVisit *visit);

/* Whether it may ask something of that price now. */
gboolean link_door_pay(LinkVisit *visit, guint price);

/* How long it may be silent, in ns. */
gint64 link_door_idle_ns(const LinkVisit *visit);

typedef struct {
  guint64 accepted, refused, dropped; /* connections: let in, closed at once, ended for a limit's sake */
  guint now[LINK_DOOR_CROWDS];
} LinkDoorCounters;
LinkDoorCounters link_door_counters(const LinkDoor *door);

/* Who is connected to an ordering server, and who may come in: strangers cost a descriptor until they have
 * said what they want, then a handshake that their address pays for; who has proved a key that is a member's
 * of some document is counted by that key, and no stranger of the same address takes that place. */
#pragma once

#include "clonedoc/server/call.h"
#include "link/budget.h"
#include "link/crowd.h"

typedef struct DocDoor DocDoor;

typedef enum { DOC_DOOR_WAITING, DOC_DOOR_STRANGER, DOC_DOOR_MEMBER, DOC_DOOR_CROWDS } DocCrowd;

typedef struct {
  DocDoor *door;
  guint64 id;
  DocCrowd crowd;
  LinkVisitor visitor;
  LinkCallerSource source;
  int fd; /* until there is a link */
  LinkPreambleReader reader;
  Link *link;
  GSource *watch;
  gint64 deadline; /* CLOCK_MONOTONIC ns */
  gsize unwritten; /* of the last look */
  /* The server's. */
  DocParts parts;
  guint calls;        /* not answered yet */
  guint reads;        /* of them: need entries from the log */
  GPtrArray *follows; /* keep the connection */
  gboolean reading;   /* entries for one of these: from the log, or they are here and not told yet */
  guint turn;         /* whose is the next to have that */
} DocVisit;

typedef struct {
  guint64 accepted, refused, dropped; /* connections: let in, closed at once, ended for a limit's sake */
  guint now[DOC_DOOR_CROWDS];
} DocDoorCounters;

/* work(): the next step of a connection's link; FALSE: it has to go. gone(): it goes. */
typedef struct {
  gboolean (*work)(DocVisit *visit, gpointer data);
  void (*gone)(DocVisit *visit, gpointer data);
  gpointer data;
} DocDoorEvents;

/* `rate`: what a source of addresses, and a member's key, may ask for in a second; 0: anything. */
DocDoor *doc_door_new(const IdentityKey *key, guint rate, GMainContext *context, const DocDoorEvents *events);
void doc_door_free(DocDoor *door);
void doc_door_listen(DocDoor *door, int fd); /* takes it */

void doc_door_drop(DocVisit *visit);
DocVisit *doc_door_find(const DocDoor *door, guint64 id);

/* Has proved a member's key. Where members have no room it stays a stranger. */
void doc_door_admit(DocVisit *visit);

/* Whether it may ask something of that price now. */
gboolean doc_door_pay(DocVisit *visit, guint price);

DocDoorCounters doc_door_counters(const DocDoor *door);

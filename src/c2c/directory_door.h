/* Who is connected to a directory, and who may come in: of four crowds, each with its own room, none can take
 * another's. Before the preamble has come a connection costs a descriptor; then it is either a stranger's,
 * whose address pays for the handshake, or has a pass (directory_pass.h), whose key does; and who has proved
 * a key that is registered is a member, whom no crowd of strangers concerns any more. (So do others: sshd's
 * MaxStartups counts who has not proved who they are, PostgreSQL keeps connections for roles that it knows.)
 */
#pragma once

#include "c2c/directory_pass.h"
#include "c2c/directory_server.h"
#include "link/budget.h"
#include "link/crowd.h"

typedef struct DirectoryDoor DirectoryDoor;

typedef enum { DOOR_WAITING, DOOR_STRANGER, DOOR_PASSING, DOOR_MEMBER, DOOR_CROWDS } DoorCrowd;

typedef struct {
  DirectoryDoor *door;
  guint64 id;
  DoorCrowd crowd;
  LinkVisitor visitor; /* visitor.busy: a question is being answered */
  LinkCallerSource source;
  DirectoryPass pass; /* that it came with */
  int fd;             /* until there is a link */
  LinkPreambleReader reader;
  Link *link;
  GSource *watch;
  gint64 deadline;    /* CLOCK_MONOTONIC ns */
  gboolean sending;   /* an answer is not taken yet */
  gboolean paid;      /* it has asked: what it paid for coming in is used up */
  gboolean told_pass; /* over this connection */
  guint proofs;       /* of being a member that were looked at */
} DoorConnection;

/* The next step of a connection's link. FALSE: it has gone. */
typedef gboolean (*DoorWork)(DoorConnection *connection, gpointer data);

/* `rate` as in DirectoryServerOptions: 0 limits no address' connections either, and no key's. */
DirectoryDoor *directory_door_new(const IdentityKey *key, guint rate, GMainContext *context, DoorWork work,
                                  DirectoryCounters *counters, gpointer data);
void directory_door_free(DirectoryDoor *door);
void directory_door_listen(DirectoryDoor *door, int fd); /* takes it */

/* Ends it. */
void directory_door_drop(DoorConnection *connection);

/* By its id; NULL: it has gone. */
DoorConnection *directory_door_find(const DirectoryDoor *door, guint64 id);

/* Before the first question is looked at: who came with a pass is a member now, where it is theirs. FALSE:
 * has to go. */
gboolean directory_door_identify(DoorConnection *connection);

/* Has proved a key that is registered. Where members have no room it stays a stranger. */
void directory_door_admit(DoorConnection *connection);

/* Whether it may ask something of that price now. */
gboolean directory_door_pay(DoorConnection *connection, guint price);

/* A member's pass, once over each connection. */
gboolean directory_door_tell_pass(DoorConnection *connection, DirectoryPass *pass);

/* How long it may be silent, in ns. */
gint64 directory_door_idle_ns(const DoorConnection *connection);

guint directory_door_count(const DirectoryDoor *door, DoorCrowd crowd);

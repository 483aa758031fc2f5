/* What the processes of bench/clonedoc are to one another: a conductor, and a process for each device and, in
 * CloneDoc mode, for each clone. They obey one order at a time, each answered by how they are then. */
#pragma once

#include <poll.h>

#include "clonedoc/envelope.h"
#include "clonedoc/ot/op.h"
#include "identity/key.h"

enum {
  PAPER_DEVICES_MAX = 64,
  PAPER_SERVER_PORT = 7440,
  PAPER_PEER_PORT = 7441,  /* of a device, for the other members' */
  PAPER_CLONE_PORT = 7500, /* of the first clone, for its device */
  PAPER_CONTROL = 3,       /* the descriptor that orders come by */
};

typedef enum {
  PAPER_LOOK,
  PAPER_CREATE, /* the document */
  PAPER_INVITE, /* everybody else to it */
  PAPER_ACCEPT,
  PAPER_OPEN, /* a device: begins to talk with its clone */
  PAPER_TYPE, /* so many keys, each a while after the one before */
  PAPER_LEAVE,
  PAPER_RETURN,
  PAPER_CHECK,  /* the document's security; 1: connections to members are kept for the next time */
  PAPER_REMOVE, /* that member */
  PAPER_BEGIN,  /* of a phase: what is counted is counted from now on */
  PAPER_END,
} PaperWhat;

typedef struct {
  guint32 what, value;
  DocName document;
} PaperOrder;

typedef struct {
  gboolean settled; /* nothing of its own is on the way, and nothing that it was asked for */
  gboolean joined;
  guint64 number, members; /* of a room: entries taken, members */
  guint64 length;
  guint8 digest[32]; /* of the text */
  DocName document;
  gint64 changed_at; /* CLOCK_MONOTONIC ns: the text, last */
  gint64 typed_at;   /* the last own key */
  gint64 done_at;    /* what it was asked for */
  double cpu;        /* seconds of this process in this phase; what orders themselves cost is not in it */
  guint64 sent, received, messages_sent, messages_received; /* by the links, in this phase */
} PaperLook;

typedef struct {
  gboolean sporc;
  gboolean clone; /* this process is a clone, not a device */
  guint number, count;
  guint seed, gap_ms;
  const char *folder, *server; /* text of its key */
} PaperWho;

void G_GNUC_NORETURN paper_die(const PaperWho *who, const char *what, const char *why);
IdentityKey *paper_key(guint number, char role); /* 'd'evice, 'm'ember, 'u'ser */

/* A process that obeys orders on PAPER_CONTROL until the other end is closed. */
void paper_work(const PaperWho *who);

/* ---- what a process is: a room (a clone, or a device that is on its own), or a device with a clone ---- */

typedef struct {
  guint64 sent, received, messages_sent, messages_received;
} PaperMoved;

typedef struct {
  void (*open)(const PaperWho *who);
  void (*prepare)(GArray *fds, int *timeout_ms);
  void (*work)(void);
  void (*obey)(const PaperOrder *order);
  const OtText *(*text)(void);
  void (*edit)(const OtOp *op);
  void (*look)(PaperLook *look);
  PaperMoved (*moved)(void);
} PaperPart;

extern const PaperPart paper_room, paper_device;

/* Of the part's: others have changed the text so. */
void paper_shown(const OtOp *op);

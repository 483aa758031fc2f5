/* A room of Ann's, and the ordering servers that an input plays: it takes the place
 * of clonedoc/server/client.h. For targets. */
#pragma once

#include "clonedoc/room/room_struct.h"
#include "input.h"

/* Ann's documents at the beginning of each input. */
enum {
  BED_OWN,       /* made by Ann; Bob is a member, a device has a copy */
  BED_INVITED,   /* made by Bob; Ann is invited */
  BED_RECOVERED, /* made by Ann, with Bob; its server was found out, and all went on after that */
  BED_STOPPED,   /* made by Ann, with Bob; at its server's fault */
  BED_DOCUMENTS
};

/* A document as its server has it; and the other history that it has signed of it. */
typedef struct {
  DocName name;
  GPtrArray *entries; /* of GBytes */
  DocHistory *history;
  GBytes *other_entry; /* the last of the other */
  GBytes *heads[3];    /* that it has signed: of both, equally long; and a shorter one */
  GBytes *proof;       /* of that */
} BedShelf;

typedef struct {
  IdentityKey *ann, *bob, *eve, *server;
  BedShelf shelves[BED_DOCUMENTS];
  DocRoom *room;
  guint8 copy[DOC_ROOM_COPY_LENGTH]; /* that a device has of BED_OWN */
} Bed;

void bed_demand(gboolean holds);

/* A new one in each input; the room runs. */
Bed *bed_begin(void);
void bed_end(void);

/* Where its file is. */
const char *bed_file(void);

/* The room's process is killed, and begins again with what it kept. */
void bed_restart(void);
gboolean bed_open(GError **error);

/* Answers what the room has asked as a correct server does, or as `input` says. */
void bed_serve(Input *input);

/* A step of the room's. */
void bed_work(void);

/* What a conversation with the room needs: the other end of it, which does not block. */
int bed_converse(DocRoomService service, const IdentityKey *user);

/* Another member writes something in BED_OWN. */
void bed_bob_writes(void);

/* Bob's invitation as it was, to be changed. */
void bed_invitation(DocRoomInvitation *invitation, char **address);

/* Rooms of several users, their devices, and ordering servers, in one loop: for tests. */
#pragma once

#include "clonedoc/room/room.h"
#include "server_world.h"

typedef struct Keeper Keeper;

typedef struct {
  GPtrArray *servers; /* of ServerWorld */
  GPtrArray *keepers;
  GPtrArray *carried; /* errands under way */
  guint interval_ms;
  gboolean apart; /* nothing is carried between clones */
} RoomWorld;

RoomWorld *room_world_new(guint keepers);
void room_world_free(RoomWorld *world);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RoomWorld, room_world_free)
ServerWorld *room_world_server(RoomWorld *world, guint index);
/* A server with the same key, and the entries that the first has now. */
ServerWorld *room_world_fork(RoomWorld *world);
void room_world_step(RoomWorld *world);

struct Keeper {
  RoomWorld *world;
  guint number;
  IdentityKey *key, *user;
  char *path;
  DocRoom *room;
  GPtrArray *devices; /* of Device */
};
Keeper *room_world_keeper(RoomWorld *world, guint index);
/* Ends without a word, and begins with what is in the file. */
void keeper_kill(Keeper *keeper);

/* The answers, of DocRoomAnswer; the last one is `end` or `failed`. */
GPtrArray *keeper_ask(Keeper *keeper, DocRoomQuestion *question, Doppel__Room__Question__WhatCase what);
/* The same where there is one row. */
void keeper_create(Keeper *keeper, ServerWorld *server, DocName *name);
/* By `from`'s room; NO_MEMBER removes. What went wrong, WHY(NONE): nothing. */
Doppel__Room__Why keeper_change(Keeper *keeper, const DocName *name, const Keeper *who,
                                Doppel__Room__Role role, gboolean from_now);
Doppel__Room__Why keeper_accept(Keeper *keeper, const DocName *name);
Doppel__Room__Why keeper_recover(Keeper *keeper, const DocName *name, ServerWorld *server);
/* NULL: there is none of that name. */
DocRoomAnswer *keeper_row(Keeper *keeper, const DocName *name);

/* A program with a copy. */
typedef struct {
  Keeper *keeper;
  DocName name;
  guint8 copy[DOC_ROOM_COPY_LENGTH];
  int fd;
  gboolean begun;
  guint said;     /* how often the room has said all that it had, over this link */
  gboolean whole; /* ... and that it was the document's text */
  Doppel__Room__State state;
  gboolean settled, waited; /* the last row has said so; one has said the contrary */
  guint rows;
  GByteArray *in;
  DocPair *pair;
  OtText *text;
  char *fault;
} Device;
Device *device_new(Keeper *keeper, const DocName *name, guint8 number);
void device_type(Device *device, gsize at, const char *text);
void device_delete(Device *device, gsize at, gsize count);
char *device_text(const Device *device);
void device_cut(Device *device);

/* Until `holds`, for which there is a minute. */
typedef gboolean RoomCondition(gpointer data);
void room_world_until(RoomWorld *world, RoomCondition *holds, gpointer data);
/* Until all devices of that document show the same, everything is with the server, and it has `most` scalar
 * values; the text. */
char *room_world_settle(RoomWorld *world, const DocName *name, gsize scalars);

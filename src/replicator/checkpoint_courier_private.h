/* The courier's inside. */
#pragma once

#include "identity/paired.h"
#include "replicator/checkpoint_courier.h"
#include "replicator/checkpoint_message.h"
#include "replicator/pace.h"

/* ---- checkpoint_courier.c: between the two processes ---- */

typedef enum { ORDER_READ, ORDER_SEAL, ORDER_ABANDON, ORDER_END } OrderKind;
typedef struct {
  guint32 kind, count; /* READ: runs */
} Order;

/* What a courier's process has. */
typedef struct {
  int control;
  const CheckpointCourierSpec *spec;
  PairedClone *clone;
  IdentityKey *key;
  guint8 run[CHECKPOINT_RUN];
  char *host, *directory;
  /* checkpoint_sending.c */
  Link *link; /* NULL: none */
  gboolean told_away;
  gint64 dial_at_ns; /* not before */
  gint64 dial_pause_ms;
  Pace pace;
  guint64 sent;
  /* the checkpoint that is being made */
  int spool;
  CheckpointWriter *writer;
  /* checkpoint_files.c */
  GHashTable *known;   /* file's number → GArray of hashes: what the clone has */
  GHashTable *pending; /* the same once this checkpoint is kept */
  GHashTable *named;   /* file's number → NamedFile */
} Courier;

void courier_say(Courier *courier, CourierWordKind kind, guint64 bytes, const char *text,
                 const GArray *failed);

/* ---- checkpoint_files.c ---- */
typedef struct {
  guint64 size;
  gint64 mtime_ns;
  gboolean carried, hashed;
  guint64 hash;
  gboolean kept; /* in a checkpoint that the clone has */
} NamedFile;
void courier_files_begin(Courier *courier);
void courier_files_clear(Courier *courier);
/* The clone has nothing of the run: all contents go. */
void courier_files_forget(Courier *courier);
void courier_files_kept(Courier *courier);
void courier_files_given_up(Courier *courier);
/* Writes what changed of the files whose contents are the checkpoint's. `base` is of `length` bytes. */
gboolean courier_files_write(Courier *courier, const CheckpointState *state, const CourierFile *files,
                             const guint8 *base, gsize length, GError **error);
/* Sees to it that the clone has the files that the program only reads, or gets them, and says so in the
 * state. */
gboolean courier_files_named(Courier *courier, CheckpointState *state, GError **error);

/* ---- checkpoint_sending.c ---- */
/* Drives the link, dials anew where it has died and that is due. */
void courier_work_link(Courier *courier);
/* Connects, for as long as it takes; FALSE with an error that time does not heal, and where the Controller is
 * gone. */
gboolean courier_connect(Courier *courier, GError **error);
/* An answer of that kind. NULL with an error; GONE where the link broke. */
CheckpointMessage *courier_hear(Courier *courier, int kind, GError **error);
/* Sends the checkpoint in `spool`, through whatever happens to the link, until the clone says that it has it.
 */
gboolean courier_send(Courier *courier, guint64 number, GError **error);
gboolean courier_send_end(Courier *courier);

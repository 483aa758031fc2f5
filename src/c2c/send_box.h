/* A box of files that were sent or are to be sent: the inbox and the outbox of a clone. A directory with a
 * file for each item, named by its number, and box.db, which says what they are. A file's name is a name in
 * box.db only, so that no name from outside ever becomes a path here.
 *
 * An item is PARTIAL until all of it is there, durable, and has the hash that was offered; that moment is one
 * transaction. A process may be killed at any time: what was durable stays, and the next one goes on there.
 * Any number of processes may use a box. */
#pragma once

#include <sodium.h>

#include "base/io.h"
#include "c2c/send_message.h"
#include "identity/key.h"

typedef struct SendBox SendBox;

typedef struct {
  guint64 each;  /* bytes of one sender (in the outbox: for one user) */
  guint64 all;   /* bytes of all together */
  guint64 spare; /* bytes that stay free on the disk */
  guint items;   /* that wait in it, of one sender */
} SendBoxLimits;

#define SEND_BOX_LIMITS                                                                                      \
  ((SendBoxLimits){.each = G_GUINT64_CONSTANT(2) << 30,                                                      \
                   .all = G_GUINT64_CONSTANT(16) << 30,                                                      \
                   .spare = G_GUINT64_CONSTANT(64) << 20,                                                    \
                   .items = 10000})

#define SEND_BOX_PARTIAL_S  (7 * 24 * 3600)  /* so long nothing came: a partial item goes */
#define SEND_BOX_REMEMBER_S (90 * 24 * 3600) /* so long it is known what was delivered or removed */

typedef struct {
  gint64 id;
  guint8 item[SEND_ITEM];
  char *who;  /* the sender's origin key as text; in the outbox the user as it was typed */
  char *user; /* what to call them */
  char *name; /* as it is kept */
  guint64 size;
  guint8 hash[SEND_HASH];
  guint32 mode;
  gint64 mtime_ns;
  Doppel__Send__State state;
  guint64 durable; /* PARTIAL: bytes that are durably there */
  guint64 sent;    /* outbox: bytes that the other clone has taken */
  guint tries;
  gint64 due_us;     /* outbox: when it is tried again, since 1970 */
  gint64 changed_us; /* since 1970 */
  char *words;
  GBytes *statement, *signature, *key; /* of the receipt; NULL: none */
} SendItem;

void send_item_free(SendItem *item);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SendItem, send_item_free)

/* Opens or makes the box in `directory` (with those above it), and lets go of what is too old. `own_names`:
 * each item gets a name that no other one there has. NULL with an error. */
SendBox *send_box_open(const char *directory, gboolean own_names, GError **error);
void send_box_close(SendBox *box);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SendBox, send_box_close)

/* One item that comes in. */
typedef struct {
  SendBox *box;
  SendItem *item;
  Fd file;        /* locked; -1 where the item is complete already */
  guint64 offset; /* where the next bytes go */
  guint64 unsettled;
  crypto_generichash_state hash;
} SendIncoming;

/* Begins an item or goes on with it: the item of `who` with that number. It is complete already where its
 * state is not PARTIAL. NULL with an error, and *why: QUOTA, FULL; LATER where another process is at it;
 * MALFORMED where it is not what was offered before. */
SendIncoming *send_incoming_begin(SendBox *box, const char *who, const char *user,
                                  const Doppel__Send__Offer *offer, const SendBoxLimits *limits, SendWhy *why,
                                  GError **error);

/* The item of `who` that is PARTIAL and is this very file, whatever its number: who was interrupted goes on
 * with it. FALSE where there is none. */
gboolean send_box_find_partial(SendBox *box, const char *who, const Doppel__Send__Offer *offer,
                               guint8 item[SEND_ITEM]);

/* The next bytes; more than were offered are WRONG, and the item is gone. */
gboolean send_incoming_write(SendIncoming *incoming, const void *data, gsize length, SendWhy *why,
                             GError **error);

/* Makes durable what is there. */
gboolean send_incoming_settle(SendIncoming *incoming, GError **error);

/* All bytes are there: KEPT, or where the hash is another one WRONG, and nothing is left of it. */
gboolean send_incoming_complete(SendIncoming *incoming, SendWhy *why, GError **error);

/* Lets go of it. What has come stays, for the next one, who goes on after the last durable byte. */
void send_incoming_free(SendIncoming *incoming);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SendIncoming, send_incoming_free)

/* Items in the order of their numbers: of one state, or (ANY) all but those that are PARTIAL or GONE. An
 * array of SendItem, or NULL with an error. */
GPtrArray *send_box_list(SendBox *box, Doppel__Send__State state, GError **error);

/* NULL with NOT_FOUND where there is none (or it is GONE). */
SendItem *send_box_get(SendBox *box, gint64 id, GError **error);

/* The content, to be read. A descriptor, or -1 with an error. */
int send_box_content(SendBox *box, gint64 id, GError **error);

/* Removes the content; what is remembered is that it was there. NOT_FOUND where there is no such item. */
gboolean send_box_remove(SendBox *box, gint64 id, GError **error);

/* Notes the receipt that was given, or was got: then the state is DELIVERED, and the content goes with the
 * next send_box_sweep(). A loss of power may undo it; then the other clone is asked for its receipt again. */
gboolean send_box_receipt(SendBox *box, gint64 id, const Doppel__Send__Receipt *receipt, gboolean delivered,
                          GError **error);

/* Removes the contents of what is delivered, refused or removed: one wait for the disk for all of them. */
gboolean send_box_sweep(SendBox *box, GError **error);

/* The outbox: how it stands. A change of what is cancelled meanwhile does nothing: *there says so (may be
 * NULL). */
gboolean send_box_state(SendBox *box, gint64 id, Doppel__Send__State state, guint64 sent, guint tries,
                        gint64 due_us, const char *words, gboolean *there, GError **error);

/* The outbox when it begins anew: what was being sent waits. */
gboolean send_box_restart(SendBox *box, GError **error);

/* Wakes who waits for changes in the box: they watch its directory with inotify(7) for IN_ATTRIB. Its files
 * change before a transaction can be seen; this comes afterwards. */
void send_box_wake(SendBox *box);

/* Grows with every change by anybody. */
guint64 send_box_version(SendBox *box);

/* A Row for it; what it points at is the item's, `receipt` the caller's. */
void send_item_row(const SendItem *item, Doppel__Send__Row *row, Doppel__Send__Receipt *receipt);

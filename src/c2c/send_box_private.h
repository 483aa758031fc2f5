/* What the files of send_box.h share. */
#pragma once

#include <sqlite3.h>

#include "c2c/send_box.h"

struct SendBox {
  sqlite3 *database;
  char *directory;
  Fd files;           /* the directory */
  gboolean own_names; /* no two items have the same */
  gboolean lasting;   /* what send_box_lasting() has set */
};

/* Whether the transactions that begin from now on are on the disk when they have ended, with all that were
 * before them; otherwise a loss of power may take the last ones, in order. What somebody was promised has to
 * last, and so has what is known of a content before that is removed; the rest is found out again. */
gboolean send_box_lasting(SendBox *box, gboolean lasting, GError **error);

/* The file of an item in box->files. */
#define SEND_BOX_FILE 24
void send_box_file(gint64 id, char name[static SEND_BOX_FILE]);

#define SEND_BOX_COLUMNS                                                                                     \
  "id, item, who, user, name, size, hash, mode, mtime, state, durable, sent, tries, due, changed, words,"    \
  " statement, signature, key"

/* The item in a row of those columns; NULL with an error where they are not as they were written. */
SendItem *send_box_item(sqlite3_stmt *row, GError **error);

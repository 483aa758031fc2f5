/* The documents that this device knows of, and questions about them to its clone (wire/doc_room.proto). */
#pragma once

#include "clonedoc/device/copies.h"
#include "clonedoc/room/room_call.h"

typedef Doppel__Room__Row DocRow;

/* ---- asking ---- */

/* Each answer to a question. */
typedef gboolean (*DocEach)(const DocRoomAnswer *answer, gpointer data, GError **error);

/* Asks the clone, until the last answer has come; `each` NULL: only whether it is done. */
typedef gboolean (*DocAsker)(DocRoomQuestion *question, DocEach each, gpointer data, GError **error);

/* That over a stream socket to the clone's service "doc"; blocks as long as the socket does. */
gboolean doc_ask_over(int fd, DocRoomQuestion *question, DocEach each, gpointer data, GError **error);

/* The answers to what was asked already. */
gboolean doc_answers_over(int fd, DocEach each, gpointer data, GError **error);

/* ---- knowing ---- */

/* This user's documents on this device: those that the clone keeps, or (`direct`) those of a room on this
 * device itself, which have nothing to do with each other. */
DocCopies *doc_known_open(gboolean direct, GError **error);
char *doc_known_folder(gboolean direct);

/* Asks the clone which documents there are. */
gboolean doc_known_update(DocCopies *copies, DocAsker ask, GError **error);

/* The document of that title, or whose name begins so; the clone is asked where the device does not know it,
 * unless `ask` is NULL. NOT_FOUND; USAGE where it is not clear which. */
DocKnown *doc_known_find(DocCopies *copies, const char *word, DocAsker ask, GError **error);

/* What the clone said last of it; NULL: nothing that makes sense. The caller's, to be freed with
 * doc_row_free(). */
DocRow *doc_known_row(const DocKnown *known);
DocRow *doc_row_copy(const DocRow *row);
void doc_row_free(DocRow *row);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocRow, doc_row_free)

/* FALSE where the user was invited to it and did not accept yet. */
gboolean doc_row_is_accepted(const DocRow *row, GError **error);

/* FALSE where this member may not write now; what is edited all the same is taken back. */
gboolean doc_row_may_write(const DocRow *row, GError **error);

gboolean doc_known_keep(DocCopies *copies, const DocRow *row, GError **error);

char *doc_name_text(const DocName *name, guint digits); /* hexadecimal; the caller's */

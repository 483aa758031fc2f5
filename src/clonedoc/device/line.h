/* A device's conversation with its clone about one document (wire/doc_room.proto, `open`): brings the copy in
 * step with the clone's and keeps it so, as the copy's keeper. Nothing blocks but the disk. */
#pragma once

#include <poll.h>

#include "clonedoc/device/copy.h"
#include "clonedoc/room/room_call.h"

typedef struct DocLine DocLine;

/* Over a stream socket to the own clone's service "doc", which is taken, also when it fails. `copy` is
 * borrowed, and its keeper from now on. ABORTED: another program is. */
DocLine *doc_line_new(DocCopy *copy, int fd, GError **error);
/* The copy is let go. */
void doc_line_free(DocLine *line);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocLine, doc_line_free)

/* What to poll for; shortens *timeout_ms (-1: for ever). */
void doc_line_prepare(const DocLine *line, struct pollfd *fd, int *timeout_ms);

/* Takes what has come, sends what was edited by anybody. To be called when the socket is ready and when the
 * copy has changed (doc_copies_fd()). *shown as doc_copy_refresh(), also where it fails. FALSE: the line is
 * to be freed; GONE where a new one may go on, MISMATCH where doc_copy_anew() has to be called before that.
 */
gboolean doc_line_work(DocLine *line, OtOp **shown, GError **error);

/* Whether the copy has what the clone had when the conversation began: of a document whose history has yet to
 * be read that is nothing, and the copy is not filled then. */
gboolean doc_line_is_current(const DocLine *line);

/* What the clone said last of the document; NULL: nothing yet. */
const Doppel__Room__Row *doc_line_row(const DocLine *line);

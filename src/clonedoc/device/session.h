/* A document as a program has it open: the device's copy, and a line to the clone that is made again as long
 * as the program wants. One program of a device has the line; the others' edits go with it. */
#pragma once

#include "clonedoc/device/line.h"

#define DOC_SESSION_FDS 3

typedef struct DocSession DocSession;

/* A stream socket to the own clone's service "doc"; -1 with an error. It may take its time: it is called in a
 * thread of its own, which may outlive the session. */
typedef int (*DocDial)(GError **error);

/* Borrows both. `dial` NULL: the clone is left alone. */
DocSession *doc_session_new(DocCopies *copies, DocCopy *copy, DocDial dial);
void doc_session_free(DocSession *session);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocSession, doc_session_free)

/* Fills in what to poll for; how many. *timeout_ms becomes shorter where it has to be (-1: for ever). */
guint doc_session_prepare(DocSession *session, struct pollfd *fds, int *timeout_ms);

/* Does what can be done now. *shown as doc_copy_refresh(). FALSE: the copy cannot be used. */
gboolean doc_session_work(DocSession *session, OtOp **shown, GError **error);

/* Whether the copy has what the clone had lately (doc_line_is_current()). With another program's line:
 * whether it ever had. */
gboolean doc_session_is_current(const DocSession *session);

/* Why there is no line now; NULL: there is one, or it is being made. */
const GError *doc_session_trouble(const DocSession *session);
/* Tries again now. */
void doc_session_hurry(DocSession *session);

/* As doc_line_row(). */
const Doppel__Room__Row *doc_session_row(const DocSession *session);

/* Where a text is that was typed here and that the clone may not have, since the two had to begin anew; the
 * caller's. NULL: there is none since the last call. */
char *doc_session_take_lost(DocSession *session);

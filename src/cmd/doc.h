/* What the commands of "doppel doc" have in common. */
#pragma once

#include "base/io.h"
#include "clonedoc/device/direct.h"
#include "clonedoc/device/known.h"
#include "clonedoc/device/session.h"

typedef struct {
  gboolean json, offline, direct, from_now, unsent;
  char *role, *server, *server_key, *evidence, *take, *invitation;
  int count;
} DocOptions;

/* Does what the words after it say. */
typedef gboolean DocCommand(char **words, const DocOptions *options, GError **error);
DocCommand doc_list, doc_create, doc_open, doc_cat, doc_import, doc_export, doc_edit, doc_attach, doc_watch;
DocCommand doc_key, doc_room, doc_invite, doc_accept, doc_remove, doc_members, doc_leave, doc_log, doc_verify,
    doc_check, doc_recover;

/* ---- without a clone (doc_direct.c) ---- */

/* From now on this device's own room is asked: a process that is started where there is none, and is there
 * for as long as somebody uses it. Waits until it has what the servers have. `offline`: it is left alone. */
gboolean doc_direct_begin(gboolean offline, GError **error);
gboolean doc_is_direct(void);
/* Waits until the servers have what was done here, or says what they have not. */
void doc_direct_end(void);

const char *doc_room_called(void); /* "the clone" */
DocCopies *doc_copies(GError **error);

/* ---- asking the clone (doc_ask.c) ---- */

int doc_dial(GError **error);

/* A DocAsker, which tells on a terminal that it waits. */
gboolean doc_ask(DocRoomQuestion *question, DocEach each, gpointer data, GError **error);

/* What it tells from now on, where others than the clone are waited for. */
void doc_ask_now(const char *words);

/* The same of a question that is answered by a row, which is remembered. */
gboolean doc_ask_row(DocCopies *copies, DocRoomQuestion *question, GError **error);

/* ---- invitations that people pass on themselves (doc_hand.c) ---- */

/* A USER as it is written: "member:KEY", "member:ORIGIN+KEY" (with NAME= before it) says who they are, and is
 * what "doppel doc key" prints; anything else is a name. */
typedef struct {
  char *name;
  gboolean keyed;
  IdentityPublic user, key;
} DocMemberWord;
void doc_member_word_clear(DocMemberWord *member);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DocMemberWord, doc_member_word_clear)
gboolean doc_member_word(const char *word, DocMemberWord *member, GError **error);

/* Asks that question about a member, and writes the invitation to the file; "-" or NULL: prints it. */
gboolean doc_hand_out(DocCopies *copies, DocRoomQuestion *question, const char *path, GError **error);

/* Whether the word is a file with an invitation, or "-". */
gboolean doc_hand_is(const char *word);
/* Brings it to the room, whose document it then is. */
gboolean doc_hand_bring(DocCopies *copies, const char *path, DocName *document, GError **error);

/* ---- a document (doc_at.c) ---- */

/* A document that somebody works at. */
typedef struct {
  DocCopies *copies;
  DocKnown *known;
  DocCopy *copy;
  DocSession *session;
} DocAt;
void doc_at_clear(DocAt *at);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DocAt, doc_at_clear)

gboolean doc_at_open(DocAt *at, const char *word, gboolean offline, GError **error);

/* Waits for something, once; `fds` (may be NULL) are the caller's, `count` of them. What happens to the text
 * is composed to *shown (may be NULL). */
gboolean doc_at_wait(DocAt *at, struct pollfd *fds, guint count, int timeout_ms, OtOp **shown,
                     GError **error);

/* Brings the copy in step with the clone, as far as that can be reached in `patience_ms` (the longer one
 * where the device has nothing of the document yet, which then is an error); what is wrong with it is told
 * once, on standard error. */
gboolean doc_at_meet(DocAt *at, int patience_ms, OtOp **shown, GError **error);

/* Waits until the clone has what was edited here, or says that it has not. */
gboolean doc_at_deliver(DocAt *at, int patience_ms, OtOp **shown, GError **error);

/* FALSE where this member may not write. */
gboolean doc_at_may_write(const DocAt *at, GError **error);

/* The whole text, the caller's. */
char *doc_at_text(const DocAt *at, gsize *bytes);

/* Makes `to` of the text. */
gboolean doc_at_replace(DocAt *at, const char *to, gsize bytes, GError **error);

#define DOC_AT_PATIENCE_MS 5000
#define DOC_AT_DELIVER_MS  30000

/* ---- a file that follows a document (doc_file.c) ---- */

/* A file of the user's: what is saved to it is edited in the document. */
typedef struct {
  char *path;      /* without links */
  char *base;      /* what it had when it was looked at last; NULL: there was none */
  gsize bytes;     /* of the base */
  OtOp *meanwhile; /* what was done to the document and is not in the base */
} DocFile;
void doc_file_clear(DocFile *file);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DocFile, doc_file_clear)

/* Of a document at which `shown` was done. */
void doc_file_note(DocFile *file, const OtOp *shown);

/* Edits the document as the file was changed. USAGE: it is no text; DENIED: who may not write has changed it.
 */
gboolean doc_file_absorb(DocFile *file, DocAt *at, GError **error);

/* Writes the document to the file, where that is not changed meanwhile: else that is absorbed before. */
gboolean doc_file_write(DocFile *file, DocAt *at, GError **error);

/* Reads a text, of any length that a document may have. "-": standard input. */
gboolean doc_file_read(const char *path, char **utf8, gsize *bytes, GError **error);

/* An inotify descriptor for what is done in the file's folder; -1. */
int doc_file_watch(const DocFile *file, GError **error);

/* A member's replica of a shared document (Clone2Clone section 5; SPORC, Feldman et al., OSDI 2010, section
 * 4: "committed history" and "pending queue"). A state machine: what comes from the server is given to it,
 * what is to be sent is asked of it. It holds
 *
 *   committed   the text after the last entry of the history, the same for everybody
 *   flight      one entry of its own that was submitted and did not come back yet
 *   pending     everything typed since, composed to one operation
 *   shown       committed, flight, pending: what the user sees
 *
 * An edit is an operation on the text after its base. At its place it is transformed over every good edit
 * between, in their order, whoever made them (a member who keeps to one entry in flight has none of her own
 * there; who does not is understood in the same way by all). Where two insert at one place, the one of the
 * lower number comes first. An edit that does not open, is no operation, or does not fit the text changes
 * nothing. So everybody computes the same from the same entries, and only who keeps them has to remember
 * them: the operations of the last entries, 2 * DOC_BEHIND_MAX to 3 * DOC_BEHIND_MAX of them, since an entry
 * that is further behind is void.
 *
 * Save before sending: what doc_document_submit() returns has to be in a saved state before it leaves, and
 * then nothing is lost or doubled, whenever the process ends. */
#pragma once

#include "clonedoc/history.h"
#include "clonedoc/ot/op.h"

#define DOC_TEXT_MAX (256u << 20) /* bytes of a document's text */
#define DOC_EDIT_MAX (1u << 20)   /* about what one entry carries of an edit; a longer one goes in several */

typedef struct DocDocument DocDocument;

/* ---- beginning ---- */

/* A new document, whose owner is the key `own` of the user `user`; its first entry is in flight. */
DocDocument *doc_document_create(const IdentityKey *own, const IdentityPublic *user);

/* A replica of a document, before its first entry. `invitation` (may be NULL) is the entry that makes `own` a
 * member, where that is a later one: it brings the keys for the entries before it. Nothing is believed of it
 * but that. HOSTILE: it is no entry; DENIED: it has no keys for `own`. */
DocDocument *doc_document_join(const DocName *document, const IdentityKey *own, const void *invitation,
                               gsize length, GError **error);
void doc_document_free(DocDocument *doc);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocDocument, doc_document_free)

/* A checkpoint, for somebody else to start from. Who passes it on vouches for it: to whom reads on from it,
 * the text up to there is what its author says, and nothing else can tell but the entries from the first. */
typedef struct {
  guint64 number;  /* its place in the history */
  DocChain digest; /* of the entry */
} DocCheckpoint;

/* Begins with the checkpoint instead of the first entry: `doc` has taken nothing yet. It is checked to be the
 * entry that `at` says, signed by a writer who is one by its own account, and to open with the document's
 * key; later, by doc_document_take(), to be in the history at that place. DENIED: it is another entry;
 * NOT_FOUND: this member has not its key; HOSTILE. The next entry to take is that after the one whose text it
 * has (doc_document_number()). */
gboolean doc_document_start(DocDocument *doc, const DocCheckpoint *at, const void *entry, gsize length,
                            GError **error);

/* ---- what it is ---- */

const DocHistory *doc_document_history(const DocDocument *doc);
const DocName *doc_document_name(const DocDocument *doc);
guint64 doc_document_number(const DocDocument *doc);     /* of the last entry taken */
const OtText *doc_document_text(const DocDocument *doc); /* shown */
const OtText *doc_document_committed(const DocDocument *doc);
DocRole doc_document_role(const DocDocument *doc); /* one's own, as the history has it */
gboolean doc_document_is_removed(const DocDocument *doc);
/* Nothing of one's own waits to be in the history. */
gboolean doc_document_is_settled(const DocDocument *doc);
/* How many good edits did not open or were none, since it was loaded: a member's client is wrong, or this one
 * has a wrong key. */
guint doc_document_unread(const DocDocument *doc);

/* ---- taking ---- */

typedef struct {
  gboolean again; /* it was there already, nothing is new */
  gboolean own;
  gboolean lie; /* a checkpoint that says another text or other members than there were */
  IdentityPublic author;
  DocKind kind;
  DocVerdict verdict;
  OtOp *shown; /* what changes in the shown text; NULL: nothing */
} DocTaken;

void doc_taken_clear(DocTaken *taken);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DocTaken, doc_taken_clear)

/* The entry that is said to have that number. One that is there already may come again. FALSE, and nothing is
 * taken: HOSTILE with a fault (doc_history_fault()), after which nothing is taken any more; NOT_FOUND where
 * this member has not its key; DENIED where this one is a member no more. */
gboolean doc_document_take(DocDocument *doc, guint64 number, const void *entry, gsize length, DocTaken *taken,
                           GError **error);

/* Holds a head of the server's against the history: as doc_history_check_head(). */
gboolean doc_document_check_head(DocDocument *doc, const DocHead *head, GError **error);
/* Takes nothing any more, for a fault that was seen elsewhere; always FALSE, with HOSTILE. */
gboolean doc_document_stop(DocDocument *doc, DocFault fault, guint64 number, GError **error);

/* ---- one's own ---- */

/* An edit of the shown text. DENIED: this member may not write; HOSTILE: it does not fit the text;
 * UNSUPPORTED: the text would be too long. After a fault edits are still taken, for doc_document_recover().
 */
gboolean doc_document_edit(DocDocument *doc, const OtOp *op, GError **error);

/* Gives a user's key a role; NONE removes it, and makes a new key of the document. Who is new gets the keys
 * from epoch `first` on: 1 for all that this member has, DOC_FROM_NOW for the present one. It is made anew
 * where others change the members meanwhile, and forgotten where they made it impossible or this member is no
 * owner any more. DENIED: this member
 * is no owner; USAGE: it makes no sense. */
#define DOC_FROM_NOW G_MAXUINT
gboolean doc_document_change(DocDocument *doc, const DocMember *member, guint first, GError **error);

/* Asks for a checkpoint; it goes as soon as nothing else is in flight. UNSUPPORTED: the text is too long for
 * one. */
gboolean doc_document_checkpoint(DocDocument *doc, GError **error);
/* The last checkpoint that this replica has found true, or started from. FALSE: none. */
gboolean doc_document_last_checkpoint(const DocDocument *doc, DocCheckpoint *checkpoint);

/* The entry to send now, which then is in flight; NULL: none, or one is in flight. */
GBytes *doc_document_submit(DocDocument *doc);
/* What is in flight, to be sent once more when the server may not have it: always the same bytes. */
GBytes *doc_document_flight(const DocDocument *doc);

/* ---- after a fault ---- */

/* Whether this entry is the one at that place in the history of `doc`. */
gboolean doc_document_knows(const DocDocument *doc, guint64 number, const void *entry, gsize length);

/* Goes over to another history: `onto` is a new replica of the same member that has taken the other history's
 * entries as far as `from` knows them, and no further. What its member did in `from` after that, committed or
 * not, becomes `onto`'s flight and pending: each keystroke that it typed is there exactly once, where it was
 * beside the text they share, but for what it or others deleted again. What it deleted of what others typed
 * after that is gone if those saw it. Changes of members are asked for again. USAGE: `onto` is not
 * such a replica; UNSUPPORTED: the histories part further back than `from` remembers. */
gboolean doc_document_recover(DocDocument *onto, const DocDocument *from, GError **error);

/* ---- as bytes ---- */

/* All of it but the member's own key; the document's keys are sealed to that. */
GBytes *doc_document_save(const DocDocument *doc);
/* HOSTILE. */
DocDocument *doc_document_load(const IdentityKey *own, const void *data, gsize length, GError **error);

/* What is not in the history: flight and pending. Small: for each edit, where doc_document_save() and the
 * entries after it are kept, too. */
GBytes *doc_document_save_own(const DocDocument *doc);
/* The number of the entry after which it was saved; 0 is before the first. HOSTILE. */
gboolean doc_own_number(const void *data, gsize length, guint64 *number, GError **error);
/* Takes the place of what the replica has of its own, which has come to that number by what was kept.
 * HOSTILE, USAGE: it is at another number. */
gboolean doc_document_load_own(DocDocument *doc, const void *data, gsize length, GError **error);

/* What everybody checks of a document's history before any of it reaches a text: fork* consistency (SPORC
 * section 4.2: whoever's histories were forked never sees an operation of the other side again without
 * noticing). Members and clones keep one, and so does a correct server; it needs no key of the document.
 *
 * An entry that the rules do not allow (its author is no member any more, say) is *void*: everybody passes
 * over it at the same place. An entry that a correct server cannot have handed out is a *fault*: it is named,
 * and the history takes nothing more. */
#pragma once

#include "clonedoc/envelope.h"

/* How many entries may come between an entry and its base, and how many bytes of edits (sealed) in them: what
 * is further behind is void, so that nobody has to keep more than so many operations to transform it. */
#define DOC_BEHIND_MAX   1024u
#define DOC_BEHIND_BYTES (4u << 20)

typedef enum {
  DOC_FAULT_NONE = 0,
  DOC_FAULT_DAMAGED,   /* no entry, or a first one that begins no document */
  DOC_FAULT_OTHER,     /* another document's */
  DOC_FAULT_GAP,       /* entries are left out: the number is not the next */
  DOC_FAULT_REPLAYED,  /* a number that was there already */
  DOC_FAULT_FORGED,    /* a member's entry without that member's signature */
  DOC_FAULT_FORK,      /* made on another history than this */
  DOC_FAULT_DUPLICATE, /* an entry of a member that was there already */
  DOC_FAULT_DROPPED,   /* an entry of a member's before this one is left out */
  DOC_FAULT_TWO_HEADS, /* the server signed two histories */
  DOC_FAULT_ROLLBACK,  /* the server's history is shorter than it was */
  DOC_FAULTS,
} DocFault;

/* Lower-case words for it, as `--json` has it. */
const char *doc_fault_name(DocFault fault);

typedef enum {
  DOC_GOOD = 0,
  DOC_VOID_STRANGER, /* its author never was a member */
  DOC_VOID_REMOVED,  /* ... is none any more */
  DOC_VOID_ROLE,     /* ... may not do that */
  DOC_VOID_KEY,      /* sealed with another key than that of its place: somebody was removed meanwhile, say */
  DOC_VOID_MEMBERS,  /* made for other members than there are at its place */
  DOC_VOID_CHANGE,   /* a change of members that cannot be */
  DOC_VOID_OLD,      /* its base is further behind than DOC_BEHIND_MAX or DOC_BEHIND_BYTES say */
} DocVerdict;

const char *doc_verdict_name(DocVerdict verdict);

typedef struct DocHistory DocHistory;

DocHistory *doc_history_new(const DocName *document);
void doc_history_free(DocHistory *history);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DocHistory, doc_history_free)

/* Takes the entry that is said to have that number. FALSE with HOSTILE: doc_history_fault() names it, nothing
 * of it has been taken, and nothing ever will be again. */
gboolean doc_history_take(DocHistory *history, guint64 number, const DocEnvelope *envelope,
                          DocVerdict *verdict, GError **error);
/* The same for an entry whose signature was verified before, and that was kept where nobody else writes: who
 * reads a year's entries again from the own disk waits seconds for verifying them, and none without. */
gboolean doc_history_take_again(DocHistory *history, guint64 number, const DocEnvelope *envelope,
                                DocVerdict *verdict, GError **error);
/* What take() would say of an entry that came next, nothing changed: for a server, before it gives out a
 * number. */
gboolean doc_history_would_take(const DocHistory *history, const DocEnvelope *envelope, DocVerdict *verdict,
                                DocFault *fault);
DocFault doc_history_fault(const DocHistory *history);
/* Takes nothing any more, for a fault that was seen elsewhere; always FALSE, with HOSTILE. */
gboolean doc_history_stop(DocHistory *history, DocFault fault, guint64 number, GError **error);

const DocName *doc_history_document(const DocHistory *history);
guint64 doc_history_number(const DocHistory *history); /* of the last entry; 0: none yet */
guint doc_history_epoch(const DocHistory *history);
/* The lowest number whose chain is known: 0, but where the history was taken from a state. */
guint64 doc_history_first(const DocHistory *history);
/* After entry `number`, from doc_history_first() to the last: 0 is before the first. */
const DocChain *doc_history_chain(const DocHistory *history, guint64 number);

/* Of an author: the last sequence, 0 where there is none. */
guint64 doc_history_sequence(const DocHistory *history, const IdentityPublic *key);
DocRole doc_history_role(const DocHistory *history, const IdentityPublic *key);
/* Was a member, and never will be again. */
gboolean doc_history_is_removed(const DocHistory *history, const IdentityPublic *key);
/* The number of the last change of members. */
guint64 doc_history_members_at(const DocHistory *history);
/* The members now, by key: of DocMember, the caller's. */
GArray *doc_history_members(const DocHistory *history);

/* ---- as a state ---- */

/* What has to be known of the history after entry `at` to go on from there: members, sequences, epoch, and
 * the chains of as many entries before it as there are, `window` at most and DOC_BEHIND_MAX at least. The
 * same bytes for all who have taken the same entries. NULL: members changed since, or what is needed of the
 * entries before is not there. No head of the server's is in it. */
GBytes *doc_history_pack(const DocHistory *history, guint64 at, guint window);
/* HOSTILE: of another document, or none. That it is true is nothing that can be seen. */
DocHistory *doc_history_unpack(const void *data, gsize length, const DocName *document, guint window,
                               GError **error);

/* ---- heads ---- */

#define DOC_HEAD_MAX 512u /* bytes of a packed, signed head */

/* What a server has signed: how long the history is, and its hash. */
typedef struct {
  DocName document;
  guint64 number;
  DocChain chain;
  GBytes *packed; /* with its signature, as it came */
} DocHead;
void doc_head_clear(DocHead *head);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DocHead, doc_head_clear)

/* Of the history as it is now. */
void doc_head_sign(DocHead *head, const DocHistory *history, const IdentityKey *server);
/* FALSE: HOSTILE where it is damaged, DENIED where it is not the server's. */
gboolean doc_head_decode(DocHead *head, const void *data, gsize length, const IdentityPublic *server,
                         GError **error);

/* Holds a head of the server's against the history. FALSE with HOSTILE and a fault where they differ; a head
 * that is further on says nothing yet. */
gboolean doc_history_check_head(DocHistory *history, const DocHead *head, GError **error);

/* The number of the last head that was held against it, which a state leaves out as it does a fault; and both
 * put back. */
guint64 doc_history_signed(const DocHistory *history);
void doc_history_set_signed(DocHistory *history, guint64 number, DocFault fault);

/* Whether two heads of one server, both decoded with its key, prove that it showed two histories. */
gboolean doc_heads_conflict(const DocHead *a, const DocHead *b);

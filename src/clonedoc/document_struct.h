/* What a replica is made of: for the files document*.c only. */
#pragma once

#include "clonedoc/document.h"
#include "clonedoc/keys.h"

/* Operations that are kept: those of so many entries at least. */
#define DOC_KEPT (2 * DOC_BEHIND_MAX)

/* What an entry did. */
typedef struct {
  OtOp *op;      /* to the text after the entry before; NULL: nothing */
  GBytes *entry; /* one's own */
  gboolean good; /* one's own: was not void */
} DocDone;

/* A change of members to be made. */
typedef struct {
  DocMember member;
  guint first;
} DocWish;

struct DocDocument {
  IdentityKey *own;
  DocHistory *history;
  DocKeyring *ring;
  OtText *committed, *shown;
  GArray *done; /* of DocDone, up to the last entry */
  guint unread;
  guint64 since;            /* own entries are known after this number */
  DocCheckpoint start;      /* that it began with and has not met yet; number 0: none */
  DocCheckpoint checkpoint; /* the last true one; number 0: none */

  GBytes *entry;      /* in flight, NULL: none */
  DocChain digest;    /* of it */
  DocKind kind;       /* of it */
  OtOp *flight;       /* of an edit in flight, on the committed text */
  OtOp *pending;      /* on that; never NULL */
  GArray *wishes;     /* of DocWish; the first is in flight where a change of members is */
  gboolean wanted;    /* a checkpoint is */
  DocChain withdrawn; /* the digest of an entry whose operation is in flight or pending anew; zeros: none */
};

DocDocument *doc_document_new(DocHistory *history, const IdentityKey *own);

/* The number of the first of `done`. */
guint64 doc_document_done_first(const DocDocument *doc);
/* NULL: it is not kept. */
const DocDone *doc_document_done(const DocDocument *doc, guint64 number);
void doc_document_add_done(DocDocument *doc, OtOp *op, GBytes *entry, gboolean good);

void doc_entry_digest(const DocEnvelope *envelope, DocChain *digest);

/* Takes over `entry` and what it is; both `entry` and `flight` become the replica's. */
void doc_document_fly(DocDocument *doc, const DocEnvelope *envelope, GBytes *entry, OtOp *flight);
void doc_document_land(DocDocument *doc);
/* Forgets all that is not in the history, and shows the committed text. */
void doc_document_drop_own(DocDocument *doc);

/* An entry of this member's on the history as it is, not signed yet. */
DocEnvelope *doc_document_envelope(const DocDocument *doc, DocKind kind);
void doc_document_seal(const DocDocument *doc, DocEnvelope *envelope, const void *body, gsize length);

/* The operation of an edit, transformed from its base to the text after entry `until`; NULL: it is none. */
OtOp *doc_document_operation(const DocDocument *doc, const DocKeyring *ring, const DocEnvelope *envelope,
                             guint64 until);

/* document_members.c: the keys that a good change of members brings, and the next change that is wished for;
 * NULL: none. */
void doc_document_learn(DocDocument *doc, const DocEnvelope *envelope);
/* What a good change makes of the wishes; `flown`: it is one's own that was in flight. */
void doc_document_fulfil(DocDocument *doc, const DocEnvelope *envelope, gboolean flown);
DocEnvelope *doc_document_next_change(DocDocument *doc);

/* document_checkpoint.c: the body of one on the history as it is; NULL where it is too long for an entry. And
 * whether a good one is true; `unknown` where that cannot be told any more. */
GBytes *doc_document_checkpoint_body(const DocDocument *doc);
gboolean doc_document_is_true(const DocDocument *doc, const DocEnvelope *envelope, gboolean *unknown);

/* document_layers.c: see there. */
OtOp *doc_layers_rest(const DocDocument *from, guint64 fork, guint64 sent_at, const OtOp *sent);

OtText *doc_text_copy(const OtText *text);
/* NULL: it is no text that a document may have. */
OtText *doc_text_new(const void *utf8, gsize length);

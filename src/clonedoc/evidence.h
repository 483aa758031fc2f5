/* Evidence of an ordering server's fault: bytes that anybody can check who has the server's key, and nobody
 * can make who has not. One of
 *
 *   two heads   that the server signed for one document, and what of the entries shows that the shorter
 *               history is not the beginning of the longer one
 *   a history   from its first entry on, that the server has signed and no correct server gives numbers to
 *   a part      of such a history, its last entries, where it is wrong whatever came before: an entry without
 *               its author's signature, made on another history than these entries, or not the next of an
 *               author of whom there is another before it. Who the members were is not in it; a correct
 * server gives a number to no entry of somebody who never was one
 *
 * Entries in it are sealed as the server has them: who gets it reads no text. Of what a server withholds, or
 * denies later, there is no evidence but who was there. */
#pragma once

#include "clonedoc/history.h"

#define DOC_EVIDENCE_MAX (64u << 20) /* bytes */

/* What it shows. */
typedef struct {
  DocName document;
  DocFault fault;
  guint64 number; /* of the entry where it is seen; of two heads: how long the shorter history is */
  guint64 length; /* of the history, or the longer one, that the server has signed */
} DocEvidence;

/* `a` and `b` are signed by the server and for the same document, `a` the shorter one; `chain` is that of the
 * longer history after a's number, and `entries` (of GBytes; NULL where both are as long) are that history's
 * from there to b's number. NULL: UNSUPPORTED, it would be too long; MISMATCH, it shows no fault. */
GBytes *doc_evidence_of_heads(const DocHead *a, const DocHead *b, const DocChain *chain,
                              const GPtrArray *entries, const IdentityPublic *server, GError **error);

/* `entries` are all up to the head's number. */
GBytes *doc_evidence_of_history(const DocHead *head, const GPtrArray *entries, const IdentityPublic *server,
                                GError **error);

/* `entries` are the last ones up to the head's number, not all of them, and `chain` is that before them. */
GBytes *doc_evidence_of_part(const DocHead *head, const DocChain *chain, const GPtrArray *entries,
                             const IdentityPublic *server, GError **error);

/* FALSE: it shows nothing. HOSTILE: it is none, or what it has of the server's is not signed with that key.
 */
gboolean doc_evidence_check(const void *data, gsize length, const IdentityPublic *server,
                            DocEvidence *evidence, GError **error);

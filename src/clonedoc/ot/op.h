/* Text operations: what an edit does to a text, as a walk over it that keeps, inserts and deletes (Ellis and
 * Gibbs' operational transformation in the form of Jupiter and Google Wave). The laws that hold, and which
 * the tests prove:
 *
 *   compose    apply(apply(t, a), b) = apply(t, compose(a, b))
 *   TP1        apply(apply(t, a), b') = apply(apply(t, b), a')   where (a', b') = transform(a, b)
 *   invert     apply(apply(t, a), invert(a, t)) = t
 *
 * An operation says nothing of what is behind its last change: that stays. It fits each text that reaches at
 * least as far as it does (ot_op_reach()). It is always in normal form: no empty parts, none beside its like,
 * insertions before deletions at one place, nothing kept at the end; so equal operations are equal bytes. */
#pragma once

#include "clonedoc/ot/text.h"

typedef struct OtOp OtOp;

typedef enum {
  OT_KEEP = 0,
  OT_INSERT = 1,
  OT_DELETE = 2,
} OtPartKind;

/* A stretch of an operation: `scalars` of it are kept, inserted or deleted. `utf8` is for what is inserted
 * only, not terminated, and lives as long as its operation stays as it is. */
typedef struct {
  OtPartKind kind;
  gsize scalars;
  const char *utf8;
  gsize bytes;
} OtPart;

/* The operation that changes nothing. */
OtOp *ot_op_new(void);

/* At position `at`, `deleted` scalar values make way for `bytes` of `utf8` (checked). */
OtOp *ot_op_new_edit(gsize at, gsize deleted, const char *utf8, gsize bytes);
OtOp *ot_op_copy(const OtOp *op);
void ot_op_free(OtOp *op);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OtOp, ot_op_free)

/* Add to the end of an operation; the order of insertion and deletion at one place makes no difference. */
void ot_op_keep(OtOp *op, gsize scalars);
void ot_op_insert(OtOp *op, const char *utf8, gsize bytes, gsize scalars);
void ot_op_delete(OtOp *op, gsize scalars);

guint ot_op_parts(const OtOp *op);
gboolean ot_op_empty(const OtOp *op);
gboolean ot_op_equal(const OtOp *a, const OtOp *b);

/* How long a text has to be at least for the operation to fit, in scalar values. */
gsize ot_op_reach(const OtOp *op);
gsize ot_op_inserted(const OtOp *op); /* scalar values */
gsize ot_op_deleted(const OtOp *op);
gsize ot_op_inserted_bytes(const OtOp *op);

/* Does it to the text, all or nothing. FALSE: it reaches beyond the text, or the text would hold too much. */
gboolean ot_op_apply(const OtOp *op, OtText *text, GError **error);

/* `a`, then `b`, as one operation. What `a` inserted and `b` deleted is in it no more. */
OtOp *ot_op_compose(const OtOp *a, const OtOp *b);

/* Of two operations on the same text: what `a` is after `b`, and what `b` is after `a`. Where both insert at
 * one place, what `a` inserts comes first; all that transform the same pair have to name the same one first.
 */
void ot_op_transform(const OtOp *a, const OtOp *b, OtOp **a_after_b, OtOp **b_after_a);

/* What takes `op` back; `before` is the text that it fits. */
OtOp *ot_op_invert(const OtOp *op, const OtText *before);

/* Where position `at` (a cursor's) is after `op`; what is inserted right at it goes before it. */
gsize ot_op_move(const OtOp *op, gsize at);

/* Bytes of an operation: for each part a varint (LEB128) of its count * 4 + kind; for an insertion the count
 * is bytes, and they follow. */
void ot_op_pack(const OtOp *op, GByteArray *into);

/* Takes `bytes` from anybody; they have to be the packed form of exactly one operation. NULL: they are not.
 */
OtOp *ot_op_unpack(const guint8 *data, gsize bytes, GError **error);

/* Reading an operation part by part. */
typedef struct {
  const OtOp *op;
  guint next;
  gsize text;  /* bytes of inserted text before part `next` */
  OtPart left; /* of the part that is being read; scalars 0: the end, beyond which everything is kept */
} OtCursor;

void ot_cursor_init(OtCursor *cursor, const OtOp *op);

/* Takes `scalars` of what is left of this part, and goes to the next one when nothing is. */
void ot_cursor_take(OtCursor *cursor, gsize scalars, OtPart *taken);

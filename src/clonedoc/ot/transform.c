/* Two operations on the way through one text together. Either one's end means that the rest is kept. */
#include "clonedoc/ot/op.h"

/* How far both go in the same way: the shorter of what is left, where one is at its end what the other has.
 */
static gsize
common(const OtCursor *a, const OtCursor *b)
{
  if (a->left.scalars == 0)
    return b->left.scalars;
  if (b->left.scalars == 0)
    return a->left.scalars;
  return MIN(a->left.scalars, b->left.scalars);
}

/* Takes `scalars`, where there is anything to take: else they are kept, by what an operation's end means. */
static OtPart
take(OtCursor *cursor, gsize scalars)
{
  OtPart part = {OT_KEEP, scalars, NULL, 0};
  if (cursor->left.scalars > 0)
    ot_cursor_take(cursor, scalars, &part);
  return part;
}

static void
insert(OtOp *op, const OtPart *part)
{
  ot_op_insert(op, part->utf8, part->bytes, part->scalars);
}

OtOp *
ot_op_compose(const OtOp *first, const OtOp *second)
{
  OtOp *both = ot_op_new();
  OtCursor a, b;
  ot_cursor_init(&a, first);
  ot_cursor_init(&b, second);
  while (a.left.scalars > 0 || b.left.scalars > 0) {
    if (a.left.kind == OT_DELETE) {
      ot_op_delete(both, take(&a, a.left.scalars).scalars);
      continue;
    }
    if (b.left.kind == OT_INSERT) {
      OtPart part = take(&b, b.left.scalars);
      insert(both, &part);
      continue;
    }
    gsize scalars = common(&a, &b);
    OtPart was = take(&a, scalars), becomes = take(&b, scalars);
    if (was.kind == OT_INSERT && becomes.kind == OT_KEEP)
      insert(both, &was);
    else if (was.kind == OT_KEEP && becomes.kind == OT_KEEP)
      ot_op_keep(both, scalars);
    else if (was.kind == OT_KEEP)
      ot_op_delete(both, scalars);
  }
  return both;
}

void
ot_op_transform(const OtOp *a_op, const OtOp *b_op, OtOp **a_after_b, OtOp **b_after_a)
{
  OtCursor a, b;
  ot_cursor_init(&a, a_op);
  ot_cursor_init(&b, b_op);
  *a_after_b = ot_op_new();
  *b_after_a = ot_op_new();
  while (a.left.scalars > 0 || b.left.scalars > 0) {
    if (a.left.kind == OT_INSERT) {
      OtPart part = take(&a, a.left.scalars);
      insert(*a_after_b, &part);
      ot_op_keep(*b_after_a, part.scalars);
      continue;
    }
    if (b.left.kind == OT_INSERT) {
      OtPart part = take(&b, b.left.scalars);
      insert(*b_after_a, &part);
      ot_op_keep(*a_after_b, part.scalars);
      continue;
    }
    gsize scalars = common(&a, &b);
    OtPart by_a = take(&a, scalars), by_b = take(&b, scalars);
    if (by_a.kind == OT_KEEP && by_b.kind == OT_KEEP) {
      ot_op_keep(*a_after_b, scalars);
      ot_op_keep(*b_after_a, scalars);
    } else if (by_b.kind == OT_KEEP) {
      ot_op_delete(*a_after_b, scalars);
    } else if (by_a.kind == OT_KEEP) {
      ot_op_delete(*b_after_a, scalars);
    }
  }
}

#include "clonedoc/ot/op.h"

#include <string.h>

#include "base/error.h"

typedef struct {
  OtPartKind kind;
  guint32 scalars, bytes; /* bytes of what is inserted */
} Part;

/* Most operations are a keystroke: room for one is inside. */
enum { FEW_PARTS = 4, LITTLE_TEXT = 16 };

struct OtOp {
  Part *parts;
  char *text; /* what is inserted, in the order of the parts */
  guint count, parts_room;
  gsize bytes, text_room;
  Part few[FEW_PARTS];
  char little[LITTLE_TEXT];
};

OtOp *
ot_op_new(void)
{
  OtOp *op = g_new(OtOp, 1);
  op->parts = op->few;
  op->text = op->little;
  op->count = 0;
  op->bytes = 0;
  op->parts_room = FEW_PARTS;
  op->text_room = LITTLE_TEXT;
  return op;
}

void
ot_op_free(OtOp *op)
{
  if (!op)
    return;
  if (op->parts != op->few)
    g_free(op->parts);
  if (op->text != op->little)
    g_free(op->text);
  g_free(op);
}

OtOp *
ot_op_new_edit(gsize at, gsize deleted, const char *utf8, gsize bytes)
{
  OtOp *op = ot_op_new();
  gsize scalars = 0;
  for (gsize i = 0; i < bytes; i++)
    scalars += ((guint8)utf8[i] & 0xc0) != 0x80;
  ot_op_keep(op, at);
  ot_op_insert(op, utf8, bytes, scalars);
  ot_op_delete(op, deleted);
  return op;
}

OtOp *
ot_op_copy(const OtOp *op)
{
  OtOp *copy = ot_op_new();
  OtCursor cursor;
  OtPart part;
  for (ot_cursor_init(&cursor, op); cursor.left.scalars > 0;) {
    ot_cursor_take(&cursor, cursor.left.scalars, &part);
    if (part.kind == OT_KEEP)
      ot_op_keep(copy, part.scalars);
    else if (part.kind == OT_DELETE)
      ot_op_delete(copy, part.scalars);
    else
      ot_op_insert(copy, part.utf8, part.bytes, part.scalars);
  }
  return copy;
}

/* Building. */

static Part *
add_part(OtOp *op, guint at, OtPartKind kind)
{
  if (op->count == op->parts_room) {
    Part *parts = g_new(Part, 2 * op->parts_room);
    memcpy(parts, op->parts, op->count * sizeof *parts);
    if (op->parts != op->few)
      g_free(op->parts);
    op->parts = parts;
    op->parts_room *= 2;
  }
  memmove(op->parts + at + 1, op->parts + at, (op->count - at) * sizeof *op->parts);
  op->parts[at] = (Part){kind, 0, 0};
  op->count++;
  return &op->parts[at];
}

static void
add_text(OtOp *op, const char *utf8, gsize bytes)
{
  if (op->bytes + bytes > op->text_room) {
    gsize room = MAX(2 * op->text_room, op->bytes + bytes);
    char *text = g_malloc(room);
    memcpy(text, op->text, op->bytes);
    if (op->text != op->little)
      g_free(op->text);
    op->text = text;
    op->text_room = room;
  }
  memcpy(op->text + op->bytes, utf8, bytes);
  op->bytes += bytes;
}

/* The last part, if it is of this kind. */
static Part *
last(OtOp *op, OtPartKind kind)
{
  return op->count > 0 && op->parts[op->count - 1].kind == kind ? &op->parts[op->count - 1] : NULL;
}

/* What is kept is added when something comes behind it only, since nothing is kept at the end: so it waits as
 * a part of its own that does not count. */
void
ot_op_keep(OtOp *op, gsize scalars)
{
  if (scalars == 0)
    return;
  Part *part = last(op, OT_KEEP);
  if (!part)
    part = add_part(op, op->count, OT_KEEP);
  part->scalars += scalars;
}

void
ot_op_insert(OtOp *op, const char *utf8, gsize bytes, gsize scalars)
{
  if (scalars == 0)
    return;
  guint end = op->count - (last(op, OT_DELETE) != NULL);
  Part *part =
      end > 0 && op->parts[end - 1].kind == OT_INSERT ? &op->parts[end - 1] : add_part(op, end, OT_INSERT);
  part->scalars += scalars;
  part->bytes += bytes;
  add_text(op, utf8, bytes);
}

void
ot_op_delete(OtOp *op, gsize scalars)
{
  if (scalars == 0)
    return;
  Part *part = last(op, OT_DELETE);
  if (!part)
    part = add_part(op, op->count, OT_DELETE);
  part->scalars += scalars;
}

/* Reading. */

guint
ot_op_parts(const OtOp *op)
{
  return op->count - (op->count > 0 && op->parts[op->count - 1].kind == OT_KEEP);
}

gboolean
ot_op_empty(const OtOp *op)
{
  return ot_op_parts(op) == 0;
}

gboolean
ot_op_equal(const OtOp *a, const OtOp *b)
{
  guint count = ot_op_parts(a);
  return count == ot_op_parts(b) && a->bytes == b->bytes && memcmp(a->text, b->text, a->bytes) == 0 &&
         memcmp(a->parts, b->parts, count * sizeof *a->parts) == 0;
}

static gsize
sum(const OtOp *op, gboolean kept, gboolean inserted, gboolean deleted)
{
  const gboolean wanted[] = {[OT_KEEP] = kept, [OT_INSERT] = inserted, [OT_DELETE] = deleted};
  gsize scalars = 0;
  for (guint i = 0; i < ot_op_parts(op); i++)
    scalars += wanted[op->parts[i].kind] ? op->parts[i].scalars : 0;
  return scalars;
}

gsize
ot_op_reach(const OtOp *op)
{
  return sum(op, TRUE, FALSE, TRUE);
}

gsize
ot_op_inserted(const OtOp *op)
{
  return sum(op, FALSE, TRUE, FALSE);
}

gsize
ot_op_deleted(const OtOp *op)
{
  return sum(op, FALSE, FALSE, TRUE);
}

gsize
ot_op_inserted_bytes(const OtOp *op)
{
  return op->bytes;
}

static void
cursor_next(OtCursor *cursor)
{
  const OtOp *op = cursor->op;
  if (cursor->next >= ot_op_parts(op)) {
    cursor->left = (OtPart){OT_KEEP, 0, NULL, 0};
    return;
  }
  const Part *part = &op->parts[cursor->next++];
  cursor->left = (OtPart){part->kind, part->scalars, op->text + cursor->text, part->bytes};
  cursor->text += part->bytes;
}

void
ot_cursor_init(OtCursor *cursor, const OtOp *op)
{
  *cursor = (OtCursor){.op = op};
  cursor_next(cursor);
}

void
ot_cursor_take(OtCursor *cursor, gsize scalars, OtPart *taken)
{
  OtPart *left = &cursor->left;
  g_assert(scalars > 0 && scalars <= left->scalars);
  *taken = *left;
  if (scalars < left->scalars) {
    taken->scalars = scalars;
    taken->bytes = left->bytes == left->scalars ? scalars : ot_utf8_offset(left->utf8, left->bytes, scalars);
    if (left->kind != OT_INSERT)
      taken->bytes = 0;
    left->scalars -= scalars;
    left->bytes -= taken->bytes;
    left->utf8 += taken->bytes;
  } else {
    cursor_next(cursor);
  }
}

/* Doing. */

gboolean
ot_op_apply(const OtOp *op, OtText *text, GError **error)
{
  if (ot_op_reach(op) > ot_text_length(text))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "an operation reaches %zu characters far, and the text has %zu", ot_op_reach(op),
                            ot_text_length(text));
  if (op->bytes > OT_TEXT_BYTES_MAX - ot_text_bytes(text))
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "a document may have %" G_GUINT64_FORMAT " MiB of text", OT_TEXT_BYTES_MAX >> 20);
  gsize at = 0, read = 0;
  for (guint i = 0; i < ot_op_parts(op); i++) {
    const Part *part = &op->parts[i];
    if (part->kind == OT_DELETE) {
      ot_text_delete(text, at, part->scalars);
      continue;
    }
    if (part->kind == OT_INSERT)
      ot_text_insert(text, at, op->text + read, part->bytes, part->scalars);
    at += part->scalars;
    read += part->bytes;
  }
  return TRUE;
}

OtOp *
ot_op_invert(const OtOp *op, const OtText *before)
{
  OtOp *inverse = ot_op_new();
  gsize at = 0;
  for (guint i = 0; i < ot_op_parts(op); i++) {
    const Part *part = &op->parts[i];
    if (part->kind == OT_KEEP) {
      ot_op_keep(inverse, part->scalars);
    } else if (part->kind == OT_INSERT) {
      ot_op_delete(inverse, part->scalars);
    } else {
      gsize bytes;
      g_autofree char *gone = ot_text_copy(before, at, part->scalars, &bytes);
      ot_op_insert(inverse, gone, bytes, part->scalars);
    }
    if (part->kind != OT_INSERT)
      at += part->scalars;
  }
  return inverse;
}

gsize
ot_op_move(const OtOp *op, gsize at)
{
  gsize moved = at, read = 0; /* read: of the text before */
  for (guint i = 0; i < ot_op_parts(op) && read <= at; i++) {
    const Part *part = &op->parts[i];
    if (part->kind == OT_INSERT) {
      moved += part->scalars;
      continue;
    }
    if (part->kind == OT_DELETE)
      moved -= MIN(part->scalars, at - read);
    read += part->scalars;
  }
  return moved;
}

#include <string.h>

#include "base/error.h"
#include "clonedoc/ot/op.h"

static void
put_varint(GByteArray *into, guint64 value)
{
  guint8 bytes[10];
  guint count = 0;
  do {
    bytes[count++] = (value & 0x7f) | (value > 0x7f ? 0x80 : 0);
    value >>= 7;
  } while (value > 0);
  g_byte_array_append(into, bytes, count);
}

void
ot_op_pack(const OtOp *op, GByteArray *into)
{
  OtCursor cursor;
  OtPart part;
  for (ot_cursor_init(&cursor, op); cursor.left.scalars > 0;) {
    ot_cursor_take(&cursor, cursor.left.scalars, &part);
    put_varint(into, (part.kind == OT_INSERT ? part.bytes : part.scalars) << 2 | part.kind);
    if (part.kind == OT_INSERT)
      g_byte_array_append(into, (const guint8 *)part.utf8, part.bytes);
  }
}

typedef struct {
  const guint8 *data;
  gsize left;
} Reader;

/* A varint in its only form: as short as it can be, and no larger than any count. */
static gboolean
get_varint(Reader *reader, guint64 *value)
{
  *value = 0;
  for (guint shift = 0; shift < 35 && reader->left > 0; shift += 7) {
    guint8 byte = *reader->data++;
    reader->left--;
    *value |= (guint64)(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return byte != 0 || shift == 0;
  }
  return FALSE;
}

/* `before`: the kind of the part before it, OT_KEEP at the start, where nothing but another kept stretch
 * would be its like; `first` tells that. In normal form an insertion never follows a deletion. */
static gboolean
get_part(Reader *reader, OtOp *op, OtPartKind *before, gboolean first)
{
  guint64 value;
  if (!get_varint(reader, &value))
    return FALSE;
  guint64 count = value >> 2;
  OtPartKind kind = value & 3;
  if (count == 0 || count > OT_TEXT_BYTES_MAX || (kind == *before && !first) ||
      (kind == OT_INSERT && *before == OT_DELETE))
    return FALSE;
  *before = kind;
  gsize scalars;
  switch (kind) {
  case OT_KEEP:
    ot_op_keep(op, count);
    return TRUE;
  case OT_DELETE:
    ot_op_delete(op, count);
    return TRUE;
  case OT_INSERT:
    if (count > reader->left || !ot_utf8_check((const char *)reader->data, count, &scalars))
      return FALSE;
    ot_op_insert(op, (const char *)reader->data, count, scalars);
    reader->data += count;
    reader->left -= count;
    return TRUE;
  default:
    return FALSE;
  }
}

OtOp *
ot_op_unpack(const guint8 *data, gsize bytes, GError **error)
{
  g_autoptr(OtOp) op = ot_op_new();
  Reader reader = {data, bytes};
  OtPartKind before = OT_KEEP;
  gboolean good = TRUE;
  for (gboolean first = TRUE; good && reader.left > 0; first = FALSE)
    good = get_part(&reader, op, &before, first);
  if (!good || (bytes > 0 && before == OT_KEEP)) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "an operation is damaged before its byte %zu",
                     bytes - reader.left);
    return NULL;
  }
  if (ot_op_reach(op) > OT_TEXT_BYTES_MAX) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "an operation reaches further than any document");
    return NULL;
  }
  return g_steal_pointer(&op);
}

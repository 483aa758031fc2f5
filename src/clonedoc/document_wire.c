#include "clonedoc/document_wire.h"

OtOp *
doc_op_take(const ProtobufCBinaryData *from)
{
  return ot_op_unpack(from->data, from->len, NULL);
}

GByteArray *
doc_op_pack(const OtOp *op)
{
  GByteArray *packed = g_byte_array_new();
  if (op)
    ot_op_pack(op, packed);
  return packed;
}

void
doc_done_wire(DocDoneWire *wire, const DocDocument *doc, guint64 from, guint64 to, gboolean own)
{
  wire->wire = g_array_new(FALSE, FALSE, sizeof(Doppel__Wire__DocDone));
  wire->of_wire = g_ptr_array_new();
  wire->packed = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
  for (guint64 number = from; number <= to; number++) {
    const DocDone *done = doc_document_done(doc, number);
    if (!done || (!done->op && !(own && done->entry)))
      continue;
    Doppel__Wire__DocDone each = DOPPEL__WIRE__DOC_DONE__INIT;
    GByteArray *packed = doc_op_pack(done->op);
    g_ptr_array_add(wire->packed, packed);
    each.number = number;
    each.operation = wire_borrow(packed->data, packed->len);
    if (own && done->entry) {
      each.entry = wire_borrow_bytes(done->entry);
      each.good = done->good;
    }
    g_array_append_val(wire->wire, each);
  }
  for (guint i = 0; i < wire->wire->len; i++)
    g_ptr_array_add(wire->of_wire, &g_array_index(wire->wire, Doppel__Wire__DocDone, i));
}

void
doc_done_wire_clear(DocDoneWire *wire)
{
  g_clear_pointer(&wire->wire, g_array_unref);
  g_clear_pointer(&wire->of_wire, g_ptr_array_unref);
  g_clear_pointer(&wire->packed, g_ptr_array_unref);
}

/* What is not listed did nothing. */
static void
add_nothing_until(DocDocument *doc, guint64 *next, guint64 until)
{
  for (; *next < until; ++*next) {
    DocDone done = {0};
    g_array_append_val(doc->done, done);
  }
}

gboolean
doc_done_take(DocDocument *doc, Doppel__Wire__DocDone **wire, gsize count, guint window, gboolean own)
{
  guint64 last = doc_document_number(doc);
  guint64 next = MAX(doc_history_first(doc->history), last - MIN(last, window)) + 1;
  for (gsize i = 0; i < count; i++) {
    if (wire[i]->number < next || wire[i]->number > last || (wire[i]->entry.len > 0 && !own))
      return FALSE;
    add_nothing_until(doc, &next, wire[i]->number);
    OtOp *op = doc_op_take(&wire[i]->operation);
    if (!op)
      return FALSE;
    if (ot_op_empty(op))
      g_clear_pointer(&op, ot_op_free);
    DocDone done = {op, NULL, FALSE};
    if (wire[i]->entry.len > 0) {
      done.entry = g_bytes_new(wire[i]->entry.data, wire[i]->entry.len);
      done.good = wire[i]->good;
    }
    g_array_append_val(doc->done, done);
    next++;
  }
  add_nothing_until(doc, &next, last + 1);
  return TRUE;
}

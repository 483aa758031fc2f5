/* Operations that were done, as messages: for the files document*.c only. */
#pragma once

#include "clonedoc/document_struct.h"
#include "wire/doc.pb-c.h"
#include "wire/message.h"

/* The arrays that protobuf-c wants, and what they point to. */
typedef struct {
  GArray *wire;       /* of Doppel__Wire__DocDone */
  GPtrArray *of_wire; /* of pointers into it */
  GPtrArray *packed;  /* of GByteArray */
} DocDoneWire;

/* What the entries `from` to `to` did; with one's own entries if `own`. */
void doc_done_wire(DocDoneWire *wire, const DocDocument *doc, guint64 from, guint64 to, gboolean own);
void doc_done_wire_clear(DocDoneWire *wire);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DocDoneWire, doc_done_wire_clear)

/* Into a replica that has its history, and nothing done: the last `window` entries at most, all that are
 * after the history's first. */
gboolean doc_done_take(DocDocument *doc, Doppel__Wire__DocDone **wire, gsize count, guint window,
                       gboolean own);

OtOp *doc_op_take(const ProtobufCBinaryData *from);
GByteArray *doc_op_pack(const OtOp *op);

/* Heads: what a server has signed of a history (history.h). */
#include <string.h>

#include "base/error.h"
#include "clonedoc/history.h"
#include "identity/statement.h"
#include "wire/doc.pb-c.h"
#include "wire/message.h"

#define VERSION 1

void
doc_head_clear(DocHead *head)
{
  g_clear_pointer(&head->packed, g_bytes_unref);
}

void
doc_head_sign(DocHead *head, const DocHistory *history, const IdentityKey *server)
{
  guint8 signature[IDENTITY_SIGNATURE_LENGTH];
  *head = (DocHead){.document = *doc_history_document(history), .number = doc_history_number(history)};
  head->chain = *doc_history_chain(history, head->number);
  Doppel__Wire__DocHead wire = DOPPEL__WIRE__DOC_HEAD__INIT;
  wire.version = VERSION;
  wire.document = wire_borrow(head->document.bytes, sizeof head->document.bytes);
  wire.number = head->number;
  wire.chain = wire_borrow(head->chain.bytes, sizeof head->chain.bytes);
  g_autoptr(GBytes) statement = wire_pack(&wire.base);
  gsize length;
  const void *bytes = g_bytes_get_data(statement, &length);
  statement_sign(server, STATEMENT_DOC_HEAD, bytes, length, signature);
  Doppel__Wire__DocSigned with = DOPPEL__WIRE__DOC_SIGNED__INIT;
  with.statement = wire_borrow(bytes, length);
  with.signature = wire_borrow(signature, sizeof signature);
  head->packed = wire_pack(&with.base);
}

static gboolean
take_head(DocHead *head, const Doppel__Wire__DocSigned *with)
{
  Doppel__Wire__DocHead *wire =
      doppel__wire__doc_head__unpack(NULL, with->statement.len, with->statement.data);
  gboolean good = wire && wire->version == VERSION && wire->document.len == sizeof head->document.bytes &&
                  wire->chain.len == sizeof head->chain.bytes;
  if (good) {
    memcpy(head->document.bytes, wire->document.data, sizeof head->document.bytes);
    memcpy(head->chain.bytes, wire->chain.data, sizeof head->chain.bytes);
    head->number = wire->number;
  }
  if (wire)
    doppel__wire__doc_head__free_unpacked(wire, NULL);
  return good;
}

static gboolean
take_signed(DocHead *head, const Doppel__Wire__DocSigned *with, const IdentityPublic *server, GError **error)
{
  if (!with || with->signature.len != IDENTITY_SIGNATURE_LENGTH || !take_head(head, with))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "what the document's server says of the history is damaged");
  return statement_verify(server, STATEMENT_DOC_HEAD, with->statement.data, with->statement.len,
                          with->signature.data) ||
         doppel_error_set(error, DOPPEL_ERROR_DENIED,
                          "what is said of the document's history is not signed by its server");
}

gboolean
doc_head_decode(DocHead *head, const void *data, gsize length, const IdentityPublic *server, GError **error)
{
  *head = (DocHead){0};
  Doppel__Wire__DocSigned *with =
      length <= DOC_HEAD_MAX ? doppel__wire__doc_signed__unpack(NULL, length, data) : NULL;
  gboolean good = take_signed(head, with, server, error);
  if (with)
    doppel__wire__doc_signed__free_unpacked(with, NULL);
  if (good)
    head->packed = g_bytes_new(data, length);
  return good;
}

gboolean
doc_heads_conflict(const DocHead *a, const DocHead *b)
{
  return doc_name_equal(&a->document, &b->document) && a->number == b->number &&
         !doc_chain_equal(&a->chain, &b->chain);
}
